package vrrp

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func contains(s, part string) bool { return strings.Contains(s, part) }

// TestTable is every event in every state.
func TestTable(t *testing.T) {
	states := map[State]func() *Machine{
		Initialize: func() *Machine { return newMachine(nil) },
		Backup:     func() *Machine { m := newBackup(nil); m.Recv(epoch, advert(100, time.Second), lower); return m },
		Active:     func() *Machine { return newActive(nil) },
	}
	soon := at(500 * time.Millisecond)
	recv := func(p uint8, from netip.Addr) func(*Machine) []Action {
		return func(m *Machine) []Action { return m.Recv(soon, advert(p, time.Second), from) }
	}
	directed := func(p uint8) func(*Machine) []Action {
		return func(m *Machine) []Action {
			a := advert(p, time.Second)
			a.Directed = true
			return m.Recv(soon, a, lower)
		}
	}
	takeover := "[accept advertise 100 announce backup -> active (%s)]"
	yields := "[release after 250ms active -> backup (better-active)]"
	for _, row := range []struct {
		event                      string
		do                         func(*Machine) []Action
		initialize, backup, active string
	}{
		{"startup", func(m *Machine) []Action { return m.Startup(soon) }, "[initialize -> backup (startup)]", "[]", "[]"},
		{"shutdown", func(m *Machine) []Action { return m.Shutdown(soon) }, "[]", "[backup -> initialize (shutdown)]", "[advertise 0 release active -> initialize (shutdown)]"},
		{"timer", func(m *Machine) []Action { return m.Expire(m.Deadline()) }, "[]", fmt.Sprintf(takeover, "no-active"), "[advertise 100]"},
		{"not yet", func(m *Machine) []Action { return m.Expire(soon) }, "[]", "[]", "[]"},
		{"priority 0", recv(0, lower), "[]", "[]", "[advertise 100 announce]"},
		{"lower priority", recv(99, higher), "[]", "[]", "[conflict with 192.0.2.200 priority 99 advertise 100 announce]"},
		{"equal, lower address", recv(100, lower), "[]", "[]", "[conflict with 192.0.2.9 priority 100 advertise 100 announce]"},
		{"equal, higher address", recv(100, higher), "[]", "[]", yields},
		{"higher priority", recv(101, lower), "[]", "[]", yields},
		{"owner", recv(255, lower), "[]", "[]", yields},
		{"echo", recv(255, baseConfig().Primary), "[]", "[]", "[]"},
		{"offer 0", directed(0), "[]", fmt.Sprintf(takeover, "offered"), "[advertise 100 announce]"},
		{"offer lower", directed(50), "[]", fmt.Sprintf(takeover, "offered"), "[conflict with 192.0.2.9 priority 50 advertise 100 announce]"},
		{"offer higher", directed(150), "[]", "[]", yields},
		{"handover", func(m *Machine) []Action { return m.Handover(soon, netip.Addr{}) }, "[]", "[]", "[advertise 0]"},
		{"handover to", func(m *Machine) []Action { return m.Handover(soon, lower) }, "[]", "[]", "[advertise 100 advertise 0 to 192.0.2.9]"},
		{"same config", func(m *Machine) []Action { return m.SetConfig(soon, m.Config()) }, "[]", "[]", "[]"},
		{"priority up", func(m *Machine) []Action { return m.SetPriority(soon, 120) }, "[]", "[]", "[advertise 120]"},
		{"priority down", func(m *Machine) []Action { return m.SetPriority(soon, 80) }, "[]", "[]", "[advertise 80]"},
		{"fault", func(m *Machine) []Action { return m.SetPriority(soon, 0) }, "[]", "[backup -> initialize (fault)]", "[advertise 0]"},
		{"addresses", func(m *Machine) []Action {
			c := m.Config()
			c.Addresses = addrs("192.0.2.253")
			return m.SetConfig(soon, c)
		}, "[]", "[]", "[accept announce advertise 100]"},
	} {
		for state, expected := range map[State]string{Initialize: row.initialize, Backup: row.backup, Active: row.active} {
			m := states[state]()
			if m.state != state {
				t.Fatalf("machine for %s is in %s", state, m.state)
			}
			if got := fmt.Sprint(row.do(m)); got != expected {
				t.Errorf("%s in %s: got %s, want %s", row.event, state, got, expected)
			}
		}
	}
}

