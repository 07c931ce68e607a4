package system

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestRouting breaks the parts of a cluster that serves an anycast address, one after the other, under a client that keeps asking.
func TestRouting(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"all copies answer", allCopiesAnswer},
		{"instance killed", instanceKilled},
		{"daemon killed", daemonKilled},
		{"service hangs", serviceHangs},
		{"worker killed", workerKilled},
		{"worker hangs", workerHangs},
		{"member without power", memberWithoutPower},
		{"router out of reach", routerOutOfReach},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

func allCopiesAnswer(t *testing.T, w *world) {
	begin := probe.Now()
	c := w.startClient(t, serviceURLs...)
	lab.WaitFor(t, 10*time.Second, "answers of all three copies", func() error {
		if from := probe.Since(c.all(), begin, probe.Now()).From; !slices.Equal(from, []string{"web1", "web2", "web3"}) {
			return fmt.Errorf("answers are from %v", from)
		}
		return nil
	})
	if r := c.since(t, begin, 500*time.Millisecond); r.Lost > 0 {
		t.Errorf("%s: %s", describe(r), c.lost(begin))
	}
	for command, prefix := range map[string]string{"show ip route": service4 + "/32", "show ipv6 route": service6 + "/128"} {
		text := w.lab.MustNode(t, "r1").MustExec(t, "vtysh", "-c", command+" "+prefix)
		if strings.Count(text, "via eth1") != 3 {
			t.Errorf("FRR shows for %s\n%s", prefix, text)
		}
	}
}

// killInit kills an instance's first process as its member sees it, and says when.
func (w *world) killInit(t *testing.T, member string, pid int) time.Duration {
	t.Helper()
	p, err := w.initOf(t, member, pid)
	if err != nil {
		t.Fatal(err)
	}
	at := probe.Now()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return at
}

// initOf finds the process that a member knows under a number of its own.
func (w *world) initOf(t *testing.T, member string, pid int) (lab.Process, error) {
	t.Helper()
	node := w.lab.MustNode(t, member)
	list, err := node.Processes()
	if err != nil {
		return lab.Process{}, err
	}
	for _, p := range list {
		if inner, err := innerPID(node, p.PID); err == nil && inner == pid {
			return p, nil
		}
	}
	return lab.Process{}, fmt.Errorf("%s has no process %d", member, pid)
}

func instanceKilled(t *testing.T, w *world) {
	c := w.startClient(t, serviceURLs...)
	old := w.running(t, "n1", "web2")
	watches := map[string]*watch{}
	for _, router := range []string{"r1", "r2"} {
		for _, prefix := range []string{service4 + "/32", service6 + "/128"} {
			watches[router+" "+prefix] = w.watchNextHops(t, router, prefix, 3)
		}
	}
	at := w.killInit(t, "n2", old.State.Pid)
	for _, what := range slices.Sorted(maps.Keys(watches)) {
		gone := watches[what].until(t, func(n probe.NextHops) bool { return n.Count < 3 }).At - at
		back := watches[what].until(t, func(n probe.NextHops) bool { return n.Count == 3 }).At - at
		t.Logf("%s: next hop gone after %.1f ms, back after %d ms", what, gone.Seconds()*1000, back.Milliseconds())
		if gone > time.Second {
			t.Errorf("%s: next hop of a dead instance stayed for %s", what, gone)
		}
	}
	// How many depends on the moment: routers move flows under way when the set of next hops changes, also when it grows again.
	r := c.since(t, at, time.Second)
	t.Logf("%s%s", describe(r), c.lost(at))
	if now := w.running(t, "n1", "web2"); now.State.Pid == old.State.Pid {
		t.Errorf("web2 still has process %d", now.State.Pid)
	}
}

