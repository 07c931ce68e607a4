package router

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// BGP message types (RFC 4271, 4.1).
const (
	bgpOpen         = 1
	bgpUpdate       = 2
	bgpNotification = 3
	bgpKeepalive    = 4
)

func bgpMessage(kind byte, body ...byte) []byte {
	return slices.Concat(slices.Repeat([]byte{0xff}, 16), binary.BigEndian.AppendUint16(nil, uint16(19+len(body))), []byte{kind}, body)
}

// opening is an OPEN of an AS number and a BGP identifier, with a hold time of 90 s and no capabilities: IPv4 unicast.
func opening(asn uint16, id string) []byte {
	a := netip.MustParseAddr(id).As4()
	return bgpMessage(bgpOpen, 4, byte(asn>>8), byte(asn), 0, 90, a[0], a[1], a[2], a[3], 0)
}

// Path attributes (RFC 4271, 4.3), with flags, type and length.
var (
	origin  = []byte{0x40, 1, 1, 0}
	asPath  = asPathOf(65001)
	nextHop = nextHopOf(10, 98, 0, 66)
)

func asPathOf(asns ...uint16) []byte {
	a := []byte{0x40, 2, byte(2 + 2*len(asns)), 2, byte(len(asns))}
	for _, asn := range asns {
		a = binary.BigEndian.AppendUint16(a, asn)
	}
	return a
}

func nextHopOf(b ...byte) []byte { return append([]byte{0x40, 3, byte(len(b))}, b...) }

// updateOf is an UPDATE with a length of path attributes that it claims, -1 for the right one, and prefixes as they are on the wire.
func updateOf(claim int, nlri []byte, attributes ...[]byte) []byte {
	all := slices.Concat(attributes...)
	if claim < 0 {
		claim = len(all)
	}
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(claim))
	return bgpMessage(bgpUpdate, slices.Concat(body, all, nlri)...)
}

// Prefixes on the wire.
var (
	documentation = []byte{24, 198, 51, 100}
	anotherNet    = []byte{24, 192, 0, 2}
)

// hostile is what a neighbour does, and what that may cost.
type hostile struct {
	name string
	asn  uint16 // in its OPEN; 0 is the right one
	id   string // in its OPEN; empty is one of its own
	// early is sent in place of the OPEN.
	early []byte
	// late is sent when the session is established and one good prefix has been accepted.
	late []byte
	// want are outcomes that cost nobody else anything. The first is what RFC 7606, or else RFC 4271, asks for; the others are GoBGP's.
	want []string
}

// Outcomes.
const (
	kept      = "the session stays, the prefix too"
	withdrawn = "the session stays, the prefix is withdrawn" // treat-as-withdraw (RFC 7606, 2)
	crash     = "crash"
	closed    = "closed"
	silence   = "nothing happens" // until its hold timer of OpenSent ends the connection, if ever
)

func notified(code, subcode byte) string { return fmt.Sprintf("notification %d/%d", code, subcode) }

// mpReach is MP_REACH_NLRI (RFC 4760) with an extended length.
func mpReach(afi uint16, safi byte, body ...byte) []byte {
	v := slices.Concat(binary.BigEndian.AppendUint16(nil, afi), []byte{safi}, body)
	return slices.Concat([]byte{0x90, 14}, binary.BigEndian.AppendUint16(nil, uint16(len(v))), v)
}

