package bfd

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// world is two sessions, a and b, on one virtual clock, with a cable between them that delays and loses packets.
type world struct {
	t          *testing.T
	now        time.Time
	sides      [2]*Session
	cable      []flight
	delay      time.Duration
	lose       func(from int, p Packet) bool // nil: nothing is lost
	failures   [2]int
	transcript strings.Builder
}

// flight is a packet under way.
type flight struct {
	to      int
	packet  Packet
	arrives time.Time
}

func newWorld(t *testing.T, a, b Config, jitter func() float64) *world {
	return &world{t: t, now: epoch, delay: time.Millisecond, sides: [2]*Session{New(a, 1, jitter, epoch), New(b, 2, jitter, epoch)}}
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(&w.transcript, "%9.3fs  "+format+"\n", append([]any{w.now.Sub(epoch).Seconds()}, args...)...)
}

// act does the actions of a side. All packets cross the wire format.
func (w *world) act(from int, actions []Action) {
	name, other := "ab"[from:from+1], "ab"[1-from:2-from]
	for _, a := range actions {
		if a.Kind == ActionChange {
			w.note("%s is %s: %s", name, a.Change.To, a.Change.Diag)
			if a.Change.Failure() {
				w.failures[from]++
			}
			continue
		}
		p, err := Parse(a.Packet.Append(nil))
		if err != nil {
			w.t.Fatalf("%s sends %v: %v", name, a.Packet, err)
		}
		if w.lose != nil && w.lose(from, p) {
			w.note("%s > %s  %s  LOST", name, other, p)
			continue
		}
		w.note("%s > %s  %s", name, other, p)
		w.cable = append(w.cable, flight{1 - from, p, w.now.Add(w.delay)})
	}
}

// step moves the clock to what comes next, at most to until, and tells whether there was something.
func (w *world) step(until time.Time) bool {
	next, deliver := until, false
	if len(w.cable) > 0 && !w.cable[0].arrives.After(next) { // in order: the delay is constant
		next, deliver = w.cable[0].arrives, true
	}
	side := -1
	for i, s := range w.sides {
		if d := s.Deadline(); !d.IsZero() && d.Before(next) {
			next, side, deliver = d, i, false
		}
	}
	if next.After(w.now) {
		w.now = next
	}
	switch {
	case side >= 0:
		w.act(side, w.sides[side].Expire(w.now))
	case deliver:
		f := w.cable[0]
		w.cable = w.cable[1:]
		w.act(f.to, w.sides[f.to].Recv(w.now, f.packet))
	}
	return side >= 0 || deliver
}

func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for w.step(until) {
	}
}

func (w *world) states() string {
	return w.sides[0].Status().State.String() + " " + w.sides[1].Status().State.String()
}

func (w *world) expect(states string) {
	w.t.Helper()
	if w.states() != states {
		w.t.Errorf("after %s: %s, want %s\n%s", w.now.Sub(epoch), w.states(), states, w.transcript.String())
	}
}

// side loses all packets of one side, n of them.
func loseNext(from, n int) func(int, Packet) bool {
	return func(f int, _ Packet) bool {
		if f != from || n == 0 {
			return false
		}
		n--
		return true
	}
}

func TestLossSchedules(t *testing.T) {
	for _, c := range []struct {
		name     string
		lose     func() func(int, Packet) bool
		failures [2]int
	}{
		{"none", func() func(int, Packet) bool { return nil }, [2]int{0, 0}},
		{"one less than the multiplier", func() func(int, Packet) bool { return loseNext(0, 2) }, [2]int{0, 0}},
		// With jitter 1/2 the fourth packet is 4 × 43.75 = 175 ms after the last one heard.
		{"the multiplier", func() func(int, Packet) bool { return loseNext(0, 3) }, [2]int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, fast, fast, middle)
			w.run(5 * time.Second)
			w.expect("up up")
			w.lose = c.lose()
			w.run(5 * time.Second)
			w.expect("up up")
			if w.failures != c.failures {
				t.Errorf("failures %v, want %v\n%s", w.failures, c.failures, w.transcript.String())
			}
		})
	}
}

// One direction is cut: the side that hears nothing sees it, and tells the other one, which hears it.
func TestOneWay(t *testing.T) {
	w := newWorld(t, fast, fast, middle)
	w.run(5 * time.Second)
	w.lose = func(from int, _ Packet) bool { return from == 0 }
	w.run(5 * time.Second)
	w.expect("init down")
	if w.failures != [2]int{1, 1} {
		t.Errorf("failures %v", w.failures)
	}
	w.lose = nil
	w.run(5 * time.Second)
	w.expect("up up")
}

