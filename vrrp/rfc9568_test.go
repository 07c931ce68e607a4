package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Each test here is one requirement of RFC 9568 on the machine, named by section. What it requires of packets is in
// TestParseRules, of frames in TestFrames, and of hosts in the tests with network namespaces.

func at(d time.Duration) time.Time { return epoch.Add(d) }

func advert(priority uint8, interval time.Duration) Advertisement {
	return Advertisement{VRID: 1, Priority: priority, Interval: interval, Addresses: addrs("192.0.2.254")}
}

var (
	lower  = netip.MustParseAddr("192.0.2.9")
	higher = netip.MustParseAddr("192.0.2.200") // above 127 in its last byte: the comparison is unsigned
)

func want(t *testing.T, got []Action, want ...Action) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func wantTimer(t *testing.T, m *Machine, d time.Duration) {
	t.Helper()
	if got := m.timer.Sub(epoch); got != d {
		t.Fatalf("timer at %s, want %s", got, d)
	}
}

func newMachine(change func(*Config)) *Machine {
	c := baseConfig()
	if change != nil {
		change(&c)
	}
	return New(c, epoch)
}

func newBackup(change func(*Config)) *Machine {
	m := newMachine(change)
	m.Startup(epoch)
	return m
}

// newActive is Active since just before the epoch, with its announcements done.
func newActive(change func(*Config)) *Machine {
	m := newMachine(change)
	m.Startup(epoch.Add(-time.Hour))
	m.Expire(epoch.Add(-30 * time.Minute))
	m.announceNo = len(announceAt)
	m.timer = at(m.cfg.Interval)
	return m
}

func priority(p uint8) func(*Config) { return func(c *Config) { c.Priority = p } }

func TestRFC9568_6_1_SkewTimeAndActiveDownInterval(t *testing.T) {
	for _, tc := range []struct {
		priority       uint8
		interval, down time.Duration
	}{
		{100, time.Second, 3*time.Second + 609375*time.Microsecond},
		{254, time.Second, 3*time.Second + 7812500*time.Nanosecond},
		{1, 10 * time.Millisecond, 30*time.Millisecond + 9960937*time.Nanosecond},
	} {
		m := newBackup(func(c *Config) { c.Priority, c.Interval = tc.priority, tc.interval })
		wantTimer(t, m, tc.down)
	}
}

func TestRFC9568_6_4_1_OwnerStartsActive(t *testing.T) {
	m := newMachine(priority(255))
	want(t, m.Startup(epoch), AcceptAddresses{}, SendAdvertisement{Priority: 255}, SendGratuitous{}, Transition{Initialize, Active, ReasonOwner})
	wantTimer(t, m, time.Second)
}

func TestRFC9568_6_4_1_OthersStartBackup(t *testing.T) {
	m := newMachine(priority(254))
	want(t, m.Startup(epoch), Transition{Initialize, Backup, ReasonStartup})
}

func TestRFC9568_6_4_2_TimerFires(t *testing.T) {
	m := newBackup(nil)
	want(t, m.Expire(m.Deadline().Add(-1)))
	want(t, m.Expire(m.Deadline()), AcceptAddresses{}, SendAdvertisement{Priority: 100}, SendGratuitous{}, Transition{Backup, Active, ReasonNoActive})
}

func TestRFC9568_6_4_2_PriorityZeroSetsTimerToSkewTime(t *testing.T) {
	m := newBackup(nil)
	want(t, m.Recv(at(time.Second), advert(200, 2*time.Second), lower))
	want(t, m.Recv(at(2*time.Second), advert(0, 2*time.Second), lower))
	wantTimer(t, m, 2*time.Second+2*609375*time.Microsecond) // with the interval of the Active
}

func TestRFC9568_6_4_2_EqualOrHigherAdoptsInterval(t *testing.T) {
	for _, p := range []uint8{100, 101, 255} {
		m := newBackup(nil)
		want(t, m.Recv(at(time.Second), advert(p, 100*time.Millisecond), lower))
		wantTimer(t, m, time.Second+300*time.Millisecond+60937500*time.Nanosecond)
	}
}

func TestRFC9568_6_4_2_LowerIsDiscardedWithPreempt(t *testing.T) {
	m := newBackup(nil)
	before := m.Deadline()
	want(t, m.Recv(at(time.Second), advert(99, 100*time.Millisecond), higher))
	if m.Deadline() != before || m.activeInterval != time.Second {
		t.Fatal("the timer or the interval changed")
	}
	want(t, m.Expire(before), AcceptAddresses{}, SendAdvertisement{Priority: 100}, SendGratuitous{}, Transition{Backup, Active, ReasonPreempt})
}