var hostiles = []hostile{
	{name: "unknown type before OPEN", early: bgpMessage(9, 0, 0), want: []string{notified(1, 3), crash}},
	{name: "unknown type", late: bgpMessage(9, 0, 0), want: []string{notified(1, 3), crash}},
	{name: "second OPEN", late: opening(65001, "10.98.0.66"), want: []string{notified(5, 3), crash}},
	{name: "UPDATE in place of OPEN", early: updateOf(-1, documentation, origin, asPath, nextHop), want: []string{notified(5, 1), closed}},
	{name: "KEEPALIVE in place of OPEN", early: bgpMessage(bgpKeepalive), want: []string{notified(5, 1), closed}},
	{name: "no marker", early: slices.Concat(make([]byte, 16), opening(65001, "10.98.0.66")[16:]), want: []string{notified(1, 1), silence}},
	{name: "length 18", early: append(slices.Repeat([]byte{0xff}, 16), 0, 18, 1), want: []string{notified(1, 2)}},
	{name: "length 4097", early: append(slices.Repeat([]byte{0xff}, 16), 0x10, 0x01, 1), want: []string{notified(1, 2), silence}},
	{name: "wrong ASN", asn: 65099, want: []string{notified(2, 2)}},
	{name: "our own router ID", id: "10.98.0.11", want: []string{kept}}, // RFC 6286: it need only be unique within an AS
	{name: "the router ID of another peer", id: "10.98.0.1", want: []string{kept}},
	{name: "router ID 0", id: "0.0.0.0", want: []string{notified(2, 3)}},
	{name: "NEXT_HOP of length 0", late: updateOf(-1, documentation, origin, asPath, nextHopOf()), want: []string{withdrawn}},
	{name: "NEXT_HOP of length 3", late: updateOf(-1, documentation, origin, asPath, nextHopOf(10, 98, 0)), want: []string{withdrawn}},
	{name: "NEXT_HOP of length 5", late: updateOf(-1, documentation, origin, asPath, nextHopOf(10, 98, 0, 66, 1)), want: []string{withdrawn}},
	{name: "NEXT_HOP of length 16", late: updateOf(-1, documentation, origin, asPath, nextHopOf(make([]byte, 16)...)), want: []string{withdrawn}},
	{name: "no NEXT_HOP", late: updateOf(-1, documentation, origin, asPath), want: []string{withdrawn}},
	{name: "ORIGIN 7", late: updateOf(-1, documentation, []byte{0x40, 1, 1, 7}, asPath, nextHop), want: []string{withdrawn}},
	{name: "AS_PATH shorter than it says", late: updateOf(-1, documentation, origin, []byte{0x40, 2, 4, 2, 9, 0xfd, 0xe9}, nextHop), want: []string{withdrawn}},
	{name: "attribute longer than the message", late: updateOf(-1, documentation, origin, asPath, nextHop, []byte{0xc0, 8, 200, 1}), want: []string{withdrawn, notified(3, 1), kept}},
	{name: "attributes longer than the message", late: updateOf(2000, documentation, origin, asPath, nextHop), want: []string{notified(3, 1)}},
	{name: "prefix length 33", late: updateOf(-1, []byte{33, 198, 51, 100, 0, 0}, origin, asPath, nextHop), want: []string{notified(3, 10), notified(3, 1)}},
	{name: "prefix longer than the message", late: updateOf(-1, []byte{32, 198, 51}, origin, asPath, nextHop), want: []string{notified(3, 10), notified(3, 1)}},
	{name: "AS loop", late: updateOf(-1, documentation, origin, asPathOf(65001, 65010, 65001), nextHop), want: []string{withdrawn}},
	{name: "our own prefix", late: updateOf(-1, []byte{32, 203, 0, 113, 53}, origin, asPath, nextHop), want: []string{kept}},
	{name: "inside our own prefix", late: updateOf(-1, []byte{32, 10, 50, 1, 10}, origin, asPath, nextHop), want: []string{kept}},
	{name: "default route where it is not asked for", late: updateOf(-1, []byte{0}, origin, asPath, nextHop), want: []string{kept}},
	{name: "loopback", late: updateOf(-1, []byte{8, 127}, origin, asPath, nextHop), want: []string{kept}},
	{name: "short route distinguisher in EVPN", late: updateOf(-1, nil, origin, asPath, mpReach(25, 70, 4, 10, 98, 0, 66, 0, 2, 3, 0, 0, 0)), want: []string{kept, withdrawn, notified(3, 9), crash}},
	{name: "short route distinguisher in L3VPN", late: updateOf(-1, nil, origin, asPath, mpReach(1, 128, 4, 10, 98, 0, 66, 0, 32, 0, 0, 1, 0)), want: []string{kept, withdrawn, notified(3, 9), crash}},
	{name: "short SR policy", late: updateOf(-1, nil, origin, asPath, mpReach(1, 73, 4, 10, 98, 0, 66, 0, 96, 0, 0)), want: []string{kept, withdrawn, notified(3, 9), crash}},
}

