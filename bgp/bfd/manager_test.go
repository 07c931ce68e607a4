package bfd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// link is a shared link of two hosts, without sockets. Its interface has index 7 on both.
type link struct {
	mu    sync.Mutex
	hosts map[netip.Addr]*linkHost
	cut   bool
}

// linkHost is a host for a Manager, with one address on a link.
type linkHost struct {
	link    *link
	address netip.Addr
	woken   chan struct{}

	mu     sync.Mutex
	inbox  []datagram
	paths  int
	fault  *pathError // what opening and sending fail with
	closed bool
}

func (l *link) host(address string) *linkHost {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts == nil {
		l.hosts = map[netip.Addr]*linkHost{}
	}
	h := &linkHost{link: l, address: netip.MustParseAddr(address), woken: make(chan struct{}, 1)}
	l.hosts[h.address] = h
	return h
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

func (h *linkHost) setFault(f *pathError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// deliver gives the host a datagram as if it came from the link.
func (h *linkHost) deliver(d datagram) {
	h.mu.Lock()
	h.inbox = append(h.inbox, d)
	h.mu.Unlock()
	h.wake()
}

func (h *linkHost) start() (error, error) { return errors.New("no real-time priority in a test"), nil }

func (h *linkHost) wait(until time.Time) {
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-h.woken:
	case <-timeout:
	}
}

func (h *linkHost) wake() {
	select {
	case h.woken <- struct{}{}:
	default:
	}
}

func (h *linkHost) receive() (datagram, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.inbox) == 0 {
		return datagram{}, false
	}
	d := h.inbox[0]
	h.inbox = h.inbox[1:]
	return d, true
}

func (h *linkHost) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}

func (h *linkHost) open(k Key) (path, int, *pathError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		return nil, 0, h.fault
	}
	h.paths++
	ifindex := 0
	if k.Interface != "" {
		ifindex = 7
	}
	return &linkPath{h, k}, ifindex, nil
}

type linkPath struct {
	from *linkHost
	key  Key
}

func (p *linkPath) send(b []byte) *pathError {
	p.from.mu.Lock()
	fault := p.from.fault
	p.from.mu.Unlock()
	if fault != nil {
		return fault
	}
	l := p.from.link
	l.mu.Lock()
	to, cut := l.hosts[p.key.Address.WithZone("")], l.cut
	l.mu.Unlock()
	if to != nil && !cut {
		to.deliver(datagram{
			source: p.from.address, destination: to.address, ifindex: 7, ttl: 255, multihop: p.key.Multihop, payload: bytes.Clone(b),
		})
	}
	return nil
}

func (p *linkPath) close() {
	p.from.mu.Lock()
	defer p.from.mu.Unlock()
	p.from.paths--
}

var (
	keyA = Key{Address: netip.MustParseAddr("192.0.2.1")}
	keyB = Key{Address: netip.MustParseAddr("192.0.2.2")}
)

// duo is two managers on a link: a has a session with keyB, b with keyA.
type duo struct {
	link         *link
	hostA, hostB *linkHost
	a, b         *Manager
	wakes        atomic.Int64 // of a
}

func newDuo(t *testing.T) *duo {
	t.Helper()
	d := &duo{link: &link{}}
	d.hostA, d.hostB = d.link.host("192.0.2.1"), d.link.host("192.0.2.2")
	var err error
	if d.a, err = start(Options{Wake: func() { d.wakes.Add(1) }}, d.hostA); err != nil {
		t.Fatal(err)
	}
	if d.b, err = start(Options{}, d.hostB); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.a.Close)
	t.Cleanup(d.b.Close)
	set(t, d.a, Peer{Key: keyB, Config: fast})
	set(t, d.b, Peer{Key: keyA, Config: fast})
	time.Sleep(5 * time.Second)
	d.expect(t, Up, Up)
	return d
}

func set(t testing.TB, m sessions, peers ...Peer) {
	t.Helper()
	if err := m.Set(peers); err != nil {
		t.Fatal(err)
	}
}

