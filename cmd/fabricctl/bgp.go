package main

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) bgpCommand() *cobra.Command {
	peer := group("peer", "Manage BGP neighbours", a.peerAdd(), a.peerList(), peerObject.show(a, "Show a BGP neighbour and its sessions"), a.peerSet(), peerObject.edit(a, ". Its password is not shown: leave it out to keep it, add \"password: …\" to replace it, \"password: ''\" to have none."), a.peerRemove())
	return group("bgp", "Manage BGP", peer, a.policyCommand(), a.bfdProfileCommand(), a.rpkiCommand(), a.bgpSummary(), a.bgpRoutes(), a.bgpDrain(), a.bgpUndrain())
}

// peerFlags are the flags of what can be set of a peer, for a new one and for one that is there.
type peerFlags struct {
	put       api.BGPPeerPut
	fromStdin bool
	fromFile  string
}

func (a *app) peerFlags(cmd *cobra.Command) *peerFlags {
	f := &peerFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.put.Description, "description", "", "`TEXT` that describes it")
	flags.StringVar(&f.put.Interface, "interface", "", "`INTERFACE` that it is on, in place of an address: the router that is heard there (unnumbered)")
	flags.Var(prefixValue{&f.put.Dynamic}, "dynamic", "`PREFIX` from which neighbours connect, in place of an address: each has a session of its own (the member needs core.bgp_address)")
	flags.IntVar(&f.put.MaxSessions, "max-sessions", 0, fmt.Sprintf("`NUMBER` of sessions of a peer by prefix on one member (default %d)", fabric.DefaultMaxSessions))
	flags.StringVar(&f.put.Export, "export", "", "`POLICY` of what it is told, such as own; without one it is told nothing")
	flags.StringVar(&f.put.Import, "import", "", "`POLICY` of what is taken from it, such as default-only; without one nothing is")
	flags.StringVar(&f.put.Install, "install", "", "`WHICH` of the routes taken from it go into the kernel: none, default or all (default none)")
	flags.StringVar(&f.put.Table, "table", "", "`TABLE` of the kernel that they go into, number or name (default main)")
	flags.IntVar(&f.put.Metric, "metric", 0, fmt.Sprintf("`NUMBER` that they have as metric (default %d)", fabric.DefaultInstallMetric))
	flags.IntVar(&f.put.HoldTime, "hold-time", 0, fmt.Sprintf("`SECONDS` of silence after which the session is lost (default %d)", fabric.DefaultHoldTime))
	flags.IntVar(&f.put.GracefulRestart, "graceful-restart", 0, fmt.Sprintf("`SECONDS` for which the neighbour keeps routes while the worker restarts (default %d)", fabric.DefaultGracefulRestart))
	flags.IntVar(&f.put.MultihopTTL, "multihop-ttl", 0, "`TTL` for a neighbour that is not on a shared link")
	flags.StringVar(&f.put.BFD.Profile, "bfd-profile", "", "BFD `PROFILE` that says what the flags for BFD don't")
	flags.IntVar(&f.put.BFD.Interval, "bfd-interval", 0, "`MILLISECONDS` between BFD packets, 10-10000 (default no BFD)")
	flags.IntVar(&f.put.BFD.Multiplier, "bfd-multiplier", 0, fmt.Sprintf("`NUMBER` of BFD packets in a row that may be lost (default %d)", fabric.DefaultBFDMultiplier))
	flags.BoolVar(&f.put.BFD.Passive, "bfd-passive", false, "send no BFD before the neighbour does")
	flags.BoolVar(&f.put.BFD.Strict, "bfd-strict", false, "have no BGP session while BFD is not up")
	flags.BoolVar(&f.put.GTSM, "gtsm", false, "take only packets that crossed no router (the neighbour must send with TTL 255, as it does with GTSM)")
	flags.Uint32Var(&f.put.LocalASN, "local-asn", 0, "AS `NUMBER` to show it in place of the member's own")
	flags.IntVar(&f.put.Keepalive, "keepalive", 0, "`SECONDS` between signs of life (default a third of the hold time)")
	flags.BoolVar(&f.put.Passive, "passive", false, "wait for it to connect (the member needs core.bgp_address)")
	flags.StringSliceVar(&f.put.Families, "families", nil, "`FAMILIES` that the session carries: ipv4, ipv6 or both (default that of the address)")
	flags.StringVar(&f.put.AddPath, "add-path", "", "`DIRECTION` in which prefixes may have more paths than one (RFC 7911): receive")
	flags.IntVar(&f.put.MaxPrefix.Limit, "max-prefix", 0, "`NUMBER` of prefixes of one family that it may announce (default no limit)")
	flags.StringVar(&f.put.MaxPrefix.Action, "max-prefix-action", "", "`ACTION` when it announces more: cease or warn (default cease)")
	flags.IntVar(&f.put.MaxPrefix.Restart, "max-prefix-restart", 0, "`SECONDS` after which a session that was ended is tried again (default not before the peer is changed)")
	flags.StringSliceVar(&f.put.Members, "members", nil, "`MEMBERS` that have a session with it, between commas; failure_domain:NAME and group:NAME stand for those of one (default all)")
	flags.BoolVar(&f.put.Disabled, "disabled", false, "have no session with it for now")
	flags.BoolVar(&f.fromStdin, "password-stdin", false, "read the TCP MD5 password from stdin")
	flags.StringVar(&f.fromFile, "password-file", "", "read the TCP MD5 password from `FILE`")
	for flag, words := range map[string][]string{
		"install": {fabric.InstallNone, fabric.InstallDefault, fabric.InstallAll}, "families": {fabric.FamilyIPv4, fabric.FamilyIPv6}, "add-path": {fabric.AddPathReceive},
		"max-prefix-action": {fabric.MaxPrefixCease, fabric.MaxPrefixWarn},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	a.flagNames(cmd, "members", members)
	a.flagNames(cmd, "bfd-profile", bfdProfiles)
	a.flagNames(cmd, "export", policies)
	a.flagNames(cmd, "import", policies)
	return f
}

