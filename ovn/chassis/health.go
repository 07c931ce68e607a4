// Package chassis tells whether this host can forward what it does for OVN.
package chassis

import (
	"fmt"
	"time"
)

// controllerGrace is how long ovn-controller may be away: ovs-vswitchd goes on by the flows that it has, so a restart of it costs nothing.
const controllerGrace = 10 * time.Second

// daemon is what is known of ovs-vswitchd or ovn-controller.
type daemon struct {
	seen  bool      // it has been looked at
	up    bool      // it answers
	since time.Time // up has been so
	why   string    // it is not
	flows bool      // of ovs-vswitchd: the integration bridge has some since it was started
}

// health is what is known of the chassis.
type health struct {
	vswitchd, controller daemon
	bridge               string // the integration bridge
}

// known tells whether both daemons have been looked at.
func (h health) known() bool { return h.vswitchd.seen && h.controller.seen }

// verdict tells whether the chassis forwards, and if not why. next is when that changes by itself; zero: it does not. That ovn-controller has no session with the
// southbound database is no fault: all hosts forward by what they know, and would be at fault at once.
func (h health) verdict(now time.Time) (up bool, why string, next time.Time) {
	switch {
	case !h.vswitchd.up:
		return false, "ovs-vswitchd " + h.vswitchd.why, time.Time{}
	case !h.vswitchd.flows:
		return false, fmt.Sprintf("the integration bridge %s has no flows: ovn-controller has made none since ovs-vswitchd was started", h.bridge), time.Time{}
	case h.controller.up:
		return true, "", time.Time{}
	}
	if end := h.controller.since.Add(controllerGrace); now.Before(end) {
		return true, "", end
	}
	return false, "ovn-controller " + h.controller.why, time.Time{}
}
