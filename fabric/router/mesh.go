package router

import (
	"net/netip"

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
