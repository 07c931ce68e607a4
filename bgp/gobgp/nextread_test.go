package gobgp

import (
	"net/netip"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"netfabric/fabric"
)

func TestNextRead(t *testing.T) {
	const ms = time.Millisecond
	now := time.Now()
	for name, x := range map[string]struct {
		ago, took time.Duration
		moved     bool
		want      time.Duration
	}{
		"never read":                           {time.Hour, 0, false, readAfter},
		"quickly read":                         {10 * ms, ms, false, 10 * ms},
		"slowly read":                          {10 * ms, 50 * ms, false, 990 * ms},
		"slowly read, and a session has gone":  {10 * ms, 50 * ms, true, 190 * ms},
		"slowly read long ago, and it has too": {time.Second, 50 * ms, true, readAfter},
	} {
		s := &Speaker{looked: now.Add(-x.ago), took: x.took, moved: x.moved}
		if got := s.nextRead(now).Sub(now); got != x.want {
			t.Errorf("%s: read in %s, want %s", name, got, x.want)
		}
	}
}

// A new session is read again soon, others are not.
func TestRestAfterRead(t *testing.T) {
	const ms = time.Millisecond
	now := time.Now()
	for name, x := range map[string]struct {
		settles time.Time
		took    time.Duration
		want    time.Duration
	}{
		"old session":               {time.Time{}, ms, readEvery},
		"new session":               {now.Add(800 * ms), ms, 800 * ms},
		"new session, read slowly":  {now.Add(800 * ms), 300 * ms, 1200 * ms},
		"just settled":              {now, ms, readEvery},
		"settled while it was read": {now.Add(-ms), 300 * ms, readEvery},
	} {
		s := &Speaker{took: x.took, sessions: map[string]*session{"old": {}, "it": {settles: x.settles}}}
		if got := s.restAfterRead(now); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}

// While a peer that says when it has told everything tells it, reading would only be in the way.
func TestPeersThatSayTheEnd(t *testing.T) {
	for _, c := range []struct {
		capability proto.Message
		want       bool
	}{{&api.GracefulRestartCapability{}, true}, {&api.RouteRefreshCapability{}, false}} {
		packed, err := anypb.New(c.capability)
		if err != nil {
			t.Fatal(err)
		}
		if got := capabilitiesOf(&api.Peer{State: &api.PeerState{RemoteCap: []*anypb.Any{packed}}}).endOfRIB; got != c.want {
			t.Errorf("%T: %v", c.capability, got)
		}
	}
}

// A peer that has told everything is read at once, and not once more after that.
func TestEndOfRIBIsNews(t *testing.T) {
	p := fabric.RoutingPeer{Name: "r1", Address: netip.MustParseAddr("192.0.2.1")}
	x := &session{peer: p, state: established, settles: time.Now().Add(settleTime)}
	s := &Speaker{sessions: map[string]*session{"r1": x}}
	s.complete("192.0.2.9")
	if s.stale || x.settles.IsZero() {
		t.Error("a stranger's End-of-RIB counts")
	}
	s.complete("192.0.2.1")
	if !s.stale || !s.moved || !x.settles.IsZero() {
		t.Errorf("stale %v, moved %v, settles %v", s.stale, s.moved, x.settles)
	}
}
