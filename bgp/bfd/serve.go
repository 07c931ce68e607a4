package bfd

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// controllerTimeout bounds how long a process waits for its first controller, and how long writing to one may take.
const controllerTimeout = 10 * time.Second

// farewellTimeout bounds how long a process that has to end tells its neighbours.
const farewellTimeout = 5 * time.Second

// operation is what a controller asks for.
type operation string

const (
	opSet      operation = "set"
	opState    operation = "state"
	opDiscards operation = "discards"
	opShutdown operation = "shutdown"
)

// request is what a controller sends. Both sides may be of different versions: gob matches fields by name.
type request struct {
	ID        uint64
	Operation operation
	Peers     []Peer
	Linger    time.Duration
}

// reply answers the request of that ID. ID 0 is none's: Realtime in the first, an Event in the others.
type reply struct {
	ID       uint64
	Error    string
	States   []PeerState
	Discards map[string]uint64
	Realtime string
	Event    *Event
}

// Serve has the sessions that its controller, a Remote at the other end of a connection to l, wants. A new controller takes over from the one
// before; without one sessions go on for as long as the last one asked for. Serve returns when that has passed, when its controller shut it down,
// or when ctx ends; in each case neighbours are told that this is no failure.
// It gives the whole process real-time priority where that is allowed: the process should do nothing else.
func Serve(ctx context.Context, l net.Listener) error {
	_ = setProcessRealtime() // the controller is told by Realtime
	m, err := Start(Options{})
	if err != nil {
		return err
	}
	return serve(ctx, l, m)
}

func serve(ctx context.Context, l net.Listener, m *Manager) error {
	events := make(chan Event, 16*eventBuffer)
	m.watchers.mu.Lock()
	m.watchers.all = events
	m.watchers.mu.Unlock()
	defer func() {
		l.Close()
		// Done already after a shutdown.
		bounded, cancel := context.WithTimeout(context.Background(), farewellTimeout)
		defer cancel()
		_ = m.Shutdown(bounded)
	}()

	accepted, failed := make(chan net.Conn), make(chan error, 1)
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			select {
			case accepted <- c:
			case <-stopped:
				c.Close()
				return
			}
		}
	}()

	var current *controller
	defer func() {
		if current != nil {
			current.conn.Close()
		}
	}()
	gone, shut := make(chan *controller), make(chan struct{}, 1)
	alone := time.NewTimer(controllerTimeout)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("accept a controller of BFD: %w", err)
		case <-shut:
			return nil
		case <-alone.C:
			return nil
		case conn := <-accepted:
			if current != nil {
				current.conn.Close()
			}
			alone.Stop()
			current = &controller{conn: conn, encoder: gob.NewEncoder(conn), manager: m}
			go func(c *controller) {
				if c.run() {
					shut <- struct{}{}
				}
				c.conn.Close()
				select {
				case gone <- c:
				case <-stopped:
				}
			}(current)
		case c := <-gone:
			if c == current {
				current = nil
				alone.Reset(time.Duration(c.linger.Load()))
			}
		case e := <-events:
			if current != nil {
				current.send(reply{Event: &e})
			}
		}
	}
}

// controller is a connection of a Remote.
type controller struct {
	conn    net.Conn
	manager *Manager
	linger  atomic.Int64 // nanoseconds

	mu      sync.Mutex
	encoder *gob.Encoder
}

// run does what the controller asks for until it goes. It tells whether it asked for the end.
func (c *controller) run() (shut bool) {
	hello := reply{}
	if err := c.manager.Realtime(); err != nil {
		hello.Realtime = err.Error()
	}
	c.send(hello)
	decoder := gob.NewDecoder(c.conn)
	for {
		var q request
		if err := decoder.Decode(&q); err != nil {
			return false
		}
		r := reply{ID: q.ID}
		var err error
		switch q.Operation {
		case opSet:
			c.linger.Store(int64(q.Linger))
			peers := slices.Clone(q.Peers)
			for i := range peers {
				peers[i].Independent = q.Linger > 0
			}
			err = c.manager.Set(peers)
		case opState:
			r.States, err = c.manager.State()
		case opDiscards:
			r.Discards, err = c.manager.Discards()
		case opShutdown:
			bounded, cancel := context.WithTimeout(context.Background(), farewellTimeout)
			err = c.manager.Shutdown(bounded)
			cancel()
			shut = true
		default:
			err = fmt.Errorf("operation %q is not known to this version of the BFD process", q.Operation)
		}
		if err != nil {
			r.Error = err.Error()
		}
		c.send(r)
		if shut {
			return true
		}
	}
}

// send drops a controller that doesn't read.
func (c *controller) send(r reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(c.conn.SetWriteDeadline(time.Now().Add(controllerTimeout)), c.encoder.Encode(r)); err != nil {
		c.conn.Close()
	}
}
