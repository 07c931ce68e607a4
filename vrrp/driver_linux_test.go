package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOursWithOurs(t *testing.T) {
	l := newLink(t, 2)
	interval := 100 * time.Millisecond
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(200, interval))
	for _, f := range []Family{IPv4, IPv6} {
		r1.waitFor(f, Active)
	}
	r2.set(testGateway(100, interval))
	for _, f := range []Family{IPv4, IPv6} {
		s := r2.waitFor(f, Backup)
		wait(t, 2*time.Second, "adverts", func() bool { s = r2.router(f); return s.In > 2 })
		if s.ActivePriority != 200 || len(s.Discarded) != 0 || s.Error != "" {
			t.Fatalf("backup: %+v", s)
		}
	}
	if got := fmt.Sprint(l.arp(gateway4)); got != "["+vmac4+"]" {
		t.Fatalf("ARP is answered by %s", got)
	}
	if p := l.port(vmac4); p != "r1" {
		t.Fatalf("virtual MAC is at %q", p)
	}
	if out := l.in("r2", "ip addr show"); strings.Contains(out, gateway4+"/") || strings.Contains(out, gateway6+"/") {
		t.Fatalf("backup has an address:\n%s", out)
	}

	t.Run("silent death", func(t *testing.T) {
		p4, p6 := l.probe(service4), l.probe(service6)
		p4.waitAnswered(t, time.Now())
		p6.waitAnswered(t, time.Now())
		r1.kill()
		l.cut("r1")
		at := time.Now()
		p4.waitAnswered(t, at.Add(50*time.Millisecond))
		p6.waitAnswered(t, at.Add(50*time.Millisecond))
		for _, p := range []*probe{p4, p6} {
			_, lost, gap := p.end()
			formula := WorstOutage(interval, 100)
			t.Logf("outage %s, lost %d, formula %s", gap, lost, formula)
			if gap > formula+interval {
				t.Errorf("outage %s is longer than %s", gap, formula)
			}
		}
		if p := l.port(vmac4); p != "r2" {
			t.Fatalf("virtual MAC is at %q", p)
		}
	})
}

// TestPlannedHandover loses nothing, in either family, with 1 s between advertisements.
func TestPlannedHandover(t *testing.T) {
	l := newLink(t, 2)
	g1, g2 := testGateway(200, time.Second), testGateway(100, time.Second)
	g1.Successors = addrs("192.0.2.3", l.linkLocal("r2"))
	g2.Successors = addrs("192.0.2.2", l.linkLocal("r1"))
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(g1)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(g2)
	for _, f := range []Family{IPv4, IPv6} {
		wait(t, 5*time.Second, "an advert", func() bool { return r2.router(f).In > 0 })
	}
	p4, p6 := l.probe(service4), l.probe(service6)
	p4.waitAnswered(t, time.Now())
	p6.waitAnswered(t, time.Now())

	settled := func(active, backup *driver) {
		t.Helper()
		for _, f := range []Family{IPv4, IPv6} {
			active.waitFor(f, Active)
			backup.waitFor(f, Backup)
		}
		// the whole of Linger passes, and the old Active's interface goes down
		wait(t, 5*time.Second, "interface down", func() bool { return !strings.Contains(l.in(backup.n, "ip -o link show up"), "vr4-51") })
		now := time.Now()
		p4.waitAnswered(t, now)
		p6.waitAnswered(t, now)
	}
	if a := r1.order(order{Handover: "gw"}); a.Message != "" {
		t.Fatal(a.Message)
	}
	settled(r2, r1)
	if a := r2.order(order{Handover: "gw", To: addrs("192.0.2.2", l.linkLocal("r1"))}); a.Message != "" {
		t.Fatal(a.Message)
	}
	settled(r1, r2)
	if a := r2.order(order{Handover: "gw"}); a.Reason != "not-active" {
		t.Fatalf("handover by a Backup: %+v", a)
	}
	g1.Priority = 50 // as tracking does
	r1.set(g1)
	settled(r2, r1)
	g1.Priority = 200 // preempts
	r1.set(g1)
	settled(r1, r2)
	if a := r1.order(order{Close: 5 * time.Second}); a.Message != "" {
		t.Fatal(a.Message)
	}
	r2.waitFor(IPv4, Active)
	for _, p := range []*probe{p4, p6} {
		sent, lost, gap := p.end()
		t.Logf("%d sent, %d lost, longest gap %s", sent, lost, gap)
		if lost != 0 {
			t.Errorf("%d of %d lost, the first at %s; transitions of r2: %+v", lost, sent, p.firstLost, r2.router(IPv6).Transitions)
		}
	}
	if out := l.in("r1", "ip link show"); strings.Contains(out, "vr4-") || strings.Contains(out, "vr6-") {
		t.Errorf("interfaces are left:\n%s", out)
	}
	if got := strings.TrimSpace(l.in("r1", "sysctl -n net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce")); got != "0\n0" {
		t.Errorf("settings of the interface were not put back: %q", got)
	}
}