func TestDeadActive(t *testing.T) {
	s := newSim(t)
	s.add("a", priority(200))
	s.add("b", priority(150))
	s.add("c", priority(100))
	s.start()
	s.run(10 * time.Second)
	s.expectActive("a")
	s.dead["a"] = true
	s.run(10*time.Second + 4*time.Second)
	s.expectActive("b")
	s.dead["a"] = false
	s.run(15 * time.Second)
	s.expectActive("a")
}

func TestPreemptOff(t *testing.T) {
	s := newSim(t)
	s.add("a", func(c *Config) { c.Priority, c.Preempt = 200, false })
	s.add("b", nil)
	s.do("b", s.nodes["b"].Startup(s.now))
	s.run(5 * time.Second)
	s.do("a", s.nodes["a"].Startup(s.now))
	s.run(20 * time.Second)
	s.expectActive("b")
}

func TestPreemptDelay(t *testing.T) {
	s := newSim(t)
	s.add("a", func(c *Config) { c.Priority, c.PreemptDelay = 200, 10*time.Second })
	s.add("b", nil)
	s.do("b", s.nodes["b"].Startup(s.now))
	s.run(5 * time.Second)
	s.do("a", s.nodes["a"].Startup(s.now))
	s.run(15 * time.Second)
	s.expectActive("b")
	s.run(19 * time.Second)
	s.expectActive("a")
}

func TestSplitBrainHeals(t *testing.T) {
	// Whoever advertises first after the link is good again: the loser yields, and where it has been heard, the winner
	// tells everybody again.
	for _, first := range []string{"winner", "loser"} {
		t.Run(first+" first", func(t *testing.T) { splitBrain(t, first == "loser") })
	}
}

func splitBrain(t *testing.T, loserFirst bool) {
	s := newSim(t)
	split := false
	s.lose = func(time.Duration, string, string) bool { return split }
	s.add("a", priority(200))
	s.add("b", nil)
	s.start()
	s.run(10 * time.Second)
	split = true
	s.run(20 * time.Second)
	s.expectActive("a", "b")
	if loserFirst { // a advertises at .218, b at .610 of each second
		s.run(20*time.Second + 300*time.Millisecond)
	}
	split = false
	s.log.Reset()
	s.run(30 * time.Second)
	s.expectActive("a")
	log := s.log.String()
	if !loserFirst {
		if !contains(log, "b: release after") {
			t.Fatal(log)
		}
		return
	}
	for _, line := range []string{"a: conflict with 192.0.2.2 priority 100", "a: announce", "b: release after", "a: conflict with 192.0.2.2 over"} {
		if !contains(log, line) {
			t.Fatalf("no %q in\n%s", line, log)
		}
	}
}

func TestOneWayLoss(t *testing.T) {
	s := newSim(t)
	s.lose = func(at time.Duration, from, _ string) bool { return at > 10*time.Second && from == "a" }
	s.add("a", priority(200))
	s.add("b", nil)
	s.start()
	s.run(20 * time.Second)
	s.expectActive("a", "b")
	if c := s.nodes["a"].Conflict(); c == nil || c.Source != s.nodes["b"].cfg.Primary {
		t.Fatalf("conflict %+v", c)
	}
}

