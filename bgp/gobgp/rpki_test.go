package gobgp_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// roas writes a file for StayRTR with an AS for each prefix.
func roas(t *testing.T, file string, list map[string]int) {
	t.Helper()
	var all []string
	for prefix, asn := range list {
		p := netip.MustParsePrefix(prefix)
		all = append(all, fmt.Sprintf(`{"prefix":%q,"maxLength":%d,"asn":"AS%d"}`, prefix, p.Bits(), asn))
	}
	// StayRTR reads it again and again.
	if err := os.WriteFile(file+".new", []byte(`{"roas":[`+strings.Join(all, ",")+"]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// validated waits until what a peer told is judged as wanted: prefix, origin validation state, and why it is not used.
func (s *speaker) validated(name string, want ...string) {
	s.t.Helper()
	bgptest.Eventually(s.t, 20*time.Second, func() string {
		answer, err := s.Routes(s.t.Context(), fabric.BGPQuery{Table: fabric.BGPIn, Peer: name}.Default())
		if err != nil {
			return err.Error()
		}
		var have []string
		for _, r := range answer.Routes {
			have = append(have, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Prefix, r.Validation, r.Reason)))
		}
		if got := strings.Join(have, "\n"); got != strings.Join(want, "\n") {
			return fmt.Sprintf("%s\nwant:\n%s", got, strings.Join(want, "\n"))
		}
		return ""
	})
}

func (s *speaker) cache() fabric.RPKIState {
	for _, r := range s.State().RPKI {
		return r
	}
	return fabric.RPKIState{}
}

func TestOriginValidation(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	frr.Vtysh("configure terminal", "router bgp 65001", "no bgp network import-check",
		"address-family ipv4 unicast", "network 198.51.100.0/24", "network 198.51.101.0/24", "network 198.51.102.0/24", "exit",
		"address-family ipv6 unicast", "network 2001:db8:1::/48")
	file := filepath.Join(t.TempDir(), "roas.json")
	roas(t, file, map[string]int{"198.51.100.0/24": 65001, "198.51.101.0/24": 65099, "2001:db8:1::/48": 65001})
	start := func() func() {
		c := frr.Node.Start("stayrtr", "-bind", "10.99.1.1:8282", "-cache", file, "-checktime=false", "-refresh", "1", "-metrics.addr", "")
		return func() {
			c.Process.Kill()
			c.Wait()
		}
	}
	stop := start()

	rules := []fabric.PolicyRule{
		{Match: fabric.PolicyMatch{Validation: []string{"invalid"}}, Action: fabric.PolicyReject},
		{Match: fabric.PolicyMatch{Validation: []string{"valid", "not-found"}}, Action: fabric.PolicyAccept},
	}
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("six", "fd99:1::1")}
	s.config.Imports = []fabric.Import{{Peer: "one", Rules: rules}, {Peer: "six", Rules: rules[1:]}}
	s.config.RPKI = []fabric.RoutingRPKI{{Name: "rtr", Endpoint: netip.MustParseAddrPort("10.99.1.1:8282"), Retry: 1}}
	s.apply()
	s.established("one", "six")
	s.validated("one", "198.51.100.0/24 valid", "198.51.101.0/24 invalid import-rejected", "198.51.102.0/24 not-found")
	s.validated("six", "2001:db8:1::/48 valid")
	s.accepted("one", 3, 2)
	if c := s.cache(); !c.Connected || c.IPv4 != 2 || c.IPv6 != 1 || c.Updated.IsZero() || c.LastError != "" {
		t.Errorf("%+v", c)
	}

	// The cache says another thing, and tells by a notify.
	roas(t, file, map[string]int{"198.51.101.0/24": 65001, "198.51.102.0/24": 65099})
	s.validated("one", "198.51.100.0/24 not-found", "198.51.101.0/24 valid", "198.51.102.0/24 invalid import-rejected")
	s.validated("six", "2001:db8:1::/48 not-found")
	s.accepted("one", 3, 2)

	// The cache dies: what it said last stays. The session does as well.
	stop()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if c := s.cache(); c.Connected || c.LastError == "" || c.IPv4 != 2 {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	s.validated("one", "198.51.100.0/24 not-found", "198.51.101.0/24 valid", "198.51.102.0/24 invalid import-rejected")
	roas(t, file, map[string]int{"198.51.100.0/24": 65001})
	stop = start()
	s.validated("one", "198.51.100.0/24 valid", "198.51.101.0/24 not-found", "198.51.102.0/24 not-found")

	// Without a cache nothing is known.
	s.config.RPKI = nil
	s.apply()
	s.validated("one", "198.51.100.0/24 not-found", "198.51.101.0/24 not-found", "198.51.102.0/24 not-found")
	s.accepted("one", 3, 3)
	if n := frr.Neighbor("10.99.1.2"); n.Dropped != 0 {
		t.Errorf("the session was reset: %+v", n)
	}
	stop()
}

// drawer keeps what caches said.
type drawer struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (d *drawer) Keep(cache string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[cache] = data
	return nil
}

func (d *drawer) Kept(cache string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[cache], nil
}

func (d *drawer) Forget(cache string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, cache)
	return nil
}

