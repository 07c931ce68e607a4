package router

import (
	"net/netip"
	"testing"
	"time"
)

func TestPenaltiesGrowAndAreForgotten(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	p := penalties{}
	if _, ok := p.next(now); ok {
		t.Error("a penalty without a crash")
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour, time.Hour, time.Hour} {
		p.crashed(a, now)
		if _, held := p.held(a, now.Add(want-1)); !held {
			t.Errorf("crash %d: free before %s", i+1, want)
		}
		if at, ok := p.next(now); !ok || at != now.Add(want) {
			t.Errorf("crash %d: ends at %s, want after %s", i+1, at, want)
		}
		now = now.Add(want)
		if _, held := p.held(a, now); held {
			t.Errorf("crash %d: held after %s", i+1, want)
		}
	}
	if _, held := p.held(b, now); held {
		t.Error("another peer is held")
	}
	now = now.Add(2 * time.Hour)
	p.crashed(a, now)
	if x, _ := p.held(a, now); x.Crashes != 1 || x.Until != now.Add(30*time.Second) {
		t.Errorf("after two calm hours: %+v", x)
	}
	if _, held := p.held(a, now.Add(-24*time.Hour)); held {
		t.Error("held by a clock that was set back")
	}
}

func TestBlame(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	address := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	seen := map[netip.Addr]sighting{
		address(1): {"established", at},
		address(2): {"established", at.Add(2 * time.Second)},
		address(3): {"opensent", at.Add(1 * time.Second)},
		address(4): {"opensent", at.Add(3 * time.Second)},
	}
	const gobgp = "panic: runtime error\n\ngoroutine 7 [running]:\ngithub.com/osrg/gobgp/v3/pkg/server.(*fsmHandler).handlingError(0x0)\n"
	for name, c := range map[string]struct {
		trace string
		seen  map[netip.Addr]sighting
		want  netip.Addr
	}{
		"before OPEN":          {gobgp + "created by github.com/osrg/gobgp/v3/pkg/server.(*fsmHandler).opensent in goroutine 6\n", seen, address(4)},
		"in a session":         {gobgp + "created by github.com/osrg/gobgp/v3/pkg/server.(*fsmHandler).established in goroutine 6\n", seen, address(2)},
		"no state in trace":    {gobgp, seen, address(2)},
		"state of nobody":      {gobgp + "created by github.com/osrg/gobgp/v3/pkg/server.(*fsmHandler).openconfirm in goroutine 6\n", seen, address(2)},
		"nobody was connected": {gobgp, nil, netip.Addr{}},
		"not by GoBGP":         {"panic: boom\n\ngoroutine 1 [running]:\nnetfabric/fabric/router.(*Worker).settle(0x0)\n", seen, netip.Addr{}},
	} {
		if got, ok := blame(c.trace, c.seen); got != c.want || ok != c.want.IsValid() {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
