package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/explain"
)

func TestRouteExplain(t *testing.T) {
	f := newFake(t)
	prefix := netip.MustParsePrefix("203.0.113.53/32")
	owner := fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}
	down := explain.Step{Stage: fabric.StageSession, Peer: "tor2", Reason: "session-down", Text: "no answer", Cause: "the session with the peer is not established", Fix: "check both sides"}
	f.on("GET /1.0/routes/explain?prefix=203.0.113.53", answer{metadata: explain.Answer{
		Query: prefix, State: explain.Partly, Summary: "203.0.113.53/32, address of anycast service dns: announced by n1 to tor1", Blocker: &down,
		Matches: []explain.Match{{Prefix: prefix, Kind: fabric.AnnounceAnycast, Owner: owner, State: explain.Partly, Members: []explain.Member{
			{Name: "n1", State: explain.Partly, Told: []string{"tor1"}, Steps: []explain.Step{
				{Stage: fabric.StageMember, OK: true, Text: "n1 is online"},
				{Stage: fabric.StageInstance, OK: true, Instance: "d1", Text: "instance d1 runs"},
				{Stage: fabric.StageCheck, OK: true, Instance: "d1", Text: "check tcp:53 succeeds", Since: time.Now().Add(-90 * time.Second)},
				{Stage: fabric.StageKernel, OK: true, Text: "the kernel has the route"},
				{Stage: fabric.StageAdjOut, OK: true, Peer: "tor1", Text: "tor1 has been told"},
				down,
			}},
			{Name: "n2", State: explain.Idle, Steps: []explain.Step{{Stage: fabric.StageInstance, Reason: "no-copy", Text: "no instance on n2 is a copy of dns\x1b[31m"}}},
		}}},
		Covering: []explain.Other{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "lan0"}}},
	}})
	want := `203.0.113.53/32, address of anycast service dns: announced by n1 to tor1

✗ n1 announces it to tor1 only
  ✓ member        n1 is online
  instance d1
    ✓ instance    instance d1 runs
    ✓ check       check tcp:53 succeeds (for 1m 30s)
  ✓ kernel        the kernel has the route
  peer tor1
    ✓ adj-rib-out tor1 has been told
  peer tor2
    ✗ session     session-down: no answer

– n2 has nothing to do with it
  no instance on n2 is a copy of dns?[31m

First in the way: session-down
  the session with the peer is not established
  here: no answer
  → check both sides

Also covered by 203.0.113.0/24 (network/lan0)
`
	if got := f.run(t, "route", "explain", "203.0.113.53"); got.out != want || got.status != 0 {
		t.Errorf("got status %d\n%s\nwant\n%s", got.status, got.out, want)
	}
	plain := strings.NewReplacer("✓", "+", "✗", "x", "–", "-", "→", "->").Replace(want)
	if got := f.run(t, "route", "explain", "--ascii", "203.0.113.53"); got.out != plain {
		t.Errorf("plain:\n%s", got.out)
	}
	c := call{socket: f.socket, env: map[string]string{"LANG": "C"}}
	if got := c.run(t, "route", "explain", "203.0.113.53"); got.out != plain {
		t.Errorf("in the C locale:\n%s", got.out)
	}
	if got := f.run(t, "route", "explain", "203.0.113.5x"); got.status == 0 || got.out != "" {
		t.Errorf("a typing mistake: %+v", got)
	}
}
