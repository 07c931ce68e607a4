package system

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestDrain takes copies of a service away on purpose, in every way there is, and restarts the programs, under a client that asks with connections
// and with numbered packets. Nothing is lost. A connection that a router moves when its next hops change is answered at the second try; where they
// don't change, none is moved.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	c := w.startClient(t, slices.Concat(serviceURLs, servicePackets)...)
	command := func(line string) func(*testing.T) {
		return func(t *testing.T) { w.ctl(t, "n1", line) }
	}
	for _, step := range []struct {
		name   string
		do     func(*testing.T)
		copies int  // afterwards
		moves  bool // the next hops of routers change
	}{
		{"stop", command("stop web2 --force"), 2, true},
		{"start", command("start web2"), 3, true},
		{"restart", command("restart web1 --force"), 3, true},
		{"maintenance", command("config set web3 anycast.maintenance=true"), 2, true},
		{"end of maintenance", command("config unset web3 anycast.maintenance"), 3, true},
		{"drain of a member", command("bgp drain n2"), 2, true},
		{"end of the drain", command("bgp undrain n2"), 3, true},
		{"daemon killed", func(t *testing.T) { w.restartDaemon(t, "n3") }, 3, false},
		{"worker restarted", func(t *testing.T) { w.restartWorker(t, "n3", syscall.SIGUSR2) }, 3, false},
		{"worker killed", func(t *testing.T) { w.restartWorker(t, "n2", syscall.SIGKILL) }, 3, false},
		{"drain of a member by longer paths", func(t *testing.T) {
			w.ctl(t, "n1", "cluster set n2 bgp.drain_mode=prepend")
			w.ctl(t, "n1", "bgp drain n2")
		}, 2, true},
		{"and its end", command("bgp undrain n2"), 3, true},
		{"delete", command("delete web3 --force"), 2, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			at := probe.Now()
			step.do(t)
			t.Logf("it took %d ms", (probe.Now() - at).Milliseconds())
			w.waitNextHops(t, step.copies, 15*time.Second)
			span := probe.Now() - at + 200*time.Millisecond
			if !step.moves {
				span = max(span, 4*time.Second) // longer than the hold time
			}
			r := c.since(t, at, span)
			t.Log(describe(r))
			if r.Lost > 0 || r.Moved > 0 && !step.moves {
				t.Errorf("%s%s", describe(r), c.lost(at))
			}
		})
	}
}

// restartDaemon kills a member's daemon, starts it, and waits until it serves.
func (w *world) restartDaemon(t *testing.T, member string) {
	t.Helper()
	node := w.lab.MustNode(t, member)
	kill(t, node, "fabric-node")
	if err := node.StartDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 15*time.Second, "the daemon to serve again", func() error {
		if r := w.try(t, member, "list"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

// restartWorker sends a member's worker a signal, and waits until another one has all its sessions.
func (w *world) restartWorker(t *testing.T, member string, signal syscall.Signal) {
	t.Helper()
	old := w.worker(t, member)
	if err := old.Signal(signal); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 10*time.Second, "a new worker", func() error {
		if p, err := w.findWorker(t, member); err != nil || p.PID == old.PID {
			return fmt.Errorf("worker %d, %v", p.PID, err)
		}
		return nil
	})
	lab.WaitFor(t, 30*time.Second, "sessions of the new worker", func() error {
		text := w.ctl(t, member, "bgp summary --format csv")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, member+",") && !strings.Contains(strings.ToLower(line), "established") {
				return errors.New(line)
			}
		}
		return nil
	})
}