func daemonKilled(t *testing.T, w *world) {
	n2 := w.lab.MustNode(t, "n2")
	before := w.running(t, "n2", "web2")
	c := w.startClient(t, serviceURLs...)
	changes := w.monitorRoutes(t, "r1", "r2")
	at := probe.Now()
	kill(t, n2, "fabric-node")
	if err := n2.StartDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 15*time.Second, "the daemon to serve again", func() error {
		if r := w.try(t, "n2", "list"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	t.Logf("daemon serves again after %d ms", (probe.Now() - at).Milliseconds())
	after := w.running(t, "n2", "web2")
	t.Logf("instance adopted after %d ms", (probe.Now() - at).Milliseconds())
	if before.State.Pid != after.State.Pid {
		t.Errorf("web2 was process %d and is %d", before.State.Pid, after.State.Pid)
	}
	if out := w.ctl(t, "n1", "exec web2 -- hostname"); out != "web2\n" {
		t.Errorf("exec printed %q", out)
	}
	r := c.since(t, at, 4*time.Second) // longer than the hold time
	t.Log(describe(r))
	if r.Lost > 0 {
		t.Errorf("%s: %s", describe(r), c.lost(at))
	}
	if got := changes(); len(got) > 0 {
		t.Errorf("routes changed:\n%s", strings.Join(got, "\n"))
	}
}

func workerKilled(t *testing.T, w *world) {
	n2 := w.lab.MustNode(t, "n2")
	c := w.startClient(t, serviceURLs...)
	changes := w.monitorRoutes(t, "r1", "r2")
	old, err := n2.Process("fabric-router")
	if err != nil {
		t.Fatal(err)
	}
	at := probe.Now()
	kill(t, n2, "fabric-router")
	lab.WaitFor(t, 10*time.Second, "a new worker", func() error {
		p, err := n2.Process("fabric-router")
		if err == nil && p.PID == old.PID {
			err = errors.New("the old one")
		}
		return err
	})
	t.Logf("new worker after %d ms", (probe.Now() - at).Milliseconds())
	lab.WaitFor(t, 30*time.Second, "sessions of the new worker", func() error {
		text := w.ctl(t, "n2", "bgp summary --format csv")
		for line := range strings.Lines(text) {
			if strings.Contains(line, "n2") && !strings.Contains(strings.ToLower(line), "established") {
				return errors.New(line)
			}
		}
		return nil
	})
	back := probe.Now() - at
	t.Logf("sessions established after %d ms", back.Milliseconds())
	if back > 5*time.Second {
		t.Errorf("sessions were down for %s", back)
	}
	r := c.since(t, at, 5*time.Second)
	t.Log(describe(r))
	if r.Lost > 0 {
		t.Errorf("%s: %s", describe(r), c.lost(at))
	}
	for _, line := range changes() {
		if strings.Contains(line, "Deleted") {
			t.Errorf("route removed: %s", line)
		} else {
			t.Logf("route changed: %s", line)
		}
	}
}

// serviceHangs stops the server in an instance that lives on: only its check can tell.
func serviceHangs(t *testing.T, w *world) {
	watches := map[string]*watch{}
	for _, router := range []string{"r1", "r2"} {
		watches[router] = w.watchNextHops(t, router, service4+"/32", 3)
	}
	at := probe.Now()
	w.ctl(t, "n2", "exec web2 -- killall -STOP program")
	for router, x := range watches {
		gone := x.until(t, func(n probe.NextHops) bool { return n.Count < 3 }).At - at
		t.Logf("%s: next hop gone after %d ms", router, gone.Milliseconds())
		if gone > 4*time.Second { // two failures, 500 ms apart, each after 500 ms; the rest is for a busy machine
			t.Errorf("%s had the next hop of a hung service for %s", router, gone)
		}
	}
	w.ctl(t, "n2", "exec web2 -- killall -CONT program")
	w.waitNextHops(t, 3, 15*time.Second)
}

// workerHangs stops a worker: the supervisor ends it and starts another one, and whoever asks meanwhile is answered.
func workerHangs(t *testing.T, w *world) {
	old := w.worker(t, "n2")
	c := w.startClient(t, slices.Concat(serviceURLs, servicePackets)...)
	at := probe.Now()
	w.restartWorker(t, "n2", syscall.SIGSTOP)
	t.Logf("sessions of a new worker after %d ms", (probe.Now() - at).Milliseconds())
	if old.Alive() {
		t.Errorf("worker %d is still there", old.PID)
	}
	w.waitNextHops(t, 3, 15*time.Second)
	if r := c.since(t, at, probe.Now()-at); r.Lost > 0 {
		t.Errorf("%s%s", describe(r), c.lost(at))
	} else {
		t.Log(describe(r))
	}
}

func memberWithoutPower(t *testing.T, w *world) {
	n3 := w.lab.MustNode(t, "n3")
	old := w.running(t, "n1", "web3")
	c := w.startClient(t, serviceURLs...)
	routes := w.watchNextHops(t, "r1", service4+"/32", 3)
	at := probe.Now()
	if err := n3.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := routes.until(t, func(n probe.NextHops) bool { return n.Count < 3 }).At - at
	t.Logf("next hop gone after %d ms; the hold time is 3 s", gone.Milliseconds())
	if gone > 5*time.Second {
		t.Errorf("next hop of a dead member stayed for %s", gone)
	}
	r := c.since(t, at, 5*time.Second)
	t.Log(describe(r))
	if r.Outage > 5*time.Second {
		t.Error(describe(r))
	}
	lab.WaitFor(t, 30*time.Second, "n3 to be seen as offline", func() error {
		if text := w.ctl(t, "n1", "cluster list --format csv"); !offline(text, "n3") {
			return errors.New(text)
		}
		return nil
	})
	t.Logf("offline in cluster list after %d ms", (probe.Now() - at).Milliseconds())
	at = probe.Now()
	if err := n3.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	booted := probe.Now() - at
	w.waitNextHops(t, 3, 30*time.Second)
	t.Logf("booted in %d ms, announced after %d ms", booted.Milliseconds(), (probe.Now() - at).Milliseconds())
	if now := w.running(t, "n1", "web3"); now.Location != "n3" || now.State.Pid == old.State.Pid && now.State.Pid == 0 {
		t.Errorf("web3 is %+v", now)
	}
	if out := w.ctl(t, "n1", "exec web3 -- hostname"); out != "web3\n" {
		t.Errorf("exec printed %q", out)
	}
}

func offline(csv, member string) bool {
	for line := range strings.Lines(csv) {
		if strings.HasPrefix(line, member+",") {
			return strings.Contains(strings.ToLower(line), "offline")
		}
	}
	return false
}

// kill ends a daemon without warning.
func kill(t *testing.T, n *lab.Node, name string) {
	t.Helper()
	p, err := n.Process(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.Kill(ctx); err != nil {
		t.Fatal(err)
	}
}