// hostileAddress is that of the nth hostile neighbour: each has one of its own, so that none has to serve the penalty of another.
func hostileAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 98, 0, byte(100 + n)}) }

// TestHostilePeers lets one neighbour after the other do what it should not. Whatever that is, the other peers keep their routes, and the worker
// is restarted at most once.
func TestHostilePeers(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	evil := bgptest.NewNode(t, "evil")
	s.frr.Node.Link("lan9", evil, "eth0")
	s.frr.Node.IP("link set dev lan9 master lan")
	for n := range hostiles {
		evil.Address("eth0", hostileAddress(n).String()+"/24")
	}
	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.11:179")
	m.value.Own = []netip.Prefix{netip.MustParsePrefix(anycast4), netip.MustParsePrefix("10.50.0.0/16")}
	m.start()
	m.set()
	watch := s.frr.Node.Watch()
	came4, came6 := watch.Until(anycast4, true, 10*time.Second), watch.Until(anycast6, true, 10*time.Second)
	m.fresh()

	good := slices.Clone(m.value.Peers)
	for n, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			p := fabric.RoutingPeer{Name: "evil", Address: hostileAddress(n), ASN: 65001, HoldTime: 90, GracefulRestart: 30, Passive: true}
			m.value.Peers = append(slices.Clone(good), p)
			m.value.Imports = []fabric.Import{{Peer: "evil", Rules: []fabric.PolicyRule{
				{Match: fabric.PolicyMatch{Prefixes: []fabric.PrefixRange{{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}}}, Action: fabric.PolicyReject},
				{Action: fabric.PolicyAccept},
			}}}
			m.set()
			outcome := m.suffer(t, evil, h, p.Address)
			t.Log(outcome)
			if !slices.Contains(h.want, outcome) {
				t.Errorf("want one of %q", h.want)
			}
			if outcome == crash {
				m.start()
				if x := m.peer("evil"); x.Hold != fabric.ReasonPenalty || !strings.Contains(x.LastError, "(1 times)") {
					t.Errorf("%+v", x)
				}
				if _, err := os.Stat(m.state() + "/" + crashBefore); err != nil {
					t.Errorf("trace for the operator: %v", err)
				}
			}
			m.fresh()
		})
	}
	if now4, now6 := watch.Until(anycast4, true, time.Second), watch.Until(anycast6, true, time.Second); now4 != came4 || now6 != came6 {
		t.Errorf("routes changed: IPv4 %s later, IPv6 %s later", now4.Sub(came4), now6.Sub(came6))
	}
}