func (l *link) linkLocal(n string) string {
	for _, f := range strings.Fields(l.in(n, "ip -6 -o addr show dev eth0 scope link")) {
		if a, _, ok := strings.Cut(f, "/64"); ok {
			return a
		}
	}
	l.t.Fatalf("no link-local address in %s", n)
	return ""
}

// TestTrackedFault: a priority that falls moves the gateway at once, whatever the interval is.
func TestTrackedFault(t *testing.T) {
	l := newLink(t, 2)
	for _, fallen := range []uint8{50, 0} {
		g1, g2 := testGateway(200, 5*time.Second), testGateway(100, 5*time.Second)
		g1.Priority = 255 // no need to wait for anybody
		g1.Successors = addrs("192.0.2.3", l.linkLocal("r2"))
		r1, r2 := l.driver("r1"), l.driver("r2")
		r1.set(g1)
		r1.waitFor(IPv4, Active)
		r1.waitFor(IPv6, Active)
		r2.set(g2)
		r2.waitFor(IPv4, Backup)
		for _, f := range []Family{IPv4, IPv6} {
			wait(t, 10*time.Second, "an advert", func() bool { return r2.router(f).In > 0 })
		}
		at := time.Now()
		g1.Priority = fallen
		r1.set(g1)
		for _, f := range []Family{IPv4, IPv6} {
			s := r2.waitFor(f, Active)
			took := s.Since.Sub(at)
			t.Logf("priority %d, %s: %s", fallen, f, took)
			if took > 100*time.Millisecond {
				t.Errorf("%s moved after %s", f, took)
			}
		}
		r1.kill()
		r2.order(order{Close: -1})
	}
}

// TestCrash: a router process that is killed and started again costs nothing, and leaves nothing behind.
func TestCrash(t *testing.T) {
	l := newLink(t, 2)
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(200, time.Second))
	r1.waitFor(IPv4, Active)
	r2.set(testGateway(100, time.Second))
	wait(t, 5*time.Second, "an advert", func() bool { return r2.router(IPv4).In > 0 })
	p := l.probe(service4)
	p.waitAnswered(t, time.Now())
	r1.kill()
	again := l.driver("r1")
	again.set(testGateway(200, time.Second))
	again.waitFor(IPv4, Active) // at once after the election, or by preempting r2, which may have been quicker
	p.waitAnswered(t, time.Now())
	if sent, lost, gap := p.end(); lost != 0 {
		t.Errorf("%d of %d lost, longest gap %s", lost, sent, gap)
	}
	again.kill()
	last := l.driver("r1")
	last.set()
	wait(t, 5*time.Second, "leftovers removed", func() bool { return !strings.Contains(l.in("r1", "ip link show"), "vr4-51") })
	wait(t, 5*time.Second, "settings put back", func() bool { return l.in("r1", "sysctl -n net.ipv4.conf.eth0.arp_ignore") == "0\n" })
}