// TestVRPsOverARestart has a cache die, and then the speaker: the next one judges by what the cache said, and takes nothing that is invalid even for a moment.
func TestVRPsOverARestart(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	frr.Vtysh("configure terminal", "router bgp 65001", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.0/24", "network 198.51.101.0/24")
	file := filepath.Join(t.TempDir(), "roas.json")
	roas(t, file, map[string]int{"198.51.100.0/24": 65001, "198.51.101.0/24": 65099})
	cache := frr.Node.Start("stayrtr", "-bind", "10.99.1.1:8282", "-cache", file, "-checktime=false", "-metrics.addr", "")
	kept := &drawer{all: map[string][]byte{}}
	begin := func() (s *speaker, taken func() []string) {
		var mu sync.Mutex
		ever := map[string]bool{}
		s = newSpeakerWith(t, func(s *gobgp.Speaker) {
			s.KeepVRPs(kept)
			s.OnLearned(func() { // all that is ever taken
				go func() {
					mu.Lock()
					defer mu.Unlock()
					for p, paths := range s.Learned().Paths {
						ever[p.String()] = ever[p.String()] || len(paths) > 0
					}
				}()
			})
		})
		s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1")}
		s.config.Imports = []fabric.Import{{Peer: "one", Rules: []fabric.PolicyRule{
			{Match: fabric.PolicyMatch{Validation: []string{"invalid"}}, Action: fabric.PolicyReject}, {Action: fabric.PolicyAccept},
		}}}
		s.config.RPKI = []fabric.RoutingRPKI{{Name: "rtr", Endpoint: netip.MustParseAddrPort("10.99.1.1:8282"), Retry: 1}}
		s.apply()
		s.established("one")
		return s, func() []string {
			mu.Lock()
			defer mu.Unlock()
			var all []string
			for p, taken := range ever {
				if taken {
					all = append(all, p)
				}
			}
			return all
		}
	}
	s, _ := begin()
	s.validated("one", "198.51.100.0/24 valid", "198.51.101.0/24 invalid import-rejected")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if data, _ := kept.Kept("rtr"); data == nil {
			return "nothing is kept"
		}
		return ""
	})
	cache.Process.Kill()
	cache.Wait()
	s.end()

	s, taken := begin()
	s.validated("one", "198.51.100.0/24 valid", "198.51.101.0/24 invalid import-rejected")
	if c := s.cache(); c.Connected || c.IPv4 != 2 || c.Updated.IsZero() {
		t.Errorf("%+v", c)
	}
	bgptest.Eventually(t, 5*time.Second, func() string {
		if all := taken(); len(all) != 1 || all[0] != "198.51.100.0/24" {
			return fmt.Sprintf("taken: %v", all)
		}
		return ""
	})
	// A cache that is not asked any more is forgotten.
	s.config.RPKI = nil
	s.apply()
	s.validated("one", "198.51.100.0/24 not-found", "198.51.101.0/24 not-found")
	if data, _ := kept.Kept("rtr"); data != nil {
		t.Error("what a cache said that is not asked any more is still kept")
	}
}
