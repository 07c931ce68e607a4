package gobgp_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// neighbour gives a router commands below its router bgp.
func neighbour(r *bgptest.FRR, commands ...string) {
	r.Vtysh(append([]string{"configure terminal", "router bgp 65001"}, commands...)...)
}

// troubled waits until there is no session with a peer, for a reason whose words contain text.
func (s *speaker) troubled(name, text string) {
	s.t.Helper()
	bgptest.Eventually(s.t, 8*time.Second, func() string {
		if p := s.peer(name); p.Established() || !strings.Contains(p.LastError, text) {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

func TestLocalASN(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	neighbour(one, "neighbor 10.99.1.2 remote-as 65099")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Peers[0].LocalASN, s.config.Peers[0].Keepalive = 65099, 1
	p := path("203.0.113.1/32", "one", "two")
	p.Attributes = map[string]fabric.PolicySet{"one": set(t, `{"prepend":1}`)}
	s.config.Paths = []gobgp.Path{p}
	s.apply()
	s.established("one", "two")
	seen(t, one, "203.0.113.1/32", `path 65099 65099 med 0 communities "" large ""`)
	seen(t, two, "203.0.113.1/32", plain)
}

func TestInternalPeer(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	neighbour(frr, "neighbor 10.99.1.2 remote-as 65001")
	s := newSpeaker(t)
	s.config.Speaker.ASN = 65001
	s.config.Peers = []fabric.RoutingPeer{peer("up", "10.99.1.1")}
	p := path("203.0.113.1/32", "up")
	p.Attributes = map[string]fabric.PolicySet{"up": set(t, `{"local_pref":150}`)}
	s.config.Paths = []gobgp.Path{p, path("203.0.113.2/32", "up")}
	s.apply()
	s.established("up")
	gateway(t, frr.Node, "203.0.113.1/32", "10.99.1.2")
	gateway(t, frr.Node, "203.0.113.2/32", "10.99.1.2")
	for prefix, want := range map[string]int{"203.0.113.1/32": 150, "203.0.113.2/32": 100} {
		if paths := frr.Paths(prefix); len(paths) != 1 || paths[0].LocalPref != want || paths[0].ASPath.String != "Local" {
			t.Errorf("%s: %+v, want a preference of %d", prefix, paths, want)
		}
	}
}

func TestExternalIsAnyNumberButOurs(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	two.Vtysh("configure terminal", "no router bgp 65001", "router bgp 65010", "bgp router-id 10.99.2.1", "neighbor 10.99.2.2 remote-as 65010", "neighbor 10.99.2.2 passive")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Peers[0].ASN, s.config.Peers[1].ASN = 0, 0
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "one", "two")}
	s.apply()
	s.established("one")
	seen(t, one, "203.0.113.1/32", plain)
	if p := s.peer("one"); p.ASN != 65001 {
		t.Errorf("%+v", p)
	}
	s.troubled("two", "not external")
	if p := s.peer("two"); p.Hold != fabric.ReasonNotExternal {
		t.Errorf("%+v", p)
	}
	if paths := two.Paths("203.0.113.1/32"); len(paths) != 0 {
		t.Errorf("told: %+v", paths)
	}
}

func TestPassivePeer(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	s.config.Speaker.Listen = netip.MustParseAddrPort("10.99.1.2:179")
	s.config.Peers = []fabric.RoutingPeer{peer("up", "10.99.1.1")}
	s.config.Peers[0].Passive = true
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "up")}
	s.apply()
	// Both wait, as long as the router does.
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if p := s.peer("up"); p.Established() {
			t.Fatalf("it dials: %+v", p)
		}
	}
	neighbour(frr, "no neighbor 10.99.1.2 passive", "neighbor 10.99.1.2 timers connect 1")
	s.established("up")
	gateway(t, frr.Node, "203.0.113.1/32", "10.99.1.2")
}