// TestSplitBrainOnTheWire: the Active's advertisements are lost, and later are not. The switch ends up at the winner.
func TestSplitBrainOnTheWire(t *testing.T) {
	l := newLink(t, 2)
	interval := 100 * time.Millisecond
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(200, interval))
	r1.waitFor(IPv4, Active)
	r2.set(testGateway(100, interval))
	wait(t, 5*time.Second, "an advert", func() bool { return r2.router(IPv4).In > 0 })
	l.mute("r1")
	r2.waitFor(IPv4, Active)
	wait(t, 5*time.Second, "the conflict seen", func() bool { return r1.router(IPv4).Conflict.String() == "192.0.2.3" })
	wait(t, 5*time.Second, "the same for IPv6", func() bool { return r1.router(IPv6).Conflict.IsValid() })
	h := l.hear("c")
	l.unmute()
	r2.waitFor(IPv4, Backup)
	wait(t, 5*time.Second, "the conflict over", func() bool { return !r1.router(IPv4).Conflict.IsValid() && !r1.router(IPv6).Conflict.IsValid() })
	wait(t, 5*time.Second, "announcements of the winner", func() bool { return h.count(gateway4+" "+vmac4) > 0 && h.count(gateway6+" "+vmac6) > 0 })
	wait(t, 5*time.Second, "switch turned back", func() bool { return l.port(vmac4) == "r1" })
	p := l.probe(service4)
	p.waitAnswered(t, time.Now())
}

func TestInterfaceComesAndGoes(t *testing.T) {
	l := newLink(t, 1)
	r1 := l.driver("r1")
	missing := testGateway(100, 100*time.Millisecond)
	missing.Interface = "eth7"
	r1.set(missing)
	wait(t, 2*time.Second, "the reason", func() bool { return r1.router(IPv4).ErrorReason == "interface-missing" })
	r1.set(testGateway(100, 100*time.Millisecond))
	r1.waitFor(IPv4, Active)
	l.cut("r1")
	r1.waitFor(IPv4, Initialize)
	if s := r1.router(IPv4); s.ErrorReason != "interface-down" {
		t.Fatalf("%+v", s)
	}
	l.plug("r1")
	r1.waitFor(IPv4, Active)
	l.in("r1", "ip addr del 192.0.2.2/24 dev eth0")
	r1.waitFor(IPv4, Initialize)
	if s := r1.router(IPv4); s.ErrorReason != "no-address" || !strings.Contains(s.Error, "eth0") {
		t.Fatalf("%+v", s)
	}
	bad := testGateway(100, 0)
	if a := r1.order(order{Set: &[]Gateway{bad}}); a.Reason != "gateway-interval" {
		t.Fatalf("%+v", a)
	}
	r1.waitFor(IPv6, Active)
}

