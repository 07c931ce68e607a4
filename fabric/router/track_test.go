package router

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/ovn/chassis"
)

func TestTrackedPriority(t *testing.T) {
	fault, weight := fabric.Track{Type: fabric.TrackBGP}, fabric.Track{Type: fabric.TrackCarrier, Target: "eth2", Weight: 60}
	for name, c := range map[string]struct {
		tracks []fabric.TrackState
		want   int
	}{
		"none":             {nil, 100},
		"all up":           {[]fabric.TrackState{{Track: fault, Up: true}, {Track: weight, Up: true}}, 100},
		"a weight":         {[]fabric.TrackState{{Track: fault, Up: true}, {Track: weight}}, 40},
		"weights add up":   {[]fabric.TrackState{{Track: weight}, {Track: weight}}, 2},
		"a fault":          {[]fabric.TrackState{{Track: fault}, {Track: weight, Up: true}}, 0},
		"fault and weight": {[]fabric.TrackState{{Track: weight}, {Track: fault}}, 0},
	} {
		if got := trackedPriority(100, c.tracks); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := trackedPriority(1, []fabric.TrackState{{Track: weight}}); got != 1 {
		t.Errorf("a weight leaves a drained member %d", got)
	}
}

func TestTrackStates(t *testing.T) {
	x := tracked{
		sessions: func() []fabric.PeerState {
			return []fabric.PeerState{{Name: "a", State: "established"}, {Name: "b", State: "active"}}
		},
		chassis: &trackChassis{watcher: chassis.New(func() {})},
		links:   &links{all: map[string]link{"eth1": {1, true}, "eth2": {2, false}}},
	}
	known := netip.MustParsePrefix("0.0.0.0/0")
	for text, up := range map[string]bool{
		"bgp": true, "bgp:a": true, "bgp:b": false, "bgp:c": false, "carrier:eth1": true, "carrier:eth2": false, "carrier:eth3": false, "chassis": false,
		"route:0.0.0.0/0": true, "route:::/0": false,
	} {
		track, err := fabric.ParseTrack(text)
		if err != nil {
			t.Fatal(err)
		}
		s := x.states([]fabric.Track{track}, map[netip.Prefix]bool{known: true})[0]
		if s.Up != up || (s.Message == "") != up {
			t.Errorf("%s: %+v, want %v", text, s, up)
		}
	}
	// A worker that comes back to running gateways waits for its sessions, and for what the chassis says.
	x.chassis.trusted = true
	if s := x.states([]fabric.Track{{Type: fabric.TrackChassis}}, nil)[0]; !s.Up {
		t.Errorf("trusted: %+v", s)
	}
	x.grace = time.Now().Add(time.Hour)
	if s := x.states([]fabric.Track{{Type: fabric.TrackBGP, Target: "b"}}, nil)[0]; !s.Up {
		t.Errorf("within the grace: %+v", s)
	}
}

func TestTrackedRoutes(t *testing.T) {
	none := netip.MustParsePrefix("203.0.113.77/32")
	all := trackedRoutes([]fabric.RoutingGateway{{Tracks: []fabric.Track{{Type: fabric.TrackRoute, Target: none.String()}, {Type: fabric.TrackBGP}}}})
	if len(all) != 1 || !all[none] {
		t.Errorf("tracked: %v", all)
	}
	if got := (tracked{}).lookup(slog.New(slog.DiscardHandler), map[netip.Prefix]bool{none: true}); got[none] {
		t.Errorf("found %v", got)
	}
}

func TestSteadyGateways(t *testing.T) {
	state := func(in uint64, s string) fabric.GatewayState {
		return fabric.GatewayState{Gateway: "gw", Routers: []fabric.VirtualRouterState{{Family: "ipv4", State: s, In: in, Discarded: map[string]uint64{"ttl": in}}}}
	}
	_, told := steadyGateways([]fabric.GatewayState{state(1, "backup")}, nil, false)
	for name, c := range map[string]struct {
		next  fabric.GatewayState
		count bool
		in    uint64
	}{
		"only counters moved": {state(2, "backup"), false, 1},
		"it is time to count": {state(2, "backup"), true, 2},
		"a transition":        {state(2, "active"), false, 2},
	} {
		got, _ := steadyGateways([]fabric.GatewayState{c.next}, told, c.count)
		if got[0].Routers[0].In != c.in {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What is down for one gateway of a sync set counts for all of them, once.
func TestTracksOfSyncSet(t *testing.T) {
	state := func(target string, up bool) fabric.TrackState {
		return fabric.TrackState{Track: fabric.Track{Type: fabric.TrackCarrier, Target: target, Weight: 30}, Up: up}
	}
	wanted := []fabric.RoutingGateway{{Name: "a", Sync: "edge"}, {Name: "b", Sync: "edge"}, {Name: "c"}, {Name: "d"}}
	tracks := map[string][]fabric.TrackState{"a": {state("eth1", false)}, "b": {state("eth1", false), state("eth2", false)}, "c": {state("eth3", false)}}
	for i, want := range []int{140, 140, 170, 200} {
		if got := trackedPriority(200, tracksOf(wanted[i], wanted, tracks)); got != want {
			t.Errorf("gateway %s has priority %d, want %d", wanted[i].Name, got, want)
		}
	}
	if len(tracks["a"]) != 1 {
		t.Errorf("the tracks of one gateway were changed: %v", tracks["a"])
	}
}

func TestTrackChassis(t *testing.T) {
	t.Setenv("OVS_RUNDIR", t.TempDir())
	t.Setenv("OVN_RUNDIR", t.TempDir())
	told := make(chan struct{}, 10)
	c := newTrackChassis(func() { told <- struct{}{} })
	if up, _ := c.state(); !up {
		t.Error("it is down while nobody asks")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gateways := []fabric.RoutingGateway{{Tracks: []fabric.Track{{Type: fabric.TrackChassis}}}}
	c.set(ctx, gateways, true)
	watcher := c.watcher
	<-told
	if up, message := c.state(); up || message != "ovs-vswitchd is not running" {
		t.Errorf("a host without OVN: %v %q", up, message)
	}
	if c.set(ctx, gateways, true); c.watcher != watcher {
		t.Error("it is watched anew")
	}
	if c.set(ctx, nil, true); c.watcher != nil {
		t.Error("it is watched for nobody")
	}
}
