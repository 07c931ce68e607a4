package router

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// tracked is where tracks look.
type tracked struct {
	sessions func() []fabric.PeerState
	links    *links
	checks   *trackChecks
	chassis  *trackChassis
	grace    time.Time // until then a session that is not there may be on its way
}

// trackedRoutes are the prefixes that tracks of gateways look for.
func trackedRoutes(all []fabric.RoutingGateway) map[netip.Prefix]bool {
	found := map[netip.Prefix]bool{}
	for _, g := range all {
		for _, t := range g.Tracks {
			if p, err := netip.ParsePrefix(t.Target); t.Type == fabric.TrackRoute && err == nil {
				found[p] = true
			}
		}
	}
	return found
}

// lookup tells which prefixes the main table has a route for that leads somewhere.
func (t tracked) lookup(log *slog.Logger, prefixes map[netip.Prefix]bool) map[netip.Prefix]bool {
	found := map[netip.Prefix]bool{}
	for p := range prefixes {
		family := unix.AF_INET
		if p.Addr().Is6() {
			family = unix.AF_INET6
		}
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: ipnet(p), Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
		if err != nil {
			log.Error("cannot see a tracked route", "prefix", p, "error", err)
			found[p] = true // not ready is no fault
			continue
		}
		for _, r := range routes {
			found[p] = found[p] || r.Type == unix.RTN_UNICAST && r.Flags&(unix.RTNH_F_LINKDOWN|unix.RTNH_F_DEAD) == 0
		}
	}
	return found
}

// states tells for each track whether what it needs is there.
func (t tracked) states(tracks []fabric.Track, routes map[netip.Prefix]bool) []fabric.TrackState {
	var all []fabric.TrackState
	for _, track := range tracks {
		s := fabric.TrackState{Track: track, Up: true}
		switch track.Type {
		case fabric.TrackBGP:
			if s.Up, s.Message = established(t.sessions(), track.Target); !s.Up && time.Now().Before(t.grace) {
				s.Up, s.Message = true, ""
			}
		case fabric.TrackRoute:
			p, _ := netip.ParsePrefix(track.Target)
			if s.Up = routes[p]; !s.Up {
				s.Message = fmt.Sprintf("the kernel has no route to %s", p)
			}
		case fabric.TrackCheck:
			s.Up, s.Message = t.checks.state(track)
		case fabric.TrackChassis:
			s.Up, s.Message = t.chassis.state()
		case fabric.TrackCarrier:
			if l, ok := t.links.get(track.Target); !ok || !l.up {
				s.Up, s.Message = false, fmt.Sprintf("interface %s is down or has no carrier", track.Target)
			}
		}
		all = append(all, s)
	}
	return all
}

// established tells whether the session with a peer, or with an empty name any session, is up.
func established(sessions []fabric.PeerState, peer string) (bool, string) {
	for _, s := range sessions {
		if s.Established() && (peer == "" || s.Name == peer || fabric.PeerOfSession(s.Name) == peer) {
			return true, ""
		}
	}
	if peer == "" {
		return false, "no BGP session is established"
	}
	return false, fmt.Sprintf("the BGP session with %s is not established", peer)
}

// trackedPriority is the priority that tracks leave: a fault leaves 0, weights no less than 2, as 1 is what drained members have.
func trackedPriority(priority int, tracks []fabric.TrackState) int {
	least := min(2, priority)
	for _, t := range tracks {
		if !t.Up && t.Weight == 0 {
			return 0
		}
		if !t.Up {
			priority -= t.Weight
		}
	}
	return max(least, priority)
}