// fresh waits until the router has sessions with the member, and its routes are not those of an earlier one.
func (m *member) fresh() {
	m.t.Helper()
	for _, name := range []string{"up4", "up6"} {
		bgptest.Eventually(m.t, 20*time.Second, func() string {
			if p := m.peer(name); !p.Established() {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
	}
	bgptest.Eventually(m.t, 20*time.Second, func() string {
		for _, prefix := range []string{anycast4, anycast6} {
			if p := m.site.frr.Paths(prefix); len(p) != 1 || p[0].Stale {
				return fmt.Sprintf("%s at FRR: %+v", prefix, p)
			}
		}
		return ""
	})
}

// suffer has a neighbour do what it does, and tells what came of it.
func (m *member) suffer(t *testing.T, evil *bgptest.Node, h hostile, from netip.Addr) string {
	t.Helper()
	conn := m.dialAs(t, evil, from)
	defer conn.Close()
	established, ended := make(chan struct{}), make(chan string, 1)
	go func() { ended <- hear(conn, established) }()
	send := func(messages ...[]byte) {
		if _, err := conn.Write(slices.Concat(messages...)); err != nil {
			t.Logf("write: %v", err)
		}
	}
	if h.early != nil {
		send(h.early)
	} else {
		send(opening(cmp.Or(h.asn, 65001), cmp.Or(h.id, from.String())), bgpMessage(bgpKeepalive))
		select {
		case <-established:
			send(updateOf(-1, documentation, origin, asPath, nextHop))
			bgptest.Eventually(t, 5*time.Second, func() string { return m.missing(t, netip.MustParsePrefix("198.51.100.0/24")) })
			send(h.late, updateOf(-1, anotherNet, origin, asPath, nextHop)) // what is sent last is read last
		case end := <-ended:
			return m.crashed(end)
		case <-time.After(5 * time.Second):
		}
	}
	for end := time.After(1500 * time.Millisecond); ; {
		select {
		case how := <-ended:
			return m.crashed(how)
		case <-end:
			return silence
		case <-time.After(5 * time.Millisecond):
		}
		if h.early != nil || m.missing(t, netip.MustParsePrefix("192.0.2.0/24")) != "" {
			continue
		}
		if m.missing(t, netip.MustParsePrefix("198.51.100.0/24")) == "" {
			return kept
		}
		return withdrawn
	}
}

// crashed tells whether a connection ended because the worker did.
func (m *member) crashed(end string) string {
	for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.worker.Process.Pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			m.worker.Wait()
			return crash
		}
	}
	return end
}

// missing complains where a prefix of the hostile neighbour is not used.
func (m *member) missing(t *testing.T, prefix netip.Prefix) string {
	routes, err := m.client.Routes(t.Context(), fabric.BGPQuery{Table: fabric.BGPBest, Prefix: prefix, Limit: 10})
	if err != nil {
		return err.Error()
	}
	for _, r := range routes.Routes {
		if r.Prefix == prefix && r.Peer == "evil" {
			return ""
		}
	}
	return fmt.Sprintf("%s is not used: %+v", prefix, routes)
}

// dialAs connects to the member from one of a host's addresses, and returns when the speaker has begun to talk.
func (m *member) dialAs(t *testing.T, n *bgptest.Node, from netip.Addr) net.Conn {
	t.Helper()
	var conn net.Conn
	bgptest.Eventually(t, 10*time.Second, func() string {
		c, err := within(t, n, func() (net.Conn, error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: time.Second}
			return d.Dial("tcp4", m.value.Speaker.Listen.String())
		})
		if err != nil {
			return err.Error()
		}
		// A speaker that does not expect the peer yet, or not any more, ends the connection.
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			c.Close()
			return err.Error()
		}
		c.SetReadDeadline(time.Time{})
		conn = c
		return ""
	})
	return conn
}

// hear reads what a speaker says until that ends, and tells how it did. It closes established at the first KEEPALIVE.
func hear(conn net.Conn, established chan<- struct{}) string {
	up := false
	for first := 1; ; first = 0 { // dialAs has read the first byte
		header := make([]byte, 19)
		if _, err := io.ReadFull(conn, header[first:]); err != nil {
			return closed
		}
		body := make([]byte, binary.BigEndian.Uint16(header[16:])-19)
		if _, err := io.ReadFull(conn, body); err != nil {
			return closed
		}
		switch {
		case header[18] == bgpNotification && len(body) >= 2:
			return notified(body[0], body[1])
		case header[18] == bgpKeepalive && !up:
			up = true
			close(established)
		}
	}
}
