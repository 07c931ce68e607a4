package system

import (
	"strings"
	"testing"
	"time"

	"netfabric/lab/probe"
)

// TestDrain takes copies of a service away on purpose, in every way there is, under a client that keeps asking.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	c := w.startClient(t, serviceURLs...)
	for _, step := range []struct {
		name, command string
		copies        int // afterwards
	}{
		{"stop", "stop web2 --force", 2},
		{"start", "start web2", 3},
		{"restart", "restart web1 --force", 3},
		{"maintenance", "config set web3 anycast.maintenance=true", 2},
		{"end of maintenance", "config unset web3 anycast.maintenance", 3},
		{"drain of a member", "bgp drain n2", 2},
		{"end of the drain", "bgp undrain n2", 3},
		{"delete", "delete web3 --force", 2},
	} {
		t.Run(step.name, func(t *testing.T) {
			at := probe.Now()
			w.ctl(t, "n1", step.command)
			t.Logf("%s took %d ms", step.command, (probe.Now() - at).Milliseconds())
			w.waitNextHops(t, step.copies, 15*time.Second)
			r := c.since(t, at, probe.Now()-at+200*time.Millisecond)
			t.Logf("%s%s", describe(r), c.lost(at))
			if lost := c.lostToCopies(at); len(lost) > 0 {
				t.Errorf("requests were lost:\n%s", strings.Join(lost, "\n"))
			}
		})
	}
}

// lostToCopies are the requests since an event that were led to a copy that did not answer, or to none. A flow that routers move to another
// copy while it lasts is reset by that copy: whatever set of next hops it is that changes moves some, and no member can prevent it.
func (c *client) lostToCopies(event time.Duration) []string {
	var lost []string
	for _, s := range c.all() {
		if s.Error != "" && s.Sent >= event && !strings.Contains(s.Error, "connection reset by peer") {
			lost = append(lost, s.Error)
		}
	}
	return lost
}
