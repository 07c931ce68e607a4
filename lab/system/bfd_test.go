package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestBFD breaks what only BFD sees soon, under a client that keeps asking.
func TestBFD(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"worker killed", workerKilledBFD},
		{"busy processors", busyProcessorsBFD},
		{"starved processor", starvedBFD},
		{"link cut", linkCutBFD},
		{"member without power", memberWithoutPowerBFD},
		{"router fails", routerFails},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// watched makes BFD of 3 × 50 ms watch all sessions, and waits until it does.
func (w *world) watched(t *testing.T) {
	t.Helper()
	for _, peer := range []string{"r1-v4", "r2-v4", "r1-v6", "r2-v6"} {
		w.ctl(t, "n1", `query -X PATCH -d {"bfd":{"interval":50,"multiplier":3}} /1.0/bgp/peers/`+peer)
	}
	lab.WaitFor(t, 60*time.Second, "BFD of 12 sessions", func() error {
		text := w.ctl(t, "n1", "bgp summary --format json")
		var sessions []struct {
			State string
			BFD   *struct {
				State     string
				Detection int
			}
		}
		if err := json.Unmarshal([]byte(text), &sessions); err != nil {
			return err
		}
		up := 0
		for _, s := range sessions {
			if s.State == "established" && s.BFD != nil && s.BFD.State == "up" && s.BFD.Detection == 150 {
				up++
			}
		}
		if up != 12 {
			return fmt.Errorf("%d are watched:\n%s", up, w.ctl(t, "n1", "bgp summary --format csv"))
		}
		return nil
	})
}

// bfdBound is what an outage must stay below: far under the hold time of 3 s, and with room for a machine that has much to do. How short outages
// really are is logged.
const bfdBound = 1500 * time.Millisecond

func memberWithoutPowerBFD(t *testing.T, w *world) {
	w.watched(t)
	n3 := w.lab.MustNode(t, "n3")
	c := w.startClient(t, serviceURLs...)
	routes4 := w.watchNextHops(t, "r1", service4+"/32", 3)
	routes6 := w.watchNextHops(t, "r1", service6+"/128", 3)
	at := probe.Now()
	if err := n3.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.outage(t, c, at, routes4, routes6)
	if err := n3.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitNextHops(t, 3, 30*time.Second)
}

// outage logs what a fault has cost, and fails the test when that is more than BFD allows.
func (w *world) outage(t *testing.T, c *client, at time.Duration, routes4, routes6 *watch) {
	t.Helper()
	gone := func(n probe.NextHops) bool { return n.Count < 3 }
	gone4 := routes4.until(t, gone).At - at
	gone6 := routes6.until(t, gone).At - at
	r := c.since(t, at, 3*time.Second)
	t.Logf("next hop gone from r1 after %.1f ms (IPv4), %.1f ms (IPv6); %s", gone4.Seconds()*1000, gone6.Seconds()*1000, describe(r))
	if r.Sent == 0 {
		t.Error("the client sent nothing")
	}
	if gone4 > bfdBound || gone6 > bfdBound || r.Outage > bfdBound {
		t.Errorf("that is not by BFD: %s", c.lost(at))
	}
}

// linkCutBFD cuts a member's uplink at the far end of the switch, where neither the member nor the routers lose their carrier.
func linkCutBFD(t *testing.T, w *world) {
	w.watched(t)
	sw := w.lab.MustNode(t, "sw-up")
	bridge := strings.TrimSpace(sw.MustExec(t, "sh", "-c", "basename $(readlink /sys/class/net/eth5/master)"))
	c := w.startClient(t, serviceURLs...)
	routes4 := w.watchNextHops(t, "r1", service4+"/32", 3)
	routes6 := w.watchNextHops(t, "r1", service6+"/128", 3)
	at := probe.Now()
	sw.MustExec(t, "ip", "link", "set", "eth5", "nomaster")
	w.outage(t, c, at, routes4, routes6)
	sw.MustExec(t, "ip", "link", "set", "eth5", "master", bridge)
	w.waitNextHops(t, 3, 30*time.Second)
}

// workerKilledBFD kills a worker: BFD goes on, and nobody takes that for the death of the member.
func workerKilledBFD(t *testing.T, w *world) {
	w.watched(t)
	before := w.ctl(t, "n1", "query /1.0/bgp/sessions")
	workerKilled(t, w)
	w.watched(t)
	if b, a := bfdFlaps(t, before), bfdFlaps(t, w.ctl(t, "n1", "query /1.0/bgp/sessions")); a != b {
		t.Errorf("BFD sessions of n2 failed %d times before and %d times after the worker was killed", b, a)
	}
}

// busyProcessorsBFD keeps a member's processors busy for some detection times: it is not dead.
func busyProcessorsBFD(t *testing.T, w *world) {
	n2 := w.lab.MustNode(t, "n2")
	if warning := w.ctl(t, "n2", "query /1.0/bgp"); strings.Contains(warning, `"warning"`) {
		t.Skip("BFD has no real-time priority here: ", warning)
	}
	w.watched(t)
	before := w.ctl(t, "n1", "query /1.0/bgp/sessions")
	changes := w.monitorRoutes(t, "r1", "r2")
	// Busy loops, three for each processor.
	n2.MustExec(t, "sh", "-c", `for i in $(seq $((3 * $(nproc)))); do timeout 2 sh -c 'while :; do :; done' & done; wait`)
	if b, a := bfdFlaps(t, before), bfdFlaps(t, w.ctl(t, "n1", "query /1.0/bgp/sessions")); a != b {
		t.Errorf("BFD sessions of n2 failed %d times before and %d times after", b, a)
	}
	for _, line := range changes() {
		if strings.Contains(line, "Deleted") {
			t.Errorf("route removed: %s", line)
		}
	}
}

// starvedBFD leaves the programs of a member 5 % of a processor for half a minute: it is slow, and not dead.
func starvedBFD(t *testing.T, w *world) {
	w.watched(t)
	n2 := w.lab.MustNode(t, "n2")
	list, err := n2.Processes()
	if err != nil {
		t.Fatal(err)
	}
	var starved []lab.Process // the daemon, the worker, and the process that does BFD
	for _, p := range list {
		if strings.HasPrefix(p.Name, "fabric-") || strings.Contains(p.Command, "/exe bfd") {
			starved = append(starved, p)
		}
	}
	if len(starved) < 3 {
		t.Fatalf("n2 runs %v", list)
	}
	before := w.ctl(t, "n1", "query /1.0/bgp/sessions")
	changes := w.monitorRoutes(t, "r1", "r2")
	end, err := n2.Starve(5, starved...)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second) // the fault itself
	if err := end(); err != nil {
		t.Fatal(err)
	}
	after := w.ctl(t, "n1", "query /1.0/bgp/sessions")
	if b, a := bfdFlaps(t, before), bfdFlaps(t, after); a != b {
		t.Errorf("BFD sessions of n2 failed %d times before and %d times after", b, a)
	}
	for _, line := range changes() {
		if strings.Contains(line, "Deleted") {
			t.Errorf("route removed: %s", line)
		}
	}
}

// bfdFlaps counts the failures of n2's BFD sessions.
func bfdFlaps(t *testing.T, text string) (count int) {
	t.Helper()
	var sessions []struct {
		Member string
		BFD    *struct{ Flaps int }
	}
	if err := json.Unmarshal([]byte(text), &sessions); err != nil {
		t.Fatal(errors.Join(err, errors.New(text)))
	}
	for _, s := range sessions {
		if s.Member == "n2" && s.BFD != nil {
			count += s.BFD.Flaps
		}
	}
	return count
}