func TestUnicastPeers(t *testing.T) {
	l := newLink(t, 2)
	g1, g2 := testGateway(200, 100*time.Millisecond), testGateway(100, 100*time.Millisecond)
	unmet := g1
	unmet.Unicast, unmet.Unmet = true, true
	r0 := l.driver("r1")
	r0.set(unmet)
	wait(t, 2*time.Second, "no peers", func() bool {
		return r0.router(IPv4).ErrorReason == "no-peers" && r0.router(IPv4).Primary.String() == "192.0.2.2"
	})
	r0.kill()
	g1.Unicast, g1.Peers = true, addrs("192.0.2.3", l.linkLocal("r2"))
	g2.Unicast, g2.Peers = true, addrs("192.0.2.2", l.linkLocal("r1"))
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(g1)
	r2.set(g2)
	for _, f := range []Family{IPv4, IPv6} {
		r1.waitFor(f, Active)
		r2.waitFor(f, Backup)
		wait(t, 2*time.Second, "adverts", func() bool { return r2.router(f).In > 3 })
	}
	p4, p6 := l.probe(service4), l.probe(service6)
	p4.waitAnswered(t, time.Now())
	p6.waitAnswered(t, time.Now())
	for range 3 {
		if a := r1.order(order{Handover: "gw", To: g1.Peers}); a.Message != "" {
			t.Fatal(a.Message)
		}
		r2.waitFor(IPv4, Active)
		r2.waitFor(IPv6, Active)
		p4.waitAnswered(t, time.Now().Add(2*Linger))
		if a := r2.order(order{Handover: "gw", To: g2.Peers}); a.Message != "" {
			t.Fatal(a.Message)
		}
		r1.waitFor(IPv4, Active)
		r1.waitFor(IPv6, Active)
		p4.waitAnswered(t, time.Now().Add(2*Linger))
	}
	r1.set() // taken out: peers can't be asked, only told
	for _, f := range []Family{IPv4, IPv6} {
		r2.waitFor(f, Active)
	}
	wait(t, 5*time.Second, "interfaces gone", func() bool { return !strings.Contains(l.in("r1", "ip -o link show"), "-51-") })
	gone := time.Now()
	p4.waitAnswered(t, gone)
	p6.waitAnswered(t, gone)
	for _, p := range []*probe{p4, p6} {
		if sent, lost, gap := p.end(); lost != 0 {
			t.Errorf("%d of %d lost, longest gap %s, the first at %s; transitions of r2: %+v", lost, sent, gap, p.firstLost, r2.router(IPv6).Transitions)
		}
	}
}

// TestStopped: a router that did not run for longer than its timers listens before it believes in silence.
func TestStopped(t *testing.T) {
	l := newLink(t, 2)
	interval := 50 * time.Millisecond
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(200, interval))
	r1.waitFor(IPv4, Active)
	r2.set(testGateway(100, interval))
	wait(t, 5*time.Second, "an advert", func() bool { return r2.router(IPv4).In > 0 })
	pause := func(d, other *driver) {
		t.Helper()
		if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		before := other.router(IPv4)
		wait(t, 5*time.Second, "ten adverts", func() bool {
			s := other.router(IPv4)
			return s.State == Active && s.Out > before.Out+10
		})
		if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	pause(r2, r1)
	if s := r2.router(IPv4); s.State != Backup || len(s.Transitions) != 1 {
		t.Fatalf("backup was stopped: %+v", s)
	}
	pause(r1, r2)
	r1.waitFor(IPv4, Active) // preempts
	if s := r1.router(IPv4); len(s.Transitions) < 2 {
		t.Fatalf("active was stopped: %+v", s)
	}
	if s := r2.waitFor(IPv4, Backup); s.Conflict.IsValid() {
		t.Fatalf("%+v", s)
	}
}

// TestForwarding: what is sent to the virtual MAC is routed on, and what comes back, though the host routes nothing before and after.
func TestForwarding(t *testing.T) {
	l := newLink(t, 1)
	l.namespace("s")
	l.in("r1", "ip link add eth1 type veth peer name eth0 netns "+l.name("s"), "ip link set eth1 up",
		"ip addr add 203.0.113.1/24 dev eth1", "ip addr add 2001:db8:1::1/64 dev eth1 nodad", "sysctl -qw net.ipv4.conf.eth1.rp_filter=1")
	l.in("s", "ip link set eth0 up", "ip addr add 203.0.113.2/24 dev eth0", "ip addr add 2001:db8:1::2/64 dev eth0 nodad",
		"ip route add default via 203.0.113.1", "ip -6 route add default via 2001:db8:1::1")
	settings := func() string {
		out := l.in("r1", "sysctl -n net.ipv4.conf.eth0.forwarding net.ipv4.conf.eth1.forwarding net.ipv4.conf.eth1.rp_filter net.ipv4.conf.eth0.arp_ignore "+
			"net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.forwarding net.ipv6.conf.eth1.force_forwarding")
		return strings.Join(strings.Fields(out), " ")
	}
	before := settings()
	if !strings.HasPrefix(before, "0 0 1 0 0 0") {
		t.Fatalf("the namespace forwards by itself: %s", before)
	}
	g := testGateway(255, time.Second)
	g.Uplinks = []string{"eth1"}
	r1 := l.driver("r1")
	r1.set(g)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	for _, to := range []string{"203.0.113.2", "2001:db8:1::2", gateway4, gateway6} {
		p := l.probe(to)
		p.waitAnswered(t, time.Now())
		p.end()
	}
	if got := settings(); got != "1 1 2 1 0 0 1" {
		t.Errorf("with a gateway: %s", got)
	}
	l.in("r1", "sysctl -qw net.ipv4.conf.eth1.forwarding=0")
	wait(t, 2*rescanPeriod, "a setting repaired that somebody else has changed", func() bool { return settings() == "1 1 2 1 0 0 1" })
	r1.kill()
	r1 = l.driver("r1")
	r1.set()
	wait(t, 5*time.Second, "settings put back by another process", func() bool { return settings() == before })
}

