package vrrp

import (
	"fmt"
	"testing"
	"time"
)

// TestUnicastAddresses: members whose addresses the others do not know yet make no second Active, and nothing moves when an address changes.
func TestUnicastAddresses(t *testing.T) {
	l := newLink(t, 3)
	known := map[string][]string{}
	for i, n := range []string{"r1", "r2", "r3"} {
		known[n] = []string{fmt.Sprintf("192.0.2.%d", i+2), l.linkLocal(n)}
	}
	member := func(priority uint8, others ...string) Gateway {
		g := testGateway(priority, 50*time.Millisecond)
		g.Unicast, g.OtherMembers = true, 2
		for _, n := range others {
			g.Peers = append(g.Peers, addrs(known[n]...)...)
		}
		return g
	}
	r1, r2, r3 := l.driver("r1"), l.driver("r2"), l.driver("r3")
	r1.set(member(200, "r2")) // the database has not spread the addresses of r3
	r2.set(member(150, "r1"))
	r1.both(Active)
	heard := func(d *driver, more uint64) {
		t.Helper()
		for _, f := range []Family{IPv4, IPv6} {
			before := d.router(f).In
			wait(t, 5*time.Second, "adverts", func() bool { return d.router(f).In >= before+more })
		}
	}
	heard(r2, 3)
	r3.set(member(100, "r1", "r2"))
	heard(r3, 12) // for longer than it would wait for an Active
	quiet := func(d *driver, state State) {
		t.Helper()
		for _, f := range []Family{IPv4, IPv6} {
			if s := d.router(f); s.State != state || s.Changes > 2 || state == Backup && s.Changes > 1 {
				t.Errorf("%s of %s is %s after %+v", f, d.n, s.State, s.Transitions)
			}
		}
	}
	quiet(r3, Backup)
	for _, n := range []string{"r2", "r1"} { // of a Backup, and of the Active
		number := map[string]string{"r2": "42", "r1": "41"}[n]
		l.in(n, "ip addr add 192.0.2."+number+"/25 dev eth0", "ip addr add fe80::"+number+"/64 dev eth0 nodad",
			"ip addr del "+known[n][0]+"/24 dev eth0", "ip addr del "+known[n][1]+"/64 dev eth0")
		d := map[string]*driver{"r1": r1, "r2": r2}[n]
		wait(t, 5*time.Second, "the new addresses used", func() bool {
			return d.router(IPv4).Primary.String() == "192.0.2."+number && d.router(IPv6).Primary.String() == "fe80::"+number
		})
		heard(r2, 12)
		heard(r3, 12)
		quiet(r1, Active)
		quiet(r2, Backup)
		quiet(r3, Backup)
	}
	if s := r3.router(IPv6); s.Active.String() != "fe80::41" {
		t.Errorf("r3 takes %s to be Active", s.Active)
	}
	if got := fmt.Sprint(l.arp(gateway4)); got != "["+vmac4+"]" || l.port(vmac4) != "r1" {
		t.Errorf("ARP is answered by %s, virtual MAC at %s", got, l.port(vmac4))
	}
	r1.kill()
	l.cut("r1")
	r2.both(Active)
	heard(r3, 12)
	quiet(r3, Backup)
}

// TestUnicastUnmet: who knows nobody to advertise to starts when another says hello.
func TestUnicastUnmet(t *testing.T) {
	l := newLink(t, 2)
	r1, r2 := l.driver("r1"), l.driver("r2")
	g := testGateway(200, 100*time.Millisecond)
	g.Unicast, g.OtherMembers, g.Unmet = true, 1, true
	r1.set(g)
	wait(t, 5*time.Second, "no peers", func() bool {
		return r1.router(IPv4).ErrorReason == "no-peers" && r1.router(IPv6).ErrorReason == "no-peers"
	})
	other := testGateway(100, 100*time.Millisecond)
	other.Unicast, other.OtherMembers, other.Peers = true, 1, addrs("192.0.2.2", l.linkLocal("r1"))
	r2.set(other)
	r1.both(Active)
	r2.both(Backup)
	r1.clean()
	r2.clean()
}

