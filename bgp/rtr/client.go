package rtr

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// State is how it stands with a cache.
type State struct {
	Connected bool
	Since     time.Time // when Connected last changed
	Session   uint16
	Serial    uint32
	IPv4      int       // VRPs
	IPv6      int       // VRPs
	Updated   time.Time // when they were last confirmed; zero: there are none
	Expires   time.Time // when they will not be used any more
	LastError string    // of the last connection that ended, or could not be made; empty while all is well
}

// Client learns from one cache.
type Client struct {
	address netip.AddrPort
	changed func(data bool) // data tells whether the VRPs changed

	mu    sync.Mutex
	m     *machine
	state State
}

// NewClient makes a client of a cache; Run sets it to work. Of timers, what is not set is the cache's to say. changed is called when something
// has changed, and must not block.
func NewClient(address netip.AddrPort, timers Timers, changed func(data bool)) *Client {
	return &Client{address: address, changed: changed, m: newMachine(timers), state: State{Since: time.Now().UTC().Truncate(time.Millisecond)}}
}

// State is how it stands.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// VRPs are those that the cache has and that have not expired. The map must not be changed.
func (c *Client) VRPs() map[VRP]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.vrps
}

// Times of connections.
const (
	dialBound  = 10 * time.Second
	writeBound = 10 * time.Second
	firstPause = time.Second // after a connection that failed; twice as long after each further one, up to the retry interval
	longPause  = time.Minute
)

// Run keeps connected until ctx ends.
func (c *Client) Run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := c.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errVersion) {
			continue
		}
		c.down(err)
		if time.Since(began) > longPause {
			pause = firstPause
		}
		c.wait(ctx, pause)
		c.mu.Lock()
		pause = min(2*pause, c.m.timers.Retry, longPause)
		c.mu.Unlock()
	}
}

// wait waits, and lets go meanwhile of what expires.
func (c *Client) wait(ctx context.Context, pause time.Duration) {
	end := time.Now().Add(pause)
	for time.Now().Before(end) && ctx.Err() == nil {
		until := end
		c.mu.Lock()
		if at, ok := c.m.Deadline(); ok && at.Before(until) {
			until = at
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(until)):
		}
		c.mu.Lock()
		_, changed, _ := c.m.Expire(time.Now())
		c.note()
		c.mu.Unlock()
		if changed {
			c.changed(true)
		}
	}
}

func (c *Client) down(err error) {
	c.mu.Lock()
	c.m.Disconnected()
	if c.state.Connected {
		c.state.Connected, c.state.Since = false, time.Now().UTC().Truncate(time.Millisecond)
	}
	c.state.LastError = err.Error()
	c.note()
	c.mu.Unlock()
	c.changed(false)
}

// note puts into the state what the machine has.
func (c *Client) note() {
	s := &c.state
	s.Session, s.Serial, s.Updated, s.Expires = c.m.session, c.m.serial, c.m.updated.UTC().Truncate(time.Millisecond), time.Time{}
	if c.m.updated.IsZero() {
		s.Updated = time.Time{}
	} else {
		s.Expires = c.m.updated.Add(c.m.timers.Expire).UTC().Truncate(time.Second)
	}
	s.IPv4, s.IPv6 = 0, 0
	for v := range c.m.vrps {
		if v.Prefix.Addr().Is4() {
			s.IPv4++
		} else {
			s.IPv6++
		}
	}
}

// connect has one connection, and gives the error that it ends with.
func (c *Client) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialBound}
	conn, err := dialer.DialContext(ctx, "tcp", c.address.String())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	c.mu.Lock()
	first := c.m.Connected(time.Now())
	c.mu.Unlock()
	if err := send(conn, first); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for {
		c.mu.Lock()
		at, _ := c.m.Deadline()
		c.mu.Unlock()
		if err := conn.SetReadDeadline(at); err != nil {
			return err
		}
		if _, err := in.Peek(1); err != nil {
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				if err := c.expire(conn); err != nil {
					return err
				}
				continue
			}
			if errors.Is(err, io.EOF) {
				return errors.New("the cache closed the connection")
			}
			return err
		}
		// A PDU that has begun is not cut short by what is due meanwhile.
		if err := conn.SetReadDeadline(time.Now().Add(answerBound)); err != nil {
			return err
		}
		p, err := Read(in)
		if err != nil {
			_ = send(conn, PDU{Version: p.Version & 1, Type: ErrorReport, Session: CorruptData, Text: err.Error()}) // a courtesy
			return err
		}
		if err := c.take(conn, p); err != nil {
			return err
		}
	}
}

func (c *Client) expire(conn net.Conn) error {
	c.mu.Lock()
	out, changed, err := c.m.Expire(time.Now())
	c.note()
	c.mu.Unlock()
	if changed {
		c.changed(true)
	}
	return errors.Join(send(conn, out...), err)
}

func (c *Client) take(conn net.Conn, p PDU) error {
	c.mu.Lock()
	out, changed, err := c.m.Recv(time.Now(), p)
	news := p.Type == EndOfData && err == nil
	if news {
		if !c.state.Connected {
			c.state.Connected, c.state.Since = true, time.Now().UTC().Truncate(time.Millisecond)
		}
		c.state.LastError = ""
		c.note()
	}
	c.mu.Unlock()
	if news {
		c.changed(changed)
	}
	if e := send(conn, out...); err == nil {
		err = e
	}
	return err
}

func send(conn net.Conn, pdus ...PDU) error {
	if len(pdus) == 0 {
		return nil
	}
	var b []byte
	for _, p := range pdus {
		b = p.Append(b)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeBound)); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
