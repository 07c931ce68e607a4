package gobgp

import (
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
)

// A peer that is known to be dead is left out of the config, and Fail is called for it: either may come first.
func TestNothingIsKeptOfPeersThatAreGone(t *testing.T) {
	prefix := netip.MustParsePrefix("198.51.100.0/24")
	renamed := loopPeer(1)
	renamed.Name = "two"
	for _, c := range []struct {
		name  string
		peers []fabric.RoutingPeer
		fail  bool
		want  int // paths that are kept
	}{
		{"the peer is there", []fabric.RoutingPeer{loopPeer(1)}, false, 1},
		{"it has failed", []fabric.RoutingPeer{loopPeer(1)}, true, 0},
		{"it is gone", nil, false, 0},
		{"it is gone, and then has failed", nil, true, 0},
		{"it has another name", []fabric.RoutingPeer{renamed}, false, 1},
	} {
		s := quiet(t)
		if err := s.put(t.Context(), loopConfig(loopPeer(1))); err != nil {
			t.Fatal(err)
		}
		a := loopPeer(1).Address
		s.learned.set(prefix, []Learned{from(a, 1)})
		s.learned.hold(a, time.Minute)
		s.learned.set(prefix, nil)
		if err := s.put(t.Context(), loopConfig(c.peers...)); err != nil {
			t.Fatal(err)
		}
		if c.fail {
			s.Fail("one", "BFD is down")
			s.endFailed(t.Context())
		}
		if got := len(s.learned.best(prefix)); got != c.want {
			t.Errorf("%s: %d paths kept, want %d", c.name, got, c.want)
		}
	}
}