// TestAcceptMode: a gateway that does not accept forwards, and answers neighbour discovery, but nothing else.
func TestAcceptMode(t *testing.T) {
	l := newLink(t, 1)
	g := testGateway(254, 10*time.Millisecond)
	g.Accept = false
	r1 := l.driver("r1")
	r1.set(g)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	answers := func(to string) bool { return l.try("c", "ping -n -c 1 -W 1 "+to) }
	for _, through := range []string{service4, service6} { // needs ARP and neighbour discovery for the gateway
		p := l.probe(through)
		p.waitAnswered(t, time.Now())
		p.end()
	}
	if answers(gateway4) || answers(gateway6) || answers("fe80::5e00:233%eth0") {
		t.Error("the gateway takes what is sent to itself")
	}
	if !l.try("r1", "ping -n -c 1 -W 1 "+gateway4) {
		t.Error("the host itself is kept from its address")
	}
	l.in("r1", "nft flush ruleset")
	wait(t, 2*rescanPeriod, "the filter made anew", func() bool { return l.try("r1", "nft list table inet fabric_vrrp") })
	g.Accept = true
	r1.set(g)
	wait(t, 5*time.Second, "answers", func() bool { return answers(gateway4) && answers(gateway6) })
	if l.try("r1", "nft list table inet fabric_vrrp") {
		t.Error("the filter is left behind")
	}
}

// TestOwnedAddress: a member that has the address itself takes no part, unless it is the owner.
func TestOwnedAddress(t *testing.T) {
	l := newLink(t, 1)
	l.in("r1", "ip addr add "+gateway4+"/24 dev eth0")
	r1 := l.driver("r1")
	r1.set(testGateway(200, 10*time.Millisecond))
	wait(t, 5*time.Second, "the reason", func() bool { return r1.router(IPv4).ErrorReason == "address-owned" })
	r1.waitFor(IPv6, Active)
	l.in("r1", "ip addr del "+gateway4+"/24 dev eth0")
	r1.waitFor(IPv4, Active)
	l.in("r1", "ip addr add "+gateway4+"/24 dev eth0")
	r1.waitFor(IPv4, Initialize)
	r1.set(testGateway(255, 10*time.Millisecond))
	r1.waitFor(IPv4, Active)
}