// AdminDown is no failure even when its first packets are lost, and Enable brings the session back.
func TestAdminDownWithLoss(t *testing.T) {
	w := newWorld(t, fast, fast, middle)
	w.run(5 * time.Second)
	w.lose = loseNext(0, 2)
	w.act(0, w.sides[0].AdminDown(w.now))
	w.run(10 * time.Second)
	w.expect("admin-down down")
	if w.failures != [2]int{0, 0} || !w.sides[0].Released() {
		t.Errorf("failures %v, released %t", w.failures, w.sides[0].Released())
	}
	w.act(0, w.sides[0].Enable(w.now))
	w.run(5 * time.Second)
	w.expect("up up")
}

func TestPassiveSides(t *testing.T) {
	passive := fast
	passive.Passive = true
	w := newWorld(t, passive, fast, middle)
	w.run(5 * time.Second)
	w.expect("up up")
	w = newWorld(t, passive, passive, middle)
	w.run(5 * time.Second)
	w.expect("down down")
}

// Whatever both sides reconfigure and whenever, nothing fails as long as packets arrive: that is what Poll Sequences are for.
func TestReconfigureNeverFails(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		random := func() Config {
			interval := func() time.Duration {
				return []time.Duration{10, 11, 30, 50, 300, 1000, 5000, 10000}[r.IntN(8)] * time.Millisecond
			}
			return Config{MinTx: interval(), MinRx: interval(), Multiplier: uint8(2 + r.IntN(4))}
		}
		w := newWorld(t, random(), random(), r.Float64)
		w.delay = time.Duration(r.IntN(4000)) * time.Microsecond
		w.run(30 * time.Second)
		w.expect("up up")
		for range 40 {
			side := r.IntN(2)
			w.note("%s is reconfigured", "ab"[side:side+1])
			w.act(side, w.sides[side].Reconfigure(w.now, random()))
			w.run(time.Duration(r.IntN(1000)) * time.Millisecond * time.Duration(1+r.IntN(20)))
			if w.states() != "up up" || w.failures != [2]int{} {
				text := w.transcript.String()
				t.Fatalf("seed %d: %s, failures %v\n…%s", seed, w.states(), w.failures, text[max(0, len(text)-4000):])
			}
		}
		// In the end both run with what both want.
		w.run(60 * time.Second)
		for i, s := range w.sides {
			o := w.sides[1-i]
			st := s.Status()
			if want := max(s.cfg.MinTx, o.cfg.MinRx); st.TransmitInterval != want || st.PollSequence {
				t.Errorf("seed %d: transmits each %s, want %s, poll %t", seed, st.TransmitInterval, want, st.PollSequence)
			}
			if want := time.Duration(o.cfg.Multiplier) * max(s.cfg.MinRx, o.cfg.MinTx); st.DetectionTime != want {
				t.Errorf("seed %d: detects after %s, want %s", seed, st.DetectionTime, want)
			}
		}
	}
}

// Under random loss a side fails only for a reason, and both are up again soon after the loss ends.
func TestRandomLoss(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, fast, fast, r.Float64)
		w.lose = func(int, Packet) bool { return r.IntN(100) < 40 }
		w.run(60 * time.Second)
		w.lose = nil
		w.run(10 * time.Second)
		w.expect("up up")
		w.failures = [2]int{}
		w.run(60 * time.Second)
		if w.failures != [2]int{} {
			t.Errorf("seed %d: failures %v without loss", seed, w.failures)
		}
	}
}

// Transcripts show what both sides say to each other, word for word.
func TestTranscripts(t *testing.T) {
	slow := Config{MinTx: 400 * time.Millisecond, MinRx: 400 * time.Millisecond, Multiplier: 3}
	for _, c := range []struct {
		name string
		play func(w *world)
	}{
		{"up-and-cut", func(w *world) {
			w.run(2500 * time.Millisecond)
			w.note("the cable is cut")
			w.lose = func(int, Packet) bool { return true }
			w.run(2 * time.Second)
			w.note("the cable is mended")
			w.lose = nil
			w.run(2 * time.Second)
		}},
		{"slower-and-admin-down", func(w *world) {
			w.run(2 * time.Second)
			slower := slow
			slower.MinTx = 800 * time.Millisecond
			w.note("a wants to send each %s", slower.MinTx)
			w.act(0, w.sides[0].Reconfigure(w.now, slower))
			w.run(2 * time.Second)
			w.note("a is taken down")
			w.lose = loseNext(0, 1)
			w.act(0, w.sides[0].AdminDown(w.now))
			w.run(3 * time.Second)
			w.note("a is enabled")
			w.act(0, w.sides[0].Enable(w.now))
			w.run(2 * time.Second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, slow, slow, middle)
			c.play(w)
			file := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(w.transcript.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.transcript.String(); got != string(want) {
				t.Errorf("%s differs (go test -run TestTranscripts -update writes it anew):\n%s", file, got)
			}
		})
	}
}

func testRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }
