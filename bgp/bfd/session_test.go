package bfd

import (
	"fmt"
	"testing"
	"time"
)

// epoch is when the virtual clocks of tests begin.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

var fast = Config{MinTx: 50 * time.Millisecond, MinRx: 50 * time.Millisecond, Multiplier: 3}

// steady is for tests with sockets in which nothing may fail, however busy the machine is.
var steady = Config{MinTx: 200 * time.Millisecond, MinRx: 200 * time.Millisecond, Multiplier: 5}

func middle() float64 { return 0.5 }

// heard is a packet of a neighbour with the timers of fast.
func heard(s State) Packet {
	return Packet{State: s, Multiplier: 3, MyDiscr: 20, YourDiscr: 10, MinTx: 50 * time.Millisecond, MinRx: 50 * time.Millisecond}
}

// sessionIn makes a session in a state, whose neighbour answers each Poll.
func sessionIn(t *testing.T, state State, cfg Config, now time.Time) *Session {
	t.Helper()
	s := New(cfg, 10, middle, now)
	s.Expire(now)
	switch state {
	case AdminDown:
		s.AdminDown(now)
	case Init:
		s.Recv(now, heard(Down))
	case Up:
		s.Recv(now, heard(Init))
		s.Recv(now, final(heard(Up)))
		s.Recv(now, heard(Up))
	}
	if got := s.Status().State; got != state {
		t.Fatalf("the session is %s, not %s", got, state)
	}
	return s
}

func final(p Packet) Packet { p.Final = true; return p }
func poll(p Packet) Packet  { p.Poll = true; return p }

func sends(actions []Action) (packets []Packet) {
	for _, a := range actions {
		if a.Kind == ActionSend {
			packets = append(packets, a.Packet)
		}
	}
	return packets
}

func changes(actions []Action) (list []Change) {
	for _, a := range actions {
		if a.Kind == ActionChange {
			list = append(list, a.Change)
		}
	}
	return list
}

// Every event in every state: RFC 5880, 6.2 and 6.8.6.
func TestTransitions(t *testing.T) {
	recv := func(state State) func(*Session, time.Time) []Action {
		return func(s *Session, now time.Time) []Action { return s.Recv(now, heard(state)) }
	}
	events := []struct {
		name string
		do   func(*Session, time.Time) []Action
	}{
		{"recv admin-down", recv(AdminDown)},
		{"recv down", recv(Down)},
		{"recv init", recv(Init)},
		{"recv up", recv(Up)},
		{"silence", func(s *Session, now time.Time) []Action { return s.Expire(now.Add(time.Hour)) }},
		{"disable", func(s *Session, now time.Time) []Action { return s.AdminDown(now) }},
		{"enable", func(s *Session, now time.Time) []Action { return s.Enable(now) }},
	}
	type result struct {
		to      State
		diag    Diag
		failure bool
	}
	want := map[State][]result{
		AdminDown: {{AdminDown, 7, false}, {AdminDown, 7, false}, {AdminDown, 7, false}, {AdminDown, 7, false}, {AdminDown, 7, false}, {AdminDown, 7, false}, {Down, 0, false}},
		Down:      {{Down, 0, false}, {Init, 0, false}, {Up, 0, false}, {Down, 0, false}, {Down, 0, false}, {AdminDown, 7, false}, {Down, 0, false}},
		Init:      {{Down, 3, false}, {Init, 0, false}, {Up, 0, false}, {Up, 0, false}, {Down, 1, false}, {AdminDown, 7, false}, {Init, 0, false}},
		Up:        {{Down, 3, false}, {Down, 3, true}, {Up, 0, false}, {Up, 0, false}, {Down, 1, true}, {AdminDown, 7, false}, {Up, 0, false}},
	}
	for from := range State(4) {
		for i, event := range events {
			t.Run(from.String()+"/"+event.name, func(t *testing.T) {
				s := sessionIn(t, from, fast, epoch)
				actions := event.do(s, epoch)
				w := want[from][i]
				if st := s.Status(); st.State != w.to || st.Diag != w.diag {
					t.Errorf("now %s, %s, want %s, %s", st.State, st.Diag, w.to, w.diag)
				}
				c := changes(actions)
				if w.to == from {
					if len(c) != 0 {
						t.Errorf("changes %v", c)
					}
					return
				}
				if len(c) != 1 || c[0].From != from || c[0].To != w.to || c[0].Diag != w.diag || c[0].Failure() != w.failure {
					t.Errorf("changes %+v", c)
				}
				if p := sends(actions); len(p) != 1 || p[0].State != w.to || p[0].Diag != w.diag {
					t.Errorf("a change is told at once and once, not %v", p)
				}
			})
		}
	}
}