func (d *duo) expect(t *testing.T, a, b State) {
	t.Helper()
	if sa, sb := stateOf(t, d.a, keyB), stateOf(t, d.b, keyA); sa.Status.State != a || sb.Status.State != b {
		t.Fatalf("want %s and %s, have\n%+v\n%+v", a, b, sa, sb)
	}
}

// The clock is virtual in all tests of this file: sleeping takes no time and is exact.

func TestManagerDetects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		events := watch(t, d.a, keyB)
		wakes := d.wakes.Load()
		d.link.setCut(true)
		cut := time.Now()
		e := <-events
		if took := e.At.Sub(cut); !e.Failure() || e.Diag != DiagExpired || e.Key != keyB || took > 150*time.Millisecond || took < 100*time.Millisecond {
			t.Errorf("after %s: %+v", took, e)
		}
		synctest.Wait()
		if d.wakes.Load() != wakes+1 {
			t.Errorf("%d wakes", d.wakes.Load()-wakes)
		}
		s := stateOf(t, d.a, keyB)
		if s.Flaps != 1 || !s.LastFailure.Equal(e.At) || !s.Since.Equal(e.At) || s.Message != "nothing heard within the detection time" || s.Failure != s.Message {
			t.Errorf("%+v", s)
		}
		d.link.setCut(false)
		time.Sleep(5 * time.Second)
		d.expect(t, Up, Up)
		if s := stateOf(t, d.a, keyB); s.Flaps != 1 || s.Message != "up" || s.Failure == "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestManagerSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		events := watch(t, d.b, keyA)
		// Repeats are free.
		out := stateOf(t, d.a, keyB).Out
		set(t, d.a, Peer{Key: keyB, Config: fast})
		if now := stateOf(t, d.a, keyB).Out; now != out {
			t.Errorf("a repeat sent %d packets", now-out)
		}
		// Not wanted any more: leaves, and is no failure to the neighbour.
		set(t, d.a)
		if e := <-events; e.Failure() || e.RemoteState != AdminDown {
			t.Errorf("%+v", e)
		}
		synctest.Wait()
		if states, _ := d.a.State(); len(states) != 0 || d.hostA.paths != 0 {
			t.Errorf("left behind: %+v, %d paths", states, d.hostA.paths)
		}
		if s := stateOf(t, d.b, keyA); s.Message != "the neighbour is administratively down" || s.Flaps != 0 {
			t.Errorf("%+v", s)
		}
		// Wanted again.
		set(t, d.a, Peer{Key: keyB, Config: fast})
		time.Sleep(5 * time.Second)
		d.expect(t, Up, Up)
		// Held down, then not.
		set(t, d.a, Peer{Key: keyB, Config: fast, AdminDown: true})
		time.Sleep(5 * time.Second)
		d.expect(t, AdminDown, Down)
		set(t, d.a, Peer{Key: keyB, Config: fast})
		time.Sleep(5 * time.Second)
		d.expect(t, Up, Up)
		if s := stateOf(t, d.b, keyA); s.Flaps != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A session that leaves while its neighbour is not reachable doesn't stay for good; wanted again before it has left, it goes on.
func TestManagerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		discr := stateOf(t, d.a, keyB).Status.LocalDiscr
		d.link.setCut(true)
		set(t, d.a)
		if s := stateOf(t, d.a, keyB); s.Status.State != AdminDown {
			t.Errorf("%+v", s)
		}
		set(t, d.a, Peer{Key: keyB, Config: fast})
		if s := stateOf(t, d.a, keyB); s.Status.State != Down || s.Status.LocalDiscr != discr {
			t.Errorf("%+v", s)
		}
		d.link.setCut(false)
		time.Sleep(5 * time.Second)
		d.expect(t, Up, Up)
		d.link.setCut(true)
		set(t, d.a)
		time.Sleep(time.Second)
		if states, _ := d.a.State(); len(states) != 0 {
			t.Errorf("still there: %+v", states)
		}
	})
}

func TestManagerSetRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		before := stateOf(t, d.a, keyB)
		good := Peer{Key: keyB, Config: fast}
		with := func(change func(*Peer)) Peer { p := good; change(&p); return p }
		for _, c := range []struct {
			peers []Peer
			want  string
		}{
			{[]Peer{good, good}, "is wanted twice"},
			{[]Peer{{Config: fast}}, "is not a unicast address"},
			{[]Peer{with(func(p *Peer) { p.Address = netip.MustParseAddr("224.0.0.1") })}, "is not a unicast address"},
			{[]Peer{with(func(p *Peer) { p.Address = netip.MustParseAddr("fe80::1") })}, "needs its interface"},
			{[]Peer{with(func(p *Peer) { p.Address = netip.MustParseAddr("fe80::1%eth0"); p.Interface = "eth1" })}, "the session is to be on eth1"},
			{[]Peer{with(func(p *Peer) { p.Local = netip.MustParseAddr("2001:db8::1") })}, "is of another family"},
			{[]Peer{with(func(p *Peer) { p.Multihop = true; p.Interface = "eth0" })}, "has no interface"},
			{[]Peer{with(func(p *Peer) { p.MinTTL = 64 })}, "is 255, not 64"},
			{[]Peer{with(func(p *Peer) { p.MinTx = time.Millisecond })}, "transmission interval 1ms"},
			{[]Peer{with(func(p *Peer) { p.Multiplier = 0 })}, "multiplier 0"},
		} {
			if err := d.a.Set(c.peers); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v, want %q", c.peers, err, c.want)
			}
		}
		if after := stateOf(t, d.a, keyB); after.Status.LocalDiscr != before.Status.LocalDiscr || after.Status.State != Up {
			t.Errorf("%+v", after)
		}
	})
}

func TestManagerEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		end     func(*testing.T, *duo)
		failure bool
	}{
		{"shutdown", func(t *testing.T, d *duo) {
			if err := d.a.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}, false},
		{"close", func(t *testing.T, d *duo) { d.a.Close() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t)
				events := watch(t, d.b, keyA)
				c.end(t, d)
				if e := <-events; e.Failure() != c.failure {
					t.Errorf("%+v", e)
				}
				if !d.hostA.closed || d.hostA.paths != 0 {
					t.Errorf("closed %t, %d paths", d.hostA.closed, d.hostA.paths)
				}
				if err := d.a.Set(nil); err != ErrClosed {
					t.Errorf("Set on a closed manager: %v", err)
				}
				if _, err := d.a.State(); err != ErrClosed {
					t.Errorf("State of a closed manager: %v", err)
				}
				d.a.Close() // twice is fine
			})
		})
	}
}

// Shutdown ends with its context even if neighbours can't be told.
func TestManagerShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		set(t, d.a, Peer{Key: keyB, Config: Config{MinTx: 10 * time.Second, MinRx: 50 * time.Millisecond, Multiplier: 9}})
		time.Sleep(time.Minute)
		d.link.setCut(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A session without socket says why, and comes up when it can have one.
func TestManagerWithoutSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		d.hostA.setFault(&pathError{ReasonNoInterface, true, errors.New("no eth0")})
		time.Sleep(time.Second)
		if s := stateOf(t, d.a, keyB); s.Reason != ReasonNoInterface || s.Error != "no eth0" || s.SendErrors != 1 {
			t.Errorf("%+v", s)
		}
		if d.hostA.paths != 0 {
			t.Errorf("%d paths", d.hostA.paths)
		}
		d.hostA.setFault(nil)
		time.Sleep(5 * time.Second)
		d.expect(t, Up, Up)
		if s := stateOf(t, d.a, keyB); s.Reason != "" || s.Error != "" {
			t.Errorf("%+v", s)
		}
	})
}

