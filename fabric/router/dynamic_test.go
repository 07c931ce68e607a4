package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// sessions waits until the worker's sessions are so, each NAME STATE.
func (m *member) sessions(want ...string) {
	m.t.Helper()
	bgptest.Eventually(m.t, 15*time.Second, func() string {
		state, err := m.client.State(m.t.Context())
		if err != nil {
			return err.Error()
		}
		var have []string
		for _, p := range state.Peers {
			have = append(have, strings.TrimSpace(p.Name+" "+p.State+" "+p.Hold))
		}
		if !slices.Equal(have, want) {
			return fmt.Sprintf("%q, want %q: %+v", have, want, state.Peers)
		}
		return ""
	})
}

// TestDynamic has routers connect that the member was not told of by address, with a password for all of them, one too many among them.
func TestDynamic(t *testing.T) {
	s := newSite(t, 1, "password secret", "timers connect 1")
	m := s.members[0]
	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.11:179")
	m.value.Peers = []fabric.RoutingPeer{{Name: "rack", Dynamic: netip.MustParsePrefix("10.98.0.0/29"), MaxSessions: 1, ASN: 65001, HoldTime: 3, GracefulRestart: 30, Password: "secret"}}
	for i := range m.value.Announcements {
		m.value.Announcements[i].Peers = []string{"rack"}
	}
	m.start()
	m.set()
	m.sessions("rack idle no-caller")
	if r := m.route(anycast4); len(r.Peers) != 1 || r.Peers[0].Peer != "rack" || r.Peers[0].Reason != fabric.ReasonSessionDown {
		t.Errorf("%+v", r)
	}
	// newSite's router waits to be called: it is to call.
	s.frr.Vtysh("configure terminal", "router bgp 65001", "no neighbor 10.98.0.11 passive")
	m.sessions("rack@10.98.0.1 established")
	s.gateways(anycast4, "10.98.0.11")
	if p := m.peer("rack@10.98.0.1"); p.Address != netip.MustParseAddr("10.98.0.1") || p.Sent != 1 {
		t.Errorf("%+v", p)
	}
	if r := m.route(anycast4); len(r.Peers) != 1 || r.Peers[0].Peer != "rack@10.98.0.1" || !r.Peers[0].Announced {
		t.Errorf("%+v", r)
	}
	// There is one slot: the next does not get through the packet filter, nor does anybody from elsewhere.
	for _, address := range []string{"10.98.0.2/24", "10.98.0.99/24"} {
		stranger := bgptest.NewNode(t, "stranger")
		s.frr.Node.Link("lan"+address[8:9]+"x", stranger, "eth0")
		s.frr.Node.IP("link set dev lan%sx master lan", address[8:9])
		stranger.Address("eth0", address)
		if err := reach(t, stranger, "10.98.0.11:179"); err == nil {
			t.Errorf("%s reached the member", address)
		}
	}
	// The next worker goes on with the session, and nobody misses a route.
	watch := s.frr.Node.Watch()
	came := watch.Until(anycast4, true, 10*time.Second)
	m.end(syscall.SIGKILL)
	m.start()
	m.sessions("rack@10.98.0.1 established")
	if now := watch.Until(anycast4, true, time.Second); now != came {
		t.Errorf("the route is there since %s, now since %s", came, now)
	}
	// The wrong password: nobody is heard.
	m.value.Peers[0].Password = "wrong"
	m.set()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := m.peer("rack@10.98.0.1"); p.Established() {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	m.value.Speaker.Listen = netip.AddrPort{}
	m.value.Peers[0].Dynamic = netip.MustParsePrefix("10.98.1.0/29")
	m.set()
	m.sessions("rack idle no-listener")
}

func TestCallers(t *testing.T) {
	at := netip.MustParseAddr
	peers := []fabric.RoutingPeer{{Name: "far", Address: at("192.0.2.1")}, {Name: "rack", Dynamic: netip.MustParsePrefix("198.51.100.0/24"), MaxSessions: 2}}
	c, now := callers{}, time.Unix(1000, 0)
	for _, x := range []struct {
		address string
		new     bool
	}{{"203.0.113.1", false}, {"198.51.100.1", true}, {"198.51.100.1", false}, {"198.51.100.2", true}, {"198.51.100.3", false}} {
		if got := c.knock(peers, at(x.address), now); got != x.new {
			t.Errorf("%s: %v", x.address, got)
		}
	}
	r := fabric.Routing{
		Peers: peers, Speaker: &fabric.Speaker{Listen: netip.MustParseAddrPort("198.51.100.99:179")},
		Announcements: []fabric.Announcement{{Peers: []string{"far", "rack"}, Attributes: map[string]fabric.PolicySet{"rack": {Prepend: 1}}}, {Withheld: []fabric.RoutePeer{{Peer: "rack", Reason: "policy"}}}},
		Imports:       []fabric.Import{{Peer: "rack"}},
	}
	x := expand(r, c)
	var got []string
	for _, p := range x.Peers {
		got = append(got, p.Name+" from "+p.Local.String())
	}
	a := x.Announcements
	got = append(got, strings.Join(a[0].Peers, ","), fmt.Sprintf("%d %d %s %d", a[0].Attributes["rack@198.51.100.2"].Prepend, len(a[1].Withheld), a[1].Withheld[1].Peer, len(x.Imports)))
	if want := "far from invalid IP; rack@198.51.100.1 from 198.51.100.99; rack@198.51.100.2 from 198.51.100.99; far,rack@198.51.100.1,rack@198.51.100.2; 1 2 rack@198.51.100.2 2"; strings.Join(got, "; ") != want {
		t.Errorf("%q", got)
	}
	if len(r.Announcements[0].Peers) != 2 || len(expand(r, callers{}).Peers) != 2 {
		t.Error("what is expanded is changed")
	}
	// A slot is kept by a session, and for some time without one.
	now = now.Add(callerPatience - time.Second)
	c.forget(peers, []fabric.PeerState{{Address: at("198.51.100.1"), State: "established"}}, now)
	if now = now.Add(time.Second); !c.forget(peers, nil, now) || len(c) != 1 || c.of("rack") != 1 {
		t.Errorf("%v", c)
	}
	if end, ok := c.next(); !ok || !end.Equal(now.Add(callerPatience-time.Second)) {
		t.Errorf("%s", end)
	}
	if !c.forget(peers[:1], nil, now) || len(c) != 0 {
		t.Errorf("%v", c)
	}
}

// TestDynamicCondition has one report on a dynamic peer tell of all its sessions.
func TestDynamicCondition(t *testing.T) {
	p := &fabric.Peer{Header: fabric.Header{Name: "rack"}, Dynamic: netip.MustParsePrefix("198.51.100.0/24"), ASN: 65001}
	row, err := fabric.Encode(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := fabric.EmptySnapshot().Advance(1, []fabric.Row{row})
	if err != nil {
		t.Fatal(err)
	}
	v := fabric.View{Member: "m1", Desired: s, Reports: fabric.EmptyReports()}
	one := fabric.PeerState{Name: "rack@198.51.100.1", State: "established"}
	two := fabric.PeerState{Name: "rack@198.51.100.2", State: "idle", Hold: fabric.ReasonPenalty, LastError: "crashed"}
	other := fabric.PeerState{Name: "rack2", State: "idle"}
	for _, c := range []struct {
		name     string
		sessions []fabric.PeerState
		ok       bool
		reason   string
		shown    []string
	}{
		{"nobody", []fabric.PeerState{{Name: "rack", State: "idle", Hold: fabric.ReasonNoCaller}, other}, false, fabric.ReasonNoCaller, []string{"rack"}},
		{"one", []fabric.PeerState{one, other}, true, "", []string{"rack@198.51.100.1"}},
		{"one of two", []fabric.PeerState{two, one}, false, fabric.ReasonPenalty, []string{"rack@198.51.100.1", "rack@198.51.100.2"}},
		{"not told of yet", nil, false, fabric.ReasonSessionDown, []string{""}},
	} {
		sessions := map[string]fabric.PeerState{}
		for _, x := range c.sessions {
			sessions[x.Name] = x
		}
		got := sessionCondition(v, p, sessions, fabric.WorkerState{}, "")
		var shown []string
		for _, x := range fabric.SessionsOf(got) {
			shown = append(shown, x.Name)
		}
		if got.OK != c.ok || got.Reason != c.reason || !slices.Equal(shown, c.shown) {
			t.Errorf("%s: %+v tells of %q", c.name, got, shown)
		}
	}
}
