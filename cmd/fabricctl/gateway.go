package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) gatewayCommand() *cobra.Command {
	return group("gateway", "Manage gateways: addresses that members share by VRRP",
		a.gatewayCreate(), a.gatewayList(), gatewayObject.show(a, "Show a gateway, how it is on its members, and how long hosts can be without it"), a.gatewayMove(), gatewayObject.edit(a, ""), a.gatewayDelete())
}

func (a *app) gatewayCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a gateway",
		Long: `Create a gateway: addresses on the network segment of an interface that members share by VRRP (RFC 9568). One member at a time, the Active,
answers and forwards. Each member needs an address of its own on that interface.

--track makes a member unfit while something that it needs is not there. Without a weight that is a fault: the member may not be Active. A weight
is taken off its priority.
  bgp, bgp:PEER       a BGP session of the member is established
  route:PREFIX        the kernel has this route
  carrier:INTERFACE   the interface is up and has a carrier
  chassis             the member forwards for OVN: ovs-vswitchd has flows
  check:TYPE:WHERE    something answers: icmp:ADDRESS, tcp:ADDRESS:PORT, http:ADDRESS:PORT/PATH, https:ADDRESS:PORT/PATH, dns:ADDRESS:PORT/NAME;
                      with ,interval=TIME ,timeout=TIME ,rise=N ,fall=N (default 1s, 500ms, 1, 2)`,
		Example: `  fabricctl gateway create uplink-gw --interface eth1 --address 192.0.2.1/24 --address 2001:db8:2::1/64
  fabricctl gateway create lan --interface br0 --address 10.0.0.1/24 --track bgp --track carrier:eth2,50 --preempt-delay 5s
  fabricctl gateway create lan --interface eth1 --address 198.51.100.1/24 --members n3,group:edge --announce
  fabricctl gateway create lan --interface br0 --address 10.0.0.1/24 --members n1,n2 --priority n2=220 --vrid 51 --interval 30ms`,
	}
	var post api.GatewaysPost
	flags := cmd.Flags()
	flags.StringVar(&post.Description, "description", "", "`TEXT` that describes it")
	flags.StringVar(&post.Interface, "interface", "", "`INTERFACE` of each member that the hosts are behind")
	addresses := flags.StringSlice("address", nil, "`ADDRESS/LENGTH` that the members share; may be repeated")
	vrid := flags.String("vrid", "auto", "`VRID` from 1 to 255, or auto for one that is free")
	interval := flags.Duration("interval", 0, fmt.Sprintf("`TIME` between advertisements, 10ms to 40.95s (default %v)", fabric.DefaultGatewayInterval*time.Millisecond))
	flags.StringSliceVar(&post.Members, "members", nil, "`MEMBERS` that take part, the best first, between commas; failure_domain:NAME and group:NAME stand for those of one, by name (default all)")
	priorities := flags.StringSlice("priority", nil, "`MEMBER=PRIORITY` from 1 to 254; may be repeated (default by the order of members)")
	flags.BoolVar(&post.NoPreempt, "no-preempt", false, "leave an Active of lower priority alone")
	delay := flags.Duration("preempt-delay", 0, "`TIME` that a member waits after it came back before it takes over from an Active of lower priority")
	flags.BoolVar(&post.Announce, "announce", false, "have the Active announce the subnets of the addresses to its BGP peers")
	flags.StringArrayVar(&post.Tracks, "track", nil, "`TYPE[:TARGET][,WEIGHT]` that a member needs; may be repeated")
	peers := protocolFlags(cmd, &post)
	a.flagNames(cmd, "members", members)
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("track", cobra.FixedCompletions([]string{"bgp", "bgp:", "route:0.0.0.0/0", "route:::/0", "carrier:", "chassis", "check:icmp:", "check:tcp:", "check:http:", "check:https:", "check:dns:"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		post.Name = args[0]
		if post.Interface == "" || len(*addresses) == 0 {
			return usagef(cmd, "a gateway needs --interface and at least one --address")
		}
		for _, text := range *addresses {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return usagef(cmd, "--address %q: want ADDRESS/LENGTH, as in 192.0.2.1/24", text)
			}
			post.Addresses = append(post.Addresses, p)
		}
		if *vrid != "auto" {
			n, err := strconv.ParseUint(*vrid, 10, 8)
			if err != nil || n == 0 {
				return usagef(cmd, "--vrid %q: want a number from 1 to 255, or auto", *vrid)
			}
			post.VRID = uint8(n)
		}
		var err error
		if post.Priorities, err = parsePriorities(*priorities); err != nil {
			return usagef(cmd, "%v", err)
		}
		if post.Interval, err = milliseconds(*interval); err != nil {
			return usagef(cmd, "--interval %v: %v", *interval, err)
		}
		if post.PreemptDelay, err = milliseconds(*delay); err != nil {
			return usagef(cmd, "--preempt-delay %v: %v", *delay, err)
		}
		if err := peers(); err != nil {
			return usagef(cmd, "%v", err)
		}
		client := a.client()
		if err := client.CreateGateway(cmd.Context(), post); err != nil {
			return err
		}
		g, _, err := client.GetGateway(cmd.Context(), post.Name)
		if err != nil {
			return err
		}
		a.say("Gateway %s created with VRID %d: %s", g.Name, g.VRID, outageText(*g))
		for _, w := range g.Warnings {
			a.say("Warning: %s", w)
		}
		return nil
	}
	return cmd
}

