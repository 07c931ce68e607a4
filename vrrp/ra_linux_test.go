package vrrp

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
)

func advertisingGateway(priority uint8, interval time.Duration) Gateway {
	g := testGateway(priority, interval)
	g.RA = &RouterAdvertising{Lifetime: 1800 * time.Second, Interval: 600 * time.Second, DNS: addrs("2001:db8::53")}
	return g
}

// TestRouterAdvertisements: a host that knows its gateway by router advertisements only keeps it when the Active dies or hands over, and gives it up
// when the gateway goes for good.
func TestRouterAdvertisements(t *testing.T) {
	l := newLink(t, 2)
	l.in("c", "ip -6 route del default", "sysctl -qw net.ipv6.conf.eth0.accept_ra=1", "ip -6 addr flush dev eth0 scope global")
	l.in("r2", "sysctl -qw net.ipv6.conf.eth0.accept_ra=1")
	route := func() string { return l.in("c", "ip -6 route show default") }
	r1, r2 := l.driver("r1"), l.driver("r2")
	g1, g2 := advertisingGateway(200, 50*time.Millisecond), advertisingGateway(100, 50*time.Millisecond)
	g1.Successors, g2.Successors = addrs("192.0.2.3", l.linkLocal("r2")), addrs("192.0.2.2", l.linkLocal("r1"))
	r1.set(g1)
	r1.waitFor(IPv6, Active)
	wait(t, 5*time.Second, "a router to follow", func() bool { return l.in("r2", "ip -6 route show default") != "" })
	r2.set(g2)
	r2.waitFor(IPv6, Backup)
	wait(t, 5*time.Second, "the default route", func() bool { return strings.Contains(route(), "via fe80::5e00:233 dev eth0 proto ra") })
	wait(t, 5*time.Second, "an address of its own", func() bool { return strings.Contains(l.in("c", "ip -6 addr show dev eth0 -tentative"), "2001:db8:") })
	// What it took of the Active before it was a member itself goes, too.
	wait(t, 5*time.Second, "a Backup that does not follow its own gateway", func() bool { return l.in("r2", "ip -6 route show default") == "" })

	p := l.probe(service6)
	p.waitAnswered(t, time.Now())
	if a := r1.order(order{Handover: "gw"}); a.Message != "" {
		t.Fatal(a.Message)
	}
	r2.waitFor(IPv6, Active)
	wait(t, 5*time.Second, "an advertisement of the new Active", func() bool { return r2.router(IPv6).RAOut > 0 })
	p.waitAnswered(t, time.Now().Add(2*Linger))
	if sent, lost, gap := p.end(); lost != 0 {
		t.Errorf("a move cost %d of %d, longest gap %s", lost, sent, gap)
	}
	told := r1.router(IPv6).RAOut

	l.in("c", "ip link set eth0 down", "ip link set eth0 up") // it asks for routers, and is answered
	wait(t, 10*time.Second, "a solicitation answered", func() bool { return r2.router(IPv6).RSIn > 0 && strings.Contains(route(), "fe80::5e00:233") })
	if now := r1.router(IPv6); now.RAOut != told {
		t.Errorf("a Backup has sent %d router advertisements", now.RAOut-told)
	}

	p = l.probe(service6)
	p.waitAnswered(t, time.Now())
	r2.kill()
	l.cut("r2")
	at := time.Now()
	p.waitAnswered(t, at.Add(50*time.Millisecond))
	_, lost, gap := p.end()
	if formula := WorstOutage(50*time.Millisecond, 200); gap > formula+50*time.Millisecond || lost == 0 {
		t.Errorf("a crash cost %d, longest gap %s, formula %s", lost, gap, formula)
	}
	if !strings.Contains(route(), "fe80::5e00:233") {
		t.Errorf("the host gave up the gateway: %s", route())
	}

	r1.set() // nobody is left to take over
	wait(t, 5*time.Second, "the default route gone", func() bool { return route() == "" })
}

// TestRouterAdvertisementFails: an advertisement to hosts that can't be sent stays known while those to other routers are sent.
func TestRouterAdvertisementFails(t *testing.T) {
	l := newLink(t, 1)
	g := advertisingGateway(255, 50*time.Millisecond)
	g.RA.DNS = slices.Repeat(g.RA.DNS, 16)
	r1 := l.driver("r1")
	r1.set(g)
	r1.waitFor(IPv6, Active)
	var s RouterState
	wait(t, 5*time.Second, "the error", func() bool { s = r1.router(IPv6); return s.ErrorReason == "send" })
	out := s.Out
	wait(t, 5*time.Second, "more advertisements", func() bool { s = r1.router(IPv6); return s.Out > out+3 })
	if s.ErrorReason != "send" || !strings.Contains(s.Error, "to hosts") || s.RAOut != 0 {
		t.Errorf("the error is forgotten: %+v", s)
	}
	fits := *g.RA
	fits.DNS = fits.DNS[:15]
	g.RA = &fits
	r1.set(g)
	wait(t, 5*time.Second, "the error over", func() bool { s = r1.router(IPv6); return s.RAOut > 0 && s.Error == "" })
}

// TestRogueRouter: another router that hosts may use is told of, unless it is trusted.
func TestRogueRouter(t *testing.T) {
	l := newLink(t, 2)
	g := advertisingGateway(255, time.Second)
	r1 := l.driver("r1")
	r1.set(g)
	r1.waitFor(IPv6, Active)
	rogue := netip.MustParseAddr(l.linkLocal("r2"))
	advertise := func(lifetime time.Duration) {
		l.inside("r2", func() error {
			s, err := openFrameSocket()
			if err != nil {
				return err
			}
			defer s.close()
			all := netip.IPv6LinkLocalAllNodes()
			payload, err := ndp.MarshalMessageChecksum(&ndp.RouterAdvertisement{RouterLifetime: lifetime,
				Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: VirtualMAC(IPv6, 99)}}}, rogue, all)
			if err != nil {
				return err
			}
			frame := append(ethernet(multicastMAC(all), VirtualMAC(IPv6, 99), etherIPv6), ipv6Header(rogue, all, icmpv6, len(payload))...)
			ifi, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			return s.send(ifi.Index, append(frame, payload...))
		})
	}
	advertise(90 * time.Second)
	wait(t, 5*time.Second, "the rogue router", func() bool {
		all := r1.router(IPv6).Rogues
		return len(all) == 1 && all[0].Source == rogue && all[0].MAC == "00:00:5e:00:02:63" && all[0].Lifetime == 90*time.Second
	})
	trusting := *g.RA
	trusting.Trusted = []netip.Addr{rogue}
	g.RA = &trusting
	r1.set(g)
	if all := r1.router(IPv6).Rogues; len(all) > 0 {
		t.Errorf("a router that is trusted is told of: %v", all)
	}
	trusting.Trusted = nil
	r1.set(g)
	wait(t, 5*time.Second, "the rogue router again", func() bool { return len(r1.router(IPv6).Rogues) == 1 })
	g.Siblings = []netip.Addr{rogue} // a gateway of the cluster: it is no rogue, heard before or after that was known
	r1.set(g)
	if all := r1.router(IPv6).Rogues; len(all) > 0 {
		t.Errorf("a gateway of the cluster is told of: %v", all)
	}
	g.Siblings = nil
	r1.set(g)
	wait(t, 5*time.Second, "heard again", func() bool { return !strings.Contains(l.in("r1", "nft list table inet fabric_vrrp"), rogue.String()) })
	advertise(0)
	wait(t, 5*time.Second, "the rogue router gone", func() bool { return len(r1.router(IPv6).Rogues) == 0 })
}