// onto sets what flags were given.
func (f *peerFlags) onto(cmd *cobra.Command, put *api.BGPPeerPut) {
	for flag, set := range map[string]func(){
		"description":        func() { put.Description = f.put.Description },
		"interface":          func() { put.Address, put.Interface, put.Dynamic = netip.Addr{}, f.put.Interface, netip.Prefix{} },
		"dynamic":            func() { put.Address, put.Interface, put.Dynamic = netip.Addr{}, "", f.put.Dynamic },
		"max-sessions":       func() { put.MaxSessions = f.put.MaxSessions },
		"export":             func() { put.Export = f.put.Export },
		"import":             func() { put.Import = f.put.Import },
		"install":            func() { put.Install = f.put.Install },
		"table":              func() { put.Table = f.put.Table },
		"metric":             func() { put.Metric = f.put.Metric },
		"hold-time":          func() { put.HoldTime = f.put.HoldTime },
		"graceful-restart":   func() { put.GracefulRestart = f.put.GracefulRestart },
		"multihop-ttl":       func() { put.MultihopTTL = f.put.MultihopTTL },
		"bfd-profile":        func() { put.BFD.Profile = f.put.BFD.Profile },
		"bfd-interval":       func() { put.BFD.Interval = f.put.BFD.Interval },
		"bfd-multiplier":     func() { put.BFD.Multiplier = f.put.BFD.Multiplier },
		"bfd-passive":        func() { put.BFD.Passive = f.put.BFD.Passive },
		"bfd-strict":         func() { put.BFD.Strict = f.put.BFD.Strict },
		"gtsm":               func() { put.GTSM = f.put.GTSM },
		"local-asn":          func() { put.LocalASN = f.put.LocalASN },
		"keepalive":          func() { put.Keepalive = f.put.Keepalive },
		"passive":            func() { put.Passive = f.put.Passive },
		"families":           func() { put.Families = f.put.Families },
		"add-path":           func() { put.AddPath = f.put.AddPath },
		"max-prefix":         func() { put.MaxPrefix.Limit = f.put.MaxPrefix.Limit },
		"max-prefix-action":  func() { put.MaxPrefix.Action = f.put.MaxPrefix.Action },
		"max-prefix-restart": func() { put.MaxPrefix.Restart = f.put.MaxPrefix.Restart },
		"members":            func() { put.Members = f.put.Members },
		"disabled":           func() { put.Disabled = f.put.Disabled },
	} {
		if cmd.Flags().Changed(flag) {
			set()
		}
	}
}

