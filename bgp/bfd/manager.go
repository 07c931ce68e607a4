package bfd

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// ErrClosed is returned by methods of a Manager that was closed.
var ErrClosed = errors.New("BFD is closed")

// burst is how many datagrams are read in a row before timers are looked at: under a flood packets still go out.
const burst = 512

// Options are how a Manager runs.
type Options struct {
	Wake func() // called after each change of a session's state; must not block. Optional
}

// Manager has the BFD sessions of a host. One thread sends and receives, with real-time priority where allowed. Its methods may be called from
// any goroutine.
type Manager struct {
	host     host
	wake     func()
	commands chan func()
	done     chan struct{}
	realtime error // valid once start has returned
	watchers watchers

	// Of the loop.
	engine   *engine
	changed  bool // a state changed since wake was called
	closing  bool
	draining bool
	drained  chan struct{} // closed when draining and no session is left
}

// host is the network and the thread as the loop sees them. All but wake are called by the loop.
type host interface {
	opener
	start() (realtime error, err error)
	wait(until time.Time)      // until a datagram has come, wake was called, or then; zero is no end
	receive() (datagram, bool) // one that has come. It is valid until the next call
	wake()                     // makes wait return, now or at its next call
	close()
}

// Start starts a manager without sessions.
func Start(o Options) (*Manager, error) {
	return start(o, newHost())
}

func start(o Options, h host) (*Manager, error) {
	m := &Manager{
		host: h, wake: o.Wake, commands: make(chan func(), 16), done: make(chan struct{}), drained: make(chan struct{}),
	}
	// Discriminators must be hard to guess: packets that name one are of its session.
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	m.engine = newEngine(h, rand.New(rand.NewChaCha8(seed)), m.emit)
	started := make(chan error)
	go m.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start BFD: %w", err)
	}
	return m, nil
}

// Set makes peers the ones to have sessions with. A session that is not wanted any more is taken down administratively, which is no failure to
// the neighbour, and goes when the neighbour knows. An invalid set changes nothing. That a session can't have a socket is no error: it is shown in
// its state, and tried again.
func (m *Manager) Set(peers []Peer) error {
	desired, err := normalize(peers)
	if err != nil {
		return err
	}
	return m.do(func() {
		if !m.draining {
			m.engine.set(time.Now(), desired)
		}
	})
}

// State shows all sessions, ordered by key, including those that are leaving.
func (m *Manager) State() ([]PeerState, error) {
	var states []PeerState
	if err := m.do(func() { states = m.engine.states() }); err != nil {
		return nil, err
	}
	slices.SortFunc(states, func(a, b PeerState) int { return compareKeys(a.Peer.Key, b.Peer.Key) })
	return states, nil
}

// Discards counts all packets that were not used, those of no session too, by the slug of their Discard.
func (m *Manager) Discards() (map[string]uint64, error) {
	var counts map[string]uint64
	err := m.do(func() { counts = slugs(&m.engine.discards) })
	return counts, err
}

// Watch returns the events of a session from now on, whether it is there yet or not. Of a watcher that lags 64 events the oldest are dropped.
// stop ends it; the channel is never closed.
func (m *Manager) Watch(k Key) (events <-chan Event, stop func()) { return m.watchers.watch(k) }

// Realtime tells why the thread that sends and receives has no real-time priority; nil when it has.
func (m *Manager) Realtime() error { return m.realtime }

// Shutdown takes all sessions down administratively, so that neighbours see no failure, waits until they know or have been told often enough,
// or until the context ends, and closes the manager.
func (m *Manager) Shutdown(ctx context.Context) error {
	err := m.do(func() {
		m.draining = true
		m.engine.set(time.Now(), nil)
	})
	if err != nil {
		return err
	}
	select {
	case <-m.drained:
	case <-ctx.Done():
		err = fmt.Errorf("tell BFD neighbours of the shutdown: %w", ctx.Err())
	}
	m.Close()
	return err
}

// Close ends all sessions without a word: to neighbours this side fails, as if it had crashed.
func (m *Manager) Close() {
	_ = m.do(func() { m.closing = true }) // closed already
	<-m.done
}

// do runs f in the loop.
func (m *Manager) do(f func()) error {
	ran := make(chan struct{})
	select {
	case m.commands <- func() { f(); close(ran) }:
	case <-m.done:
		return ErrClosed
	}
	m.host.wake()
	select {
	case <-ran:
		return nil
	case <-m.done:
		return ErrClosed
	}
}

// run is the loop. Its thread ends with it, and with that its priority.
func (m *Manager) run(started chan<- error) {
	runtime.LockOSThread()
	defer close(m.done)
	defer m.host.close()
	realtime, err := m.host.start()
	m.realtime = realtime
	started <- err
	if err != nil {
		return
	}
	defer m.engine.close()
	for !m.closing {
		m.host.wait(m.engine.next())
		m.turn()
	}
}

// turn does what has come up: packets before timers, see engine.expire.
func (m *Manager) turn() {
	for range burst {
		d, ok := m.host.receive()
		if !ok {
			break
		}
		m.engine.receive(time.Now(), d)
	}
	m.engine.expire(time.Now())
	for {
		select {
		case f := <-m.commands:
			f()
			continue
		default:
		}
		break
	}
	if m.changed && m.wake != nil {
		m.wake()
	}
	m.changed = false
	if m.draining && len(m.engine.sessions) == 0 {
		select {
		case <-m.drained:
		default:
			close(m.drained)
		}
	}
}

func (m *Manager) emit(e Event) {
	m.changed = true
	m.watchers.publish(e)
}
