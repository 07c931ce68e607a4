package gobgp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

func TestMain(m *testing.M) { bgptest.Main(m) }

// speaker is a speaker in the namespace of the test.
type speaker struct {
	*gobgp.Speaker
	t      *testing.T
	config gobgp.Config
	end    func() // ends it, as does the end of the test
}

func newSpeaker(t *testing.T) *speaker { return newSpeakerWith(t, func(*gobgp.Speaker) {}) }

// newSpeakerWith is newSpeaker with what is to be done before it runs.
func newSpeakerWith(t *testing.T, first func(*gobgp.Speaker)) *speaker {
	ctx, cancel := context.WithCancel(context.Background())
	out := io.Writer(io.Discard)
	if os.Getenv("BGPTEST_LOG") != "" {
		out = os.Stderr
	}
	s := &speaker{t: t, Speaker: gobgp.New(slog.New(slog.NewTextHandler(out, nil)), func() {})}
	s.config.Speaker = &fabric.Speaker{ASN: 65010, RouterID: netip.MustParseAddr("192.0.2.9")}
	first(s.Speaker)
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	s.end = sync.OnceFunc(func() {
		bound, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		s.Stop(bound)
		cancel()
		<-done
	})
	t.Cleanup(s.end)
	return s
}

func (s *speaker) apply() { s.Apply(s.config) }

func (s *speaker) peer(name string) fabric.PeerState {
	for _, p := range s.State().Peers {
		if p.Name == name {
			return p
		}
	}
	return fabric.PeerState{}
}

func (s *speaker) established(names ...string) {
	s.t.Helper()
	bgptest.Eventually(s.t, 10*time.Second, func() string {
		for _, name := range names {
			if p := s.peer(name); !p.Established() {
				return fmt.Sprintf("session with %s: %+v", name, p)
			}
		}
		return ""
	})
}

func path(prefix string, peers ...string) gobgp.Path {
	return gobgp.Path{Prefix: netip.MustParsePrefix(prefix), Peers: peers}
}

func peer(name, address string) fabric.RoutingPeer {
	return fabric.RoutingPeer{Name: name, Address: netip.MustParseAddr(address), ASN: 65001, HoldTime: 9, GracefulRestart: 30}
}

// router starts an FRR router on a link with the test: the test is .2 and ::2 of the given networks, the router .1 and ::1.
func router(t *testing.T, link, net4, net6 string) *bgptest.FRR {
	node := bgptest.NewNode(t, link)
	bgptest.Self(t).Link(link, node, "up")
	bgptest.Self(t).Address(link, net4+".2/24", net6+"::2/64")
	node.Address("up", net4+".1/24", net6+"::1/64")
	return bgptest.StartFRR(t, node, fmt.Sprintf(`
router bgp 65001
 bgp router-id %[1]s.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 3 9
 neighbor %[1]s.2 remote-as 65010
 neighbor %[1]s.2 passive
 neighbor %[2]s::2 remote-as 65010
 neighbor %[2]s::2 passive
 address-family ipv4 unicast
  neighbor %[1]s.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor %[2]s::2 activate
 exit-address-family
`, net4, net6))
}

func gateway(t *testing.T, n *bgptest.Node, prefix, want string) {
	t.Helper()
	bgptest.Eventually(t, 5*time.Second, func() string {
		got, _ := n.Gateways(prefix)
		if strings.Join(got, " ") != want {
			return fmt.Sprintf("%s goes to %q, want %q", prefix, got, want)
		}
		return ""
	})
}

func TestEachSessionCarriesItsFamilyToFRR(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("v4", "10.99.1.1"), peer("v6", "fd99:1::1")}
	s.config.Paths = []gobgp.Path{path("203.0.113.53/32", "v4", "v6"), path("2001:db8:53::53/128", "v4", "v6"), path("198.51.100.0/24")}
	s.apply()
	gateway(t, frr.Node, "203.0.113.53/32", "10.99.1.2")
	gateway(t, frr.Node, "2001:db8:53::53/128", "fd99:1::2")
	for _, prefix := range []string{"203.0.113.53/32", "2001:db8:53::53/128"} {
		paths := frr.Paths(prefix)
		if len(paths) != 1 || paths[0].Community.String != "" || paths[0].LargeCommunity.String != "" || paths[0].ASPath.String != "65010" {
			t.Errorf("%s at FRR: %+v", prefix, paths)
		}
	}
	if _, ok := frr.Node.Gateways("198.51.100.0/24"); ok {
		t.Error("a path for no peer was announced")
	}
	bgptest.Eventually(t, 2*time.Second, func() string {
		complaint := ""
		s.Told(func(told func(string, netip.Prefix) bool) {
			four, six := netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")
			if !told("v4", four) || told("v4", six) || !told("v6", six) || told("v6", four) || s.peer("v4").Sent != 1 || s.peer("v6").Sent != 1 {
				complaint = fmt.Sprintf("v4: %t %t %d, v6: %t %t %d", told("v4", four), told("v4", six), s.peer("v4").Sent, told("v6", four), told("v6", six), s.peer("v6").Sent)
			}
		})
		return complaint
	})

	s.config.Paths = s.config.Paths[1:]
	s.apply()
	gateway(t, frr.Node, "203.0.113.53/32", "")
	gateway(t, frr.Node, "2001:db8:53::53/128", "fd99:1::2")
	if p := s.peer("v4"); p.Flaps != 0 || p.LastError != "" {
		t.Errorf("session: %+v", p)
	}
}

