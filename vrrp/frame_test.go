package vrrp

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestFrames compares with frames put together by hand from RFC 9568 (5.1, 7.2, 7.3), RFC 826 and RFC 4861. Dots are
// checksums, which are verified by adding up.
func TestFrames(t *testing.T) {
	payload4, err := good4().Marshal(src4, IPv4.Group())
	if err != nil {
		t.Fatal(err)
	}
	payload6, err := good6().Marshal(src6, IPv6.Group())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		frame []byte
		want  string
	}{
		"advertisement IPv4": {advertFrame(51, src4, payload4),
			"01005e000012 00005e000133 0800 45c0 0020 0000 0000 ff70 .... c0000202 e0000012" + hex.EncodeToString(payload4)},
		"advertisement IPv6": {advertFrame(51, src6, payload6),
			"333300000012 00005e000233 86dd 6c000000 0028 70 ff fe800000000000000000000000000002 ff020000000000000000000000000012" + hex.EncodeToString(payload6)},
		"gratuitous ARP": {announceFrame(51, netip.MustParseAddr("192.0.2.1")),
			"ffffffffffff 00005e000133 0806 0001 0800 06 04 0001 00005e000133 c0000201 000000000000 c0000201" + strings.Repeat("00", 18)},
		"neighbour advertisement": {announceFrame(51, netip.MustParseAddr("2001:db8::1")),
			"333300000001 00005e000233 86dd 6c000000 0020 3a ff 20010db8000000000000000000000001 ff020000000000000000000000000001" +
				"88 00 .... a0000000 20010db8000000000000000000000001 02 01 00005e000233"},
	} {
		wanted, got := strings.ReplaceAll(tc.want, " ", ""), hex.EncodeToString(tc.frame)
		if len(got) != len(wanted) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, wanted)
			continue
		}
		for i := range got {
			if wanted[i] != '.' && wanted[i] != got[i] {
				t.Errorf("%s: differs at %d:\n got %s\nwant %s", name, i, got, wanted)
				break
			}
		}
	}
	if c := fold(sum(advertFrame(51, src4, payload4)[14:34])); c != 0xffff {
		t.Errorf("IPv4 header adds up to %x", c)
	}
	na := announceFrame(51, netip.MustParseAddr("2001:db8::1"))[14:]
	if c := fold(sum(na[40:]) + sum(na[8:40]) + 58 + 32); c != 0xffff {
		t.Errorf("neighbour advertisement adds up to %x", c)
	}
}

func TestGatewayValidate(t *testing.T) {
	base := Gateway{Name: "gw", Interface: "eth0", VRID: 51, Priority: 100, Interval: time.Second,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}
	if err := base.Validate(); err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix
	for reason, changes := range map[string][]func(*Gateway){
		"gateway-name":      {func(g *Gateway) { g.Name = "" }},
		"gateway-interface": {func(g *Gateway) { g.Interface = "" }, func(g *Gateway) { g.Interface = "a-very-long-name" }},
		"gateway-vrid":      {func(g *Gateway) { g.VRID = 0 }},
		"gateway-interval":  {func(g *Gateway) { g.Interval = 0 }, func(g *Gateway) { g.Interval = 41 * time.Second }, func(g *Gateway) { g.Interval = 15 * time.Millisecond }},
		"gateway-delay":     {func(g *Gateway) { g.PreemptDelay = -1 }, func(g *Gateway) { g.Refresh = -1 }},
		"gateway-checksum":  {func(g *Gateway) { g.Checksum = "crc" }},
		"gateway-address": {
			func(g *Gateway) { g.Addresses = nil },
			func(g *Gateway) { g.Addresses = []netip.Prefix{{}} },
			func(g *Gateway) { g.Addresses = []netip.Prefix{prefix("224.0.0.1/24")} },
			func(g *Gateway) { g.Addresses = []netip.Prefix{prefix("127.0.0.1/8")} },
			func(g *Gateway) { g.Addresses = []netip.Prefix{prefix("192.0.2.1/24"), prefix("192.0.2.1/32")} },
		},
		"gateway-ra": {
			func(g *Gateway) { g.RA = &RouterAdvertising{Interval: time.Second} },
			func(g *Gateway) { g.RA = &RouterAdvertising{Interval: 4 * time.Second, Lifetime: -1} },
			func(g *Gateway) { g.RA = &RouterAdvertising{Interval: 4 * time.Second, Preference: "best"} },
			func(g *Gateway) { g.RA = &RouterAdvertising{Interval: 4 * time.Second, DNS: addrs("192.0.2.53")} },
			func(g *Gateway) { g.RA, g.Addresses = &RouterAdvertising{Interval: 4 * time.Second}, g.Addresses[:1] },
		},
		"gateway-peers": {
			func(g *Gateway) { g.Peers = addrs("192.0.2.3") },
			func(g *Gateway) { g.Unicast, g.Peers = true, addrs("192.0.2.3", "ff02::1") },
			func(g *Gateway) { g.Successors = []netip.Addr{{}} },
		},
	} {
		for i, change := range changes {
			g := base
			change(&g)
			if err := g.Validate(); err == nil || slugOf(err) != reason {
				t.Errorf("%s %d: %v", reason, i, err)
			}
		}
	}
	twin := base
	twin.Name = "other"
	if _, err := routersOf([]Gateway{base, twin}); err == nil || slugOf(err) != "gateway-vrid" {
		t.Errorf("equal VRID: %v", err)
	}
	twin.Interface = "eth1"
	if routers, err := routersOf([]Gateway{base, twin}); err != nil || len(routers) != 4 {
		t.Errorf("%v, %v", routers, err)
	}
	if got := base.addresses(IPv6); len(got) != 2 || got[0].Addr() != netip.MustParseAddr("fe80::5e00:233") {
		t.Errorf("IPv6 addresses %v", got)
	}
}