// TestHandover moves the gateway in each way there is; at no moment is there no Active, and nobody takes it back.
func TestHandover(t *testing.T) {
	ask := func(to string) func(*sim) []Action {
		return func(s *sim) []Action { return s.nodes["a"].Handover(s.now, s.nodes[to].cfg.Primary) }
	}
	best := func(s *sim) []Action { return s.nodes["a"].Handover(s.now, netip.Addr{}) }
	successors := func(c *Config) { c.Priority, c.Successors = 200, addrs("192.0.2.2", "192.0.2.3") }
	fall := func(p uint8) func(s *sim) []Action {
		return func(s *sim) []Action { return s.nodes["a"].SetPriority(s.now, p) }
	}
	for name, tc := range map[string]struct {
		a      func(*Config)
		preB   func(*Config)
		do     func(*sim) []Action
		to     string
		within time.Duration
	}{
		"to a chosen one":           {priority(200), priority(150), ask("b"), "b", 3 * time.Millisecond},
		"to best by farewell":       {priority(200), priority(150), best, "b", 450 * time.Millisecond},
		"to first of successors":    {successors, priority(150), best, "b", 3 * time.Millisecond},
		"owner":                     {func(c *Config) { successors(c); c.Priority = 255 }, priority(150), best, "b", 3 * time.Millisecond},
		"priority falls":            {successors, priority(150), fall(50), "b", 3 * time.Millisecond},
		"priority falls a little":   {successors, priority(150), fall(180), "a", 3 * time.Millisecond},
		"fault":                     {successors, priority(150), fall(0), "b", 3 * time.Millisecond},
		"fault, and nobody to ask":  {priority(200), priority(150), fall(0), "b", 450 * time.Millisecond},
		"successor does not answer": {successors, func(c *Config) { c.Priority = 0 }, best, "c", 15 * time.Millisecond},
		"successor is not better":   {successors, priority(40), fall(50), "c", 15 * time.Millisecond},
		"without preempt":           {successors, func(c *Config) { c.Preempt = false }, best, "b", 3 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t)
			s.add("a", tc.a)
			s.add("b", tc.preB)
			s.add("c", priority(90))
			s.start()
			s.run(9500 * time.Millisecond)
			s.expectActive("a")
			s.owners = func(at time.Duration, active []string) {
				if len(active) == 0 {
					t.Fatalf("nobody is Active at %s\n%s", at, s.log.String())
				}
			}
			s.do("a", tc.do(s))
			s.run(9500*time.Millisecond + tc.within)
			s.expectActive(tc.to)
			if name != "successor is not better" && !strings.Contains(name, "falls") {
				s.run(60 * time.Second)
				s.expectActive(tc.to)
			}
		})
	}
}

func TestHandoverToNobody(t *testing.T) {
	s := newSim(t)
	s.add("a", func(c *Config) { c.Successors = addrs("192.0.2.9") })
	s.start()
	s.run(9500 * time.Millisecond)
	s.do("a", s.nodes["a"].Handover(s.now, netip.Addr{}))
	s.run(20 * time.Second)
	s.expectActive("a")
	if !contains(s.log.String(), "a: handover failed") || s.nodes["a"].HandingOver() {
		t.Fatal(s.log.String())
	}
}

func TestFaultAndBack(t *testing.T) {
	m := newActive(nil)
	want(t, m.SetPriority(epoch, 0), SendAdvertisement{Priority: PriorityFarewell})
	want(t, m.SetPriority(epoch, 0))
	want(t, m.SetPriority(at(time.Second), 100), SendAdvertisement{Priority: 100}) // back before anybody took over
	m.SetPriority(at(time.Second), 0)
	until := m.Deadline()
	if until != at(2*time.Second+Linger) {
		t.Fatalf("who may not be Active and knows nobody waits until %s", until)
	}
	want(t, m.Expire(until), SendAdvertisement{Priority: PriorityFarewell}, ReleaseAddresses{}, Transition{Active, Initialize, ReasonFault})
	want(t, m.SetPriority(until, 100), Transition{Initialize, Backup, ReasonStartup})
	m.Shutdown(until)
	want(t, m.SetPriority(until, 0))
	want(t, m.SetPriority(until, 100)) // not running: the interface is down
}

