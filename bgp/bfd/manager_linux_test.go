package bfd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sorts are sessions of all sorts between the two ends of a pair.
var sorts = []struct {
	name string
	a, b Peer // of the side, about the other one
}{
	{"IPv4", Peer{Key: Key{Address: netip.MustParseAddr("192.0.2.2")}}, Peer{Key: Key{Address: netip.MustParseAddr("192.0.2.1")}}},
	{
		"IPv4 by interface and address",
		Peer{Key: Key{Address: netip.MustParseAddr("198.51.100.2"), Interface: "bfdA", Local: netip.MustParseAddr("198.51.100.1")}},
		Peer{Key: Key{Address: netip.MustParseAddr("198.51.100.1"), Interface: "bfdB", Local: netip.MustParseAddr("198.51.100.2")}},
	},
	{"IPv6", Peer{Key: Key{Address: netip.MustParseAddr("2001:db8::2")}}, Peer{Key: Key{Address: netip.MustParseAddr("2001:db8::1")}}},
	{"IPv6 link-local", Peer{Key: Key{Address: netip.MustParseAddr("fe80::2%bfdA")}}, Peer{Key: Key{Address: netip.MustParseAddr("fe80::1%bfdB")}}},
	{
		"IPv4 multihop",
		Peer{Key: Key{Address: netip.MustParseAddr("192.0.2.2"), Multihop: true}, MinTTL: 255},
		Peer{Key: Key{Address: netip.MustParseAddr("192.0.2.1"), Multihop: true}, MinTTL: 255},
	},
	{
		"IPv6 multihop",
		Peer{Key: Key{Address: netip.MustParseAddr("2001:db8::2"), Local: netip.MustParseAddr("2001:db8::1"), Multihop: true}},
		Peer{Key: Key{Address: netip.MustParseAddr("2001:db8::1"), Local: netip.MustParseAddr("2001:db8::2"), Multihop: true}},
	},
}

func sortedPeers(c Config) (a, b []Peer) {
	for _, s := range sorts {
		s.a.Config, s.b.Config = c, c
		a, b = append(a, s.a), append(b, s.b)
	}
	return a, b
}

