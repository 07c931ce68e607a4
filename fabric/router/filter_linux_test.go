package router

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// reach connects to an address from a host.
func reach(t *testing.T, n *bgptest.Node, to string) error {
	t.Helper()
	ns, err := os.Open("/run/netns/" + n.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	conn, err := dialIn(ns, netip.MustParseAddrPort(to), time.Now().Add(300*time.Millisecond))
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestOnlyPeersReachTheListener(t *testing.T) {
	for _, to := range []string{"10.98.0.11:179", "[fd98::11]:179"} {
		t.Run(to, func(t *testing.T) { onlyPeersReach(t, to) })
	}
}

func onlyPeersReach(t *testing.T, to string) {
	s := newSite(t, 1)
	m := s.members[0]
	stranger := bgptest.NewNode(t, "stranger")
	s.frr.Node.Link("lan9", stranger, "eth0")
	s.frr.Node.IP("link set dev lan9 master lan")
	stranger.Address("eth0", "10.98.0.99/24", "fd98::99/64")
	m.node.Run("nft", "add table inet mine; add chain inet mine keep")
	m.value.Speaker.Listen = netip.MustParseAddrPort(to)
	m.start()
	m.set()
	bgptest.Eventually(t, 5*time.Second, func() string {
		if err := reach(t, s.frr.Node, to); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := reach(t, stranger, to); err == nil {
		t.Error("a stranger reached it")
	}
	// Somebody flushes everything: it comes back.
	m.node.Run("nft", "flush", "table", "inet", filterTable)
	m.node.IP("link add extra type bridge") // something to look for
	bgptest.Eventually(t, 5*time.Second, func() string {
		if out := m.node.Run("nft", "list", "ruleset"); !strings.Contains(out, "@admitted") {
			return out
		}
		return ""
	})
	// Without peers there is no table, and that of somebody else is still there.
	m.value.Peers, m.value.Announcements = nil, nil
	m.set()
	if out := m.node.Run("nft", "list", "tables"); strings.Contains(out, filterTable) || !strings.Contains(out, "inet mine") {
		t.Errorf("tables are\n%s", out)
	}
}

// occupy makes the worker's table somebody else's, so that the worker can't have it, until the function that it gives is called.
func occupy(t *testing.T, n *bgptest.Node) (leave func()) {
	t.Helper()
	c := exec.Command("nsenter", "--net=/run/netns/"+n.Name, "--", "nft", "-i")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	leave = func() {
		c.Process.Kill()
		c.Wait()
	}
	t.Cleanup(leave)
	// A table that has an owner goes with it. The one that the worker has goes in the same transaction: it would come back in between.
	if _, err := fmt.Fprintf(in, "add table inet %[1]s; delete table inet %[1]s; add table inet %[1]s { flags owner; }\n", filterTable); err != nil {
		t.Fatal(err)
	}
	bgptest.Eventually(t, 5*time.Second, func() string {
		if out := n.Run("nft", "list", "ruleset"); !strings.Contains(out, "flags owner") {
			return out
		}
		return ""
	})
	return leave
}

func TestNobodyGetsInWithoutTheFilter(t *testing.T) {
	const listen = "10.98.0.11:179"
	s := newSite(t, 1)
	m := s.members[0]
	stranger := bgptest.NewNode(t, "stranger")
	s.frr.Node.Link("lan9", stranger, "eth0")
	s.frr.Node.IP("link set dev lan9 master lan")
	stranger.Address("eth0", "10.98.0.99/24")
	s.frr.Vtysh("configure terminal", "router bgp 65001", "no neighbor 10.98.0.11 passive", "neighbor 10.98.0.11 timers connect 1")
	m.value.Speaker.Listen = netip.MustParseAddrPort(listen)
	m.value.Peers[0].Passive = true
	nobody := func() {
		t.Helper()
		for _, n := range []*bgptest.Node{s.frr.Node, stranger} {
			if err := reach(t, n, listen); err == nil {
				t.Errorf("%s got in without a filter", n.Name)
			}
		}
	}
	waits := func() {
		t.Helper()
		bgptest.Eventually(t, 5*time.Second, func() string {
			state, err := m.client.State(t.Context())
			if err != nil || state.Worker.Reason != fabric.ReasonFilterFailed {
				return fmt.Sprintf("%+v, %v", state.Worker, err)
			}
			return ""
		})
	}
	leave := occupy(t, m.node)
	m.start()
	m.set()
	waits()
	s.gateways(anycast6, "fd98::11") // the member dials
	if p := m.peer("up4"); p.Hold != fabric.ReasonFilterFailed || !strings.Contains(p.LastError, filterTable) {
		t.Errorf("%+v", p)
	}
	nobody()
	leave()
	s.gateways(anycast4, "10.98.0.11")
	if p := m.peer("up6"); p.Flaps != 0 || !p.Established() {
		t.Errorf("the session that the member dialled: %+v", p)
	}
	if err := reach(t, stranger, listen); err == nil {
		t.Error("a stranger reached it")
	}
	// The filter goes while there are sessions: they go on, and nobody else gets in.
	leave = occupy(t, m.node)
	m.node.IP("link add extra type bridge") // something to look for
	waits()
	bgptest.Eventually(t, 5*time.Second, func() string {
		if err := reach(t, s.frr.Node, listen); err == nil {
			return "the door is still open"
		}
		return ""
	})
	nobody()
	for _, name := range []string{"up4", "up6"} {
		if p := m.peer(name); p.Flaps != 0 || !p.Established() {
			t.Errorf("%+v", p)
		}
	}
	leave()
	bgptest.Eventually(t, 15*time.Second, func() string {
		if err := reach(t, s.frr.Node, listen); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := reach(t, stranger, listen); err == nil {
		t.Error("a stranger reached it")
	}
}

func TestGTSM(t *testing.T) {
	for _, c := range []struct {
		name, setting string
		established   bool
	}{
		{"the peer has it too", "ttl-security hops 1", true},
		{"the peer sends with TTL 1", "timers connect 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1, c.setting)
			m := s.members[0]
			for i := range m.value.Peers {
				m.value.Peers[i].GTSM = true
			}
			m.start()
			m.set()
			if c.established {
				s.gateways(anycast4, "10.98.0.11")
				s.gateways(anycast6, "fd98::11")
				return
			}
			// FRR accepts with TTL 255, and what it says from then on is dropped.
			bgptest.Eventually(t, 10*time.Second, func() string {
				if out := m.node.Run("nft", "list", "table", "inet", filterTable); strings.Contains(out, "packets 0") { // one rule for each family
					return out
				}
				return ""
			})
			for _, name := range []string{"up4", "up6"} {
				if p := m.peer(name); p.State == "openconfirm" || p.Established() {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func TestGuardOf(t *testing.T) {
	speaker := &fabric.Speaker{ASN: 65000, Listen: netip.MustParseAddrPort("192.0.2.1:179")}
	a, b := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	peers := []fabric.RoutingPeer{{Address: b, GTSM: true}, {Address: a}}
	range24 := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	inner, c2 := netip.MustParseAddr("10.66.0.1"), netip.MustParseAddr("10.66.0.2")
	member := fabric.RoutingPeer{Address: c2, Mesh: true}
	at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	for name, c := range map[string]struct {
		speaker  *fabric.Speaker
		peers    []fabric.RoutingPeer
		prefixes []netip.Prefix
		want     guard
	}{
		"no speaker":   {nil, peers, nil, guard{}},
		"no peers":     {speaker, nil, nil, guard{}},
		"listening":    {speaker, peers, nil, guard{[]door{{speaker.Listen, []netip.Addr{a, b}, nil}}, []netip.Addr{b}}},
		"by prefix":    {speaker, nil, range24, guard{[]door{{speaker.Listen, nil, range24}}, nil}},
		"dialling":     {&fabric.Speaker{ASN: 65000}, peers, range24, guard{near: []netip.Addr{b}}},
		"members only": {&fabric.Speaker{ASN: 65000, Mesh: inner}, append(peers[1:], member), range24, guard{[]door{{at(inner, 179), []netip.Addr{c2}, nil}}, nil}},
		"members as well": {
			&fabric.Speaker{ASN: 65000, Listen: at(speaker.Listen.Addr(), 1179), Mesh: inner}, append(peers[1:], member), range24,
			guard{[]door{{at(speaker.Listen.Addr(), 1179), []netip.Addr{c2, a}, range24}, {at(inner, 1179), []netip.Addr{c2}, nil}}, nil},
		},
		"everywhere": {
			&fabric.Speaker{ASN: 65000, Listen: at(netip.IPv4Unspecified(), 179), Mesh: inner}, append(peers[1:], member), nil,
			guard{[]door{{at(netip.IPv4Unspecified(), 179), []netip.Addr{c2, a}, nil}}, nil},
		},
		"nothing to drop": {&fabric.Speaker{ASN: 65000}, peers[1:], nil, guard{}},
	} {
		if got := guardOf(c.speaker, c.peers, c.prefixes); !got.equal(c.want) || got.empty() != c.want.empty() {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