// TestSyncSet: two gateways on two segments are together on one router, whatever happens to one of them.
func TestSyncSet(t *testing.T) {
	l := newLink(t, 2)
	l.in("sw", "ip link add br1 type bridge mcast_snooping 0 forward_delay 0", "ip link set br1 up")
	for i, n := range []string{"r1", "r2"} {
		l.in("sw", fmt.Sprintf("ip link add q-%s type veth peer name eth1 netns %s", n, l.name(n)), "ip link set q-"+n+" master br1 up")
		l.in(n, "ip link set eth1 up", fmt.Sprintf("ip addr add 203.0.113.%d/24 dev eth1", i+2))
	}
	pair := func(priority uint8, other string, last int) []Gateway {
		lan := testGateway(priority, 100*time.Millisecond)
		lan.Successors = addrs(fmt.Sprintf("192.0.2.%d", last), l.linkLocal(other))
		lan.Sync, lan.Members = "edge", map[netip.Addr]string{lan.Successors[0]: other, lan.Successors[1]: other}
		up := Gateway{Name: "up", Interface: "eth1", VRID: 7, Priority: priority, Interval: 300 * time.Millisecond, Accept: true, Sync: "edge",
			Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}, Successors: addrs(fmt.Sprintf("203.0.113.%d", last))}
		up.Members = map[netip.Addr]string{up.Successors[0]: other}
		return []Gateway{lan, up}
	}
	r1, r2 := l.driver("r1"), l.driver("r2")
	first, second := pair(200, "r2", 3), pair(100, "r1", 2)
	r1.set(first...)
	all := func(d *driver, state State) bool {
		routers := d.order(order{}).State.Routers
		return len(routers) == 3 && !slices.ContainsFunc(routers, func(r RouterState) bool { return r.State != state })
	}
	wait(t, 15*time.Second, "r1 Active for all", func() bool { return all(r1, Active) })
	r2.set(second...)
	wait(t, 5*time.Second, "adverts", func() bool {
		return !slices.ContainsFunc(r2.order(order{}).State.Routers, func(r RouterState) bool { return r.State != Backup || r.In == 0 })
	})

	if a := r1.order(order{Handover: "up", To: addrs("203.0.113.3")}); a.Message != "" {
		t.Fatal(a.Message)
	}
	wait(t, 2*time.Second, "a move takes all along", func() bool { return all(r2, Active) && all(r1, Backup) })
	if a := r2.order(order{Handover: "gw", To: addrs("192.0.2.2", l.linkLocal("r1"))}); a.Message != "" {
		t.Fatal(a.Message)
	}
	wait(t, 2*time.Second, "and back", func() bool { return all(r1, Active) && all(r2, Backup) })

	l.in("sw", "ip link set q-r1 down") // r1 loses one of two segments
	wait(t, 5*time.Second, "a fault takes all along", func() bool { return all(r2, Active) && all(r1, Initialize) })
	if s := r1.router(IPv4); s.ErrorReason != "sync-fault" || !strings.Contains(s.Error, `"up"`) {
		t.Errorf("%s is said to be %s: %s", s.Gateway, s.ErrorReason, s.Error)
	}
	l.in("sw", "ip link set q-r1 up")
	wait(t, 10*time.Second, "all come back", func() bool { return all(r1, Active) && all(r2, Backup) })

	first[0].Priority = 0 // a track of one
	r1.set(first...)
	wait(t, 5*time.Second, "a track takes all along", func() bool { return all(r2, Active) && all(r1, Initialize) })
}

// TestSyncSetGrows: a gateway and a family that come later, one on another segment, do not throw off what is Active.
func TestSyncSetGrows(t *testing.T) {
	l := newLink(t, 1)
	l.in("r1", "ip link add eth1 type veth peer name far", "ip link set far up", "ip link set eth1 up", "ip addr add 203.0.113.2/24 dev eth1")
	lan := testGateway(200, 100*time.Millisecond)
	lan.Sync, lan.Addresses = "edge", lan.Addresses[:1]
	r1 := l.driver("r1")
	r1.set(lan)
	changes := r1.waitFor(IPv4, Active).Changes
	lan.Addresses = testGateway(200, 0).Addresses
	up := Gateway{Name: "up", Interface: "eth1", VRID: 7, Priority: 200, Interval: 100 * time.Millisecond, Accept: true, Sync: "edge",
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}}
	r1.set(lan, up)
	var routers []RouterState
	wait(t, 15*time.Second, "all Active", func() bool {
		routers = r1.order(order{}).State.Routers
		return len(routers) == 3 && !slices.ContainsFunc(routers, func(r RouterState) bool { return r.State != Active })
	})
	if r := routers[0]; r.Gateway != "gw" || r.Family != IPv4 || r.Changes != changes {
		t.Errorf("the first gateway moved: %+v", r.Transitions)
	}
}