func (a *app) peerAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME [ADDRESS] ASN",
		Short: "Add a BGP neighbour of all members, or of some",
		Long: `Add a BGP neighbour of all members, or of those given with --members. What can be announced follows from networks, instances and anycast
services; what this neighbour is told of it is up to the policy given with --export, and what is taken of it to that of --import. Without a
policy nothing goes out and nothing comes in (RFC 8212). The policy own is always there: all that this cluster announces itself;
"fabricctl bgp policy list" shows the others, "fabricctl route list" what is announced and why not. The cluster's own AS number is the config
key core.bgp_asn.

With --interface in place of an address the link needs none: the neighbour is the router that is heard there by its advertisements, the session
runs over link-local addresses, and carries both IP versions with IPv6 next hops (RFC 8950).

With --dynamic each neighbour that connects from inside the prefix becomes a session of its own, named PEER@ADDRESS.

A password never stands on the command line, where other users see it: give it on stdin or in a file.`,
		Example: `  fabricctl bgp peer add tor1 192.0.2.254 65001 --export own
  fabricctl bgp peer add tor1 2001:db8::ff 65001 --export own --members n1,n2 --hold-time 3
  fabricctl bgp peer add tor1 192.0.2.254 65001 --export own --bfd-interval 50 --gtsm
  fabricctl bgp peer add tor1 --interface eth1 external --export own
  fabricctl bgp peer add rack1 --dynamic 192.0.2.0/24 external --export own --max-sessions 20
  fabricctl bgp peer add tor1 192.0.2.254 65001 --export own --import default-only --install default
  fabricctl bgp peer add tor1 192.0.2.254 65001 --export own --password-file /etc/fabric/tor1.password`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{fabric.ASNInternal.String(), fabric.ASNExternal.String()}, cobra.ShellCompDirectiveNoFileComp
		},
	}
	f := a.peerFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		post := api.BGPPeersPost{BGPPeerPut: f.put, Name: args[0]}
		var err error
		switch {
		case len(args) == 2 && f.put.Interface == "" && !f.put.Dynamic.IsValid():
			return usagef(cmd, "ASN is missing, or the address: give ADDRESS, --interface or --dynamic")
		case len(args) == 3 && (f.put.Interface != "" || f.put.Dynamic.IsValid()):
			return usagef(cmd, "unexpected argument %q: with --interface or --dynamic the address is found", args[1])
		case len(args) == 3:
			if post.Address, err = netip.ParseAddr(args[1]); err != nil {
				return usagef(cmd, "ADDRESS %q is not an IP address", args[1])
			}
		}
		if post.ASN, err = fabric.ParsePeerASN(args[len(args)-1]); err != nil {
			return usagef(cmd, "ASN %v", err)
		}
		if err := noZeros(cmd); err != nil {
			return err
		}
		if post.Password, err = a.password(cmd, f.fromStdin, f.fromFile); err != nil {
			return err
		}
		if err := a.client().CreateBGPPeer(cmd.Context(), post); err != nil {
			return err
		}
		a.say("BGP peer %s added", post.Name)
		if post.Export == "" {
			fmt.Fprintf(a.err, "Nothing is announced to it until it has an export policy: fabricctl bgp peer set %s --export %s\n", post.Name, fabric.PolicyOwn)
		}
		peerObject.warn(cmd.Context(), a, post.Name)
		return nil
	}
	return cmd
}

// password reads the first line of stdin or of a file; nil where neither was asked for.
func (a *app) password(cmd *cobra.Command, fromStdin bool, file string) (*string, error) {
	in := a.in
	switch {
	case fromStdin && file != "":
		return nil, usagef(cmd, "--password-stdin and --password-file exclude each other")
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		defer f.Close()
		in = f
	case !fromStdin:
		return nil, nil
	}
	lines := bufio.NewScanner(in)
	if !lines.Scan() || lines.Text() == "" {
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		if cmd.Name() == "set" {
			return nil, usagef(cmd, "the password is empty; to have none, say password: '' with bgp peer edit")
		}
		return nil, usagef(cmd, "the password is empty")
	}
	p := lines.Text()
	return &p, nil
}

func (a *app) peerList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List BGP neighbours", Example: "  fabricctl bgp peer list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetBGPPeers(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.BGPPeer]{
			{"NAME", func(p api.BGPPeer) string { return p.Name }},
			{"ADDRESS", func(p api.BGPPeer) string { return where(p.Address, p.Interface, p.Dynamic) }},
			{"ASN", func(p api.BGPPeer) string { return p.ASN.String() }},
			{"MEMBERS", func(p api.BGPPeer) string {
				if len(p.Members) == 0 {
					return "all"
				}
				return strings.Join(p.Members, "\n")
			}},
			{"EXPORT", func(p api.BGPPeer) string { return cmp.Or(p.Export, "nothing: no policy") }},
			{"IMPORT", func(p api.BGPPeer) string { return p.Import }},
			{"INSTALL", func(p api.BGPPeer) string { return installWords(p.BGPPeerPut) }},
			{"PASSWORD", func(p api.BGPPeer) string { return yesNo(p.HasPassword) }},
			{"ESTABLISHED", func(p api.BGPPeer) string {
				return strings.Join(append([]string{establishedSessions(p)}, p.Warnings...), "\n")
			}},
			{"DESCRIPTION", func(p api.BGPPeer) string { return p.Description }},
		})
	}
	return cmd
}

