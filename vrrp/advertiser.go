package vrrp

import "time"

// Constants of RFC 4861, 10.
const (
	maxInitialRAs     = 3
	maxInitialRAPause = 16 * time.Second
	maxRADelay        = 500 * time.Millisecond
	minRAPause        = 3 * time.Second // MIN_DELAY_BETWEEN_RAS
)

// advertiser says when router advertisements are due (RFC 4861, 6.2.4 and 6.2.6). It does no I/O and has no clock; random gives numbers from 0 to
// 1. Calls must not go back in time.
type advertiser struct {
	random  func() float64
	longest time.Duration // MaxRtrAdvInterval
	initial int           // of the first ones, to be sent still
	next    time.Time     // zero: off
	last    time.Time     // when one was sent last, zero: never
}

// start advertises from now on: at once, and some more soon, as frames get lost and hosts have just lost their router. What they are told may also
// have changed. Not more than one in minRAPause is sent.
func (a *advertiser) start(now time.Time, longest time.Duration) {
	a.longest, a.initial, a.next = longest, maxInitialRAs, now
	if soonest := a.last.Add(minRAPause); !a.last.IsZero() && soonest.After(now) {
		a.next = soonest
	}
}

// stop sends nothing any more.
func (a *advertiser) stop() { a.next = time.Time{} }

// solicited is a router solicitation: the next one is not to wait long for its time.
func (a *advertiser) solicited(now time.Time) {
	if a.next.IsZero() {
		return
	}
	at := now.Add(time.Duration(a.random() * float64(maxRADelay)))
	if soonest := a.last.Add(minRAPause); !a.last.IsZero() && soonest.After(at) {
		at = soonest.Add(at.Sub(now))
	}
	if at.Before(a.next) {
		a.next = at
	}
}

// due tells whether one is to be sent now, and if so when the next is.
func (a *advertiser) due(now time.Time) bool {
	if a.next.IsZero() || now.Before(a.next) {
		return false
	}
	a.last = now
	shortest := a.longest / 3 // MinRtrAdvInterval
	if a.longest < 9*time.Second {
		shortest = a.longest * 3 / 4
	}
	pause := shortest + time.Duration(a.random()*float64(a.longest-shortest))
	if a.initial > 0 {
		a.initial--
	}
	if a.initial > 0 {
		pause = min(pause, maxInitialRAPause)
	}
	a.next = now.Add(max(pause, minRAPause))
	return true
}