// What no session takes is counted by cause, and changes nothing.
func TestManagerDiscards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		discr := stateOf(t, d.a, keyB).Status.LocalDiscr
		packet := func(change func(*Packet)) []byte {
			p := Packet{State: Down, Multiplier: 3, MyDiscr: 99, YourDiscr: discr, MinTx: time.Second, MinRx: time.Second}
			change(&p)
			return p.Append(nil)
		}
		nothing := func(*Packet) {}
		base := datagram{source: keyB.Address, destination: keyA.Address, ifindex: 7, ttl: 255}
		with := func(payload []byte, change func(*datagram)) datagram {
			d := base
			d.payload = payload
			change(&d)
			return d
		}
		total, own := map[string]uint64{}, map[string]uint64{}
		send := func(dg datagram, slug string, counted bool) {
			d.hostA.deliver(dg)
			total[slug]++
			if counted {
				own[slug]++
			}
		}
		for _, m := range malformed {
			send(with(m.change(bytes.Clone(plainBytes)), func(*datagram) {}), m.want.Slug(), true)
		}
		send(with(packet(nothing), func(d *datagram) { d.ttl = 254 }), "bad-ttl", true)
		send(with(packet(nothing), func(d *datagram) { d.ttl = 0 }), "bad-ttl", true)
		send(with(packet(nothing), func(d *datagram) { d.multihop = true }), "unknown-session", false)
		send(with(packet(func(p *Packet) { p.YourDiscr = discr + 1 }), func(*datagram) {}), "unknown-session", true)
		send(with(packet(func(p *Packet) { p.YourDiscr = 0 }), func(d *datagram) { d.source = netip.MustParseAddr("192.0.2.3") }), "unknown-session", false)
		time.Sleep(10 * time.Millisecond)
		d.expect(t, Up, Up)
		if got, err := d.a.Discards(); err != nil || !maps.Equal(got, total) {
			t.Errorf("counted %v, want %v, %v", got, total, err)
		}
		if s := stateOf(t, d.a, keyB); !maps.Equal(s.Discards, own) {
			t.Errorf("counted %v, want %v", s.Discards, own)
		}
		// The same packet that was refused for its TTL takes the session down: it was for nothing else that it was refused. An address that
		// changed is none (RFC 5880, 6.3).
		d.hostA.deliver(with(packet(nothing), func(d *datagram) { d.source = netip.MustParseAddr("192.0.2.3") }))
		synctest.Wait()
		if s := stateOf(t, d.a, keyB); s.Flaps != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Sessions are told apart by interface, local address and hops.
func TestEngineDemultiplexes(t *testing.T) {
	l := &link{}
	h := l.host("192.0.2.1")
	e := newEngine(h, testRandom(), func(Event) {})
	on := func(change func(*Peer)) Peer {
		p := Peer{Key: keyB, Config: fast}
		change(&p)
		return p.normal()
	}
	other := netip.MustParseAddr("192.0.2.9")
	multihop := on(func(p *Peer) { p.Multihop, p.Local, p.MinTTL = true, keyA.Address, 250 })
	pinned := on(func(p *Peer) { p.Interface = "eth0" })
	local := on(func(p *Peer) { p.Local = other })
	linkLocal := on(func(p *Peer) { p.Address = netip.MustParseAddr("fe80::2%eth0") })
	e.set(epoch, []Peer{multihop, pinned, local, linkLocal})
	down := Packet{State: Down, Multiplier: 3, MyDiscr: 5, MinTx: time.Second, MinRx: time.Second}
	base := datagram{source: keyB.Address, destination: keyA.Address, ifindex: 7, ttl: 255, payload: down.Append(nil)}
	for _, c := range []struct {
		name   string
		change func(*datagram)
		want   *Key
	}{
		{"interface", func(*datagram) {}, &pinned.Key},
		{"other interface", func(d *datagram) { d.ifindex = 8 }, nil},
		{"local address", func(d *datagram) { d.destination = other; d.ifindex = 8 }, &local.Key},
		{"multihop", func(d *datagram) { d.multihop, d.ttl = true, 250 }, &multihop.Key},
		{"multihop from too far", func(d *datagram) { d.multihop, d.ttl = true, 249 }, nil},
		{"multihop to another address", func(d *datagram) { d.multihop, d.destination = true, other }, nil},
		{"link-local", func(d *datagram) { d.source = linkLocal.Address.WithZone("") }, &linkLocal.Key},
		{"link-local on another interface", func(d *datagram) { d.source, d.ifindex = linkLocal.Address.WithZone(""), 8 }, nil},
	} {
		d := base
		c.change(&d)
		before := map[Key]uint64{}
		for k, s := range e.sessions {
			before[k] = s.in
		}
		e.receive(epoch, d)
		for k, s := range e.sessions {
			if want := c.want != nil && *c.want == k; (s.in > before[k]) != want {
				t.Errorf("%s: session %s took it: %t", c.name, k, !want)
			}
		}
	}
	// A multihop session is one of two addresses even when a packet names it.
	named := base
	named.source, named.multihop = other, true
	down.YourDiscr = e.sessions[multihop.Key].localDiscr
	named.payload = down.Append(nil)
	if before := e.sessions[multihop.Key].in; true {
		if e.receive(epoch, named); e.sessions[multihop.Key].in != before {
			t.Error("a multihop packet of another source is taken")
		}
	}
	e.set(epoch, nil)
	for range 20 {
		e.expire(e.next()) // all that was heard has to be told goodbye
	}
	if len(e.sessions)+len(e.byDiscr)+len(e.bySource)+len(e.queue)+h.paths != 0 {
		t.Errorf("left behind: %v %v %v %d, %d paths", e.sessions, e.byDiscr, e.bySource, len(e.queue), h.paths)
	}
}

