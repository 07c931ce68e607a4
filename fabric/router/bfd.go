package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"netfabric/bgp/bfd"
	"netfabric/fabric"
)

// BFDCommand is the argument that makes the program the process with the BFD sessions of a worker.
const BFDCommand = "bfd"

// ServeBFD is the work of that process: it has the sessions that the worker which started it, or the next one, wants.
func ServeBFD(ctx context.Context) error {
	l, err := bfd.Inherited()
	if err != nil {
		return err
	}
	return bfd.Serve(ctx, l)
}

// Times of BFD.
const (
	// The process with the sessions outlives its worker for the longest time for which a peer keeps routes, and some more.
	bfdLinger     = 330 * time.Second
	bfdRetryAfter = time.Second
	bfdReadAfter  = time.Second      // a change: timers are agreed on after a session has come up
	bfdReadEvery  = 10 * time.Second // for what is no change of a state
	bfdFarewell   = 2 * time.Second
)

// detectors have the BFD sessions with peers. They are in a process of their own, which outlives this one.
//
// A session begins when the BGP session does (unless it is strict) and stays from then on. FRR makes its own anew when BGP is established, with the
// addresses of the connection: one that was up before would fail then, and take the BGP session with it.
type detectors struct {
	log     *slog.Logger
	options bfd.RemoteOptions
	changed func()                 // after each change of what state says; must not block
	failed  func(peer, why string) // a session that was up failed; must not block

	wake  chan struct{} // there is another set of peers
	moved chan struct{} // a session changed
	stop  chan chan struct{}

	mu      sync.Mutex
	desired []fabric.RoutingPeer
	begun   map[string]bool            // peers with an established BGP session
	states  map[string]fabric.BFDState // by name of the peer
	warning string
	err     error // why the sessions are not those that are desired

	// Of the goroutine of Run.
	remote  *bfd.Remote
	keys    map[string]bfd.Key // of sessions, by name of the peer
	waiting []string           // peers whose session has not begun
	adopted map[bfd.Key]bool   // sessions of an earlier run
	watches map[string]func()  // what ends them, by name of the peer
	uplinks map[netip.Addr]string
}

// newDetectors makes them with a state directory. command makes the command of their process.
func newDetectors(log *slog.Logger, state string, command func() *exec.Cmd) *detectors {
	d := &detectors{
		log: log, wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), stop: make(chan chan struct{}),
		keys: map[string]bfd.Key{}, watches: map[string]func(){}, uplinks: map[netip.Addr]string{},
	}
	d.options = bfd.RemoteOptions{Socket: filepath.Join(state, "bfd.socket"), Command: command, Linger: bfdLinger, Wake: func() { signal(d.moved) }}
	return d
}

