package bfd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is two network namespaces that a cable joins: bfdA on one side, bfdB on the other, with 192.0.2.1/24, 2001:db8::1/64 and
// fe80::1 on the first, .2 on the second.
type pair struct {
	a, b string
}

func newPair(t testing.TB) pair {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	p := pair{"bfdt-a-" + id, "bfdt-b-" + id}
	for _, ns := range []string{p.a, p.b} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	run(t, "ip", "link", "add", "bfdA", "netns", p.a, "type", "veth", "peer", "name", "bfdB", "netns", p.b)
	for i, side := range []struct{ ns, link string }{{p.a, "bfdA"}, {p.b, "bfdB"}} {
		run(t, "ip", "-n", side.ns, "link", "set", side.link, "addrgenmode", "none")
		run(t, "ip", "-n", side.ns, "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", side.link)
		run(t, "ip", "-n", side.ns, "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", side.link, "nodad")
		run(t, "ip", "-n", side.ns, "addr", "add", fmt.Sprintf("fe80::%d/64", i+1), "dev", side.link, "nodad")
		run(t, "ip", "-n", side.ns, "link", "set", side.link, "up")
	}
	return p
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startIn starts a manager in a network namespace.
func startIn(t testing.TB, ns string) *Manager {
	t.Helper()
	h := newHost()
	h.enter = func() error { return enter(ns) }
	m, err := start(Options{}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// enter moves the calling thread, which must be locked, to a network namespace.
func enter(ns string) error {
	f, err := os.Open(filepath.Join("/run/netns", ns))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// inside runs f on a thread of its own in a network namespace.
func inside(t testing.TB, ns string, f func() error) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		err := enter(ns)
		if err == nil {
			err = f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// daemon is a process in a network namespace.
type daemon struct {
	*exec.Cmd
	output *bytes.Buffer
	exited chan struct{}
}

func startDaemon(t testing.TB, ns, name string, args ...string) *daemon {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	d := &daemon{exec.Command("ip", append([]string{"netns", "exec", ns, name}, args...)...), &bytes.Buffer{}, make(chan struct{})}
	d.Stdout, d.Stderr = d.output, d.output
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.Wait(); close(d.exited) }()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("%s said: %s", name, d.output)
		}
	})
	return d
}

func (d *daemon) kill() {
	d.Process.Kill() // ended already
	<-d.exited
}

// await waits until a level is reached.
func await(t testing.TB, what string, level func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(20 * time.Second)
	for !level() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// sessions is what a Manager and a Remote have in common.
type sessions interface {
	Set([]Peer) error
	State() ([]PeerState, error)
	Watch(Key) (<-chan Event, func())
}

// stateOf is the state of a session; its zero value where there is none.
func stateOf(t testing.TB, m sessions, k Key) PeerState {
	t.Helper()
	states, err := m.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Peer.Key == (Peer{Key: k}).normal().Key {
			return s
		}
	}
	return PeerState{}
}

func awaitState(t testing.TB, m sessions, k Key, want State) PeerState {
	t.Helper()
	await(t, fmt.Sprintf("the session with %s is %s", k, want), func() bool { return stateOf(t, m, k).Status.State == want })
	return stateOf(t, m, k)
}

// awaitEvent waits for a change to a state.
func awaitEvent(t testing.TB, events <-chan Event, to State) Event {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e := <-events:
			if e.To == to {
				return e
			}
		case <-timeout:
			t.Fatalf("no change to %s has come", to)
		}
	}
}

// watch is Manager.Watch for the time of the test.
func watch(t testing.TB, m sessions, k Key) <-chan Event {
	t.Helper()
	events, stop := m.Watch(k)
	t.Cleanup(stop)
	return events
}
