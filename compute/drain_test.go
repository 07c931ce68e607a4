package compute

import (
	"testing"
	"time"

	"netfabric/fabric"
)

func TestWithdrawn(t *testing.T) {
	state := func(up, announced bool, reason string) *fabric.RoutingState {
		return &fabric.RoutingState{Routes: []fabric.RouteState{
			{Kind: fabric.AnnounceInstance, Up: true, Copies: []fabric.CopyState{{Instance: "web1", Healthy: true}}},
			{Kind: fabric.AnnounceAnycast, Up: up, Peers: []fabric.RoutePeer{{Peer: "tor", Announced: announced}},
				Copies: []fabric.CopyState{{Instance: "web0", Healthy: up}, {Instance: "web1", Healthy: reason == "", Reason: reason}}},
		}}
	}
	for _, c := range []struct {
		name    string
		routing *fabric.RoutingState
		want    bool
	}{
		{"nothing is known", nil, false},
		{"no announcement", &fabric.RoutingState{}, true},
		{"in use", state(true, true, ""), false},
		{"its check fails, which may pass", state(true, true, fabric.ReasonCheckFailed), false},
		{"drained, another copy goes on", state(true, true, fabric.ReasonDraining), true},
		{"drained, the withdraw is on its way", state(false, true, fabric.ReasonDraining), false},
		{"drained and withdrawn", state(false, false, fabric.ReasonDraining), true},
		{"under maintenance", state(false, false, fabric.ReasonMaintenance), true},
		{"dead", state(false, false, fabric.ReasonProcessDead), true},
	} {
		if got := withdrawn(c.routing, "web1"); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDrainWaits(t *testing.T) {
	const linger = 500 * time.Millisecond
	began := time.Unix(1e9, 0)
	for _, c := range []struct {
		name  string
		after time.Duration // that the withdraw is seen; negative: never
		want  time.Duration // stopped after
	}{
		{"withdrawn already", 0, linger},
		{"withdrawn in time", 200 * time.Millisecond, 700 * time.Millisecond},
		{"withdrawn at the last moment", 4900 * time.Millisecond, 5400 * time.Millisecond},
		{"never withdrawn", -1, drainBound},
	} {
		d := &drain{}
		for now := began; ; now = now.Add(50 * time.Millisecond) {
			since := now.Sub(began)
			if since > time.Minute {
				t.Errorf("%s: waits for ever", c.name)
				break
			}
			if d.wait(now, c.after >= 0 && since >= c.after, linger) == 0 {
				if since != c.want {
					t.Errorf("%s: stopped after %s, want %s", c.name, since, c.want)
				}
				break
			}
		}
	}
}