// A neighbour that says why is quoted.
func TestChangeQuotesNeighbor(t *testing.T) {
	s := sessionIn(t, Up, fast, epoch)
	p := heard(Down)
	p.Diag = DiagExpired
	c := changes(s.Recv(epoch, p))
	if want := (Change{Up, Down, DiagNeighborDown, Down, DiagExpired}); len(c) != 1 || c[0] != want {
		t.Errorf("got %+v", c)
	}
}

// Transmission timing: RFC 5880, 6.8.2, 6.8.3 and 6.8.7.
func TestTransmitInterval(t *testing.T) {
	with := func(change func(*Packet)) Packet { p := heard(Up); change(&p); return p }
	for _, c := range []struct {
		name   string
		state  State
		cfg    Config
		jitter float64
		remote Packet
		want   time.Duration // from one packet to the next; 0: none
	}{
		{"not up: a second", Down, fast, 0, heard(Up), time.Second},
		{"up: desired", Up, fast, 0, heard(Up), 50 * time.Millisecond},
		{"up: what the neighbour can take", Up, fast, 0, with(func(p *Packet) { p.MinRx = 80 * time.Millisecond }), 80 * time.Millisecond},
		{"jitter takes a quarter", Up, fast, 1, heard(Up), 37500 * time.Microsecond},
		{"multiplier 1: at least a tenth", Up, Config{MinTx: 50 * time.Millisecond, MinRx: 50 * time.Millisecond, Multiplier: 1}, 0, heard(Up), 45 * time.Millisecond},
		{"multiplier 1: at most a quarter", Up, Config{MinTx: 50 * time.Millisecond, MinRx: 50 * time.Millisecond, Multiplier: 1}, 1, heard(Up), 37500 * time.Microsecond},
		{"neighbour wants none", Up, fast, 0, with(func(p *Packet) { p.MinRx = 0 }), 0},
		{"neighbour in demand mode", Up, fast, 0, with(func(p *Packet) { p.Demand = true }), 0},
		{"demand mode counts when both are up", Down, fast, 0, with(func(p *Packet) { p.Demand = true }), time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sessionIn(t, c.state, c.cfg, epoch)
			s.jitter = func() float64 { return c.jitter }
			s.Recv(epoch, c.remote)
			if s.nextTx.IsZero() {
				if c.want != 0 {
					t.Errorf("no packets, want one each %s", c.want)
				}
				return
			}
			now := s.nextTx
			s.lastRx = now // the neighbour is alive
			s.schedule()
			if p := sends(s.Expire(now)); len(p) != 1 {
				t.Fatalf("sent %v", p)
			}
			if got := s.nextTx.Sub(now); c.want == 0 || got != c.want {
				t.Errorf("next packet after %s, want %s", got, c.want)
			}
		})
	}
}

// Detection: RFC 5880, 6.8.4.
func TestDetectionTime(t *testing.T) {
	for _, c := range []struct {
		rx, remoteTx time.Duration
		multiplier   uint8
		want         time.Duration
	}{
		{50 * time.Millisecond, 50 * time.Millisecond, 3, 150 * time.Millisecond},
		{50 * time.Millisecond, 100 * time.Millisecond, 3, 300 * time.Millisecond},
		{200 * time.Millisecond, 100 * time.Millisecond, 3, 600 * time.Millisecond},
		{10 * time.Millisecond, 10 * time.Millisecond, 1, 10 * time.Millisecond},
		{10 * time.Second, time.Microsecond, 255, 2550 * time.Second},
	} {
		s := sessionIn(t, Up, Config{MinTx: 50 * time.Millisecond, MinRx: c.rx, Multiplier: 7}, epoch)
		p := heard(Up)
		p.MinTx, p.Multiplier = c.remoteTx, c.multiplier
		s.Recv(epoch, p)
		if got := s.expires.Sub(epoch); got != c.want || s.Status().DetectionTime != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
		before := s.expires.Add(-time.Nanosecond)
		s.Expire(before)
		if s.Status().State != Up {
			t.Errorf("%+v: down too early", c)
		}
		if a := s.Expire(s.expires); s.Status().State != Down || s.Status().Diag != DiagExpired {
			t.Errorf("%+v: still %s after %v", c, s.Status().State, a)
		}
	}
}

