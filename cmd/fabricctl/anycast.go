package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) anycastCommand() *cobra.Command {
	return group("anycast", "Manage anycast services", a.anycastCreate(), a.anycastList(), anycastObject.show(a, "Show an anycast service"), a.anycastSet(), anycastObject.edit(a, ""), a.anycastDelete())
}

func (a *app) anycastCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME PREFIX...",
		Short: "Create an anycast service",
		Long: `Create an anycast service: addresses that every healthy copy of it answers for. An instance becomes a copy with the config key anycast=NAME;
its member announces the addresses for as long as the copy is healthy.

A copy whose process or link is dead is unhealthy at once. --check says what else it takes:
  process             nothing else
  tcp:PORT            the service accepts a connection
  http:PORT[/PATH]    the service answers GET as --expect-status and --expect-body say
  https:PORT[/PATH]   the same over TLS; the certificate is looked at with --verify only
  dns:PORT/NAME       the service answers a query for NAME as --record, --expect-rcode and --expect-answer say
  exec:COMMAND        the command, run inside the instance as root, exits with 0; with quotes as in a shell, but without one`,
		Example: `  fabricctl anycast create dns 203.0.113.53/32 2001:db8:53::53/128 --check tcp:53
  fabricctl anycast create web 203.0.113.80 --check http:80/health --interval 500ms --fall 3
  fabricctl anycast create shop 203.0.113.81 --check https:443/health --expect-status 200-204 --expect-body ok
  fabricctl anycast create ns 203.0.113.54 --check dns:53/www.example.com --record AAAA --expect-answer 2001:db8::80
  fabricctl anycast create db 203.0.113.83 --check 'exec:pg_isready -h 127.0.0.1' --interval 2s
  fabricctl anycast create cdn 203.0.113.82 --weight link-bandwidth
  fabricctl config set dns1 anycast=dns`,
	}
	f := newAnycastFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noZeros(cmd, "min-healthy"); err != nil {
			return err
		}
		post := api.AnycastsPost{Name: args[0]}
		for _, arg := range args[1:] {
			p, err := fabric.ParsePrefix(arg)
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			post.Addresses = append(post.Addresses, p)
		}
		post.Check.Type, post.Weight = fabric.Check{}.Default().Type, fabric.WeightNone
		if err := f.onto(cmd, &post.AnycastPut); err != nil {
			return err
		}
		if err := a.client().CreateAnycast(cmd.Context(), post); err != nil {
			return err
		}
		a.say("Anycast service %s created", post.Name)
		return nil
	}
	return cmd
}

func (a *app) anycastSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change some of what is set of an anycast service",
		Long: `Change what the given flags say of an anycast service, and nothing else. Another --check takes the times and counts of the one before along, and of
what it expects only what is given with it.`,
		Example: `  fabricctl anycast set web --interval 500ms --fall 3
  fabricctl anycast set web --check http:80/health --expect-body ok
  fabricctl anycast set dns --weight med`, ValidArgsFunction: a.complete(anycasts),
	}
	f := newAnycastFlags(cmd)
	addresses := cmd.Flags().StringSlice("addresses", nil, "`PREFIXES` that it has, between commas: all of them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := somethingSet(cmd); err != nil {
			return err
		}
		s, etag, err := a.client().GetAnycast(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("addresses") {
			s.Addresses = nil
			for _, text := range *addresses {
				p, err := fabric.ParsePrefix(text)
				if err != nil {
					return usagef(cmd, "--addresses: %v", err)
				}
				s.Addresses = append(s.Addresses, p)
			}
		}
		if err := f.onto(cmd, &s.AnycastPut); err != nil {
			return err
		}
		return a.client().UpdateAnycast(cmd.Context(), args[0], s.AnycastPut, etag)
	}
	return cmd
}

// anycastFlags are the flags of what can be set of a service, for a new one and for one that is there.
type anycastFlags struct {
	check               string
	expect              api.AnycastCheck
	interval, timeout   time.Duration
	rise, fall          int
	minHealthy          int
	weight, description string
}