// TestKeepalivedUnicast: a keepalived that is no member, named as a peer, in both directions.
func TestKeepalivedUnicast(t *testing.T) {
	interval := 100 * time.Millisecond
	begin := func(t *testing.T, theirs int, ours uint8) (*link, *driver, func() *keepalived, Gateway) {
		t.Helper()
		l := newLink(t, 2)
		k4, k6, d4, d6 := "192.0.2.2", l.linkLocal("r1"), "192.0.2.3", l.linkLocal("r2")
		// Without unicast_ttl keepalived sends IPv6 with the hop limit of the host.
		unicast := func(own, other string) string {
			return "unicast_src_ip " + own + "\n  unicast_ttl 255\n  unicast_peer { \n " + other + " \n }"
		}
		g := testGateway(ours, interval)
		g.Unicast, g.Peers = true, addrs(k4, k6)
		g.Foreign = g.Peers
		start := func() *keepalived { return l.keepalivedWith("r1", theirs, interval, unicast(k4, d4), unicast(k6, d6)) }
		return l, l.driver("r2"), start, g
	}

	t.Run("it is better: preempts, says farewell, dies", func(t *testing.T) {
		l, d, start, g := begin(t, 150, 100)
		d.set(g)
		d.both(Active)
		k := start()
		k.waitActive(true)
		d.both(Backup)
		l.oneAnswer("r1")
		if s := d.router(IPv4); s.Reason != ReasonBetterActive || s.Active.String() != "192.0.2.2" || s.ActivePriority != 150 {
			t.Errorf("%+v", s)
		}
		d.clean()
		p4, p6 := l.probe(service4), l.probe(service6)
		p4.waitAnswered(t, time.Now())
		p6.waitAnswered(t, time.Now())
		k.stop()
		d.both(Active)
		p4.waitAnswered(t, time.Now())
		p6.waitAnswered(t, time.Now())
		l.oneAnswer("r2")
		for _, p := range []*probe{p4, p6} {
			_, lost, gap := p.end()
			t.Logf("keepalived says farewell: %d ms lost, longest gap %s", lost, gap)
		}
		if s := d.router(IPv4); s.Reason != ReasonFarewell {
			t.Errorf("reason %s", s.Reason)
		}
		k = start()
		k.waitActive(true)
		d.both(Backup)
		k.kill()
		l.cut("r1")
		d.both(Active)
		if s := d.router(IPv4); s.Reason != ReasonNoActive {
			t.Errorf("reason %s", s.Reason)
		}
		d.clean()
	})

	t.Run("we are better: preempt, hand over, say farewell, die", func(t *testing.T) {
		l, d, start, g := begin(t, 100, 150)
		k := start()
		k.waitActive(true)
		d.set(g)
		d.both(Active)
		k.waitActive(false)
		l.oneAnswer("r2")
		if s := d.router(IPv4); s.Reason != ReasonPreempt {
			t.Errorf("reason %s", s.Reason)
		}
		if a := d.order(order{Handover: "gw"}); a.Message != "" {
			t.Fatal(a.Message)
		}
		d.both(Backup)
		k.waitActive(true)
		l.oneAnswer("r1")
		if s := d.router(IPv4); s.Reason != ReasonHandedOver || s.Active.String() != "192.0.2.2" {
			t.Errorf("%+v", s)
		}
		g.Priority = 151 // a new priority ends the abstinence
		d.set(g)
		d.both(Active)
		d.clean()
		d.order(order{Close: -1})
		k.waitActive(true)
		again := l.driver("r2")
		again.set(g)
		again.both(Active)
		k.waitActive(false)
		again.clean()
		again.kill()
		l.cut("r2")
		k.waitActive(true)
	})

	t.Run("it sends IPv6 with the hop limit of the host", func(t *testing.T) {
		l := newLink(t, 2)
		k6, d6 := l.linkLocal("r1"), l.linkLocal("r2")
		d := l.driver("r2")
		g := testGateway(100, interval)
		g.Unicast, g.Peers, g.Foreign = true, addrs("192.0.2.2", k6), addrs("192.0.2.2", k6)
		d.set(g)
		d.both(Active)
		l.keepalivedWith("r1", 150, interval, "unicast_src_ip 192.0.2.2\n  unicast_peer {\n 192.0.2.3\n }", "unicast_src_ip "+k6+"\n  unicast_peer {\n "+d6+"\n }")
		d.waitFor(IPv4, Backup)
		wait(t, 10*time.Second, "the cause told", func() bool { return d.router(IPv6).ErrorReason == "peer-ttl" })
		if s := d.router(IPv6); s.State != Active || s.Discarded["ttl"] == 0 {
			t.Errorf("%+v", s)
		}
		if s := d.router(IPv4); s.Error != "" {
			t.Errorf("IPv4: %s", s.Error)
		}
	})
}
