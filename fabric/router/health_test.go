package router

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netfabric/fabric"
)

func TestHealth(t *testing.T) {
	const pending, failed = fabric.ReasonCheckPending, fabric.ReasonCheckFailed
	for _, c := range []struct {
		name       string
		rise, fall int
		restored   string // "", "good" or "bad"
		results    string // of checks: + success, - failure
		reasons    string // after each of them; "ok" is healthy
	}{
		{"announced after rise successes", 3, 2, "", "+++", pending + " " + pending + " ok"},
		{"successes in a row", 2, 2, "", "+-++", pending + " " + pending + " " + pending + " ok"},
		{"never a failure without a verdict", 1, 1, "", "---+", pending + " " + pending + " " + pending + " ok"},
		{"fall failures in a row", 1, 3, "", "+--+---", "ok ok ok ok ok ok " + failed},
		{"back after rise successes in a row", 2, 1, "", "++-+-++", pending + " ok " + failed + " " + failed + " " + failed + " " + failed + " ok"},
		{"good verdict of an earlier run", 3, 2, "good", "-+--", "ok ok ok " + failed},
		{"bad verdict of an earlier run", 2, 2, "bad", "-++", failed + " " + failed + " ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHealth(fabric.Check{Rise: c.rise, Fall: c.fall}, time.Time{})
			switch c.restored {
			case "good":
				h.restore(true, "")
			case "bad":
				h.restore(false, "it failed")
			}
			want := strings.Fields(c.reasons)
			for n, result := range c.results {
				before, _ := h.Verdict()
				changed := h.Result(map[rune]string{'+': "", '-': "it failed"}[result])
				reason, message := h.Verdict()
				if reason == "" != (message == "") {
					t.Errorf("after %q: reason %q with message %q", c.results[:n+1], reason, message)
				}
				if (before == "") != (reason == "") && !changed {
					t.Errorf("after %q: the change was not told", c.results[:n+1])
				}
				if reason == "" {
					reason = "ok"
				}
				if reason != want[n] {
					t.Errorf("after %q: %s, want %s", c.results[:n+1], reason, want[n])
				}
			}
		})
	}
}

func TestVerdictInWords(t *testing.T) {
	h := newHealth(fabric.Check{Rise: 2, Fall: 2}, time.Time{})
	var got []string
	say := func() {
		reason, message := h.Verdict()
		got = append(got, reason+": "+message)
	}
	say()
	for _, failure := range []string{"refused", "", "", "refused", "refused", "", ""} {
		h.Result(failure)
		say()
	}
	want := `check-pending: 0 of 2 successes
check-pending: refused, no success yet
check-pending: 1 of 2 successes
: 
: 
check-failed: refused, 2 of 2 failures
check-failed: recovering: 1 of 2 successes
: `
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

// TestChecksKeepTheirDistance drives the machine as the worker does, with checks that take long now and then.
func TestChecksKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealth(fabric.Check{Interval: 1000, Rise: 1, Fall: 2}, time.Now())
		var starts []time.Duration
		began := time.Now()
		for n := range 5 {
			at, ok := h.Deadline()
			if !ok {
				t.Fatal("due while a check runs")
			}
			time.Sleep(time.Until(at))
			starts = append(starts, time.Since(began))
			h.Started(time.Now())
			if _, ok := h.Deadline(); ok {
				t.Error("due while a check runs")
			}
			if n == 2 {
				time.Sleep(2500 * time.Millisecond) // the process was stopped, say
			}
			time.Sleep(400 * time.Millisecond)
			h.Result("")
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 4900 * time.Millisecond, 5900 * time.Millisecond}
		for n := range want {
			if starts[n] != want[n] {
				t.Errorf("starts at %v, want %v", starts, want)
				break
			}
		}
	})
}