func TestOffersFromStrangersAreIgnored(t *testing.T) {
	m := newBackup(nil)
	m.Recv(epoch, advert(200, time.Second), lower)
	a := advert(50, time.Second)
	a.Directed = true
	want(t, m.Recv(epoch, a, higher))
}

func TestAnnouncementsAreRepeated(t *testing.T) {
	m := newMachine(func(c *Config) { c.Priority, c.Interval, c.Refresh = 255, 40*time.Second, 10*time.Second })
	m.Startup(epoch)
	var times []time.Duration
	for m.Deadline().Before(at(35 * time.Second)) {
		now := m.Deadline()
		want(t, m.Expire(now), SendGratuitous{})
		times = append(times, now.Sub(epoch))
	}
	if got := fmt.Sprint(times); got != "[20ms 100ms 240ms 300ms 2s 10s 20s 30s]" {
		t.Fatal(got)
	}
}

// TestAssertIsBounded: a flood of adverts makes an Active send at most once per assertStep.
func TestAssertIsBounded(t *testing.T) {
	m := newActive(nil)
	sent := 0
	for i := range 1000 {
		for _, action := range m.Recv(at(time.Duration(i)*10*time.Microsecond), advert(uint8(i%2), time.Second), lower) {
			if _, ok := action.(SendAdvertisement); ok {
				sent++
			}
		}
	}
	if sent != 1 {
		t.Fatalf("sent %d in 10 ms", sent)
	}
}

// TestLossSchedules: whatever is lost, once the link is good there is one Active, the one of the highest priority, and it stays.
func TestLossSchedules(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		loss := r.Float64()
		s := newSim(t)
		s.lose = func(at time.Duration, _, _ string) bool { return at < time.Minute && r.Float64() < loss }
		for i, name := range []string{"a", "b", "c"} {
			s.add(name, func(c *Config) {
				c.Priority = uint8(100 + 20*i*int(seed%2)) // equal in every other run
				c.Interval = time.Duration(1+r.IntN(100)) * IntervalUnit
			})
		}
		s.start()
		s.run(70 * time.Second)
		if active := s.active(); len(active) != 1 || seed%2 == 1 && active[0] != "c" {
			t.Fatalf("seed %d: active %v", seed, active)
		}
		before := len(s.changes)
		s.run(100 * time.Second)
		if len(s.changes) != before {
			t.Fatalf("seed %d: changes on a good link: %v", seed, s.changes[before:])
		}
	}
}

// TestTranscript is one story, as a file to read: testdata/handover.txt.
func TestTranscript(t *testing.T) {
	s := newSim(t)
	s.add("a", func(c *Config) { c.Priority, c.Successors = 200, addrs("192.0.2.2") })
	s.add("b", nil)
	say := func(format string, args ...any) {
		fmt.Fprintf(&s.log, "# "+format+"\n", args...)
	}
	say("both start; adverts that only repeat are left out")
	s.start()
	s.run(4 * time.Second)
	s.quiet = true
	s.run(9500 * time.Millisecond)
	s.quiet = false
	say("a is asked to hand over")
	s.do("a", s.nodes["a"].Handover(s.now, netip.Addr{}))
	s.run(9900 * time.Millisecond)
	s.quiet = true
	s.run(20 * time.Second)
	s.quiet = false
	say("b dies")
	s.dead["b"] = true
	s.run(24 * time.Second)
	s.quiet = true
	s.run(30 * time.Second)
	say("b comes back and believes that it is still Active")
	s.dead["b"] = false
	s.quiet = false
	s.run(30500 * time.Millisecond)
	s.quiet = true
	s.run(40 * time.Second)
	s.quiet = false
	say("a stops")
	s.do("a", s.nodes["a"].Shutdown(s.now))
	s.run(41 * time.Second)

	const file = "testdata/handover.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(s.log.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wanted, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if s.log.String() != string(wanted) {
		t.Fatalf("transcript differs from %s (go test -update writes it anew):\n%s", file, s.log.String())
	}
}