func newAnycastFlags(cmd *cobra.Command) *anycastFlags {
	preset := fabric.Check{}.Default()
	millisecond := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	f, flags := &anycastFlags{}, cmd.Flags()
	flags.StringVar(&f.check, "check", "", fmt.Sprintf("`CHECK`: %s (default %s)", checkForms, preset.Type))
	flags.StringVar(&f.expect.Status, "expect-status", "", "`CODES` and ranges of codes that are good, as in 200-204,401 (http, https; default "+fabric.DefaultStatus+")")
	flags.StringVar(&f.expect.Body, "expect-body", "", "`TEXT` that the first 64 KiB of the answer must have in them (http, https)")
	flags.StringVar(&f.expect.Host, "host", "", "`NAME` to ask for: Host header and name in TLS (http, https; default the service's address)")
	flags.BoolVar(&f.expect.Verify, "verify", false, "The certificate must be valid for the name of --host (https)")
	flags.StringVar(&f.expect.Record, "record", "", "`TYPE` of record to ask for: "+strings.Join(fabric.CheckRecords, ", ")+" (dns; default A)")
	flags.StringVar(&f.expect.Rcode, "expect-rcode", "", "Response `CODE` that is good: "+strings.Join(fabric.CheckRcodes, ", ")+" (dns; default NOERROR)")
	flags.StringVar(&f.expect.Answer, "expect-answer", "", "`DATA` that a record in the answer must have (dns; default any)")
	flags.DurationVar(&f.interval, "interval", 0, fmt.Sprintf("`TIME` between the starts of two checks (default %v)", millisecond(preset.Interval)))
	flags.DurationVar(&f.timeout, "timeout", 0, fmt.Sprintf("`TIME` until a check counts as failed (default %v, at most the interval)", millisecond(preset.Timeout)))
	flags.IntVar(&f.rise, "rise", 0, fmt.Sprintf("`SUCCESSES` in a row that make a copy healthy (default %d)", preset.Rise))
	flags.IntVar(&f.fall, "fall", 0, fmt.Sprintf("`FAILURES` in a row that make a copy unhealthy (default %d)", preset.Fall))
	flags.IntVar(&f.minHealthy, "min-healthy", 0, "`COPIES` that stay announced even if their checks fail, when fewer would be healthy in the whole cluster (default 0)")
	flags.StringVar(&f.weight, "weight", "", "What routers are told of the copies' weights (anycast.weight): none, med, local-pref or link-bandwidth `AS` (default none)")
	flags.StringVar(&f.description, "description", "", "`TEXT` that describes it")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("check", cobra.FixedCompletions([]string{"process", "tcp:", "http:", "https:", "dns:", "exec:"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("weight", cobra.FixedCompletions([]string{"none", "med", "local-pref", "link-bandwidth"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("record", cobra.FixedCompletions(fabric.CheckRecords, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("expect-rcode", cobra.FixedCompletions(fabric.CheckRcodes, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// onto sets what flags were given.
func (f *anycastFlags) onto(cmd *cobra.Command, put *api.AnycastPut) error {
	given, c := cmd.Flags().Changed, &put.Check
	if given("check") {
		next, err := parseCheck(f.check, api.AnycastCheck{Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall})
		if err != nil {
			return usagef(cmd, "--check %q: %v", f.check, err)
		}
		*c = next
	}
	for flag, set := range map[string]func(){
		"expect-status": func() { c.Status = f.expect.Status },
		"expect-body":   func() { c.Body = f.expect.Body },
		"host":          func() { c.Host = f.expect.Host },
		"verify":        func() { c.Verify = f.expect.Verify },
		"record":        func() { c.Record = f.expect.Record },
		"expect-rcode":  func() { c.Rcode = f.expect.Rcode },
		"expect-answer": func() { c.Answer = f.expect.Answer },
		"rise":          func() { c.Rise = f.rise },
		"fall":          func() { c.Fall = f.fall },
		"min-healthy":   func() { put.MinHealthy = f.minHealthy },
		"weight":        func() { put.Weight = fabric.Weighting(f.weight) },
		"description":   func() { put.Description = f.description },
	} {
		if given(flag) {
			set()
		}
	}
	for _, t := range []struct {
		flag  string
		d     time.Duration
		field *int
	}{{"interval", f.interval, &c.Interval}, {"timeout", f.timeout, &c.Timeout}} {
		if !given(t.flag) {
			continue
		}
		n, err := milliseconds(t.d)
		if err != nil {
			return usagef(cmd, "--%s %v: %v", t.flag, t.d, err)
		}
		*t.field = n
	}
	return nil
}

// checkForms are the forms of a check on the command line.
const checkForms = "process, tcp:PORT, http:PORT[/PATH], https:PORT[/PATH], dns:PORT/NAME or exec:COMMAND"

// parseCheck reads one of checkForms into c.
func parseCheck(s string, c api.AnycastCheck) (api.AnycastCheck, error) {
	kind, rest, hasPort := strings.Cut(s, ":")
	switch c.Type = fabric.CheckType(kind); c.Type {
	case fabric.CheckProcess:
		if hasPort {
			return c, fmt.Errorf("a process check has no port")
		}
		return c, nil
	case fabric.CheckExec:
		if c.Command = rest; strings.TrimSpace(rest) == "" {
			return c, fmt.Errorf("want a command, as in exec:/usr/bin/check")
		}
		return c, nil
	case fabric.CheckTCP, fabric.CheckHTTP, fabric.CheckHTTPS, fabric.CheckDNS:
	default:
		return c, fmt.Errorf("want %s", checkForms)
	}
	port, path, hasPath := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return c, fmt.Errorf("want a port from 1 to 65535, as in %s:80", kind)
	}
	c.Port = uint16(n)
	switch {
	case c.Type == fabric.CheckDNS && path == "":
		return c, fmt.Errorf("want a name to ask for, as in dns:%s/example.com", port)
	case c.Type == fabric.CheckDNS:
		c.Name = path
	case hasPath && c.Type == fabric.CheckTCP:
		return c, fmt.Errorf("a tcp check has no path")
	case hasPath:
		c.Path = "/" + path
	}
	return c, nil
}

// milliseconds is a duration as the API has it; zero is its default.
func milliseconds(d time.Duration) (int, error) {
	if d < 0 || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("want a whole number of milliseconds, as in 500ms or 1s")
	}
	return int(d / time.Millisecond), nil
}

// checkText is a check as parseCheck reads it.
func checkText(c api.AnycastCheck) string { return fabric.Check(c).Text() }

func (a *app) anycastList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List anycast services and the health of their copies", Example: "  fabricctl anycast list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetAnycasts(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, anycastColumns)
	}
	return cmd
}

var anycastColumns = []column[api.Anycast]{
	{"NAME", func(s api.Anycast) string { return s.Name }},
	{"ADDRESSES", func(s api.Anycast) string { return joined(s.Addresses, netip.Prefix.String) }},
	{"CHECK", func(s api.Anycast) string { return checkText(s.Check) }},
	{"HEALTHY", func(s api.Anycast) string {
		healthy := 0
		for _, c := range s.Copies {
			if c.Healthy && !c.Stale {
				healthy++
			}
		}
		return fmt.Sprintf("%d of %d", healthy, len(s.Copies))
	}},
	{"COPIES", func(s api.Anycast) string {
		return joined(s.Copies, func(c api.AnycastCopy) string {
			where := c.Instance + " on " + c.Member
			switch {
			case c.Stale:
				return where + ": unknown, member offline"
			case c.Healthy:
				return where + ": healthy"
			case slices.ContainsFunc(c.Addresses, func(a api.AnycastAddress) bool { return a.Kept }):
				return where + ": kept as one of the last, " + why(c.Message, c.Reason)
			}
			return where + ": " + why(c.Message, c.Reason)
		})
	}},
	{"DESCRIPTION", func(s api.Anycast) string { return s.Description }},
}

// joined gives the texts of values, one per line.
func joined[T any](values []T, text func(T) string) string {
	var lines []string
	for _, v := range values {
		lines = append(lines, text(v))
	}
	return strings.Join(lines, "\n")
}

var anycastObject = plainObject[api.Anycast, api.AnycastPut]{
	command: "anycast", noun: "anycast service", what: "an anycast service", sample: "dns", names: anycasts,
	read: (*api.Client).GetAnycast, put: func(o *api.Anycast) api.AnycastPut { return o.AnycastPut }, write: (*api.Client).UpdateAnycast,
}

func (a *app) anycastDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete anycast services that no instance is a copy of",
		Example: "  fabricctl anycast delete dns", ValidArgsFunction: a.completeAll(anycasts),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Anycast service", args, func(name string) error { return a.client().DeleteAnycast(cmd.Context(), name) })
		},
	}
}
