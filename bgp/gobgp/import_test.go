package gobgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/protobuf/types/known/anypb"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/rtr"
	"netfabric/fabric"
)

// quiet is a speaker whose Run does not run: what it does is what the test calls, and it does not know yet how sessions are.
func quiet(t *testing.T) *Speaker {
	ctx, cancel := context.WithCancel(t.Context())
	s := New(slog.New(slog.DiscardHandler), func() {})
	go s.server.Serve()
	s.watch(ctx)
	t.Cleanup(func() {
		s.shutdown(context.Background())
		cancel()
	})
	return s
}

// loopPeer is a peer at port of this host.
func loopPeer(port uint16) fabric.RoutingPeer {
	return fabric.RoutingPeer{
		Name: "one", Address: netip.MustParseAddr("127.0.0.1"), Local: netip.MustParseAddr("127.0.0.2"), Port: port, ASN: 65001, HoldTime: 9, GracefulRestart: 30,
	}
}

func loopConfig(peers ...fabric.RoutingPeer) *Config {
	return &Config{Speaker: &fabric.Speaker{ASN: 65010, RouterID: netip.MustParseAddr("192.0.2.9")}, Peers: peers}
}

// take accepts all that is inside of prefix.
func take(prefix string) []fabric.Import {
	p := netip.MustParsePrefix(prefix)
	return []fabric.Import{{Peer: "one", Rules: []fabric.PolicyRule{{
		Action: fabric.PolicyAccept, Match: fabric.PolicyMatch{Prefixes: []fabric.PrefixRange{{Prefix: p, Low: p.Bits(), High: 32}}},
	}}}}
}

