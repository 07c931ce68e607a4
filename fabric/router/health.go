package router

import (
	"cmp"
	"fmt"
	"time"

	"netfabric/fabric"
)

// health is the machine that makes a verdict of the checks of one copy for one address. It has no clock and makes no checks: it is asked when
// the next one is due, told that one started, and told what came of it.
type health struct {
	check   fabric.Check
	known   bool // there is a verdict
	healthy bool
	row     int    // results in a row that speak against the verdict; without one: successes in a row
	last    string // error of the last check, empty after a success
	note    string // what was said of the last success, if anything
	running bool
	next    time.Time // start of the next check
}

// newHealth starts without a verdict, with a check that is due at once.
func newHealth(c fabric.Check, now time.Time) *health { return &health{check: c, next: now} }

// restore gives the verdict of an earlier run.
func (h *health) restore(healthy bool, last string) { h.known, h.healthy, h.last = true, healthy, last }

// Deadline is when the next check is to start; ok is false while one runs.
func (h *health) Deadline() (at time.Time, ok bool) { return h.next, !h.running }

// Started tells that a check started at now. Starts keep their distance, however long checks take.
func (h *health) Started(now time.Time) {
	h.running = true
	interval := time.Duration(h.check.Interval) * time.Millisecond
	if h.next = h.next.Add(interval); h.next.Before(now) {
		h.next = now.Add(interval)
	}
}

// Result takes what came of the check that runs: failure is empty for a success. It tells whether the verdict changed.
func (h *health) Result(failure string) (changed bool) {
	h.running = false
	h.last = failure
	ok := failure == ""
	switch {
	case !h.known && ok:
		if h.row++; h.row >= h.check.Rise {
			h.known, h.healthy, h.row = true, true, 0
			return true
		}
	case !h.known:
		h.row = 0
	case ok == h.healthy:
		h.row = 0
	default:
		h.row++
		limit := h.check.Fall
		if ok {
			limit = h.check.Rise
		}
		if h.row >= limit {
			h.healthy, h.row = ok, 0
			return true
		}
	}
	return false
}

// Words tell what came of the checks so far.
func (h *health) Words() string {
	switch {
	case h.last != "":
		return h.last
	case h.known || h.row > 0:
		return cmp.Or(h.note, "success")
	}
	return "none yet"
}

// Verdict is the reason why the copy is not healthy, and what to say of it; both are empty when it is.
func (h *health) Verdict() (reason, message string) {
	switch {
	case h.known && h.healthy:
		return "", ""
	case h.known && h.row > 0:
		return fabric.ReasonCheckFailed, fmt.Sprintf("recovering: %d of %d successes", h.row, h.check.Rise)
	case h.known:
		return fabric.ReasonCheckFailed, fmt.Sprintf("%s, %d of %d failures", h.last, h.check.Fall, h.check.Fall)
	case h.last != "":
		return fabric.ReasonCheckPending, fmt.Sprintf("%s, no success yet", h.last)
	default:
		return fabric.ReasonCheckPending, fmt.Sprintf("%d of %d successes", h.row, h.check.Rise)
	}
}