// signal puts a token into a slot unless there is one.
func signal(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// Apply makes the sessions those that peers ask for, begun being those whose BGP session is established. It returns at once.
func (d *detectors) Apply(peers []fabric.RoutingPeer, begun map[string]bool) {
	d.mu.Lock()
	d.desired, d.begun = peers, begun
	d.mu.Unlock()
	signal(d.wake)
}

// State is what is known of the sessions, by name of the peer, and what is not as it should be. It must not be changed.
func (d *detectors) State() (states map[string]fabric.BFDState, warning string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.states, d.warning, d.err
}

// Stop takes the sessions down such that peers see no failure. It needs Run to be running, and ends it.
func (d *detectors) Stop(ctx context.Context) {
	done := make(chan struct{})
	select {
	case d.stop <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Run does the work until ctx ends. The sessions go on then.
func (d *detectors) Run(ctx context.Context) {
	timer := time.NewTimer(bfdReadEvery)
	for {
		again := bfdReadEvery
		select {
		case <-ctx.Done():
			if d.remote != nil {
				d.remote.Close()
			}
			return
		case done := <-d.stop:
			d.end(ctx)
			close(done)
			return
		case <-d.wake:
			again = bfdReadAfter
		case <-d.moved:
			again = bfdReadAfter
		case <-timer.C:
		}
		err := d.put(ctx)
		if err != nil {
			again = bfdRetryAfter
		}
		d.read(err)
		timer.Reset(again)
	}
}

// put makes the sessions what is desired. Repeats are free.
func (d *detectors) put(ctx context.Context) error {
	d.mu.Lock()
	desired, begun := slices.DeleteFunc(slices.Clone(d.desired), func(p fabric.RoutingPeer) bool { return !p.BFD.Wanted() }), d.begun
	d.mu.Unlock()
	d.waiting = nil
	if len(desired) == 0 {
		d.follow(nil)
		d.end(ctx)
		return nil
	}
	if d.remote == nil {
		if err := d.connect(); err != nil {
			return err
		}
	}
	keys := map[string]bfd.Key{}
	var peers []bfd.Peer
	for _, p := range desired {
		interval := time.Duration(p.BFD.Interval) * time.Millisecond
		x := bfd.Peer{
			Key:    bfd.Key{Address: p.Address, Multihop: p.MultihopTTL > 0},
			Config: bfd.Config{MinTx: interval, MinRx: interval, Multiplier: uint8(p.BFD.Multiplier), Passive: p.BFD.Passive},
		}
		switch {
		case p.Interface != "":
			x.Interface = p.Interface
		case !x.Multihop:
			x.Interface = d.uplink(p.Address)
		}
		if _, there := d.keys[p.Name]; !there && !begun[p.Name] && !p.BFD.Strict && !d.adopted[x.Key] {
			d.waiting = append(d.waiting, p.Name)
			continue
		}
		keys[p.Name] = x.Key
		peers = append(peers, x)
	}
	d.follow(keys)
	return d.remote.Set(peers)
}

// connect has the process, with the sessions that it may have from an earlier run.
func (d *detectors) connect() error {
	remote, err := bfd.Connect(d.options)
	if err != nil {
		return err
	}
	states, err := remote.State()
	if err != nil {
		remote.Close()
		return err
	}
	d.remote, d.adopted = remote, map[bfd.Key]bool{}
	for _, s := range states {
		d.adopted[s.Peer.Key] = true
	}
	return nil
}

// uplink is the interface that a neighbour is on: packets that come from elsewhere with its address are not its own. While the kernel knows no
// way to it, it is still on the one where it was last.
func (d *detectors) uplink(a netip.Addr) string {
	if name, ok := onLink(a); ok {
		d.uplinks[a] = name
	}
	return d.uplinks[a]
}

// follow hears of the failures of exactly these sessions.
func (d *detectors) follow(keys map[string]bfd.Key) {
	for name, key := range d.keys {
		if keys[name] != key {
			d.watches[name]()
			delete(d.watches, name)
		}
	}
	for name, key := range keys {
		if _, ok := d.watches[name]; ok {
			continue
		}
		events, unwatch := d.remote.Watch(key)
		over := make(chan struct{})
		d.watches[name] = func() { unwatch(); close(over) }
		go d.hear(name, events, over)
	}
	d.keys = keys
}

func (d *detectors) hear(name string, events <-chan bfd.Event, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case e := <-events:
			d.log.Info("BFD", "peer", name, "state", e.To, "was", e.From, "diagnostic", e.Diag, "neighbour", e.RemoteDiag)
			if why, dead := pathDead(e.Change); dead {
				d.failed(name, "BFD: "+why)
			}
		}
	}
}

// pathDead tells whether a change says that packets do not get through, in one direction or the other. A neighbour that is down without having
// missed anything only began its session anew: its BGP session tells whether that means more.
func pathDead(c bfd.Change) (why string, dead bool) {
	switch {
	case !c.Failure():
		return "", false
	case c.Diag != bfd.DiagNeighborDown:
		return c.Diag.String(), true
	case c.RemoteDiag == bfd.DiagNone || c.RemoteDiag == bfd.DiagNeighborDown || c.RemoteDiag == bfd.DiagAdminDown:
		return "", false
	}
	return "the neighbour says: " + c.RemoteDiag.String(), true
}

// end takes all sessions down such that peers see no failure.
func (d *detectors) end(ctx context.Context) {
	if d.remote == nil {
		return
	}
	bound, cancel := context.WithTimeout(ctx, bfdFarewell)
	defer cancel()
	if err := d.remote.Shutdown(bound); err != nil && !errors.Is(err, bfd.ErrClosed) {
		d.log.Warn("the end of BFD is not clean", "error", err)
	}
	d.remote = nil
}

// read learns how the sessions are.
func (d *detectors) read(err error) {
	states, warning := map[string]fabric.BFDState{}, ""
	if d.remote != nil {
		list, e := d.remote.State()
		if err == nil {
			err = e
		}
		byKey := map[bfd.Key]bfd.PeerState{}
		for _, s := range list {
			byKey[s.Peer.Key] = s
		}
		for name, key := range d.keys {
			if s, ok := byKey[key]; ok {
				states[name] = bfdState(s)
			}
		}
		for _, name := range d.waiting {
			states[name] = fabric.BFDState{State: bfd.Down.String(), Reason: fabric.ReasonBFDWaits, Message: "begins when the BGP session is established"}
		}
		if e := d.remote.Realtime(); e != nil {
			warning = "BFD has no real-time priority and may report neighbours dead that are not: " + e.Error()
		}
	}
	if err != nil {
		err = fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonBFDFailed, "BFD: %w", err)
	}
	d.mu.Lock()
	same := maps.Equal(states, d.states) && warning == d.warning && fmt.Sprint(err) == fmt.Sprint(d.err)
	d.states, d.warning, d.err = states, warning, err
	d.mu.Unlock()
	if !same {
		d.changed()
	}
}

func bfdState(s bfd.PeerState) fabric.BFDState {
	b := fabric.BFDState{
		State: s.Status.State.String(), Flaps: s.Flaps, Failure: s.Failure,
		Interval: int(s.Status.TransmitInterval.Milliseconds()), Detection: int(s.Status.DetectionTime.Milliseconds()),
		Multiplier: int(s.Status.Remote.Multiplier), Diagnostic: diagnostic(s.Status.Diag), Remote: diagnostic(s.Status.Remote.Diag),
	}
	switch {
	case b.Up():
	case s.Reason != "":
		b.Reason, b.Message = s.Reason, s.Error
	default:
		b.Reason, b.Message = fabric.ReasonBFDDown, s.Message
	}
	return b
}

// diagnostic is a diagnostic in words, empty where there is none.
func diagnostic(d bfd.Diag) string {
	if d == bfd.DiagNone {
		return ""
	}
	return d.String()
}