// teller is a peer at a port that announces prefixes.
func teller(t *testing.T, port int32, prefixes ...string) {
	b := server.NewBgpServer(server.LoggerOption(&logger{log: slog.New(slog.DiscardHandler), errors: newPeerErrors(), phases: newPhases()}))
	go b.Serve()
	t.Cleanup(b.Stop)
	global := &api.Global{Asn: 65001, RouterId: "192.0.2.1", ListenPort: port, ListenAddresses: []string{"127.0.0.1"}}
	if err := b.StartBgp(t.Context(), &api.StartBgpRequest{Global: global}); err != nil {
		t.Fatal(err)
	}
	for _, p := range prefixes {
		path := &api.Path{}
		fillPath(path, netip.MustParsePrefix(p), 1)
		path.PattrsBinary = path.PattrsBinary[:2]
		if _, err := b.AddPath(t.Context(), &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	peer := &api.Peer{Conf: &api.PeerConf{NeighborAddress: "127.0.0.2", PeerAsn: 65010}, Transport: &api.Transport{PassiveMode: true}}
	if err := b.AddPeer(t.Context(), &api.AddPeerRequest{Peer: peer}); err != nil {
		t.Fatal(err)
	}
}

func TestTightenedImportNeedsNoWordOfTheSession(t *testing.T) {
	teller(t, 1791, "198.51.100.0/24", "203.0.113.0/24")
	s, paths := quiet(t), map[netip.Prefix]bool{}
	taken := func(want ...string) {
		t.Helper()
		bgptest.Eventually(t, 10*time.Second, func() string {
			for p, all := range s.Learned().Paths {
				if paths[p] = len(all) > 0; !paths[p] {
					delete(paths, p)
				}
			}
			for _, p := range want {
				if !paths[netip.MustParsePrefix(p)] {
					return fmt.Sprintf("taken: %v, want %v", paths, want)
				}
			}
			if len(paths) != len(want) {
				return fmt.Sprintf("taken: %v, want %v", paths, want)
			}
			return ""
		})
	}
	put := func(imports []fabric.Import) {
		t.Helper()
		c := loopConfig(loopPeer(1791))
		c.Imports = imports
		if err := s.put(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := s.sessions["one"].state; got != "idle" {
			t.Fatalf("the speaker knows already that the session is %s", got)
		}
	}
	put(take("0.0.0.0/0"))
	taken("198.51.100.0/24", "203.0.113.0/24")
	put(take("203.0.113.0/24"))
	taken("203.0.113.0/24")
	put(nil)
	taken()
}

func TestImportThatCouldNotBePutInForceIsTriedAgain(t *testing.T) {
	s, c := quiet(t), loopConfig()
	if err := s.put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	p := loopPeer(1)
	s.sessions["one"] = newSession(p) // GoBGP does not know it
	c = loopConfig(p)
	c.Imports = take("0.0.0.0/0")
	for range 2 {
		if err := s.setPolicies(t.Context(), c, additions{}); err == nil {
			t.Fatal("what a peer told that GoBGP does not know has been judged")
		}
	}
	delete(s.sessions, "one")
	if err := s.setPolicies(t.Context(), c, additions{}); err != nil || s.imports != importKey(c) {
		t.Errorf("%v, in force are %q", err, s.imports)
	}
}

func TestKeptPathsAreJudgedByTheConfig(t *testing.T) {
	own, other := netip.MustParsePrefix("10.50.0.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	all := own.String() + " " + other.String()
	for _, c := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"the same", func(c *Config) {}, all},
		{"other rules", func(c *Config) { c.Imports = take("198.51.100.0/24") }, ""},
		{"no rules", func(c *Config) { c.Imports = nil }, ""},
		{"rules of another peer", func(c *Config) { c.Imports = append(c.Imports, fabric.Import{Peer: "two"}) }, all},
		{"own address space", func(c *Config) { c.Own = []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")} }, other.String()},
		{"another speaker", func(c *Config) { c.Speaker.RouterID = netip.MustParseAddr("192.0.2.10") }, all},
		{"without the peer", func(c *Config) { c.Peers = nil }, ""},
		{"another speaker without the peer", func(c *Config) { c.Speaker.ASN, c.Peers = 65011, nil }, ""},
		{"another speaker with the peer elsewhere", func(c *Config) { c.Speaker.ASN, c.Peers[0].Address = 65011, netip.MustParseAddr("127.0.0.3") }, ""},
		{"no speaker", func(c *Config) { c.Speaker = nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := quiet(t)
			put := func(c *Config) {
				if err := s.put(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			config := loopConfig(loopPeer(1))
			config.Imports = take("0.0.0.0/0")
			put(config)
			a := config.Peers[0].Address
			for _, p := range []netip.Prefix{own, other} {
				s.learned.set(p, []Learned{from(a, 1)})
			}
			s.learned.hold(a, time.Minute)
			for _, p := range []netip.Prefix{own, other} {
				s.learned.set(p, nil)
			}
			next := loopConfig(loopPeer(1))
			next.Imports = take("0.0.0.0/0")
			c.change(next)
			put(next)
			var kept []string
			for _, p := range []netip.Prefix{own, other} {
				if len(s.learned.best(p)) > 0 {
					kept = append(kept, p.String())
				}
			}
			if got := strings.Join(kept, " "); got != c.want {
				t.Errorf("kept: %q, want %q", got, c.want)
			}
		})
	}
}

func TestKeptPathsAreJudgedByNewVRPs(t *testing.T) {
	good, bad, new := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/24")
	set := func(all ...rtr.VRP) map[rtr.VRP]struct{} {
		m := map[rtr.VRP]struct{}{}
		for _, v := range all {
			m[v] = struct{}{}
		}
		return m
	}
	vrp := func(p netip.Prefix, asn uint32) rtr.VRP {
		return rtr.VRP{Prefix: p, MaxLength: uint8(p.Bits()), ASN: asn}
	}
	rejects := fabric.PolicyRule{Action: fabric.PolicyReject, Match: fabric.PolicyMatch{Validation: []string{fabric.ValidationInvalid}}}
	accepts := fabric.PolicyRule{Action: fabric.PolicyAccept}
	onlyValid := fabric.PolicyRule{Action: fabric.PolicyAccept, Match: fabric.PolicyMatch{Validation: []string{fabric.ValidationValid}}}
	for _, c := range []struct {
		name          string
		rules         []fabric.PolicyRule
		before, after map[rtr.VRP]struct{}
		want          string
	}{
		{"one is invalid now, one valid", []fabric.PolicyRule{rejects, accepts}, set(vrp(good, 65001)), set(vrp(good, 65001), vrp(bad, 65099), vrp(new, 65001)), "198.51.100.0/24 192.0.2.0/24"},
		{"nothing is known any more", []fabric.PolicyRule{rejects, accepts}, set(vrp(good, 65001)), nil, "198.51.100.0/24 203.0.113.0/24 192.0.2.0/24"},
		{"only what is valid", []fabric.PolicyRule{onlyValid}, set(vrp(good, 65001), vrp(bad, 65001), vrp(new, 65001)), set(vrp(good, 65001)), "198.51.100.0/24"},
		{"rules that do not ask", []fabric.PolicyRule{accepts}, nil, set(vrp(bad, 65099)), "198.51.100.0/24 203.0.113.0/24 192.0.2.0/24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := quiet(t)
			config := loopConfig(loopPeer(1))
			config.Imports = []fabric.Import{{Peer: "one", Rules: c.rules}}
			s.Apply(*config)
			if err := s.put(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			a, all := config.Peers[0].Address, []netip.Prefix{good, bad, new}
			for _, p := range all {
				x := from(a, 1)
				x.source = 65001
				s.learned.set(p, []Learned{x})
			}
			s.learned.hold(a, time.Minute)
			for _, p := range all {
				s.learned.set(p, nil)
			}
			s.learned.take()
			s.validator.judged, s.validator.said, s.validator.serial = c.before, c.after, 2
			s.revalidate(t.Context(), 2)
			var kept []string
			for _, p := range all {
				if len(s.learned.best(p)) > 0 {
					kept = append(kept, p.String())
				}
			}
			if got := strings.Join(kept, " "); got != c.want {
				t.Errorf("kept: %q, want %q", got, c.want)
			}
			if gone := len(s.learned.take().Paths); gone != len(all)-len(kept) {
				t.Errorf("%d prefixes changed", gone)
			}
		})
	}
}

func TestSourceOfPaths(t *testing.T) {
	sequence := func(numbers ...uint32) *api.AsSegment {
		return &api.AsSegment{Type: api.AsSegment_AS_SEQUENCE, Numbers: numbers}
	}
	for _, c := range []struct {
		path []*api.AsSegment
		want uint32
	}{
		{nil, 0},
		{[]*api.AsSegment{sequence(65001)}, 65001},
		{[]*api.AsSegment{sequence(65001, 65002), sequence(65003, 65004)}, 65004},
		{[]*api.AsSegment{sequence(65001), {Type: api.AsSegment_AS_SET, Numbers: []uint32{65002, 65003}}}, sourceSet},
		{[]*api.AsSegment{{Type: api.AsSegment_AS_CONFED_SEQUENCE, Numbers: []uint32{65002}}}, 0},
	} {
		attribute, err := anypb.New(&api.AsPathAttribute{Segments: c.path})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := learnedOf(&api.Path{NeighborIp: "192.0.2.1", Pattrs: []*anypb.Any{attribute}})
		if x.source != c.want {
			t.Errorf("%v: %d, want %d", c.path, x.source, c.want)
		}
	}
}