func TestMaxPrefix(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	announce := func(commands ...string) {
		neighbour(frr, append([]string{"no bgp network import-check", "address-family ipv4 unicast"}, commands...)...)
	}
	announce("network 198.51.100.0/24", "network 198.51.101.0/24")
	s := newSpeaker(t)
	p := peer("up", "10.99.1.1")
	p.MaxPrefix = fabric.MaxPrefix{Limit: 2, Action: fabric.MaxPrefixWarn}
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.established("up")
	announce("network 198.51.102.0/24")
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := s.peer("up"); !p.Established() || p.Hold != "" || !strings.Contains(p.Warning, "max_prefix.limit is 2") {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	p.MaxPrefix = fabric.MaxPrefix{Limit: 2, Restart: 2}
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.troubled("up", "more than 2 prefixes (max_prefix.limit); it is tried again after 2s")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if n := frr.Neighbor("10.99.1.2"); !strings.Contains(n.Notified, "Maximum Number of Prefixes") {
			return fmt.Sprintf("%+v", n)
		}
		return ""
	})
	announce("no network 198.51.102.0/24")
	s.established("up")
	since, flaps := s.peer("up").Since, s.peer("up").Flaps
	alike := func(all ...fabric.MaxPrefix) { // the session goes on over these changes
		t.Helper()
		for _, m := range all {
			p.MaxPrefix = m
			s.config.Peers = []fabric.RoutingPeer{p}
			s.config.Version++
			s.apply()
			s.Await(t.Context(), s.config.Version)
			bgptest.Eventually(t, 10*time.Second, func() string {
				if p := s.peer("up"); !p.Established() || !p.Since.Equal(since) || p.Flaps != flaps || p.OverLimit != (m.Action != "" && m.Limit == 1) {
					return fmt.Sprintf("limit %+v: %+v, established since %v", m, p, since)
				}
				return ""
			})
		}
	}
	alike(fabric.MaxPrefix{Limit: 2, Restart: 60}, fabric.MaxPrefix{Limit: 2})
	p.MaxPrefix = fabric.MaxPrefix{Limit: 100, Action: fabric.MaxPrefixWarn}
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := s.peer("up"); !p.Established() || p.Since.Equal(since) || p.Received != 2 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	since, flaps = s.peer("up").Since, s.peer("up").Flaps
	alike(fabric.MaxPrefix{}, fabric.MaxPrefix{Limit: 1, Action: fabric.MaxPrefixWarn}, fabric.MaxPrefix{Limit: 50, Action: fabric.MaxPrefixWarn})
	p.MaxPrefix = fabric.MaxPrefix{Limit: 1}
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.troubled("up", "stays down until the peer is changed")
	p.MaxPrefix = fabric.MaxPrefix{}
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.established("up")
}

// A router that wants another AS number of us says so by a notification while the session is opened.
func TestPeerThatRefuses(t *testing.T) {
	router(t, "r1", "10.99.1", "fd99:1")
	s := newSpeaker(t)
	p := peer("up", "10.99.1.1")
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.established("up")
	p.LocalASN = 65099
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.troubled("up", "the peer refused the session when it was opened")
	p.LocalASN, p.ASN = 0, 65002
	s.config.Peers = []fabric.RoutingPeer{p}
	s.apply()
	s.troubled("up", "session refused: as number mismatch expected 65002, received 65001")
}

func TestBothFamiliesOverOneSession(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	neighbour(frr, "address-family ipv6 unicast", "neighbor 10.99.1.2 activate")
	s := newSpeaker(t)
	p := peer("up", "10.99.1.1")
	p.IPv4, p.IPv6 = true, true
	s.config.Peers = []fabric.RoutingPeer{p}
	six := path("2001:db8::1/128", "up")
	six.Attributes = map[string]fabric.PolicySet{"up": set(t, `{"next_hop":"fd99:1::2"}`)}
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "up"), six}
	s.apply()
	s.established("up")
	gateway(t, frr.Node, "203.0.113.1/32", "10.99.1.2")
	gateway(t, frr.Node, "2001:db8::1/128", "fd99:1::2")
	bgptest.Eventually(t, 3*time.Second, func() string {
		if p := s.peer("up"); p.Sent != 2 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}