// parsePriorities reads MEMBER=PRIORITY.
func parsePriorities(list []string) (map[string]int, error) {
	all := map[string]int{}
	for _, text := range list {
		member, value, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(value)
		if err != nil || member == "" {
			return nil, fmt.Errorf("--priority %q: want MEMBER=PRIORITY, as in n1=200", text)
		}
		all[member] = n
	}
	return all, nil
}

// outageText is how long hosts can be without the gateway.
func outageText(g api.Gateway) string {
	if g.WorstOutage.Crash == 0 {
		return "nobody to take over after a crash"
	}
	return fmt.Sprintf("crash ≤ %d ms, planned %d", g.WorstOutage.Crash, g.WorstOutage.Planned)
}

func (a *app) gatewayList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List gateways and how they are on their members", Example: "  fabricctl gateway list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetGateways(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, gatewayColumns)
	}
	return cmd
}

var gatewayColumns = []column[api.Gateway]{
	{"NAME", func(g api.Gateway) string { return g.Name }},
	{"ADDRESSES", func(g api.Gateway) string { return joined(g.Addresses, netip.Prefix.String) }},
	{"INTERFACE", func(g api.Gateway) string { return g.Interface }},
	{"VRID", func(g api.Gateway) string { return strconv.Itoa(int(g.VRID)) }},
	{"SETS", gatewaySets},
	{"ACTIVE", activeMembers},
	{"MEMBERS", func(g api.Gateway) string { return joined(g.States, gatewayMemberText) }},
	{"OUTAGE", outageText},
}

// gatewaySets are the sets that a gateway is in.
func gatewaySets(g api.Gateway) string {
	var all []string
	if g.Sync != "" {
		all = append(all, "sync "+g.Sync)
	}
	if g.Spread != "" {
		all = append(all, "spread "+g.Spread)
	}
	return strings.Join(all, ", ")
}

// activeMembers are the members that are Active, with the family where it is one only.
func activeMembers(g api.Gateway) string {
	var names []string
	for _, m := range g.States {
		families := 0
		for _, r := range m.Routers {
			if r.State == fabric.GatewayActive && !m.Stale {
				families++
			}
		}
		switch {
		case families == 0:
		case families == len(m.Routers):
			names = append(names, m.Member)
		default:
			for _, r := range m.Routers {
				if r.State == fabric.GatewayActive {
					names = append(names, m.Member+" ("+r.Family+")")
				}
			}
		}
	}
	return strings.Join(names, "\n")
}

// gatewayMemberText says how a gateway is on a member, since when, and why.
func gatewayMemberText(m api.GatewayMember) string {
	text := fmt.Sprintf("%s (%d): ", m.Member, m.Rank)
	if m.Stale {
		return text + "unknown, member offline"
	}
	var states []string
	for i, r := range m.Routers {
		state := routerStateText(r)
		if i > 0 && sameRouterState(m.Routers[0], r) {
			continue
		}
		if len(m.Routers) > 1 && !sameRouterState(m.Routers[0], m.Routers[len(m.Routers)-1]) {
			state = r.Family + " " + state
		}
		states = append(states, state)
	}
	text += strings.Join(states, ", ")
	if m.Reason != "" {
		if len(states) > 0 {
			text += "; "
		}
		text += why(m.Message, m.Reason)
	}
	return text
}

// sameRouterState tells whether two families did the same at about the same time.
func sameRouterState(a, b fabric.VirtualRouterState) bool {
	return a.State == b.State && a.Why == b.Why && a.Since.Sub(b.Since).Abs() < time.Second
}

func routerStateText(r fabric.VirtualRouterState) string {
	text := r.State + " since " + r.Since.Local().Format("2006-01-02 15:04:05")
	if r.Why != "" {
		text += " (" + r.Why
		if r.Silence > 0 {
			text += fmt.Sprintf(" after %d ms", r.Silence)
		}
		text += ")"
	}
	return text
}

var gatewayObject = plainObject[api.Gateway, api.GatewayPut]{
	command: "gateway", noun: "gateway", what: "a gateway", sample: "uplink-gw", names: gateways,
	read: (*api.Client).GetGateway, put: func(o *api.Gateway) api.GatewayPut { return o.GatewayPut }, write: (*api.Client).UpdateGateway, view: withOutage,
}

// withOutage is a gateway and how long hosts can be without it.
func withOutage(g *api.Gateway) any {
	return struct {
		*api.Gateway
		Outage string `json:"outage"`
	}{g, outageText(*g)}
}

func (a *app) gatewayMove() *cobra.Command {
	return &cobra.Command{
		Use: "move NAME MEMBER", Short: "Move a gateway to another member without loss",
		Long: `Move a gateway to another member. The member announces the addresses before the old one stops forwarding: no packet is lost. From then on
the member is preferred. Members arrange this between themselves: it works without database quorum too, but then lasts only until the members hear
otherwise.`,
		Example: "  fabricctl gateway move uplink-gw n2",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return a.complete(gateways)(cmd, args, word)
			}
			return a.complete(members)(cmd, nil, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			moved, err := a.client().MoveGateway(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if moved.From == "" {
				a.say("Gateway %s was with %s already", args[0], args[1])
			} else {
				a.say("Gateway %s moved from %s to %s in %d ms", args[0], moved.From, args[1], moved.Duration)
			}
			if moved.Warning != "" {
				a.say("Warning: %s", moved.Warning)
			}
			return nil
		},
	}
}

func (a *app) gatewayDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete gateways",
		Example: "  fabricctl gateway delete uplink-gw", ValidArgsFunction: a.completeAll(gateways),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Gateway", args, func(name string) error { return a.client().DeleteGateway(cmd.Context(), name) })
		},
	}
}