func TestPathsGoToTheirPeersOnly(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "one"), path("203.0.113.2/32", "two"), path("203.0.113.3/32", "two", "one")}
	s.apply()
	s.established("one", "two")
	gateway(t, one.Node, "203.0.113.1/32", "10.99.1.2")
	gateway(t, two.Node, "203.0.113.2/32", "10.99.2.2")
	gateway(t, one.Node, "203.0.113.3/32", "10.99.1.2")
	gateway(t, two.Node, "203.0.113.3/32", "10.99.2.2")
	gateway(t, two.Node, "203.0.113.1/32", "")
	gateway(t, one.Node, "203.0.113.2/32", "")

	// Moved from one peer to the other, and taken from one of two.
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "two"), path("203.0.113.2/32", "two"), path("203.0.113.3/32", "one")}
	s.apply()
	gateway(t, two.Node, "203.0.113.1/32", "10.99.2.2")
	gateway(t, one.Node, "203.0.113.1/32", "")
	gateway(t, one.Node, "203.0.113.3/32", "10.99.1.2")
	gateway(t, two.Node, "203.0.113.3/32", "")
}

func TestAwait(t *testing.T) {
	s := newSpeaker(t)
	s.config.Version = 3
	s.apply()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s.Await(ctx, 3)
	s.Await(ctx, 2)
	if s.State().Version != 3 || ctx.Err() != nil {
		t.Errorf("version %d, %v", s.State().Version, ctx.Err())
	}
	never, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	s.Await(never, 4)
	if never.Err() == nil {
		t.Error("a version that nobody gave is in force")
	}
}

// A bulk goes to peers in another way than a few: nothing that they have goes meanwhile, and what follows goes as always.
func TestBulk(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("v4", "10.99.1.1"), peer("v6", "fd99:1::1")}
	med := uint32(7)
	plain := []gobgp.Path{path("203.0.113.1/32", "v4"), path("203.0.113.2/32", "v4")}
	told := func(want4, want6 int) {
		t.Helper()
		bgptest.Eventually(t, 20*time.Second, func() string {
			for family, want := range map[string]int{"ipv4": want4, "ipv6": want6} {
				if text := frr.Vtysh("show bgp " + family + " unicast statistics json"); !strings.Contains(text, fmt.Sprintf(`"totalPrefixes":%d,`, want)) {
					return fmt.Sprintf("%s at FRR, want %d: %s", family, want, text)
				}
			}
			if v4, v6 := s.peer("v4").Sent, s.peer("v6").Sent; v4 != want4 || v6 != want6 {
				return fmt.Sprintf("told %d and %d, want %d and %d", v4, v6, want4, want6)
			}
			return ""
		})
	}
	s.config.Paths = plain
	s.apply()
	s.established("v4", "v6")
	told(2, 0)
	watch := frr.Node.Watch()
	since := watch.Until("203.0.113.1/32", true, 5*time.Second)
	changed := plain[1]
	changed.Attributes = map[string]fabric.PolicySet{"v4": {MED: &med}}
	s.config.Paths = []gobgp.Path{plain[0], changed}
	for i := range 2000 {
		s.config.Paths = append(s.config.Paths, path(fmt.Sprintf("198.18.%d.%d/32", i/256, i%256), "v4"), path(fmt.Sprintf("2001:db8::%x/128", i+1), "v6"))
	}
	s.apply()
	told(2002, 2000)
	if paths := frr.Paths("203.0.113.2/32"); len(paths) != 1 || paths[0].MED != 7 {
		t.Errorf("the one that changed: %+v", paths)
	}
	s.config.Paths = append(s.config.Paths, path("203.0.113.3/32", "v4", "v6"))
	s.apply()
	told(2003, 2000)
	// Twice as many of the same kind, while others go.
	s.config.Paths = s.config.Paths[:4000]
	for i := range 3000 {
		s.config.Paths = append(s.config.Paths, path(fmt.Sprintf("198.19.%d.%d/32", i/256, i%256), "v4"))
	}
	s.apply()
	told(2001+3000, 1999)
	if now := watch.Until("203.0.113.1/32", true, time.Second); !now.Equal(since) {
		t.Errorf("a route that was there all along was made anew %s later", now.Sub(since))
	}
	s.config.Paths = plain
	s.apply()
	told(2, 0)
	if p := s.peer("v4"); p.Flaps != 0 {
		t.Errorf("session: %+v", p)
	}
}

