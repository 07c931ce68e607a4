package vrrp

import (
	"slices"
	"testing"
	"time"
)

// Times of RFC 4861, 6.2.4: at once, soon for the first ones, and then between a third of the interval and all of it.
func TestAdvertiserUnsolicited(t *testing.T) {
	for _, c := range []struct {
		random float64
		max    time.Duration
		want   []time.Duration
	}{
		{0, 600 * time.Second, []time.Duration{0, 16 * time.Second, 32 * time.Second, 232 * time.Second, 432 * time.Second}},
		{1, 600 * time.Second, []time.Duration{0, 16 * time.Second, 32 * time.Second, 632 * time.Second}},
		{0, 4 * time.Second, []time.Duration{0, 3 * time.Second, 6 * time.Second, 9 * time.Second}},
		{1, 4 * time.Second, []time.Duration{0, 4 * time.Second, 8 * time.Second}},
	} {
		a := advertiser{random: func() float64 { return c.random }}
		begin := time.Unix(1000, 0)
		a.start(begin, c.max)
		var got []time.Duration
		for range c.want {
			at := a.next
			if a.due(at.Add(-1)) || !a.due(at) || a.due(at) {
				t.Fatalf("due at another time than %v", at)
			}
			got = append(got, at.Sub(begin))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("random %v, interval %v: %v, want %v", c.random, c.max, got, c.want)
		}
		a.stop()
		if a.solicited(begin.Add(time.Hour)); a.due(begin.Add(2 * time.Hour)) {
			t.Error("a router that is none answers")
		}
	}
}

// RFC 4861, 6.2.6: an answer comes within half a second, and never sooner than three seconds after the last advertisement.
func TestAdvertiserSolicited(t *testing.T) {
	a := advertiser{random: func() float64 { return 0.5 }}
	begin := time.Unix(1000, 0)
	a.start(begin, 600*time.Second)
	a.due(begin)
	a.due(begin.Add(16 * time.Second))
	a.due(begin.Add(32 * time.Second))
	at := func(d time.Duration) time.Time { return begin.Add(d) }

	a.solicited(at(100 * time.Second))
	if want := at(100*time.Second + 250*time.Millisecond); !a.next.Equal(want) {
		t.Fatalf("answered at %v, want %v", a.next, want)
	}
	a.solicited(at(100*time.Second + 100*time.Millisecond)) // the answer is under way
	if a.due(at(100*time.Second+249*time.Millisecond)) || !a.due(at(100*time.Second+250*time.Millisecond)) {
		t.Fatal("a second solicitation moves the answer")
	}
	for i := range 1000 { // a flood
		a.solicited(at(100*time.Second + time.Duration(251+i)*time.Millisecond))
	}
	if want := at(103*time.Second + 500*time.Millisecond); !a.next.Equal(want) {
		t.Fatalf("the second answer is at %v, want %v", a.next, want)
	}
	a.due(a.next)
	a.start(at(104*time.Second), 600*time.Second) // what is told has changed
	if want := at(106*time.Second + 500*time.Millisecond); !a.next.Equal(want) {
		t.Fatalf("the new one is at %v, want %v", a.next, want)
	}
}
