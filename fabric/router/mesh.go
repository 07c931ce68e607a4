package router

import (
	"maps"
	"net/netip"
	"time"

	"netfabric/fabric"
)

// meshHops are the IPv6 next hops to tell other members whose sessions run over IPv4, by peer, and whether none is missing. own finds our IPv6 address on the way to
// an address.
func meshHops(peers []fabric.RoutingPeer, own func(to netip.Addr) (netip.Addr, bool)) (hops map[string]netip.Addr, complete bool) {
	hops, complete = map[string]netip.Addr{}, true
	for _, p := range peers {
		if !p.Mesh || p.Address.Is6() {
			continue
		}
		if a, ok := own(p.Address); ok {
			hops[p.Name] = a
		} else {
			complete = false
		}
	}
	return hops, complete
}

// Times between looks for next hops that are missing: an address may only be on its way, or never come.
const (
	hopsSoon = time.Second
	hopsLate = 30 * time.Second
)

// hops are the next hops of meshHops, as they were found last.
type hops struct {
	own   func(to netip.Addr) (netip.Addr, bool) // see meshHops
	found map[string]netip.Addr                  // never changed, only replaced
	due   time.Time                              // when to look for them again; zero: not before something happens
	wait  time.Duration                          // after the next look, if one is missing still
}

// lookSoon has the next look be one that is due: something happened that they may depend on.
func (h *hops) lookSoon(now time.Time) { h.due, h.wait = now, hopsSoon }

// look looks for them if that is due, and tells whether they are others than before.
func (h *hops) look(peers []fabric.RoutingPeer, now time.Time) (news bool) {
	if h.due.IsZero() || now.Before(h.due) {
		return false
	}
	found, complete := meshHops(peers, h.own)
	if complete {
		h.due = time.Time{}
	} else {
		h.due, h.wait = now.Add(h.wait), min(2*h.wait, hopsLate)
	}
	news = !maps.Equal(found, h.found)
	h.found = found
	return news
}

// notMembers are the sessions with peers that somebody configured.
func notMembers(sessions []fabric.PeerState) []fabric.PeerState {
	var all []fabric.PeerState
	for _, s := range sessions {
		if _, mesh := fabric.MemberOfMeshPeer(s.Name); !mesh {
			all = append(all, s)
		}
	}
	return all
}