func TestRFC9568_6_4_2_LowerIsAdoptedWithoutPreempt(t *testing.T) {
	m := newBackup(func(c *Config) { c.Preempt = false })
	want(t, m.Recv(at(time.Second), advert(1, 100*time.Millisecond), lower))
	wantTimer(t, m, time.Second+300*time.Millisecond+60937500*time.Nanosecond)
}

func TestRFC9568_6_4_2_ShutdownIsSilent(t *testing.T) {
	m := newBackup(nil)
	want(t, m.Shutdown(epoch), Transition{Backup, Initialize, ReasonShutdown})
	if !m.Deadline().IsZero() {
		t.Fatal("a timer is left")
	}
}

func TestRFC9568_6_4_3_AdvertisesEachInterval(t *testing.T) {
	m := newActive(nil)
	for i := 1; i <= 5; i++ {
		d := time.Duration(i) * time.Second
		if m.Deadline() != at(d) {
			t.Fatalf("deadline %s", m.Deadline())
		}
		want(t, m.Expire(at(d+time.Millisecond)), SendAdvertisement{Priority: 100}) // late calls do not add up
	}
}

func TestRFC9568_6_4_3_PriorityZeroIsAnsweredAtOnce(t *testing.T) {
	m := newActive(nil)
	want(t, m.Recv(at(500*time.Millisecond), advert(0, time.Second), lower), SendAdvertisement{Priority: 100}, SendGratuitous{})
	wantTimer(t, m, 1500*time.Millisecond)
}

func TestRFC9568_6_4_3_HigherPriorityWins(t *testing.T) {
	m := newActive(nil)
	want(t, m.Recv(epoch, advert(101, 100*time.Millisecond), lower), ReleaseAddresses{Linger: Linger}, Transition{Active, Backup, ReasonBetterActive})
	wantTimer(t, m, 300*time.Millisecond+60937500*time.Nanosecond)
}

func TestRFC9568_6_4_3_EqualPriorityHigherAddressWins(t *testing.T) {
	m := newActive(nil)
	want(t, m.Recv(epoch, advert(100, time.Second), higher), ReleaseAddresses{Linger: Linger}, Transition{Active, Backup, ReasonBetterActive})
	m = newActive(func(c *Config) { c.Primary = netip.MustParseAddr("fe80::7fff") })
	want(t, m.Recv(epoch, advert(100, time.Second), netip.MustParseAddr("fe80::8000%eth0")), ReleaseAddresses{Linger: Linger}, Transition{Active, Backup, ReasonBetterActive})
}

func TestRFC9568_6_4_3_LowerIsDiscardedAndAnswered(t *testing.T) {
	for _, tc := range []struct {
		priority uint8
		source   netip.Addr
	}{{99, higher}, {100, lower}} {
		m := newActive(nil)
		want(t, m.Recv(at(100*time.Millisecond), advert(tc.priority, time.Second), tc.source),
			Conflict{Source: tc.source, Priority: tc.priority}, SendAdvertisement{Priority: 100}, SendGratuitous{})
		if m.state != Active {
			t.Fatal(m.state)
		}
		wantTimer(t, m, time.Second)
	}
}

func TestRFC9568_6_4_3_ShutdownSaysFarewell(t *testing.T) {
	m := newActive(nil)
	want(t, m.Shutdown(epoch), SendAdvertisement{Priority: 0}, ReleaseAddresses{}, Transition{Active, Initialize, ReasonShutdown})
}

func TestRFC9568_7_1_OwnerDiscards(t *testing.T) {
	m := newActive(priority(255))
	want(t, m.Recv(epoch, advert(255, time.Second), higher), Conflict{Source: higher, Priority: 255}, SendGratuitous{})
}

func TestRFC9568_5_2_4_PriorityZeroOnlyWhenLeaving(t *testing.T) {
	s := newSim(t)
	s.add("a", priority(200))
	s.add("b", nil)
	s.start()
	s.run(20 * time.Second)
	s.nodes["a"].SetPriority(s.now, 50)
	s.run(40 * time.Second)
	for _, line := range []string{"a: advertise 0", "b: advertise 0"} {
		if contains(s.log.String(), line) {
			t.Fatal(s.log.String())
		}
	}
}

func TestRFC9568_6_4_1_InitializeIgnoresEverything(t *testing.T) {
	m := newMachine(nil)
	want(t, m.Recv(epoch, advert(1, time.Second), lower))
	want(t, m.Expire(epoch.Add(time.Hour)))
	want(t, m.Shutdown(epoch))
}