// A drained Active leaves to whoever is there, also where nobody preempts, and serves where nobody is.
func TestLastResort(t *testing.T) {
	s := newSim(t)
	s.quiet = true
	drained := func(c *Config) { c.Priority, c.LastResort = 1, true }
	base := func(c *Config) {
		c.Preempt, c.PreemptDelay = false, time.Hour
		c.Successors = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	}
	a := s.add("a", func(c *Config) { base(c); c.Priority = 200; c.Successors = c.Successors[1:] })
	b := s.add("b", func(c *Config) { base(c); c.Priority = 190; c.Successors = c.Successors[:1] })
	s.do("a", a.Startup(s.now))
	s.run(4 * time.Second)
	s.do("b", b.Startup(s.now))
	s.run(6 * time.Second)
	drain := a.Config()
	drained(&drain)
	s.do("a", a.SetConfig(s.now, drain))
	s.run(6*time.Second + 50*time.Millisecond)
	s.expect("a backup startup", "a active no-active", "b backup startup", "b active offered", "a backup handed-over")
	s.changes = nil
	s.do("b", b.Shutdown(s.now))
	s.run(12 * time.Second)
	s.expect("b initialize shutdown", "a active farewell")
	s.changes = nil
	s.do("b", b.Startup(s.now)) // it does not preempt, and is asked
	s.run(20 * time.Second)
	s.expect("b backup startup", "b active offered", "a backup handed-over")
	undrain := a.Config()
	undrain.Priority, undrain.LastResort = 200, false
	s.changes = nil
	s.do("a", a.SetConfig(s.now, undrain))
	s.run(30 * time.Second)
	s.expect() // without preemption it stays where it is
}

// A router that is asked to take over may wait for its Skew_Time, which is almost an interval: until then the Active must not seem to stay.
func TestAskedOneHasItsSkewTime(t *testing.T) {
	c := baseConfig()
	c.Priority = PriorityOwner
	m := New(c, epoch)
	m.Startup(epoch)
	now := epoch.Add(c.Interval / 2)
	begin := now
	target := netip.MustParseAddr("192.0.2.7")
	actions := m.Handover(now, target)
	asked := 0
	for now.Sub(begin) < 2*offerStep+c.Interval+c.Interval/4 {
		for _, a := range actions {
			switch send, ok := a.(SendAdvertisement); {
			case !ok:
			case send.Priority == PriorityFarewell:
				asked++
			case asked > 0 && (!send.To.IsValid() || send.To == target): // it would not take over, having heard that we stay
				t.Fatalf("%s after %v", a, now.Sub(begin))
			}
		}
		now = m.Deadline()
		actions = m.Expire(now)
	}
	if asked != 3 || !m.HandingOver() {
		t.Errorf("asked %d times, handing over: %v", asked, m.HandingOver())
	}
}

// TestMoveToSilent: who is asked to take over and is not there leaves the gateway where it is. Others do not time out meanwhile.
func TestMoveToSilent(t *testing.T) {
	known := addrs("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	for _, unicast := range []bool{false, true} {
		for interval := 10 * time.Millisecond; interval <= 120*time.Millisecond; interval += 10 * time.Millisecond {
			for phase := range 20 {
				s := newSim(t)
				s.quiet = true
				for i, name := range []string{"a", "b", "c", "d"} {
					others := slices.Delete(slices.Clone(known), i, i+1)
					change := func(c *Config) {
						c.Priority, c.Interval, c.Successors = uint8(254-10*i), interval, others
					}
					if unicast {
						s.unicast(name, 3, others, change)
					} else {
						s.add(name, change)
					}
				}
				s.start()
				begin := 2*time.Second + interval*time.Duration(phase)/20
				s.run(begin)
				s.expectActive("a")
				s.changes = nil
				s.dead["b"] = true
				last := begin
				s.lose = func(at time.Duration, from, to string) bool {
					if from == "a" && to == "d" {
						if at-last > interval*5/2 {
							t.Fatalf("at %s nothing was heard for %s", interval, at-last)
						}
						last = at
					}
					return false
				}
				s.do("a", s.nodes["a"].Handover(s.now, known[1]))
				s.run(begin + 20*interval)
				s.expect()
				if !contains(s.log.String(), "a: handover failed") {
					t.Fatal(s.log.String())
				}
			}
		}
	}
}

