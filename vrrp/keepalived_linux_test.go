package vrrp

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestKeepalived is every way in which mastery goes between keepalived and us.
func TestKeepalived(t *testing.T) {
	interval := 100 * time.Millisecond

	t.Run("it is better: backs us up, preempts, says farewell, dies", func(t *testing.T) {
		l := newLink(t, 2)
		d := l.driver("r2")
		d.set(testGateway(100, interval))
		d.both(Active)
		p := l.probe(service4)
		p.waitAnswered(t, time.Now())
		k := l.keepalived("r1", 150, interval, "")
		k.waitActive(true) // preempts us
		d.both(Backup)
		p.waitAnswered(t, time.Now())
		if s := d.router(IPv4); s.Reason != ReasonBetterActive || s.Active.String() != "192.0.2.2" || s.ActivePriority != 150 {
			t.Errorf("%+v", s)
		}
		_, lost, gap := p.end()
		t.Logf("keepalived preempts us: %d ms lost, longest gap %s", lost, gap)
		d.clean()

		l.oneAnswer("r1")
		k.stop() // priority 0
		d.both(Active)
		if s := d.router(IPv4); s.Reason != ReasonFarewell {
			t.Errorf("reason %s", s.Reason)
		}
		if got := fmt.Sprint(l.arp(gateway4)); got != "["+vmac4+"]" || l.port(vmac4) != "r2" {
			t.Errorf("ARP is answered by %s, virtual MAC at %s", got, l.port(vmac4))
		}
		k = l.keepalived("r1", 150, interval, "")
		k.waitActive(true)
		d.both(Backup)
		l.cut("r1")
		d.both(Active)
		if s := d.router(IPv4); s.Reason != ReasonNoActive {
			t.Errorf("reason %s", s.Reason)
		}
		d.clean()
	})

	t.Run("we are better: preempt, hand over, say farewell, die", func(t *testing.T) {
		l := newLink(t, 2)
		k := l.keepalived("r1", 100, interval, "")
		k.waitActive(true)
		d := l.driver("r2")
		p := l.probe(service4)
		p.waitAnswered(t, time.Now())
		d.set(testGateway(150, interval))
		d.both(Active)
		if s := d.router(IPv4); s.Reason != ReasonPreempt {
			t.Errorf("reason %s", s.Reason)
		}
		k.waitActive(false)
		p.waitAnswered(t, time.Now())
		if a := d.order(order{Handover: "gw"}); a.Message != "" {
			t.Fatal(a.Message)
		}
		d.both(Backup)
		k.waitActive(true)
		p.waitAnswered(t, time.Now())
		_, lost, gap := p.end()
		t.Logf("we preempt keepalived, then hand over to it: %d ms lost, longest gap %s", lost, gap)
		if s := d.router(IPv4); s.Reason != ReasonHandedOver || s.Active.String() != "192.0.2.2" {
			t.Errorf("%+v", s)
		}
		g := testGateway(151, interval) // a new priority ends the abstinence
		d.set(g)
		d.both(Active)
		d.order(order{Close: -1})
		k.waitActive(true)
		clean2 := l.driver("r2")
		clean2.set(g)
		clean2.both(Active)
		clean2.clean()
		clean2.kill()
		l.cut("r2")
		k.waitActive(true)
	})

	t.Run("without preempt", func(t *testing.T) {
		l := newLink(t, 2)
		k := l.keepalived("r1", 100, interval, "")
		k.waitActive(true)
		d := l.driver("r2")
		g := testGateway(150, interval)
		g.NoPreempt = true
		d.set(g)
		for _, f := range []Family{IPv4, IPv6} { // longer than it would take to preempt
			wait(t, 5*time.Second, "adverts", func() bool { return d.router(f).In >= 12 })
		}
		d.both(Backup)
		k.stop()
		d.both(Active)
		k = l.keepalived("r1", 200, interval, "nopreempt")
		wait(t, 5*time.Second, "time enough to preempt", func() bool { return d.router(IPv4).Out > 60 })
		d.both(Active)
		if k.active() {
			t.Error("keepalived is active as well")
		}
		d.clean()
	})

	t.Run("equal priority", func(t *testing.T) {
		l := newLink(t, 2)
		k := l.keepalived("r1", 100, interval, "") // 192.0.2.2 is lower than ours
		k.waitActive(true)
		d := l.driver("r2")
		d.set(testGateway(100, interval))
		wait(t, 5*time.Second, "adverts", func() bool { return d.router(IPv4).In >= 12 })
		d.both(Backup) // equal does not preempt
		_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGSTOP)
		d.both(Active)
		_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGCONT) // both are: the higher address stays
		d.waitFor(IPv4, Active)
		wait(t, 5*time.Second, "keepalived yields", func() bool { return fmt.Sprint(l.in("r1", "ip -4 addr show dev vk4")) == "" || !k.active() })
		d.waitFor(IPv4, Active)
	})

	t.Run("owner", func(t *testing.T) {
		l := newLink(t, 2)
		k := l.keepalived("r1", 254, interval, "")
		k.waitActive(true)
		d := l.driver("r2")
		d.set(testGateway(255, interval))
		d.both(Active)
		k.waitActive(false)
		if s := d.router(IPv4); s.Reason != ReasonOwner {
			t.Errorf("%+v", s)
		}
	})

	t.Run("it is the owner", func(t *testing.T) {
		l := newLink(t, 2)
		d := l.driver("r2")
		d.set(testGateway(254, interval))
		d.both(Active)
		k := l.keepalived("r1", 255, interval, "")
		d.both(Backup)
		if s := d.router(IPv4); s.Reason != ReasonBetterActive || s.ActivePriority != 255 {
			t.Errorf("%+v", s)
		}
		l.oneAnswer("r1")
		k.stop()
		d.both(Active)
		if s := d.router(IPv4); s.Reason != ReasonFarewell {
			t.Errorf("reason %s", s.Reason)
		}
		d.clean()
	})

	t.Run("one interval for all, and another for ours", func(t *testing.T) {
		l := newLink(t, 2)
		k := l.keepalived("r1", 150, interval, "")
		k.waitActive(true)
		d := l.driver("r2")
		d.set(testGateway(100, time.Second)) // Active_Adver_Interval is that of the Active (RFC 9568, 6.1)
		d.both(Backup)
		wait(t, 5*time.Second, "adverts", func() bool { return d.router(IPv4).In > 2 && d.router(IPv6).In > 2 })
		if s := d.router(IPv4); s.WorstOutage != WorstOutage(interval, 100) {
			t.Errorf("it would wait %s", s.WorstOutage)
		}
		k.kill()
		l.cut("r1")
		d.both(Active)
		d.clean()
	})

	t.Run("its checksum, and what it does with the plain form", func(t *testing.T) {
		l := newLink(t, 2)
		d := l.driver("r2")
		g := testGateway(150, interval)
		g.Checksum = ChecksumPlain
		d.set(g)
		d.both(Active)
		k := l.keepalived("r1", 100, interval, "")
		// It drops the form of RFC 9568: both are Active, and ours says so.
		wait(t, 10*time.Second, "the conflict seen", func() bool { return d.router(IPv4).Conflict.String() == "192.0.2.2" })
		g.Checksum = ""
		d.set(g)
		wait(t, 10*time.Second, "the conflict over", func() bool { return !d.router(IPv4).Conflict.IsValid() })
		k.waitActive(false)
	})
}