// A neighbour that was silent is forgotten in every state, so that packets don't name a session that is gone (RFC 5880, 6.8.1).
func TestForgetsSilentNeighbor(t *testing.T) {
	s := sessionIn(t, Down, fast, epoch)
	s.Recv(epoch, heard(Up))
	if st := s.Status(); st.State != Down || st.Remote.MyDiscr != 20 || st.DetectionTime == 0 {
		t.Fatalf("%+v", st)
	}
	p := sends(s.Expire(epoch.Add(time.Minute)))
	if st := s.Status(); st.Remote != (Packet{State: Down}) || st.DetectionTime != 0 || len(p) != 1 || p[0].YourDiscr != 0 {
		t.Errorf("%+v, sent %v", st, p)
	}
}

func TestPassive(t *testing.T) {
	cfg := fast
	cfg.Passive = true
	s := New(cfg, 10, middle, epoch)
	if d := s.Deadline(); !d.IsZero() {
		t.Errorf("deadline %s", d)
	}
	if a := s.Expire(epoch.Add(time.Hour)); len(a) != 0 {
		t.Errorf("sent %v", a)
	}
	if p := sends(s.Recv(epoch, heard(Down))); len(p) != 1 || p[0].State != Init {
		t.Errorf("answered %v", p)
	}
	s.Expire(epoch.Add(time.Hour))
	if d := s.Deadline(); !d.IsZero() {
		t.Errorf("after silence: deadline %s", d)
	}
}

// A packet with P is answered at once by one with F and without P, in each state but AdminDown (RFC 5880, 6.8.6 and 6.8.7).
func TestPollIsAnswered(t *testing.T) {
	for _, state := range []State{Down, Init, Up} {
		s := sessionIn(t, state, fast, epoch)
		p := sends(s.Recv(epoch, poll(heard(Up))))
		if len(p) == 0 || !p[0].Final || p[0].Poll || p[0].State != s.Status().State {
			t.Errorf("%s: answered %v", state, p)
		}
	}
	s := sessionIn(t, AdminDown, fast, epoch)
	if p := sends(s.Recv(epoch, poll(heard(Up)))); len(p) != 0 {
		t.Errorf("answered %v", p)
	}
}

// What waits for the end of a Poll Sequence, and what doesn't: RFC 5880, 6.8.3.
func TestReconfigure(t *testing.T) {
	type timers struct{ tx, detection time.Duration }
	const ms = time.Millisecond
	now := timers{50 * ms, 150 * ms}
	for _, c := range []struct {
		name          string
		cfg           Config
		during, after timers
		poll          bool
	}{
		{"longer tx waits", Config{MinTx: 200 * ms, MinRx: 50 * ms, Multiplier: 3}, now, timers{200 * ms, 150 * ms}, true},
		{"shorter tx doesn't", Config{MinTx: 20 * ms, MinRx: 50 * ms, Multiplier: 3}, now, now, true}, // the neighbour takes no faster ones
		{"longer rx doesn't", Config{MinTx: 50 * ms, MinRx: 90 * ms, Multiplier: 3}, timers{50 * ms, 270 * ms}, timers{50 * ms, 270 * ms}, true},
		{"shorter rx waits", Config{MinTx: 50 * ms, MinRx: 10 * ms, Multiplier: 3}, now, timers{50 * ms, 60 * ms}, true},
		{"multiplier needs no poll", Config{MinTx: 50 * ms, MinRx: 50 * ms, Multiplier: 9}, now, now, false},
		{"nothing new", fast, now, now, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sessionIn(t, Up, fast, epoch)
			actions := s.Reconfigure(epoch, c.cfg)
			if p := sends(actions); len(p) > 0 && (p[0].Poll != c.poll || p[0].MinTx != c.cfg.MinTx || p[0].MinRx != c.cfg.MinRx || p[0].Multiplier != c.cfg.Multiplier) || len(p) == 0 && c.poll {
				t.Errorf("sent %v", p)
			}
			got := func() timers { st := s.Status(); return timers{st.TransmitInterval, st.DetectionTime} }
			if got() != c.during {
				t.Errorf("during the poll: %v, want %v", got(), c.during)
			}
			reply := final(heard(Up))
			if c.cfg.MinRx < 50*ms {
				reply.MinTx = 20 * ms // the neighbour may be faster than asked for
			}
			s.Recv(epoch, reply)
			if got() != c.after {
				t.Errorf("after the poll: %v, want %v", got(), c.after)
			}
			if s.Status().PollSequence {
				t.Error("the poll goes on after its final")
			}
		})
	}
}

