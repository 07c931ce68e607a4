package router

import (
	"testing"
	"time"

	"netfabric/fabric"
)

func TestCountersOfYoungSessionsAreToldSoon(t *testing.T) {
	now := time.Now()
	peer := fabric.PeerState{Name: "p", State: "established", Since: now}
	m := &Module{state: &fabric.RoutingState{Peers: []fabric.PeerState{peer}}}
	for i, step := range []struct {
		after    time.Duration // after the session came up
		received int           // as the worker has it
		told     int
		again    time.Duration
	}{
		{0, 0, 0, 0},
		{200 * time.Millisecond, 3, 0, 800 * time.Millisecond},
		{time.Second, 3, 3, 0},
		{time.Minute, 4, 4, 0},
		{time.Minute + time.Second, 5, 4, 29 * time.Second},
		{time.Minute + 30*time.Second, 5, 5, 0},
	} {
		m.state.Peers[0].Received = step.received
		state, again := m.steady(now.Add(step.after))
		if got := state.Peers[0].Received; got != step.told || again != step.again {
			t.Errorf("step %d: told %d, again in %s; want %d, %s", i, got, again, step.told, step.again)
		}
	}
}
