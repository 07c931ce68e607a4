package router

import (
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestLooksForNextHopsThatAreMissing(t *testing.T) {
	member := func(name, address string) fabric.RoutingPeer {
		return fabric.RoutingPeer{Name: fabric.MeshPeerName(name), Address: netip.MustParseAddr(address), Mesh: true}
	}
	peers := []fabric.RoutingPeer{member("m2", "10.0.0.2"), member("m3", "10.0.0.3"), member("m4", "fd00::4"), {Name: "r1", Address: netip.MustParseAddr("10.0.0.9")}}
	own := map[string]string{"10.0.0.2": "fd00::1"}
	looks := 0
	h := &hops{own: func(to netip.Addr) (netip.Addr, bool) {
		looks++
		a, ok := own[to.String()]
		if !ok {
			return netip.Addr{}, false
		}
		return netip.MustParseAddr(a), true
	}}
	now := time.Unix(1e9, 0)
	look := func(news bool, hops int, next time.Duration) {
		t.Helper()
		if got := h.look(peers, now); got != news || len(h.found) != hops {
			t.Fatalf("news: %v, %v", got, h.found)
		}
		if next == 0 && h.due.IsZero() {
			return
		}
		if got := h.due.Sub(now); got != next {
			t.Fatalf("the next look is due in %v, want %v", got, next)
		}
		now = h.due
	}
	if h.look(peers, now) || looks != 0 {
		t.Fatal("a look before anything happened")
	}
	h.lookSoon(now)
	look(true, 1, time.Second)
	// The other one has none: nothing is news, however often it is looked for.
	for _, next := range []time.Duration{2, 4, 8, 16, 30, 30, 30} {
		look(false, 1, next*time.Second)
	}
	before := looks
	now = now.Add(-time.Second)
	if h.look(peers, now) || looks != before {
		t.Fatal("a look that is not due")
	}
	h.lookSoon(now)
	own["10.0.0.3"] = "fd00:3::1"
	look(true, 2, 0)
	h.lookSoon(now)
	look(false, 2, 0)
	delete(own, "10.0.0.2")
	h.lookSoon(now)
	look(true, 1, time.Second)
}
