package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Protocol is the number by which kernel routes are known as ours (rtm_protocol in rtnetlink(7)). Routes with another one are never touched.
const Protocol = 159

// metric of our routes: an administrator's route without one goes before them.
const metric = 64

// hop is one next hop of a kernel route.
type hop struct {
	Via    netip.Addr
	Dev    string
	Weight int // its share of the traffic, 1-256; 1 where it is the only one
}

func compareHops(a, b hop) int { return cmp.Or(a.Via.Compare(b.Via), cmp.Compare(a.Dev, b.Dev)) }

// kernel keeps our routes in the main table.
type kernel struct {
	links     *links
	dump      *netlink.Handle        // see openDump
	installed map[netip.Prefix][]hop // as far as known, sorted
}

func openKernel(l *links) (*kernel, error) {
	dump, err := openDump()
	return &kernel{links: l, dump: dump}, err
}

// openDump opens a socket that has the kernel pick the routes of one protocol itself, where it can. With that it refuses other requests of the
// library's.
func openDump() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	_ = h.SetStrictCheck(true)
	return h, nil
}

// load learns what the kernel has of ours.
func (k *kernel) load() error {
	installed := map[netip.Prefix][]hop{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// Of the main table: that is what the library gives where it is not asked for one.
		err := k.dump.RouteListFilteredIter(family, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL, func(r netlink.Route) bool {
			if p, ok := prefixOf(r.Dst); ok {
				installed[p] = append(installed[p], k.links.hopsOf(r)...)
				slices.SortFunc(installed[p], compareHops)
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("list kernel routes: %w", err)
		}
	}
	k.installed = installed
	return nil
}

// put makes sure that the wanted routes are there; it tells which could not be made. Nothing is removed.
func (k *kernel) put(want map[netip.Prefix][]hop) (failed map[netip.Prefix]error) {
	for p, hops := range want {
		have, ours := k.installed[p]
		if ours && slices.Equal(have, hops) {
			continue
		}
		if err := k.install(p, hops, ours); err != nil {
			if failed == nil {
				failed = map[netip.Prefix]error{}
			}
			failed[p] = err
			continue
		}
		k.installed[p] = hops
	}
	return failed
}

func (k *kernel) install(p netip.Prefix, hops []hop, ours bool) error {
	r := &netlink.Route{Dst: ipnet(p), Protocol: Protocol, Table: unix.RT_TABLE_MAIN, Priority: metric}
	for _, h := range hops {
		l, ok := k.links.get(h.Dev)
		if !ok {
			return fmt.Errorf("route %s via %s: interface %s does not exist", p, h.Via, h.Dev)
		}
		// On-link: that the address is behind the interface is known from the database, whatever addresses the interface has.
		r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{LinkIndex: l.index, Hops: h.Weight - 1, Gw: h.Via.AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
	}
	if len(r.MultiPath) == 1 {
		n := r.MultiPath[0]
		r.LinkIndex, r.Gw, r.Flags, r.MultiPath = n.LinkIndex, n.Gw, n.Flags, nil
	}
	do := netlink.RouteAdd
	if ours {
		do = netlink.RouteReplace
	}
	err := do(r)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("route %s: the kernel has one from somebody else (ip route show %s)", p, p)
	}
	if err != nil {
		return fmt.Errorf("route %s: %w", p, err)
	}
	return nil
}

// prune removes those of our routes that are not wanted.
func (k *kernel) prune(want map[netip.Prefix][]hop) (err error) {
	for p := range k.installed {
		if _, ok := want[p]; ok {
			continue
		}
		e := netlink.RouteDel(&netlink.Route{Dst: ipnet(p), Protocol: Protocol, Table: unix.RT_TABLE_MAIN, Priority: metric})
		if e != nil && !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("remove route %s: %w", p, e))
			continue
		}
		delete(k.installed, p)
	}
	return err
}

// routeEvent is a change of a kernel route.
type routeEvent struct {
	fibKey
	gone     bool
	protocol int
}

// concerns tells whether a change in the kernel may have taken a route of ours away.
func (k *kernel) concerns(e routeEvent) bool {
	_, installed := k.installed[e.prefix]
	return installed && e.table == unix.RT_TABLE_MAIN && e.gone == (e.protocol == Protocol)
}

// watchRoutes reports changes of routes until ctx ends; lost is called when some may have been missed.
func watchRoutes(ctx context.Context, log *slog.Logger, each func(routeEvent), lost func()) {
	for ctx.Err() == nil {
		updates, done := make(chan netlink.RouteUpdate, 1024), make(chan struct{})
		err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{
			ErrorCallback:     complain(ctx, log, "route events"),
			ReceiveBufferSize: eventBuffer, ReceiveBufferForceSize: true,
		})
		if err == nil {
			lost()
			drainRoutes(ctx, updates, each)
			close(done)
			continue
		}
		log.Error("cannot follow kernel routes", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func drainRoutes(ctx context.Context, updates chan netlink.RouteUpdate, each func(routeEvent)) {
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-updates:
			if !ok {
				return
			}
			if key, ok := fibKeyOf(u.Route); ok {
				each(routeEvent{key, u.Type == unix.RTM_DELROUTE, int(u.Protocol)})
			}
		}
	}
}

// name finds an interface by index; empty where there is none.
func (l *links) name(index int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, x := range l.all {
		if x.index == index {
			return name
		}
	}
	return ""
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if ok && size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits), ok
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