// installWords say which routes of a peer go into the kernel, and where to if that is not the usual place.
func installWords(p api.BGPPeerPut) string {
	words := p.Install
	if p.Table != "" {
		words += " table " + p.Table
	}
	if p.Metric != 0 {
		words += fmt.Sprintf(" metric %d", p.Metric)
	}
	return words
}

// establishedSessions is how many of a peer's sessions are up.
func establishedSessions(p api.BGPPeer) string {
	if p.Disabled {
		return "disabled"
	}
	up := 0
	for _, s := range p.Sessions {
		if s.Established() && !s.Stale {
			up++
		}
	}
	return fmt.Sprintf("%d of %d", up, len(p.Sessions))
}

var peerObject = plainObject[api.BGPPeer, api.BGPPeerPut]{
	command: "bgp peer", noun: "BGP peer", what: "a BGP neighbour", sample: "tor1", names: peers,
	read: (*api.Client).GetBGPPeer, put: func(o *api.BGPPeer) api.BGPPeerPut { return o.BGPPeerPut }, write: (*api.Client).UpdateBGPPeer,
	warnings: func(o *api.BGPPeer) []string { return o.Warnings },
}

func (a *app) peerRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME...", Aliases: []string{"rm", "delete"}, Short: "Remove BGP neighbours",
		Example: "  fabricctl bgp peer remove tor1", ValidArgsFunction: a.completeAll(peers),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().DeleteBGPPeer(cmd.Context(), name); err != nil {
					return err
				}
				a.say("BGP peer %s removed", name)
			}
			return nil
		},
	}
}

func (a *app) bgpSummary() *cobra.Command {
	cmd := &cobra.Command{
		Use: "summary", Short: "Show the BGP sessions of all members",
		Example: "  fabricctl bgp summary\n  fabricctl bgp summary -f json",
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetBGPSessions(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, sessionColumns(time.Now()))
	}
	return cmd
}

func sessionColumns(now time.Time) []column[api.BGPSession] {
	return []column[api.BGPSession]{
		{"MEMBER", func(s api.BGPSession) string { return s.Member }},
		{"PEER", func(s api.BGPSession) string { return s.Name }},
		{"ADDRESS", func(s api.BGPSession) string { return where(s.Address, s.Interface, s.Dynamic) }},
		{"ASN", func(s api.BGPSession) string { return strconv.FormatUint(uint64(s.ASN), 10) }},
		{"STATE", func(s api.BGPSession) string {
			if s.Stale {
				return "unknown: member offline"
			}
			return s.State
		}},
		{"FOR", func(s api.BGPSession) string {
			if s.Since.IsZero() {
				return ""
			}
			return ago(now.Sub(s.Since))
		}},
		{"BFD", bfdWords},
		{"SENT", func(s api.BGPSession) string { return strconv.Itoa(s.Sent) }},
		{"RECEIVED", func(s api.BGPSession) string { return strconv.Itoa(s.Received) }},
		{"REJECTED", func(s api.BGPSession) string { return strconv.Itoa(s.Received - s.Accepted) }},
		{"INSTALLED", func(s api.BGPSession) string { return strconv.Itoa(s.Installed) }},
		{"FLAPS", func(s api.BGPSession) string { return strconv.Itoa(s.Flaps) }},
		{"WHY NOT", func(s api.BGPSession) string {
			if s.Established() {
				return s.Message
			}
			lines := slices.DeleteFunc([]string{s.Message, s.LastError}, func(line string) bool { return line == "" })
			if len(lines) == 0 {
				return why("", s.Reason)
			}
			return strings.Join(slices.Compact(lines), "\n")
		}},
	}
}

// where is an address, or where a neighbour is that has not been found.
func where(a netip.Addr, iface string, dynamic netip.Prefix) string {
	switch {
	case a.IsValid():
		return a.String()
	case dynamic.IsValid():
		return dynamic.String()
	}
	return iface
}

// prefixValue is a flag with a prefix.
type prefixValue struct{ p *netip.Prefix }

func (v prefixValue) String() string {
	if v.p == nil || !v.p.IsValid() {
		return ""
	}
	return v.p.String()
}

func (v prefixValue) Set(s string) (err error) {
	*v.p, err = netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is not a prefix such as 192.0.2.0/24", s)
	}
	return nil
}

func (v prefixValue) Type() string { return "prefix" }

// bfdWords is the state of BFD and, when it is up, after how long a silence the neighbour is dead.
func bfdWords(s api.BGPSession) string {
	switch {
	case s.BFD == nil || s.Stale:
		return ""
	case s.BFD.Up():
		return fmt.Sprintf("up %d ms", s.BFD.Detection)
	}
	return s.BFD.State
}
