package bfd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// serveVariable makes the test binary a BFD process.
const serveVariable = "BFD_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := Inherited()
	if err == nil {
		err = Serve(ctx, l)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// remoteHost starts BFD processes in a network namespace, and remembers them.
type remoteHost struct {
	options RemoteOptions
	mu      sync.Mutex
	started []*exec.Cmd
}

func newRemoteHost(t testing.TB, ns string, linger time.Duration) *remoteHost {
	t.Helper()
	h := &remoteHost{}
	h.options = RemoteOptions{Socket: filepath.Join(t.TempDir(), "bfd.sock"), Linger: linger, Command: func() *exec.Cmd {
		cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0])
		cmd.Env = append(os.Environ(), serveVariable+"=1")
		cmd.Stderr = os.Stderr
		h.mu.Lock()
		defer h.mu.Unlock()
		h.started = append(h.started, cmd)
		return cmd
	}}
	t.Cleanup(h.kill)
	return h
}

func (h *remoteHost) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, cmd := range h.started {
		if cmd.Process != nil {
			cmd.Process.Kill() // ended already
		}
	}
}

func (h *remoteHost) connect(t testing.TB) *Remote {
	t.Helper()
	r, err := Connect(h.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (h *remoteHost) processes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.started)
}

// ended waits until nobody listens any more.
func (h *remoteHost) ended(t testing.TB) {
	t.Helper()
	await(t, "the process ends", func() bool {
		c, err := net.Dial("unix", h.options.Socket)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// Sessions outlive their controller, and the next one finds them as they were.
func TestRemoteRestarts(t *testing.T) {
	p := newPair(t)
	h := newRemoteHost(t, p.a, time.Minute)
	other := startIn(t, p.b)
	a, b := Peer{Key: sorts[0].a.Key, Config: steady}, Peer{Key: sorts[0].b.Key, Config: steady}
	set(t, other, b)

	first := h.connect(t)
	events := watch(t, first, a.Key)
	set(t, first, a)
	if e := awaitEvent(t, events, Up); e.Key != a.Key || e.From == Up || time.Since(e.At) > time.Minute {
		t.Errorf("%+v", e)
	}
	s := awaitState(t, other, b.Key, Up)
	if !s.Status.Remote.ControlPlaneIndependent {
		t.Errorf("the neighbour is not told that the session is independent: %s", s.Status.Remote)
	}
	before := stateOf(t, first, a.Key)
	first.Close()
	if err := first.Set(nil); err != ErrClosed {
		t.Errorf("Set after Close: %v", err)
	}
	in := stateOf(t, other, b.Key).In
	await(t, "packets still come", func() bool { return stateOf(t, other, b.Key).In > in+5 })

	second := h.connect(t)
	if s := stateOf(t, second, a.Key); s.Status.LocalDiscr != before.Status.LocalDiscr || !s.Since.Equal(before.Since) {
		t.Errorf("before %+v\nafter %+v", before, s)
	}
	set(t, second, a)
	third := h.connect(t) // takes over
	set(t, third, a)
	if s := stateOf(t, third, a.Key); s.Status.LocalDiscr != before.Status.LocalDiscr || s.Flaps != 0 || h.processes() != 1 {
		t.Errorf("%+v, %d processes", s, h.processes())
	}
	second.Close()

	// A bad set is refused by either side of the socket.
	if err := third.Set([]Peer{a, a}); err == nil {
		t.Error("a bad set is taken")
	}
	if counts, err := third.Discards(); err != nil || len(counts) != 0 {
		t.Errorf("%v, %v", counts, err)
	}

	told := watch(t, other, b.Key)
	if err := third.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := awaitEvent(t, told, Down); e.Failure() {
		t.Errorf("%+v", e)
	}
	h.ended(t)
	if s := stateOf(t, other, b.Key); s.Flaps != 0 {
		t.Errorf("%+v", s)
	}
}

// A controller that doesn't come back in time: the process takes its sessions down, as no failure, and ends.
func TestRemoteLingers(t *testing.T) {
	p := newPair(t)
	h := newRemoteHost(t, p.a, 100*time.Millisecond)
	other := startIn(t, p.b)
	set(t, other, Peer{Key: sorts[0].b.Key, Config: steady})
	r := h.connect(t)
	set(t, r, Peer{Key: sorts[0].a.Key, Config: steady})
	awaitState(t, other, sorts[0].b.Key, Up)
	events := watch(t, other, sorts[0].b.Key)
	r.Close()
	if e := awaitEvent(t, events, Down); e.Failure() {
		t.Errorf("%+v", e)
	}
	h.ended(t)
}

// A process that dies is a failure to the neighbour, and is replaced by one that has the same sessions.
func TestRemoteProcessDies(t *testing.T) {
	p := newPair(t)
	h := newRemoteHost(t, p.a, time.Minute)
	other := startIn(t, p.b)
	set(t, other, Peer{Key: sorts[0].b.Key, Config: steady})
	r := h.connect(t)
	set(t, r, Peer{Key: sorts[0].a.Key, Config: steady})
	awaitState(t, other, sorts[0].b.Key, Up)
	events := watch(t, other, sorts[0].b.Key)
	h.kill()
	if e := awaitEvent(t, events, Down); !e.Failure() {
		t.Errorf("%+v", e)
	}
	awaitEvent(t, events, Up)
	await(t, "the new process is seen up", func() bool {
		states, err := r.State()
		return err == nil && len(states) == 1 && states[0].Status.State == Up
	})
	if h.processes() != 2 {
		t.Errorf("%d processes", h.processes())
	}
}

func TestRemoteWithoutProcess(t *testing.T) {
	if r, err := Connect(RemoteOptions{Socket: filepath.Join(t.TempDir(), "none.sock")}); err == nil {
		r.Close()
		t.Error("connected to nothing")
	}
	o := RemoteOptions{Socket: filepath.Join(t.TempDir(), "bfd.sock"), Command: func() *exec.Cmd { return exec.Command("/nonexistent") }}
	if r, err := Connect(o); err == nil {
		r.Close()
		t.Error("started nothing")
	}
}

// Sessions stay up while the controller wants all processors: this is why they are in a process of their own. BenchmarkBusy has the numbers.
func TestBusyController(t *testing.T) {
	p := newPair(t)
	ha, hb := newRemoteHost(t, p.a, time.Minute), newRemoteHost(t, p.b, time.Minute)
	a, b := ha.connect(t), hb.connect(t)
	if a.Realtime() != nil {
		t.Skip(a.Realtime())
	}
	c := Config{MinTx: 30 * time.Millisecond, MinRx: 30 * time.Millisecond, Multiplier: 5}
	set(t, a, Peer{Key: sorts[0].a.Key, Config: c})
	set(t, b, Peer{Key: sorts[0].b.Key, Config: c})
	awaitState(t, a, sorts[0].a.Key, Up)
	awaitState(t, b, sorts[0].b.Key, Up)
	busy(2 * time.Second)
	for _, s := range []PeerState{stateOf(t, a, sorts[0].a.Key), stateOf(t, b, sorts[0].b.Key)} {
		t.Logf("%d packets in, %d out, %d flaps", s.In, s.Out, s.Flaps)
		if s.Flaps != 0 || s.Status.State != Up {
			t.Errorf("%+v", s)
		}
	}
}

// busy has more goroutines than processors make garbage.
func busy(d time.Duration) {
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			garbage := map[int][]byte{}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					garbage[i%100_000] = make([]byte, 1024)
				}
			}
		})
	}
	<-time.After(d)
	close(stop)
	workers.Wait()
}
