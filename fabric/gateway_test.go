package fabric

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func testGateway(name string, vrid uint8) *Gateway {
	return &Gateway{Header: Header{Name: name}, Interface: "eth1", VRID: vrid, Interval: 100, Addresses: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}
}

func snapshotWith(t *testing.T, objects ...Object) *Snapshot {
	t.Helper()
	tx := NewTx(EmptySnapshot())
	for _, o := range objects {
		tx.set(KeyOf(o), o)
	}
	return tx.Snapshot()
}

// subnets6 are addresses in n subnets.
func subnets6(n int) []netip.Prefix {
	var all []netip.Prefix
	for i := range n {
		all = append(all, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 6: 1, 7: byte(i), 15: 1}), 64))
	}
	return all
}

func TestGatewayValidate(t *testing.T) {
	for name, change := range map[string]func(*Gateway){
		"plain":                     func(*Gateway) {},
		"RA with 15 resolvers":      func(g *Gateway) { g.RA.DNS = slices.Repeat([]netip.Addr{netip.MustParseAddr("2001:db8::53")}, 15) },
		"RA that just fits":         func(g *Gateway) { g.Addresses = subnets6(38) },
		"RA that fits what is told": func(g *Gateway) { g.Addresses, g.RA.MTU = subnets6(44), 1500 },
		"announced":                 func(g *Gateway) { g.Announce = true },
		"priority in a group": func(g *Gateway) {
			g.Members, g.Priorities, g.Preferred = []string{"group:edge"}, map[string]int{"n1": 9}, "n1"
		},
		"RA that is off": func(g *Gateway) { g.Addresses, g.RA.Off = subnets6(60), true },
	} {
		g := testGateway("gw", 1)
		change(g)
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		change func(*Gateway)
		reason string
	}{
		"no VRID":               {func(g *Gateway) { g.VRID = 0 }, "bad-vrid"},
		"interval too short":    {func(g *Gateway) { g.Interval = 0 }, "bad-interval"},
		"interval between":      {func(g *Gateway) { g.Interval = 15 }, "bad-interval"},
		"interval too long":     {func(g *Gateway) { g.Interval = 40960 }, "bad-interval"},
		"no address":            {func(g *Gateway) { g.Addresses = nil }, "bad-address"},
		"no subnet":             {func(g *Gateway) { g.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }, "bad-address"},
		"multicast":             {func(g *Gateway) { g.Addresses = []netip.Prefix{netip.MustParsePrefix("224.0.0.1/24")} }, "bad-address"},
		"address twice":         {func(g *Gateway) { g.Addresses = append(g.Addresses, g.Addresses[0]) }, "bad-address"},
		"interface":             {func(g *Gateway) { g.Interface = "a name that is too long" }, "bad-name"},
		"priority of an owner":  {func(g *Gateway) { g.Priorities = map[string]int{"n1": 255} }, "bad-priority"},
		"priority of another":   {func(g *Gateway) { g.Members, g.Priorities = []string{"n1"}, map[string]int{"n2": 9} }, "bad-priority"},
		"preferred another":     {func(g *Gateway) { g.Members, g.Preferred = []string{"n1"}, "n2" }, "bad-member"},
		"selector of nothing":   {func(g *Gateway) { g.Members = []string{"group:"} }, "bad-member"},
		"nothing to announce":   {func(g *Gateway) { g.Announce, g.Addresses = true, []netip.Prefix{netip.MustParsePrefix("fe80::1/64")} }, "bad-announce"},
		"delay of nothing":      {func(g *Gateway) { g.NoPreempt, g.PreemptDelay = true, 1000 }, "bad-value"},
		"track twice":           {func(g *Gateway) { g.Tracks = []Track{{Type: TrackBGP}, {Type: TrackBGP, Weight: 5}} }, "bad-track"},
		"checksum":              {func(g *Gateway) { g.Checksum = "crc" }, "bad-value"},
		"peers of nothing":      {func(g *Gateway) { g.Peers = []netip.Addr{netip.MustParseAddr("192.0.2.7")} }, "bad-peer"},
		"peer multicast":        {func(g *Gateway) { g.Unicast, g.Peers = true, []netip.Addr{netip.MustParseAddr("224.0.0.18")} }, "bad-peer"},
		"peer itself":           {func(g *Gateway) { g.Unicast, g.Peers = true, []netip.Addr{netip.MustParseAddr("192.0.2.1")} }, "bad-peer"},
		"RA without IPv6":       {func(g *Gateway) { g.Addresses, g.RA.MTU = g.Addresses[:1], 1500 }, "bad-ra"},
		"RA lifetime":           {func(g *Gateway) { g.RA.Lifetime = 70000 }, "bad-ra"},
		"RA interval":           {func(g *Gateway) { g.RA.Interval = 3 }, "bad-ra"},
		"RA lifetime too short": {func(g *Gateway) { g.RA.Lifetime, g.RA.Interval = 100, 200 }, "bad-ra"},
		"RA MTU":                {func(g *Gateway) { g.RA.MTU = 1279 }, "bad-ra"},
		"RA preference":         {func(g *Gateway) { g.RA.Preference = "best" }, "bad-ra"},
		"RA DNS":                {func(g *Gateway) { g.RA.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.53")} }, "bad-ra"},
		"RA too many resolvers": {func(g *Gateway) { g.RA.DNS = slices.Repeat([]netip.Addr{netip.MustParseAddr("2001:db8::53")}, 16) }, "bad-ra"},
		"RA too long":           {func(g *Gateway) { g.Addresses = subnets6(39) }, "bad-ra"},
		"RA longer than told":   {func(g *Gateway) { g.Addresses, g.RA.MTU = subnets6(45), 1500 }, "bad-ra"},
		"RA trusted":            {func(g *Gateway) { g.RA.Trusted = []netip.Addr{netip.MustParseAddr("2001:db8::53")} }, "bad-ra"},
		"unknown track":         {func(g *Gateway) { g.Tracks = []Track{{Type: "moon"}} }, "bad-track"},
	} {
		g := testGateway("gw", 1)
		c.change(g)
		if err := g.Validate(); CodeOf(err) != CodeInvalid || ReasonOf(err) != c.reason {
			t.Errorf("%s: %v (%s), want %s", name, err, ReasonOf(err), c.reason)
		}
	}
}

func TestParseTrack(t *testing.T) {
	for text, want := range map[string]string{
		"bgp": "bgp", "bgp:tor1,20": "bgp:tor1,20", "route:0.0.0.0/0": "route:0.0.0.0/0", "route:2001:db8::1/32": "route:2001:db8::/32", "carrier:eth2,50": "carrier:eth2,50", "chassis": "chassis", "chassis,30": "chassis,30",
		"check:icmp:192.0.2.2":                                "check:icmp:192.0.2.2",
		"check:icmp:[2001:db8::2],interval=200ms,50":          "check:icmp:[2001:db8::2],interval=200ms,50",
		"check:tcp:192.0.2.2:179,20,fall=3,timeout=100ms":     "check:tcp:192.0.2.2:179,timeout=100ms,fall=3,20",
		"check:http:[2001:db8::2]:80/health?x=1,rise=2":       "check:http:[2001:db8::2]:80/health?x=1,rise=2",
		"check:dns:192.0.2.53:53/example.com,interval=2000ms": "check:dns:192.0.2.53:53/example.com,interval=2s",
	} {
		if got, err := ParseTrack(text); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "moon", "route", "route:10.0.0.1", "carrier", "chassis:n1", "bgp,0", "bgp,254", "bgp,-1", "bgp,x", "carrier:eth2,", "bgp,5,6", "bgp,rise=2", "check", "check:icmp", "check:icmp:eth0", "check:icmp:192.0.2.2:80",
		"check:tcp:192.0.2.2", "check:tcp:192.0.2.2:0", "check:tcp:192.0.2.2:80/x", "check:process", "check:exec:/bin/true", "check:icmp:224.0.0.1", "check:icmp:fe80::1%eth0",
		"check:dns:192.0.2.2:53", "check:icmp:192.0.2.2,interval=10ms", "check:icmp:192.0.2.2,interval=1.5ms", "check:icmp:192.0.2.2,timeout=2s", "check:icmp:192.0.2.2,rise=0",
		"check:icmp:192.0.2.2,rise=101", "check:icmp:192.0.2.2,254", "check:http:192.0.2.2:80/a b"} {
		if got, err := ParseTrack(text); err == nil {
			t.Errorf("%q is taken as %+v", text, got)
		}
	}
}

func TestGatewayRanking(t *testing.T) {
	s := snapshotWith(t, &Member{Header: Header{Name: "n3"}}, &Member{Header: Header{Name: "n1"}}, &Member{Header: Header{Name: "n2"}},
		&Member{Header: Header{Name: "d"}, Config: Config{"bgp.drained": "true"}})
	for name, c := range map[string]struct {
		change func(*Gateway)
		want   []Ranked
	}{
		"drained": {func(g *Gateway) { g.Members = []string{"d", "n1"} }, []Ranked{{"n1", 190}, {"d", 1}}},
		"drained, and one given the last place": {func(g *Gateway) { g.Members, g.Priorities = []string{"n1", "d"}, map[string]int{"n1": 1, "d": 254} },
			[]Ranked{{"n1", 2}, {"d", 1}}},
		"moved to a drained one":     {func(g *Gateway) { g.Members, g.Preferred = []string{"n1", "n2", "d"}, "d" }, []Ranked{{"n1", 200}, {"n2", 190}, {"d", 1}}},
		"moved beside a drained one": {func(g *Gateway) { g.Members, g.Preferred = []string{"n1", "n2", "d"}, "n2" }, []Ranked{{"n2", 240}, {"n1", 200}, {"d", 1}}},
		"by name":                    {func(g *Gateway) { g.Members = nil }, []Ranked{{"n1", 190}, {"n2", 180}, {"n3", 170}, {"d", 1}}},
		"by order":                   {func(g *Gateway) { g.Members = []string{"n3", "n1"} }, []Ranked{{"n3", 200}, {"n1", 190}}},
		"given":                      {func(g *Gateway) { g.Priorities = map[string]int{"n3": 254} }, []Ranked{{"n3", 254}, {"n1", 200}, {"n2", 190}}},
		"moved":                      {func(g *Gateway) { g.Preferred = "n2" }, []Ranked{{"n2", 240}, {"n1", 200}, {"n3", 180}}},
		"moved to one that left":     {func(g *Gateway) { g.Preferred = "n9" }, []Ranked{{"n1", 200}, {"n2", 190}, {"n3", 180}}},
		"moved from the highest":     {func(g *Gateway) { g.Preferred, g.Priorities = "n2", map[string]int{"n1": 254} }, []Ranked{{"n2", 254}, {"n1", 253}, {"n3", 180}}},
	} {
		g := testGateway("gw", 1)
		g.Members = []string{"n1", "n2", "n3"}
		c.change(g)
		if got := g.Ranking(s); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestFreeVRID(t *testing.T) {
	other := testGateway("other", 3)
	other.Interface = "eth2"
	s := snapshotWith(t, testGateway("a", 1), testGateway("b", 4), other)
	if vrid, err := FreeVRID(s, "eth1", map[uint8]bool{2: true}); vrid != 3 || err != nil {
		t.Errorf("VRID %d, %v", vrid, err)
	}
	all := map[uint8]bool{}
	for v := range 256 {
		all[uint8(v)] = true
	}
	if _, err := FreeVRID(s, "eth1", all); ReasonOf(err) != "no-vrid" {
		t.Errorf("none is free: %v", err)
	}
}

// A VRID and an address belong to one gateway of an interface.
func TestGatewayClaims(t *testing.T) {
	tx := NewTx(EmptySnapshot())
	if err := tx.Put(testGateway("a", 1)); err != nil {
		t.Fatal(err)
	}
	same := testGateway("b", 1)
	same.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}
	if err := tx.Put(same); CodeOf(err) != CodeConflict {
		t.Errorf("the same VRID: %v", err)
	}
	if err := tx.Put(testGateway("b", 2)); CodeOf(err) != CodeConflict {
		t.Errorf("the same addresses: %v", err)
	}
	same.Interface = "eth2"
	if err := tx.Put(same); err != nil {
		t.Errorf("another interface: %v", err)
	}
}

func TestGatewayOutage(t *testing.T) {
	g := testGateway("gw", 1)
	// RFC 9568, 6.1: 3 * 100 ms + (256-100)*100/256 ms.
	if got := g.WorstOutage(100); got != 360937500*time.Nanosecond {
		t.Errorf("%v", got)
	}
}

func TestGatewayWarnings(t *testing.T) {
	s := snapshotWith(t, &Member{Header: Header{Name: "n1"}}, &Member{Header: Header{Name: "n2"}}, &Peer{Header: Header{Name: "tor"}})
	g := testGateway("gw", 1)
	if got := g.Warnings(s); len(got) > 0 {
		t.Errorf("nothing is wrong: %q", got)
	}
	g.Tracks = []Track{{Type: TrackBGP, Weight: 5}}
	text := strings.Join(g.Warnings(s), "\n")
	for _, want := range []string{"200, less 5 is 195, still above the 190 of n2", "preemption without a delay", "hold time of 9s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	fast := snapshotWith(t, &Member{Header: Header{Name: "n1"}}, &Member{Header: Header{Name: "n2"}}, &Peer{Header: Header{Name: "tor"}, BFD: PeerBFD{Interval: 300}})
	if text := strings.Join(g.Warnings(fast), "\n"); !strings.Contains(text, "3 × 300 ms = 900ms, while a crash of the member is over after 326ms") || strings.Contains(text, "hold time") {
		t.Errorf("slow BFD:\n%s", text)
	}
	fast = snapshotWith(t, &Member{Header: Header{Name: "n1"}}, &Member{Header: Header{Name: "n2"}}, &Peer{Header: Header{Name: "tor"}, BFD: PeerBFD{Interval: 50}})
	if text := strings.Join(g.Warnings(fast), "\n"); strings.Contains(text, "silent failure") {
		t.Errorf("fast BFD:\n%s", text)
	}
	g.Members = []string{"n1"}
	if got := g.Warnings(s); !strings.Contains(got[0], "nobody takes over") {
		t.Errorf("one member: %q", got)
	}
}

func TestGatewayAdvertises(t *testing.T) {
	g := testGateway("gw", 1)
	if full := g.RA.Full(); !g.Advertises() || full.Lifetime != 1800 || full.Interval != 600 || full.Preference != RAMedium {
		t.Errorf("by default: %v, %+v", g.Advertises(), full)
	}
	g.RA.Lifetime = 9
	if full := g.RA.Full(); full.Interval != MinRAInterval || g.Validate() != nil {
		t.Errorf("with a short lifetime: %+v, %v", full, g.Validate())
	}
	g.RA.Off = true
	if g.Advertises() || g.Validate() != nil {
		t.Errorf("off: %v, %v", g.Advertises(), g.Validate())
	}
	g.RA, g.Addresses = GatewayRA{}, []netip.Prefix{g.Addresses[0], netip.MustParsePrefix("fe80::1/64")}
	if g.Advertises() || g.Validate() != nil {
		t.Errorf("with a link-local address only: %v, %v", g.Advertises(), g.Validate())
	}
}