func TestNothingIsImportedButCounted(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	frr.Vtysh("configure terminal", "router bgp 65001", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.0/24", "network 0.0.0.0/0")
	two := router(t, "r2", "10.99.2", "fd99:2")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.apply()
	s.established("one", "two")
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := s.peer("one"); p.Received != 2 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	if paths := two.Paths("198.51.100.0/24"); len(paths) != 0 {
		t.Errorf("what one peer announced went to the other: %+v", paths)
	}
}

// What comes with a new session is counted soon, not with the next reading that is due anyway; also of a peer that says nothing when that is all.
func TestNewSessionIsCountedSoon(t *testing.T) {
	for _, setting := range []string{"neighbor 10.99.1.2 graceful-restart-helper", "neighbor 10.99.1.2 graceful-restart-disable"} {
		t.Run(setting, func(t *testing.T) {
			frr := router(t, "r1", "10.99.1", "fd99:1")
			frr.Vtysh("configure terminal", "router bgp 65001", setting, "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.0/24", "network 0.0.0.0/0")
			s := newSpeaker(t)
			s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1")}
			s.apply()
			s.established("one")
			since := s.peer("one").Since
			bgptest.Eventually(t, 10*time.Second, func() string {
				if p := s.peer("one"); p.Received != 2 {
					return fmt.Sprintf("%+v", p)
				}
				return ""
			})
			if took := time.Since(since); took > 3*time.Second {
				t.Errorf("counted after %s", took)
			}
		})
	}
}

func TestChangeOfOnePeerLeavesOthersAlone(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "one", "two")}
	s.apply()
	s.established("one", "two")

	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Peers[1].HoldTime = 30
	s.apply()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if n := two.Neighbor("10.99.2.2"); n.Established != 2 || n.State != "Established" {
			return fmt.Sprintf("changed session: %+v", n)
		}
		return ""
	})
	s.config.Peers = s.config.Peers[:1]
	s.apply()
	gateway(t, two.Node, "203.0.113.1/32", "")
	s.config.Peers = append(s.config.Peers[:1:1], peer("two", "10.99.2.1"))
	s.apply()
	gateway(t, two.Node, "203.0.113.1/32", "10.99.2.2")
	if n := one.Neighbor("10.99.1.2"); n.Established != 1 || n.Dropped != 0 {
		t.Errorf("session that was not changed: %+v", n)
	}
}

func TestSessionComesBackSoonAfterItsPeer(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("up", "10.99.1.1")}
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "up")}
	s.apply()
	s.established("up")
	frr.Kill()
	bgptest.Eventually(t, 5*time.Second, func() string {
		if p := s.peer("up"); p.Established() || p.Flaps != 1 || !strings.Contains(p.LastError, "connection") {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	bgptest.Eventually(t, 5*time.Second, func() string {
		if p := s.peer("up"); p.LastError != "cannot connect: connection refused" {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	frr.Start()
	began := time.Now()
	s.established("up")
	took := time.Since(began)
	t.Logf("established %s after the peer could be asked", took)
	if took > 4*time.Second { // of which a second is for a slow machine; GoBGP by itself waits 5 before it even tries
		t.Errorf("it took %s", took)
	}
	if n := frr.Neighbor("10.99.1.2"); n.Restart.Timers.Received != 30 {
		t.Errorf("graceful restart: %+v", n.Restart)
	}
}

func TestPassword(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	frr.Vtysh("configure terminal", "router bgp 65001", "neighbor 10.99.1.2 password sesame")
	s := newSpeaker(t)
	p := peer("up", "10.99.1.1")
	s.config.Peers = []fabric.RoutingPeer{p}
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "up")}
	s.apply()
	bgptest.Eventually(t, 6*time.Second, func() string {
		if p := s.peer("up"); p.LastError != "cannot connect: no answer" {
			return fmt.Sprintf("without the password: %+v", p)
		}
		return ""
	})
	p.Password = "sesame"
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.established("up")
	gateway(t, frr.Node, "203.0.113.1/32", "10.99.1.2")
}

func TestWrongASNumberIsToldInWords(t *testing.T) {
	router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	p := peer("up", "10.99.1.1")
	p.ASN = 65007
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	bgptest.Eventually(t, 6*time.Second, func() string {
		if p := s.peer("up"); !strings.Contains(p.LastError, "as number mismatch") {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}
