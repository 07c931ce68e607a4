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
	return group("rpki", "Manage RPKI caches, which tell who may announce what", a.rpkiAdd(), a.rpkiList(), rpkiObject.show(a, "Show an RPKI cache", nil), rpkiObject.edit(a, ""), a.rpkiRemove())
}

func (a *app) rpkiAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Have all members ask a cache by RTR (RFC 8210)",
		Long: "Have all members ask a cache by RTR (RFC 8210), such as StayRTR, Routinator or rpki-client with one of them. Import policies can then match\n" +
			"validation: [valid], [invalid] or [not-found] (RFC 6811).",
		Example: "  fabricctl bgp rpki add rtr1 192.0.2.50\n  fabricctl bgp rpki add rtr2 2001:db8::50 --port 8282 --expire 1h",
	}
	flags := cmd.Flags()
	port := flags.Uint16("port", fabric.DefaultRPKIPort, "TCP `PORT` of the cache")
	times := map[string]*time.Duration{
		"refresh": flags.Duration("refresh", 0, "`TIME` between two questions (default what the cache says)"),
		"retry":   flags.Duration("retry", 0, "`TIME` after a failure, at most (default what the cache says)"),
		"expire":  flags.Duration("expire", 0, "`TIME` for which data are used that the cache does not confirm (default what the cache says)"),
	}
	description := flags.String("description", "", "`TEXT` that describes it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		address, err := netip.ParseAddr(args[1])
		if err != nil {
			return usagef(cmd, "%q is not an IP address", args[1])
		}
		post := api.RPKIsPost{Name: args[0], RPKIPut: api.RPKIPut{Description: *description, Address: address, Port: *port}}
		for name, field := range map[string]*int{"refresh": &post.Refresh, "retry": &post.Retry, "expire": &post.Expire} {
			d := *times[name]
			if d < 0 || d%time.Second != 0 {
				return usagef(cmd, "--%s %v: want a whole number of seconds, as in 600s or 1h", name, d)
			}
			*field = int(d / time.Second)
		}
		if err := a.client().CreateRPKI(cmd.Context(), post); err != nil {
			return err
		}
		a.say("RPKI cache %s added", post.Name)
		return nil
	}
	return cmd
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
