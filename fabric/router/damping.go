package router

import (
	"math"
	"time"
)

// damping is the machine that keeps a flapping copy from costing all routers an update per flap: route flap damping as in RFC 2439, 4.2, on the
// side that causes it. Each flap adds to a penalty that decays by half in every half-life. A copy whose penalty exceeds the suppress threshold
// is not used until it has decayed below the reuse threshold.
type damping struct {
	penalty    float64 // at the time at
	at         time.Time
	flaps      int // since the penalty was nothing
	suppressed bool
}

// The figures of merit (RFC 2439, 4.2), in seconds rather than minutes: what flaps here is one process, not a path through the Internet. Three
// flaps in short order suppress, two do not; a flap every 15 s and more seldom never does.
const (
	flapPenalty    = 1000.0
	suppressAbove  = 2000.0
	reuseBelow     = 750.0
	dampHalfLife   = 15 * time.Second
	dampLongest    = 60 * time.Second // that a copy which has come to rest stays suppressed
	forgottenBelow = reuseBelow / 2
)

// dampCeiling is the penalty from which it takes dampLongest to the reuse threshold.
var dampCeiling = reuseBelow * math.Exp2(dampLongest.Seconds()/dampHalfLife.Seconds())

// now is the penalty at a time.
func (d *damping) now(now time.Time) float64 {
	return d.penalty * math.Exp2(-now.Sub(d.at).Seconds()/dampHalfLife.Seconds())
}

// Flap notes that a healthy copy has become unhealthy.
func (d *damping) Flap(now time.Time) {
	if d.Forgotten(now) {
		d.flaps = 0
	}
	d.flaps++
	d.penalty, d.at = min(d.now(now)+flapPenalty, dampCeiling), now
	if d.penalty > suppressAbove {
		d.suppressed = true
	}
}

// Suppressed tells whether the copy is not to be used, and until when if it flaps no more.
func (d *damping) Suppressed(now time.Time) (until time.Time, suppressed bool) {
	if !d.suppressed {
		return time.Time{}, false
	}
	halves := math.Log2(d.penalty / reuseBelow)
	until = d.at.Add(time.Duration(halves * float64(dampHalfLife)))
	d.suppressed = now.Before(until)
	return until, d.suppressed
}

// Forgotten tells whether the past makes no difference any more.
func (d *damping) Forgotten(now time.Time) bool { return !d.suppressed && d.now(now) < forgottenBelow }