// Two managers, all sorts of sessions: up, found dead when the link goes, up again when it is back, and told of the end.
func TestManagers(t *testing.T) {
	p := newPair(t)
	run(t, "ip", "-n", p.a, "addr", "add", "198.51.100.1/24", "dev", "bfdA")
	run(t, "ip", "-n", p.b, "addr", "add", "198.51.100.2/24", "dev", "bfdB")
	a, b := startIn(t, p.a), startIn(t, p.b)
	peersA, peersB := sortedPeers(steady)
	set(t, a, peersA...)
	set(t, b, peersB...)
	for _, s := range sorts {
		awaitState(t, a, s.a.Key, Up)
		awaitState(t, b, s.b.Key, Up)
	}
	events := map[Key]<-chan Event{}
	for _, s := range sorts {
		events[s.a.Key] = watch(t, a, s.a.Key)
	}
	cut := time.Now()
	run(t, "ip", "-n", p.b, "link", "set", "bfdB", "down")
	for _, s := range sorts {
		e := awaitEvent(t, events[s.a.Key], Down)
		t.Logf("%s: %s after %s", s.name, e.Diag, e.At.Sub(cut))
		if !e.Failure() {
			t.Errorf("%s: %+v", s.name, e)
		}
	}
	await(t, "the lost link is the reason", func() bool { return stateOf(t, b, sorts[0].b.Key).Reason == ReasonUnreachable })
	run(t, "ip", "-n", p.b, "link", "set", "bfdB", "up")
	for _, address := range []string{"2001:db8::2/64", "fe80::2/64"} { // the kernel dropped them with the link
		run(t, "ip", "-n", p.b, "addr", "replace", address, "dev", "bfdB", "nodad")
	}
	for _, s := range sorts {
		awaitState(t, a, s.a.Key, Up)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range sorts {
		if e := awaitEvent(t, events[s.a.Key], Down); e.Failure() {
			t.Errorf("%s: %+v", s.name, e)
		}
	}
}

// An interface that is made anew under the same name is found again.
func TestInterfaceComesBack(t *testing.T) {
	p := newPair(t)
	a, b := startIn(t, p.a), startIn(t, p.b)
	s := sorts[3]
	s.a.Config, s.b.Config = steady, steady
	set(t, a, s.a)
	set(t, b, s.b)
	awaitState(t, a, s.a.Key, Up)
	run(t, "ip", "-n", p.a, "link", "del", "bfdA")
	await(t, "the interface is missed", func() bool { return stateOf(t, a, s.a.Key).Reason == ReasonNoInterface })
	run(t, "ip", "link", "add", "bfdA", "netns", p.a, "type", "veth", "peer", "name", "bfdB", "netns", p.b)
	for i, side := range []struct{ ns, link string }{{p.a, "bfdA"}, {p.b, "bfdB"}} {
		run(t, "ip", "-n", side.ns, "link", "set", side.link, "addrgenmode", "none")
		run(t, "ip", "-n", side.ns, "addr", "add", fmt.Sprintf("fe80::%d/64", i+1), "dev", side.link, "nodad")
		run(t, "ip", "-n", side.ns, "link", "set", side.link, "up")
	}
	awaitState(t, a, s.a.Key, Up)
}

// Packets go out with TTL 255, control class and a source port of the RFC, different for each session.
func TestPacketsOnTheWire(t *testing.T) {
	p := newPair(t)
	a := startIn(t, p.a)
	type seen struct {
		port     uint16
		ttl, tos int
	}
	packets := map[string]seen{}
	sockets := map[string]*receiver{}
	inside(t, p.b, func() error {
		for _, kind := range []receiverKind{{}, {v6: true}, {multihop: true}} {
			r := &receiver{kind: kind}
			if err := r.open(); err != nil {
				return err
			}
			t.Cleanup(func() { unix.Close(r.fd) })
			if err := unix.SetsockoptInt(r.fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1); err != nil && !kind.v6 {
				return err
			}
			sockets[fmt.Sprint(kind)] = r
		}
		return nil
	})
	set(t, a,
		Peer{Key: sorts[0].a.Key, Config: steady}, Peer{Key: sorts[2].a.Key, Config: steady}, Peer{Key: sorts[4].a.Key, Config: steady},
	)
	for name, r := range sockets {
		await(t, "a packet comes to "+name, func() bool {
			d, ok := r.receive()
			if !ok {
				return false
			}
			got := seen{ttl: d.ttl, port: r.name.Port>>8 | r.name.Port<<8, tos: -1}
			if messages, err := unix.ParseSocketControlMessage(r.control[:r.message.Controllen]); err == nil {
				for _, m := range messages {
					if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS {
						got.tos = int(m.Data[0])
					}
				}
			}
			packets[name] = got
			if _, err := Parse(d.payload); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return true
		})
	}
	ports := map[uint16]bool{}
	for name, s := range packets {
		if s.ttl != 255 || s.port < 49152 || s.tos != classControl && s.tos != -1 || ports[s.port] {
			t.Errorf("%s: %+v", name, s)
		}
		ports[s.port] = true
	}
}

// A packet that crossed a router, or claims to be from farther, takes nothing down.
func TestForeignTTL(t *testing.T) {
	p := newPair(t)
	a, b := startIn(t, p.a), startIn(t, p.b)
	for _, s := range []int{0, 2} {
		sorts[s].a.Config, sorts[s].b.Config = steady, steady
	}
	set(t, a, sorts[0].a, sorts[2].a)
	set(t, b, sorts[0].b, sorts[2].b)
	for _, s := range []int{0, 2} {
		state := awaitState(t, a, sorts[s].a.Key, Up)
		forged := Packet{State: Down, Multiplier: 3, MyDiscr: 1, YourDiscr: state.Status.LocalDiscr, MinTx: time.Second, MinRx: time.Second}
		inside(t, p.b, func() error {
			conn, err := net.Dial("udp", netip.AddrPortFrom(sorts[s].b.Address, portSingleHop).String()) // TTL of the system: 64
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(forged.Append(nil))
			return err
		})
		await(t, "the packet is discarded", func() bool { return stateOf(t, a, sorts[s].a.Key).Discards["bad-ttl"] == 1 })
		if st := stateOf(t, a, sorts[s].a.Key); st.Flaps != 0 || st.Status.State != Up {
			t.Errorf("%+v", st)
		}
	}
}

// A host where another daemon has the port says so, and takes the port when it is free.
func TestPortInUse(t *testing.T) {
	p := newPair(t)
	b := startBIRD(t, p.a, "router id 192.0.2.1;\nprotocol device {}\nprotocol bfd { interface \"bfdA\" {}; neighbor 192.0.2.2 dev \"bfdA\"; }\n")
	m := startIn(t, p.a)
	set(t, m, Peer{Key: sorts[0].a.Key, Config: steady})
	s := stateOf(t, m, sorts[0].a.Key)
	if s.Reason != ReasonPortInUse || !strings.Contains(s.Message, "stop the other BFD daemon") {
		t.Errorf("%+v", s)
	}
	b.kill()
	await(t, "the port is taken", func() bool { return stateOf(t, m, sorts[0].a.Key).Out > 0 })
}

// A local address that is not there yet is waited for.
func TestLocalAddressComes(t *testing.T) {
	p := newPair(t)
	m := startIn(t, p.a)
	k := Key{Address: netip.MustParseAddr("192.0.2.2"), Local: netip.MustParseAddr("192.0.2.77")}
	set(t, m, Peer{Key: k, Config: steady})
	if s := stateOf(t, m, k); s.Reason != ReasonNoLocal {
		t.Errorf("%+v", s)
	}
	run(t, "ip", "-n", p.a, "addr", "add", "192.0.2.77/24", "dev", "bfdA")
	await(t, "packets are sent", func() bool { return stateOf(t, m, k).Out > 0 })
}

// Where real-time priority is not allowed, that is said; where it is, only the loop's thread has it.
func TestRealtime(t *testing.T) {
	p := newPair(t)
	h := newHost()
	type found struct {
		attr *unix.SchedAttr
		err  error
	}
	seen := make(chan found, 1)
	h.enter = func() error { return enter(p.a) }
	m, err := start(Options{}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.do(func() { attr, err := unix.SchedGetAttr(0, 0); seen <- found{attr, err} }); err != nil {
		t.Fatal(err)
	}
	f := <-seen
	if f.err != nil {
		t.Fatal(f.err)
	}
	if real := f.attr.Policy == unix.SCHED_RR && f.attr.Priority == realtimePriority; real != (m.Realtime() == nil) {
		t.Errorf("policy %d, priority %d, but %v", f.attr.Policy, f.attr.Priority, m.Realtime())
	}

	h = newHost()
	h.enter = func() error { // the thread, which ends with the manager, loses the right
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_NICE
		return unix.Capset(&header, &data[0])
	}
	if m, err = start(Options{}, h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Realtime(); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_SYS_NICE") {
		t.Errorf("got %v", err)
	}
}
