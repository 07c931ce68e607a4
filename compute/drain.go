package compute

import (
	"slices"
	"time"

	"netfabric/fabric"
)

// drainBound is how long a stop waits for a routing worker that does not say that it has withdrawn the instance.
const drainBound = 5 * time.Second

// drain follows what has to come before the stop of an instance that is a copy of an anycast service: its withdraw, and the time that what is
// under way needs. It begins when a stop is due; what makes the routing worker withdraw is the same desired state that makes the stop due.
type drain struct {
	since time.Time // when the stop became due
	gone  time.Time // when the instance was first seen to be withdrawn; zero: not yet
}

// wait tells how long the stop has to wait: until linger after the withdraw, or until drainBound has passed without one. withdrawn tells how it
// is now.
func (d *drain) wait(now time.Time, withdrawn bool, linger time.Duration) time.Duration {
	if d.since.IsZero() {
		d.since = now
	}
	if withdrawn && d.gone.IsZero() {
		d.gone = now
	}
	if d.gone.IsZero() {
		return max(0, d.since.Add(drainBound).Sub(now))
	}
	return max(0, d.gone.Add(linger).Sub(now))
}

// drainedReasons are those for which a copy can't come to be used again before the stop.
var drainedReasons = []string{fabric.ReasonDraining, fabric.ReasonMaintenance, fabric.ReasonProcessDead, fabric.ReasonLinkDown}

// withdrawn tells whether no traffic is led to an instance as a copy of a service any more: the routing worker knows that the copy is not to be
// used, and no peer has a prefix for which it was the last one.
func withdrawn(routing *fabric.RoutingState, instance string) bool {
	if routing == nil {
		return false
	}
	for _, r := range routing.Routes {
		if r.Kind != fabric.AnnounceAnycast {
			continue
		}
		i := slices.IndexFunc(r.Copies, func(c fabric.CopyState) bool { return c.Instance == instance })
		if i < 0 {
			continue
		}
		if !slices.Contains(drainedReasons, r.Copies[i].Reason) {
			return false
		}
		if !r.Up && slices.ContainsFunc(r.Peers, func(p fabric.RoutePeer) bool { return p.Announced }) {
			return false
		}
	}
	return true
}