// A loop that comes late reads what has come before it takes the neighbour for dead.
func TestLateLoop(t *testing.T) {
	l := &link{}
	h := l.host("192.0.2.1")
	m := &Manager{host: h, commands: make(chan func())}
	m.engine = newEngine(h, testRandom(), m.emit)
	now := time.Now()
	m.engine.set(now, []Peer{{Key: keyB, Config: fast, MinTTL: 255}})
	s := m.engine.sessions[keyB]
	from := func(st State) datagram {
		p := heard(st)
		p.YourDiscr = s.localDiscr
		return datagram{source: keyB.Address, destination: keyA.Address, ifindex: 7, ttl: 255, payload: p.Append(nil)}
	}
	for _, st := range []State{Init, Up} {
		m.engine.receive(now.Add(-time.Hour), from(st))
	}
	if s.state != Up || !s.expires.Before(now) {
		t.Fatalf("%s until %s", s.state, s.expires)
	}
	h.deliver(from(Up))
	m.turn()
	if s.state != Up || s.flaps != 0 {
		t.Errorf("%s, %d flaps", s.state, s.flaps)
	}
}

// A watcher that lags gets the newest events.
func TestWatcherLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		events := watch(t, d.a, keyB)
		for range eventBuffer {
			set(t, d.a, Peer{Key: keyB, Config: fast, AdminDown: true})
			set(t, d.a, Peer{Key: keyB, Config: fast})
		}
		time.Sleep(5 * time.Second)
		var last Event
		n := 0
		for ; len(events) > 0; n++ {
			last = <-events
		}
		if n != eventBuffer || last.To != Up {
			t.Errorf("%d events, the last: %+v", n, last)
		}
	})
}

// Many sessions share a loop without failing.
func TestManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{}
		hub, err := start(Options{}, l.host("198.51.100.254"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(hub.Close)
		var peers []Peer
		for i := range 50 {
			address := fmt.Sprintf("198.51.100.%d", i+1)
			m, err := start(Options{}, l.host(address))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.Close)
			set(t, m, Peer{Key: Key{Address: netip.MustParseAddr("198.51.100.254")}, Config: fast})
			peers = append(peers, Peer{Key: Key{Address: netip.MustParseAddr(address)}, Config: fast})
		}
		set(t, hub, peers...)
		time.Sleep(10 * time.Second)
		states, err := hub.State()
		if err != nil || len(states) != len(peers) {
			t.Fatalf("%d sessions, %v", len(states), err)
		}
		for i, s := range states {
			if s.Status.State != Up || s.Flaps != 0 || s.Peer.Key != peers[i].Key {
				t.Errorf("%+v", s)
			}
		}
	})
}
