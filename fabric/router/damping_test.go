package router

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDamping(t *testing.T) {
	for _, c := range []struct {
		name  string
		flaps string // seconds
		want  string // second: suppressed until, or no; at each flap
	}{
		{"a restart", "0", "0:no"},
		{"two restarts", "0 1", "0:no 1:no"},
		{"three flaps in a row", "0 1 2", "0:no 1:no 2:31s"},
		{"flaps with rest between", "0 15 30 45 60", "0:no 15:no 30:no 45:no 60:no"},
		{"never longer than a minute after the last", "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Unix(1e9, 0)
			d := &damping{}
			var got []string
			for field := range strings.FieldsSeq(c.flaps) {
				after, err := time.ParseDuration(field + "s")
				if err != nil {
					t.Fatal(err)
				}
				now := began.Add(after)
				d.Flap(now)
				until, suppressed := d.Suppressed(now)
				if rest := until.Sub(now); rest > dampLongest {
					t.Errorf("flap at %s: suppressed for %s", after, rest)
				}
				if !suppressed {
					got = append(got, field+":no")
					continue
				}
				got = append(got, fmt.Sprintf("%s:%s", field, until.Sub(began).Truncate(time.Second)))
				if _, still := (&damping{d.penalty, d.at, d.flaps, true}).Suppressed(until.Add(-time.Millisecond)); !still {
					t.Errorf("flap at %s: used before %s", after, until)
				}
				if _, still := (&damping{d.penalty, d.at, d.flaps, true}).Suppressed(until); still {
					t.Errorf("flap at %s: not used at %s", after, until)
				}
			}
			if text := strings.Join(got, " "); c.want != "" && text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

// TestDampingBoundsUpdates lets a copy flap for ten minutes at many rates and counts what routers would be told in any minute.
func TestDampingBoundsUpdates(t *testing.T) {
	for _, period := range []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 8 * time.Second, 10 * time.Second, 14 * time.Second, 16 * time.Second, time.Minute} {
		began := time.Unix(1e9, 0)
		d := &damping{}
		announced := false
		var updates []time.Time
		tell := func(now time.Time, well bool) {
			_, suppressed := d.Suppressed(now)
			if use := well && !suppressed; use != announced {
				announced = use
				updates = append(updates, now)
			}
		}
		for now := began; now.Before(began.Add(10 * time.Minute)); now = now.Add(period) {
			tell(now, true)
			d.Flap(now.Add(period / 2))
			tell(now.Add(period/2), false)
		}
		worst := 0
		for i, from := range updates {
			n := 0
			for _, at := range updates[i:] {
				if at.Sub(from) < time.Minute {
					n++
				}
			}
			worst = max(worst, n)
		}
		if worst > 10 {
			t.Errorf("a flap every %s makes %d updates in a minute", period, worst)
		}
		if period <= time.Second && len(updates) > 6 {
			t.Errorf("a flap every %s makes %d updates in ten minutes", period, len(updates))
		}
		t.Logf("a flap every %s: %d updates in the worst minute, %d in ten minutes", period, worst, len(updates))
	}
}

func TestDampingForgets(t *testing.T) {
	began := time.Unix(1e9, 0)
	d := &damping{}
	if !d.Forgotten(began) {
		t.Error("there is a past at the beginning")
	}
	d.Flap(began)
	if d.Forgotten(began.Add(20 * time.Second)) {
		t.Error("forgotten too early")
	}
	if !d.Forgotten(began.Add(30 * time.Second)) {
		t.Error("not forgotten")
	}
	d.Flap(began.Add(time.Hour))
	if d.flaps != 1 {
		t.Errorf("%d flaps", d.flaps)
	}
}
