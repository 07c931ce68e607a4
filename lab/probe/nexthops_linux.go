package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NextHops is how many next hops the kernel had for a prefix, from a time on (see Now).
type NextHops struct {
	At    time.Duration `json:"at"`
	Count int           `json:"count"`
}

// WatchNextHops writes a NextHops as a line of JSON for the prefix as it is in the main table of this network namespace, and for each change of
// it, until ctx ends. The kernel tells of a change when it has made it.
func WatchNextHops(ctx context.Context, w io.Writer, prefix netip.Prefix) error {
	updates := make(chan netlink.RouteUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	var broken error
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{ErrorCallback: func(err error) { broken = err }}); err != nil {
		return fmt.Errorf("subscribe to routes: %w", err)
	}
	encoder := json.NewEncoder(w)
	last := -1
	for {
		count, err := countNextHops(prefix)
		if err != nil {
			return err
		}
		if count != last {
			if err := encoder.Encode(NextHops{Now(), count}); err != nil {
				return err
			}
			last = count
		}
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-updates:
			if !ok {
				return fmt.Errorf("follow routes: %w", broken)
			}
		}
	}
}

func countNextHops(prefix netip.Prefix) (int, error) {
	family := unix.AF_INET
	if prefix.Addr().Is6() {
		family = unix.AF_INET6
	}
	to := &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: to, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		return 0, fmt.Errorf("list routes to %s: %w", prefix, err)
	}
	count := 0
	for _, r := range routes {
		count += max(1, len(r.MultiPath))
	}
	return count, nil
}
