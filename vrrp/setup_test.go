package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"testing"
)

func TestSetup(t *testing.T) {
	gateway := func(change func(*Gateway)) Gateway {
		g := Gateway{Name: "gw", Interface: "eth0", VRID: 51, Priority: 100, Interval: MinInterval, Accept: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}
		change(&g)
		return g
	}
	const own = "net/ipv4/conf/eth0/arp_announce=2 net/ipv4/conf/eth0/arp_ignore=1 net/ipv4/conf/eth0/forwarding=1 net/ipv4/conf/eth0/rp_filter=2"
	for name, c := range map[string]struct {
		gateways []Gateway
		sysctls  string
		forward6 string
		refuse   string
		deafTo   string // empty: none
	}{
		"none":       {nil, "", "[]", "[]", ""},
		"one":        {[]Gateway{gateway(func(*Gateway) {})}, own, "[eth0]", "[]", ""},
		"two":        {[]Gateway{gateway(func(*Gateway) {}), gateway(func(g *Gateway) { g.Name, g.VRID = "other", 52 })}, own, "[eth0]", "[]", ""},
		"uplink":     {[]Gateway{gateway(func(g *Gateway) { g.Uplinks = []string{"eth9", "eth0"} })}, own + " net/ipv4/conf/eth9/forwarding=1 net/ipv4/conf/eth9/rp_filter=2", "[eth0 eth9]", "[]", ""},
		"no accept":  {[]Gateway{gateway(func(g *Gateway) { g.Accept = false })}, own, "[eth0]", "[192.0.2.1 2001:db8::1 fe80::5e00:233]", ""},
		"owner":      {[]Gateway{gateway(func(g *Gateway) { g.Accept, g.Priority = false, PriorityOwner })}, own, "[eth0]", "[]", ""},
		"advertises": {[]Gateway{gateway(func(g *Gateway) { g.RA = &RouterAdvertising{Interval: MaxInterval} })}, own, "[eth0]", "[]", "[fe80::5e00:233]"},
		"beside another": {[]Gateway{gateway(func(g *Gateway) {
			g.RA, g.Siblings = &RouterAdvertising{Interval: MaxInterval}, []netip.Addr{VirtualLinkLocal(9)}
		})}, own, "[eth0]", "[]", "[fe80::5e00:209 fe80::5e00:233]"},
		"IPv6 alone": {[]Gateway{gateway(func(g *Gateway) { g.Addresses = g.Addresses[1:] })}, "", "[eth0]", "[]", ""},
	} {
		routers, err := routersOf(c.gateways)
		if err != nil {
			t.Fatal(err)
		}
		s, sysctls := setupOf(routers), ""
		for i, x := range s.sysctls {
			if i > 0 {
				sysctls += " "
			}
			sysctls += x.path + "=" + x.value
		}
		if sysctls != c.sysctls || fmt.Sprint(s.forward6) != c.forward6 || fmt.Sprint(s.guard.refuse) != c.refuse || fmt.Sprint(s.guard.deafTo) != cmp.Or(c.deafTo, "[]") {
			t.Errorf("%s: %s; forward6 %v, refuse %v", name, sysctls, s.forward6, s.guard.refuse)
		}
	}
}
