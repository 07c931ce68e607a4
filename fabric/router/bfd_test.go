package router

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bfd"
	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// newBFDSite is a site whose router and members have BFD. It is slow enough for a machine on which bfdd has to wait for a processor.
func newBFDSite(t testing.TB, members int) *site {
	t.Helper()
	s := newSite(t, members, "bfd", "bfd 3 300 300")
	s.frr.StartBFD()
	for _, m := range s.members {
		for i := range m.value.Peers {
			m.value.Peers[i].BFD = fabric.PeerBFD{Interval: 300, Multiplier: 3}
		}
	}
	return s
}

// peer is what the worker says of a peer.
func (m *member) peer(name string) fabric.PeerState {
	m.t.Helper()
	state, err := m.client.State(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, p := range state.Peers {
		if p.Name == name {
			return p
		}
	}
	return fabric.PeerState{}
}

// quick waits until BFD with both peers is up with its final timers, on both sides.
func (m *member) quick() {
	m.t.Helper()
	for _, name := range []string{"up4", "up6"} {
		bgptest.Eventually(m.t, 20*time.Second, func() string {
			if p := m.peer(name); !p.Established() || p.BFD == nil || !p.BFD.Up() || p.BFD.Detection != 900 || p.BFD.Interval != 300 {
				return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
			}
			return ""
		})
	}
	bgptest.Eventually(m.t, 10*time.Second, func() string {
		for _, address := range []string{fmt.Sprintf("10.98.0.1%d", m.number), fmt.Sprintf("fd98::1%d", m.number)} {
			if b := m.site.bfdPeer(address); b.Status != "up" || b.TransmitInterval != 300 || b.RemoteReceive != 300 {
				return fmt.Sprintf("FRR has %+v for %s", b, address)
			}
		}
		return ""
	})
}

// bfdPeer is what bfdd says of a session.
type bfdPeer struct {
	Peer             string `json:"peer"`
	Status           string `json:"status"`
	TransmitInterval int    `json:"transmit-interval"`
	RemoteReceive    int    `json:"remote-receive-interval"`
}

func (s *site) bfdPeer(address string) bfdPeer {
	s.t.Helper()
	var all []bfdPeer
	if err := json.Unmarshal([]byte(s.frr.BFD("show bfd peers json")), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		if netip.MustParseAddr(p.Peer) == netip.MustParseAddr(address) {
			return p
		}
	}
	return bfdPeer{}
}

func TestBFDEndsSessionsOfADeadPath(t *testing.T) {
	s := newBFDSite(t, 2) // the second only keeps the carrier of the router's link
	m := s.members[0]
	m.start()
	m.set()
	m.quick()
	watch := s.frr.Node.Watch()
	watch.Until(anycast4, true, 10*time.Second)
	watch.Until(anycast6, true, 10*time.Second)
	flaps := map[string]uint64{} // FRR may have begun its session anew
	for _, name := range []string{"up4", "up6"} {
		flaps[name] = m.peer(name).BFD.Flaps
	}
	began := time.Now()
	// Nothing gets through any more, and no carrier is lost.
	s.frr.Node.IP("link set dev lan1 nomaster")
	gone4 := watch.Until(anycast4, false, 5*time.Second).Sub(began)
	gone6 := watch.Until(anycast6, false, 5*time.Second).Sub(began)
	t.Logf("from the cut to gone from the router's kernel: IPv4 %s, IPv6 %s", gone4, gone6)
	if gone4 > 2*time.Second || gone6 > 2*time.Second { // the hold time is 3 s
		t.Error("that is not by BFD")
	}
	for _, name := range []string{"up4", "up6"} {
		bgptest.Eventually(t, 2*time.Second, func() string {
			if p := m.peer(name); p.Established() || p.BFD == nil || p.BFD.Up() || p.BFD.Flaps != flaps[name]+1 || !strings.HasPrefix(p.LastError, "BFD: nothing heard") {
				return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
			}
			return ""
		})
	}
	t.Logf("session lost on this side after %s", m.peer("up4").Since.Sub(began))
	s.frr.Node.IP("link set dev lan1 master lan")
	s.gateways(anycast4, "10.98.0.11")
	m.quick()
}

func TestBFDOutlivesTheWorker(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			s := newBFDSite(t, 1)
			m := s.members[0]
			m.start()
			m.set()
			m.quick()
			watch := s.frr.Node.Watch()
			came := watch.Until(anycast4, true, 10*time.Second)
			m.end(signal)
			bgptest.Eventually(t, 10*time.Second, func() string {
				if p := s.frr.Paths(anycast4); len(p) != 1 || !p[0].Stale {
					return fmt.Sprintf("%+v", p)
				}
				return ""
			})
			m.start()
			m.quick()
			if now := watch.Until(anycast4, true, time.Second); now != came {
				t.Errorf("the route changed %s later", now.Sub(came))
			}
			if p := m.peer("up4"); p.BFD.Flaps != 0 {
				t.Errorf("BFD %+v", p.BFD)
			}
		})
	}
}

