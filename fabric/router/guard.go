package router

import (
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// guard is which packets of BGP the host takes.
type guard struct {
	listen netip.AddrPort // where sessions are accepted; zero: nowhere
	admit  []netip.Addr   // that may connect to it
	open   []netip.Prefix // inside of which anybody may
	near   []netip.Addr   // whose packets must have crossed no router (RFC 5082)
	// Of these, link-local addresses have the interface as zone that alone they are admitted on.
}

// guardOf is the guard for the peers that there are to be sessions with; neighbours inside of prefixes may become such.
func guardOf(s *fabric.Speaker, open []fabric.RoutingPeer, prefixes []netip.Prefix) guard {
	var g guard
	if s == nil || len(open) == 0 && len(prefixes) == 0 {
		return g
	}
	g.listen = s.Listen
	if s.Listen.IsValid() {
		g.open = prefixes
	}
	for _, p := range open {
		if s.Listen.IsValid() {
			g.admit = append(g.admit, p.Address)
		}
		if p.GTSM {
			g.near = append(g.near, p.Address)
		}
	}
	slices.SortFunc(g.admit, netip.Addr.Compare)
	slices.SortFunc(g.near, netip.Addr.Compare)
	return g
}

// empty tells whether nothing has to be filtered.
func (g guard) empty() bool { return !g.listen.IsValid() && len(g.near) == 0 }

func (g guard) equal(o guard) bool {
	return g.listen == o.listen && slices.Equal(g.admit, o.admit) && slices.Equal(g.near, o.near) && slices.Equal(g.open, o.open)
}