// TestMoveEndsWithTarget: a third router that advertises while the gateway moves is told that we are there, if it has no precedence. If it has, it is
// the one that has taken over, and the move has not come to its target.
func TestMoveEndsWithTarget(t *testing.T) {
	target := netip.MustParseAddr("192.0.2.50")
	now := at(10 * time.Millisecond)
	m := newActive(nil)
	m.Handover(epoch, target)
	want(t, m.Recv(now, advert(90, time.Second), lower), Conflict{Source: lower, Priority: 90}, SendAdvertisement{Priority: 100}, SendGratuitous{})
	if !m.HandingOver() {
		t.Error("the handover is over")
	}
	want(t, m.Recv(now, advert(90, time.Second), target), HandoverEnded{To: target, Done: true}, ReleaseAddresses{Linger: Linger}, Transition{Active, Backup, ReasonHandedOver})
	m = newActive(nil)
	m.Handover(epoch, target)
	want(t, m.Recv(now, advert(110, time.Second), lower), HandoverEnded{To: lower, Done: true}, ReleaseAddresses{Linger: Linger}, Transition{Active, Backup, ReasonHandedOver})

	h := handover{key: routerKey{"eth1", IPv4, 51}, target: target}
	for reason, e := range map[string]HandoverEnded{"": {To: target, Done: true}, "no-successor": {}, "other-successor": {To: lower, Done: true}} {
		if err := h.outcome(e); slugOf(err) != reason || err != nil && !contains(err.Error(), "192.0.2.50") {
			t.Errorf("%v: %v", e, err)
		}
	}
	if err := (handover{}).outcome(HandoverEnded{To: lower, Done: true}); err != nil {
		t.Error(err)
	}
}

// TestLastResortUnicast: a drained Active asks those that do not preempt also where they can't tell an offer from a farewell, one at a time. To move it is
// possible meanwhile.
func TestLastResortUnicast(t *testing.T) {
	known := addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")
	begin := func() *sim {
		s := newSim(t)
		s.quiet = true
		for i, name := range []string{"a", "b", "c"} {
			others := slices.Delete(slices.Clone(known), i, i+1)
			s.unicast(name, 2, others, func(c *Config) {
				c.Preempt, c.Priority, c.Successors, c.Interval = false, uint8(200-10*i), others, 100*time.Millisecond
			})
		}
		c := s.nodes["a"].Config()
		c.Priority, c.LastResort = 1, true
		s.do("a", s.nodes["a"].SetConfig(s.now, c))
		s.do("a", s.nodes["a"].Startup(s.now))
		s.run(10 * time.Second)
		s.expectActive("a")
		s.owners = func(at time.Duration, active []string) {
			if len(active) == 0 {
				t.Fatalf("nobody is Active at %s\n%s", at, s.log.String())
			}
		}
		s.changes = nil
		return s
	}
	for _, returned := range []string{"b", "c"} {
		s := begin()
		s.do(returned, s.nodes[returned].Startup(s.now))
		s.run(13 * time.Second)
		s.expect(returned+" backup startup", returned+" active farewell", "a backup handed-over")
		s.run(30 * time.Second)
		s.expectActive(returned)
	}
	s := begin()
	s.do("c", s.nodes["c"].Startup(s.now))
	s.run(10*time.Second + 20*time.Millisecond)
	s.do("a", s.nodes["a"].Handover(s.now, known[2]))
	s.run(10*time.Second + 200*time.Millisecond)
	s.expect("c backup startup", "c active farewell", "a backup handed-over")
}
