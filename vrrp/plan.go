package vrrp

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"netfabric/fabric"
)

// Plan is the gateways that the member of a view takes part in, by name. Who can be asked to take over, and at which address, is known from what
// the others reported last: without them a gateway works all the same, only a fault then takes Skew_Time to move it.
func Plan(v fabric.View) []fabric.RoutingGateway {
	var all []fabric.RoutingGateway
	for _, g := range v.Desired.Gateways() {
		if !g.On(v.Desired, v.Member) {
			continue
		}
		planned := fabric.RoutingGateway{
			Name: g.Name, Interface: g.Interface, VRID: g.VRID, Addresses: g.Addresses, Interval: g.Interval,
			NoPreempt: g.NoPreempt, PreemptDelay: g.PreemptDelay, Tracks: g.Tracks, Checksum: g.Checksum, Unicast: g.Unicast, Peers: g.Peers,
			NoAccept: g.NoAccept, RA: advertised(g), Sync: g.Sync, Drained: v.Desired.Drained(v.Member),
			Siblings: siblings(v.Desired, g),
		}
		for _, r := range g.Ranking(v.Desired) {
			if r.Member == v.Member {
				planned.Priority = r.Priority
			} else if own := ownAddresses(v, g, r.Member); len(own) > 0 {
				planned.Successors = append(planned.Successors, fabric.GatewaySuccessor{Member: r.Member, Addresses: own, Drained: v.Desired.Drained(r.Member)})
			}
		}
		if g.Unicast {
			planned.OtherMembers = len(others(v, g))
			planned.Unmet = len(planned.Successors) == 0 && len(g.Peers) == 0 && slices.ContainsFunc(others(v, g), func(m string) bool { return mayAdvertise(v, g, m) })
		}
		if planned.Priority > 0 { // 0: a member that has just been removed
			all = append(all, planned)
		}
	}
	slices.SortFunc(all, func(a, b fabric.RoutingGateway) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// others are the members of a gateway save that of the view.
func others(v fabric.View, g *fabric.Gateway) (members []string) {
	for _, r := range g.Ranking(v.Desired) {
		if r.Member != v.Member {
			members = append(members, r.Member)
		}
	}
	return members
}

// mayAdvertise tells whether a member whose address is not known may be Active all the same, or soon. It can't be when it says that it has no
// address there. Nor can it when it has gone before it could say anything of the gateway: when it comes back, it hears of us first. That it has gone
// is believed only where its word on other things has been read: a daemon that has just started takes everybody to be offline.
func mayAdvertise(v fabric.View, g *fabric.Gateway, member string) bool {
	c, told := v.Reports.Get(fabric.KeyOf(g), member, fabric.ConditionGateway)
	if told {
		return len(fabric.JSON[fabric.GatewayState](c.Data).Routers) == 0
	}
	spoke := slices.ContainsFunc(v.Reports.Of(fabric.Key{Kind: fabric.KindMember, Name: member}), func(c fabric.Condition) bool { return c.Member == member })
	return !spoke || !slices.Contains(v.Offline, member)
}

// siblings are the link-local addresses from which other gateways advertise themselves on the interface of one, in the order of their names. Those of
// other members are among them.
func siblings(s *fabric.Snapshot, g *fabric.Gateway) []netip.Addr {
	if !g.Advertises() {
		return nil
	}
	var all []netip.Addr
	for _, o := range s.Gateways() {
		if o.Name != g.Name && o.Interface == g.Interface && o.Advertises() {
			all = append(all, Gateway{VRID: o.VRID, Addresses: o.Addresses}.addresses(IPv6)[0].Addr())
		}
	}
	return all
}

// ownAddresses are those that a member last said it advertises a gateway from. Where it has said nothing, or its word has not been read yet, they
// are what the worker of this member knows from before.
func ownAddresses(v fabric.View, g *fabric.Gateway, member string) []netip.Addr {
	c, _ := v.Reports.Get(fabric.KeyOf(g), member, fabric.ConditionGateway)
	var own []netip.Addr
	for _, r := range fabric.JSON[fabric.GatewayState](c.Data).Routers {
		if r.Primary.IsValid() {
			own = append(own, r.Primary)
		}
	}
	if len(own) > 0 || v.Facts.Routing == nil {
		return own
	}
	for _, s := range v.Facts.Routing.Gateways {
		for _, o := range s.Others {
			if s.Gateway == g.Name && o.Member == member {
				own = o.Addresses
			}
		}
	}
	return own
}

// Configured is what a Manager has to do for a planned gateway while the tracks of this member leave it the given priority.
func Configured(g fabric.RoutingGateway, priority int) Gateway {
	c := Gateway{
		Name: g.Name, Interface: g.Interface, VRID: g.VRID, Addresses: g.Addresses, Priority: uint8(priority), Interval: time.Duration(g.Interval) * time.Millisecond,
		NoPreempt: g.NoPreempt, PreemptDelay: time.Duration(g.PreemptDelay) * time.Millisecond, Refresh: DefaultRefresh,
		LastResort: g.Drained,
	}
	c.Checksum, c.Unicast, c.Accept = Checksum(g.Checksum), g.Unicast, !g.NoAccept
	for _, s := range g.Successors {
		if !g.Drained || !s.Drained { // nothing is won by a move between two drained members
			c.Successors = append(c.Successors, s.Addresses...)
		}
		if g.Unicast {
			c.Peers = append(c.Peers, s.Addresses...)
		}
	}
	c.RA, c.Siblings = routerAdvertising(g.RA), g.Siblings
	if c.Sync = g.Sync; c.Sync != "" {
		c.Members = map[netip.Addr]string{}
		for _, s := range g.Successors {
			for _, a := range s.Addresses {
				c.Members[a.WithZone("")] = s.Member
			}
		}
	}
	if g.Unicast {
		c.Peers, c.Foreign, c.OtherMembers, c.Unmet = append(c.Peers, g.Peers...), g.Peers, g.OtherMembers, g.Unmet
	}
	return c
}

// maxHistory is how many transitions of a virtual router members tell each other.
const maxHistory = 8

// Reported is the state of a planned gateway as members tell each other.
func (s ManagerState) Reported(g fabric.RoutingGateway) fabric.GatewayState {
	state := fabric.GatewayState{Gateway: g.Name, Drained: g.Drained, RealTime: s.RealTimeError, Others: g.Successors}
	if s.SetupError != "" {
		state.Reason, state.Message = "host-setup", s.SetupError
	}
	for _, r := range s.Routers {
		if r.Gateway != g.Name {
			continue
		}
		told := fabric.VirtualRouterState{
			Family: string(r.Family), State: string(r.State), Since: r.Since, Why: string(r.Reason), Primary: r.Primary, Active: r.Active,
			Conflict: r.Conflict, Differs: r.Differs, Transitions: int(r.Changes), Takeover: int((r.Takeover + time.Millisecond - 1) / time.Millisecond), In: r.In, Out: r.Out, Discarded: r.Discarded,
			Reason: r.ErrorReason, Message: r.Error, Version2: r.Version2, RAOut: r.RAOut, RSIn: r.RSIn,
		}
		for _, a := range r.Rogues {
			told.Rogues = append(told.Rogues, fabric.RogueRouter{Address: a.Source, MAC: a.MAC, Lifetime: int(a.Lifetime.Seconds())})
		}
		for _, c := range r.Claims {
			told.Claims = append(told.Claims, fabric.ForeignClaim{Address: c.Address, MAC: c.MAC, Port: c.Port, Since: c.Since})
		}
		if len(r.Claims) > 0 {
			told.VirtualMAC = VirtualMAC(r.Family, r.VRID).String()
		}
		if n := len(r.Transitions); n > 0 {
			told.Silence = int(r.Transitions[n-1].Silence.Milliseconds())
			for _, t := range r.Transitions[max(0, n-maxHistory):] {
				told.History = append(told.History, fabric.GatewayTransition{From: string(t.From), To: string(t.To), Why: string(t.Reason), At: t.At, Silence: int(t.Silence.Milliseconds())})
			}
		}
		state.Routers = append(state.Routers, told)
	}
	for _, f := range s.Foreign {
		if f.Interface == g.Interface && !slices.Contains(state.Foreign, f.VRID) {
			state.Foreign = append(state.Foreign, f.VRID)
		}
	}
	slices.Sort(state.Foreign)
	return state
}

// advertised is what the gateway tells hosts, nil for nothing.
func advertised(g *fabric.Gateway) *fabric.GatewayRA {
	if !g.Advertises() {
		return nil
	}
	full := g.RA.Full()
	return &full
}

func routerAdvertising(r *fabric.GatewayRA) *RouterAdvertising {
	if r == nil {
		return nil
	}
	told := &RouterAdvertising{
		Lifetime: time.Duration(r.Lifetime) * time.Second, Interval: time.Duration(r.Interval) * time.Second, Managed: r.Managed, Other: r.Other,
		NoSLAAC: r.NoSLAAC, Preference: string(r.Preference), MTU: r.MTU, DNS: r.DNS, Trusted: r.Trusted,
	}
	if r.NoDefault {
		told.Lifetime = 0
	}
	return told
}