// A change during a Poll Sequence is not taken for answered by the F of the first: another sequence begins after a packet without F (6.8.3).
func TestReconfigureTwice(t *testing.T) {
	s := sessionIn(t, Up, fast, epoch)
	slow, slower := fast, fast
	slow.MinTx, slower.MinTx = 200*time.Millisecond, 400*time.Millisecond
	s.Reconfigure(epoch, slow)
	s.Reconfigure(epoch, slower)
	for i, step := range []struct {
		p    Packet
		poll bool
		tx   time.Duration
	}{
		{heard(Up), true, fast.MinTx},           // no answer yet
		{final(heard(Up)), false, fast.MinTx},   // the answer to the first
		{final(heard(Up)), false, fast.MinTx},   // a second answer to the first
		{heard(Up), true, fast.MinTx},           // now a new sequence can begin
		{final(heard(Up)), false, slower.MinTx}, // and its answer counts
		{heard(Up), false, slower.MinTx},
	} {
		s.Recv(epoch, step.p)
		if st := s.Status(); st.PollSequence != step.poll || st.TransmitInterval != step.tx {
			t.Errorf("step %d: poll %t, tx %s", i, st.PollSequence, st.TransmitInterval)
		}
	}
}

// AdminDown is repeated at the old pace until the neighbour shows that it knows, at most Multiplier times.
func TestFarewell(t *testing.T) {
	run := func(s *Session) (gaps []time.Duration) {
		last := epoch
		for !s.Released() {
			now := s.Deadline()
			if len(sends(s.Expire(now))) > 0 {
				gaps, last = append(gaps, now.Sub(last)), now
			}
		}
		return gaps
	}
	s := sessionIn(t, Up, fast, epoch)
	if p := sends(s.AdminDown(epoch)); len(p) != 1 || p[0].State != AdminDown || p[0].MinTx != time.Second || s.Released() {
		t.Fatalf("sent %v, released %t", p, s.Released())
	}
	if got := fmt.Sprint(run(s)); got != "[43.75ms 43.75ms]" {
		t.Errorf("repeated after %s", got)
	}
	if d := s.nextTx.Sub(s.lastTx); d != 875*time.Millisecond {
		t.Errorf("then after %s", d)
	}

	s = sessionIn(t, Up, fast, epoch)
	s.AdminDown(epoch)
	s.Recv(epoch, heard(Up)) // sent before it knew
	if s.Released() {
		t.Error("released although the neighbour is still up")
	}
	s.Recv(epoch, heard(Down))
	if !s.Released() {
		t.Error("not released although the neighbour knows")
	}

	s = sessionIn(t, Down, fast, epoch)
	if s.AdminDown(epoch); !s.Released() {
		t.Error("a session that was down has nobody to wait for")
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{}).Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{
		{MinTx: 10*time.Millisecond - time.Microsecond, MinRx: time.Second, Multiplier: 3},
		{MinTx: time.Second, MinRx: 10*time.Second + time.Microsecond, Multiplier: 3},
		{MinTx: time.Second + time.Nanosecond, MinRx: time.Second, Multiplier: 3},
		{MinTx: time.Second, MinRx: time.Second},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