func TestBFDThatEndsIsNoFailure(t *testing.T) {
	s := newBFDSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	m.quick()
	since := m.peer("up4").Since
	s.frr.Vtysh("configure terminal", "router bgp 65001", "no neighbor 10.98.0.11 bfd")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if p := m.peer("up4"); p.BFD == nil || p.BFD.Up() {
			return fmt.Sprintf("%+v", p.BFD)
		}
		return ""
	})
	if p := m.peer("up4"); !p.Established() || !p.Since.Equal(since) {
		t.Errorf("%+v, BFD %+v", p, p.BFD)
	}
	// FRR takes the end of BFD on this side for a failure, but BGP goes on without.
	for i := range m.value.Peers {
		m.value.Peers[i].BFD = fabric.PeerBFD{}
	}
	m.set()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := m.peer("up6"); !p.Established() || p.BFD != nil || s.bfdPeer("fd98::11").Status == "up" {
			return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
		}
		return ""
	})
}

func TestStrictWaitsForBFD(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value.Peers[0].BFD = fabric.PeerBFD{Interval: 300, Multiplier: 3, Strict: true}
	m.start()
	m.set()
	s.gateways(anycast6, "fd98::11")
	if p := m.peer("up4"); p.State != "idle" || !strings.HasPrefix(p.LastError, "waits for BFD") {
		t.Fatalf("%+v", p)
	}
	s.frr.StartBFD()
	s.frr.Vtysh("configure terminal", "router bgp 65001", "neighbor 10.98.0.11 bfd 3 300 300")
	s.gateways(anycast4, "10.98.0.11")
}

func TestWhatIsADeadPath(t *testing.T) {
	for _, c := range []struct {
		name   string
		change bfd.Change
		dead   bool
	}{
		{"silence", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagExpired, RemoteState: bfd.Up}, true},
		{"the neighbour hears nothing", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagNeighborDown, RemoteState: bfd.Down, RemoteDiag: bfd.DiagExpired}, true},
		{"the neighbour's path is down", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagNeighborDown, RemoteState: bfd.Down, RemoteDiag: 5}, true},
		{"the neighbour began anew", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagNeighborDown, RemoteState: bfd.Down}, false},
		{"FRR made its session anew", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagNeighborDown, RemoteState: bfd.Down, RemoteDiag: bfd.DiagNeighborDown}, false},
		{"the neighbour is administratively down", bfd.Change{From: bfd.Up, To: bfd.Down, Diag: bfd.DiagNeighborDown, RemoteState: bfd.AdminDown, RemoteDiag: bfd.DiagAdminDown}, false},
		{"it was not up", bfd.Change{From: bfd.Init, To: bfd.Down, Diag: bfd.DiagExpired}, false},
		{"it came up", bfd.Change{From: bfd.Init, To: bfd.Up}, false},
	} {
		if why, dead := pathDead(c.change); dead != c.dead || dead != (why != "") {
			t.Errorf("%s: %v, %q", c.name, dead, why)
		}
	}
}
