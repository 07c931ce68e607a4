package router

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netfabric/fabric"
)

// guard is which packets of BGP the host takes.
type guard struct {
	doors []door       // where sessions are accepted
	near  []netip.Addr // whose packets must have crossed no router (RFC 5082)
	// Of all addresses, link-local ones have the interface as zone that alone they are admitted on.
}

// door is an address on which sessions are accepted.
type door struct {
	listen netip.AddrPort
	admit  []netip.Addr   // that may connect to it
	open   []netip.Prefix // inside of which anybody may
}

// guardOf is the guard for the peers that there are to be sessions with; neighbours inside of prefixes may become such.
func guardOf(s *fabric.Speaker, open []fabric.RoutingPeer, prefixes []netip.Prefix) guard {
	var g guard
	if s == nil || len(open) == 0 && len(prefixes) == 0 {
		return g
	}
	var all, members []netip.Addr
	for _, p := range open {
		all = append(all, p.Address)
		if p.Mesh {
			members = append(members, p.Address)
		}
		if p.GTSM {
			g.near = append(g.near, p.Address)
		}
	}
	if s.Listen.IsValid() {
		g.doors = append(g.doors, door{s.Listen, all, prefixes})
	}
	if s.Mesh.IsValid() && !s.ListensAt(s.Mesh) {
		g.doors = append(g.doors, door{netip.AddrPortFrom(s.Mesh, s.Port()), members, nil})
	}
	slices.SortFunc(all, netip.Addr.Compare)
	slices.SortFunc(members, netip.Addr.Compare)
	slices.SortFunc(g.near, netip.Addr.Compare)
	return g
}

// empty tells whether nothing has to be filtered.
func (g guard) empty() bool { return len(g.doors) == 0 && len(g.near) == 0 }

func (g guard) equal(o guard) bool {
	same := func(a, b door) bool {
		return a.listen == b.listen && slices.Equal(a.admit, b.admit) && slices.Equal(a.open, b.open)
	}
	return slices.EqualFunc(g.doors, o.doors, same) && slices.Equal(g.near, o.near)
}

// guard has the packet filter be g, and tells whether sessions may be accepted behind it.
func (w *Worker) guard(g guard, now time.Time) bool {
	before := w.filterErr
	w.filterErr = w.filter.put(g, now)
	if fmt.Sprint(w.filterErr) != fmt.Sprint(before) {
		w.bump()
		if w.filterErr != nil {
			w.log.Error("BGP is not guarded: no sessions are accepted until it is", "error", w.filterErr)
		} else {
			w.log.Info("BGP is guarded again")
		}
	}
	return w.filterErr == nil && len(g.doors) > 0
}