// TestForeign: virtual routers that are not ours are noted, and so is one of version 2.
func TestForeign(t *testing.T) {
	l := newLink(t, 2)
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(255, 100*time.Millisecond))
	other := testGateway(77, 100*time.Millisecond)
	other.VRID = 52
	r2.set(other)
	r2.waitFor(IPv4, Active)
	wait(t, 5*time.Second, "VRID 52 heard", func() bool {
		for _, h := range r1.order(order{}).State.Foreign {
			if h.VRID == 52 && h.Family == IPv4 && h.Priority == 77 && h.Version == 3 && h.Source.String() == "192.0.2.3" {
				return true
			}
		}
		return false
	})
	l.inside("r2", func() error { // version 2 for our VRID, and one with a bad checksum
		s, err := openSocket(IPv4, "eth0", 2)
		if err != nil {
			return err
		}
		defer s.close()
		r1 := addrs("192.0.2.2")[0]
		if err := s.send(addrs("192.0.2.3")[0], r1, []byte{0x21, 51, 100, 1, 0, 1, 0, 0, 192, 0, 2, 1}); err != nil {
			return err
		}
		return s.send(addrs("192.0.2.3")[0], r1, []byte{0x31, 51, 100, 1, 0, 1, 0, 0, 192, 0, 2, 1})
	})
	wait(t, 5*time.Second, "bad packets counted", func() bool {
		d := r1.router(IPv4).Discarded
		return d["v2"] == 1 && d["checksum"] == 1
	})
	if got := r1.router(IPv4).Version2; got.String() != "192.0.2.3" {
		t.Errorf("the router with version 2 is said to be %s", got)
	}
}

// TestDrained empties a router without loss, has it serve where it is alone, and takes the gateway off it for good.
func TestDrained(t *testing.T) {
	l := newLink(t, 2)
	gateway := func(priority uint8, successor string) Gateway {
		g := testGateway(priority, 100*time.Millisecond)
		g.NoPreempt, g.Successors = true, addrs(map[string]string{"r1": "192.0.2.2", "r2": "192.0.2.3"}[successor], l.linkLocal(successor))
		return g
	}
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(gateway(200, "r2"))
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(gateway(100, "r1"))
	wait(t, 5*time.Second, "adverts", func() bool { return r2.router(IPv4).In > 1 && r2.router(IPv6).In > 1 })
	p4, p6 := l.probe(service4), l.probe(service6)
	settled := func(active, backup *driver) {
		t.Helper()
		for _, f := range []Family{IPv4, IPv6} {
			active.waitFor(f, Active)
			wait(t, 5*time.Second, "only one Active", func() bool { return backup.router(f).State != Active })
		}
		wait(t, 5*time.Second, "interfaces down", func() bool { return !strings.Contains(l.in(backup.n, "ip -o link show up"), "-51-") })
		now := time.Now()
		p4.waitAnswered(t, now)
		p6.waitAnswered(t, now)
	}
	drained := gateway(1, "r2")
	drained.LastResort = true
	r1.set(drained)
	settled(r2, r1)
	r2.set() // not wanted there any more: handed over to the drained one, which is all that is left
	settled(r1, r2)
	r2.set(gateway(100, "r1"))
	settled(r2, r1) // asked, as it does not preempt
	r1.set(gateway(200, "r2"))
	if a := r2.order(order{Handover: "gw"}); a.Message != "" {
		t.Fatal(a.Message)
	}
	settled(r1, r2)
	for _, p := range []*probe{p4, p6} {
		if sent, lost, gap := p.end(); lost != 0 {
			t.Errorf("%d of %d lost, longest gap %s, the first at %s", lost, sent, gap, p.firstLost)
		}
	}
}
