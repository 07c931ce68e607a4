package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

// caches names the RPKI caches.
var caches = collection("/1.0/bgp/rpki")

func (a *app) rpkiCommand() *cobra.Command {
	return group("rpki", "Manage RPKI caches, which tell who may announce what", a.rpkiAdd(), a.rpkiList(), rpkiObject.show(a, "Show an RPKI cache"), a.rpkiSet(), rpkiObject.edit(a, ""), a.rpkiRemove())
}

func (a *app) rpkiAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Have all members ask a cache by RTR (RFC 8210)",
		Long: "Have all members ask a cache by RTR (RFC 8210), such as StayRTR, Routinator or rpki-client with one of them. Import policies can then match\n" +
			"validation: [valid], [invalid] or [not-found] (RFC 6811).",
		Example: "  fabricctl bgp rpki add rtr1 192.0.2.50\n  fabricctl bgp rpki add rtr2 2001:db8::50 --port 8282 --expire 1h",
	}
	f := newRPKIFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noZeros(cmd); err != nil {
			return err
		}
		post := api.RPKIsPost{Name: args[0], RPKIPut: api.RPKIPut{Port: fabric.DefaultRPKIPort}}
		var err error
		if post.Address, err = netip.ParseAddr(args[1]); err != nil {
			return usagef(cmd, "%q is not an IP address", args[1])
		}
		if err := f.onto(cmd, &post.RPKIPut); err != nil {
			return err
		}
		if err := a.client().CreateRPKI(cmd.Context(), post); err != nil {
			return err
		}
		a.say("RPKI cache %s added", post.Name)
		return nil
	}
	return cmd
}

func (a *app) rpkiSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change some of what is set of an RPKI cache",
		Long:    "Change what the given flags say of an RPKI cache, and nothing else. A time of 0 is what the cache says.",
		Example: "  fabricctl bgp rpki set rtr1 --port 8282\n  fabricctl bgp rpki set rtr1 --address 192.0.2.51 --expire 1h", ValidArgsFunction: a.complete(caches),
	}
	f := newRPKIFlags(cmd)
	address := cmd.Flags().String("address", "", "`ADDRESS` of the cache")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := somethingSet(cmd); err != nil {
			return err
		}
		r, etag, err := a.client().GetRPKI(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("address") {
			if r.Address, err = netip.ParseAddr(*address); err != nil {
				return usagef(cmd, "--address %q is not an IP address", *address)
			}
		}
		if err := f.onto(cmd, &r.RPKIPut); err != nil {
			return err
		}
		return a.client().UpdateRPKI(cmd.Context(), args[0], r.RPKIPut, etag)
	}
	return cmd
}

// rpkiFlags are the flags of what can be set of a cache, for a new one and for one that is there.
type rpkiFlags struct {
	description            *string
	port                   *uint16
	refresh, retry, expire *time.Duration
}

func newRPKIFlags(cmd *cobra.Command) *rpkiFlags {
	flags := cmd.Flags()
	return &rpkiFlags{
		description: flags.String("description", "", "`TEXT` that describes it"),
		port:        flags.Uint16("port", 0, fmt.Sprintf("TCP `PORT` of the cache (default %d)", fabric.DefaultRPKIPort)),
		refresh:     flags.Duration("refresh", 0, "`TIME` between two questions (default what the cache says)"),
		retry:       flags.Duration("retry", 0, "`TIME` after a failure, at most (default what the cache says)"),
		expire:      flags.Duration("expire", 0, "`TIME` for which data are used that the cache does not confirm (default what the cache says)"),
	}
}

// onto sets what flags were given.
func (f *rpkiFlags) onto(cmd *cobra.Command, put *api.RPKIPut) error {
	given := cmd.Flags().Changed
	if given("description") {
		put.Description = *f.description
	}
	if given("port") {
		put.Port = *f.port
	}
	for _, t := range []struct {
		flag  string
		d     time.Duration
		field *int
	}{{"refresh", *f.refresh, &put.Refresh}, {"retry", *f.retry, &put.Retry}, {"expire", *f.expire, &put.Expire}} {
		if !given(t.flag) {
			continue
		}
		if t.d < 0 || t.d%time.Second != 0 {
			return usagef(cmd, "--%s %v: want a whole number of seconds, as in 600s or 1h", t.flag, t.d)
		}
		*t.field = int(t.d / time.Second)
	}
	return nil
}

func (a *app) rpkiList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the RPKI caches and what members have of them", Example: "  fabricctl bgp rpki list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetRPKIs(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.RPKI]{
			{"NAME", func(r api.RPKI) string { return r.Name }},
			{"ADDRESS", func(r api.RPKI) string { return netip.AddrPortFrom(r.Address, r.Port).String() }},
			{"MEMBER", func(r api.RPKI) string { return joined(r.Members, func(m api.RPKIMember) string { return m.Member }) }},
			{"IPV4", func(r api.RPKI) string {
				return joined(r.Members, func(m api.RPKIMember) string { return strconv.Itoa(m.IPv4) })
			}},
			{"IPV6", func(r api.RPKI) string {
				return joined(r.Members, func(m api.RPKIMember) string { return strconv.Itoa(m.IPv6) })
			}},
			{"SERIAL", func(r api.RPKI) string {
				return joined(r.Members, func(m api.RPKIMember) string { return fmt.Sprint(m.Serial) })
			}},
			{"STATE", func(r api.RPKI) string { return joined(r.Members, rpkiWords) }},
			{"DESCRIPTION", func(r api.RPKI) string { return r.Description }},
		})
	}
	return cmd
}

func rpkiWords(m api.RPKIMember) string {
	switch {
	case m.Stale:
		return "unknown: member offline"
	case m.OK:
		return "connected"
	}
	return why(m.Message, m.Reason)
}

var rpkiObject = plainObject[api.RPKI, api.RPKIPut]{
	command: "bgp rpki", noun: "RPKI cache", what: "an RPKI cache", sample: "rtr1", names: caches,
	read: (*api.Client).GetRPKI, put: func(o *api.RPKI) api.RPKIPut { return o.RPKIPut }, write: (*api.Client).UpdateRPKI,
}

func (a *app) rpkiRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME...", Aliases: []string{"rm", "delete"}, Short: "Ask RPKI caches no more",
		Example: "  fabricctl bgp rpki remove rtr1", ValidArgsFunction: a.completeAll(caches),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("RPKI cache", args, func(name string) error { return a.client().DeleteRPKI(cmd.Context(), name) })
		},
	}
}
