package router

import (
	"context"

	"netfabric/fabric"
	"netfabric/ovn/chassis"
)

// trackChassis follows the OVN chassis of this host while a gateway tracks it. One goroutine uses it.
type trackChassis struct {
	changed func() // its state did; must not block
	watcher *chassis.Watcher
	stop    context.CancelFunc
	trusted bool
}

func newTrackChassis(changed func()) *trackChassis { return &trackChassis{changed: changed} }

// set follows the chassis if one of these gateways wants it, until ctx ends. Before it has been looked at, it is well where trusted.
func (c *trackChassis) set(ctx context.Context, gateways []fabric.RoutingGateway, trusted bool) {
	wanted := false
	for _, g := range gateways {
		for _, t := range g.Tracks {
			wanted = wanted || t.Type == fabric.TrackChassis
		}
	}
	switch {
	case wanted && c.watcher == nil:
		ctx, stop := context.WithCancel(ctx)
		c.watcher, c.stop, c.trusted = chassis.New(c.changed), stop, trusted
		go c.watcher.Run(ctx)
	case !wanted && c.watcher != nil:
		c.stop()
		c.watcher = nil
	}
}

// state tells whether the chassis forwards, or why not.
func (c *trackChassis) state() (up bool, message string) {
	if c.watcher == nil {
		return true, "" // nobody asks for it, or will in a moment
	}
	up, why, known := c.watcher.State()
	if !known {
		return c.trusted, "the chassis has not been looked at yet"
	}
	return up, why
}
