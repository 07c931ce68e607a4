package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// planner says what one kind of announcement has to offer: what may be announced, without peers, and what not and why.
type planner func(v fabric.View) offer

// planners lists the kinds. Where two of them offer one prefix, the earlier has it.
var planners = []planner{announceNetworks, announceAnycast, announceGateways, announceInstances}

// offer is what a planner says.
type offer struct {
	yes []fabric.Announcement
	no  []fabric.RouteState
}

func (o *offer) announce(a fabric.Announcement) { o.yes = append(o.yes, a) }

func (o *offer) refuse(p netip.Prefix, kind fabric.AnnouncementKind, owner fabric.Key, reason, format string, args ...any) {
	o.no = append(o.no, fabric.RouteState{Prefix: p, Kind: kind, Owner: owner, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// announce asks all planners. A prefix is there once, with all its owner's copies: it is the first one's that offers it; others are refused.
func announce(v fabric.View) (all []fabric.Announcement, refused []fabric.RouteState) {
	taken := map[netip.Prefix]fabric.Announcement{}
	for _, plan := range planners {
		o := plan(v)
		for _, a := range o.yes {
			holder, ok := taken[a.Prefix]
			if ok && holder.Owner == a.Owner {
				holder.Copies = append(holder.Copies, a.Copies...)
				taken[a.Prefix] = holder
				continue
			}
			if ok {
				o.refuse(a.Prefix, a.Kind, a.Owner, fabric.ReasonPrefixOwned, "%s is announced on this member for %s", a.Prefix, holder.Owner)
				continue
			}
			taken[a.Prefix] = a
		}
		refused = append(refused, o.no...)
	}
	sortRefused(refused)
	return slices.SortedFunc(maps.Values(taken), func(a, b fabric.Announcement) int { return comparePrefix(a.Prefix, b.Prefix) }), refused
}
