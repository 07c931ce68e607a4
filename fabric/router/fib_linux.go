package router

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// ProtocolBGP is the number by which kernel routes are known that come from peers (rtm_protocol in rtnetlink(7)).
const ProtocolBGP = 160

// fib is where kernel routes that come from peers are: in any table, with a protocol number of their own.
type fib struct {
	links  *links
	handle *netlink.Handle
	dump   *netlink.Handle // see openDump
}

func openFIB(l *links) (*fib, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	dump, err := openDump()
	if err != nil {
		return nil, err
	}
	return &fib{links: l, handle: h, dump: dump}, nil
}

// load reads what the kernel has.
func (f *fib) load() (map[fibKey][]hop, error) {
	have := map[fibKey][]hop{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		err := f.dump.RouteListFilteredIter(family, &netlink.Route{Protocol: ProtocolBGP}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			if key, ok := fibKeyOf(r); ok {
				have[key] = append(have[key], f.links.hopsOf(r)...)
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("list kernel routes of protocol %d: %w", ProtocolBGP, err)
		}
	}
	for _, hops := range have {
		slices.SortFunc(hops, compareHops)
	}
	return have, nil
}

func fibKeyOf(r netlink.Route) (fibKey, bool) {
	p, ok := prefixOf(r.Dst)
	return fibKey{p, uint32(r.Table), uint32(r.Priority)}, ok
}

// put makes or replaces a route. ours tells whether there is one of ours.
func (f *fib) put(key fibKey, hops []hop, ours bool) error {
	r := f.route(key)
	for _, h := range hops {
		l, ok := f.links.get(h.Dev)
		if !ok {
			return fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonInstallFailed, "interface %s does not exist", h.Dev)
		}
		// On-link: by the session, or by the kernel, the next hop is known to be there.
		n := &netlink.NexthopInfo{LinkIndex: l.index, Flags: int(netlink.FLAG_ONLINK)}
		switch {
		case !h.Via.IsValid():
			n.Flags = 0
		case h.Via.Is4() == key.prefix.Addr().Is4():
			n.Gw = h.Via.AsSlice()
		default:
			n.Via = &netlink.Via{AddrFamily: netlink.FAMILY_V6, Addr: h.Via.AsSlice()}
		}
		r.MultiPath = append(r.MultiPath, n)
	}
	if len(r.MultiPath) == 1 {
		n := r.MultiPath[0]
		r.LinkIndex, r.Gw, r.Via, r.Flags, r.MultiPath = n.LinkIndex, n.Gw, n.Via, n.Flags, nil
	}
	do := f.handle.RouteAdd
	if ours {
		do = f.handle.RouteReplace
	}
	switch err := do(r); {
	case errors.Is(err, unix.EEXIST):
		return fabric.Errorf(fabric.CodeConflict, fabric.ReasonForeignRoute, "the kernel has a route with metric %d from somebody else in table %d", key.metric, key.table)
	case err != nil:
		return fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonInstallFailed, "the kernel says: %w", err)
	}
	return nil
}

// remove deletes a route of ours; that it is gone is no error.
func (f *fib) remove(key fibKey) error {
	if err := f.handle.RouteDel(f.route(key)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route %s of table %d: %w", key.prefix, key.table, err)
	}
	return nil
}

func (f *fib) route(key fibKey) *netlink.Route {
	return &netlink.Route{Dst: ipnet(key.prefix), Protocol: ProtocolBGP, Table: int(key.table), Priority: int(key.metric)}
}

// way finds how the kernel reaches a next hop. A link-local one is on the link of the session with the peer at via.
func (f *fib) way(nextHop, via netip.Addr) way {
	if !needsLink(nextHop) {
		return f.routed(nextHop)
	}
	dev, why := sessionLink(via, f.routed)
	switch l, ok := f.links.get(dev); {
	case dev == "":
		return way{why: why}
	case !ok || !l.up:
		return way{why: fmt.Sprintf("interface %s is down or has no carrier", dev)}
	}
	return way{hops: []hop{{nextHop, dev, 1}}, direct: true}
}

// routed is what the kernel's routes say of a next hop.
func (f *fib) routed(nextHop netip.Addr) way {
	routes, err := f.handle.RouteGetWithOptions(nextHop.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || err == nil && len(routes) == 0:
		return way{why: "the kernel has no route to it"}
	case err != nil:
		return way{why: "the kernel says: " + err.Error()}
	}
	r := routes[0]
	if r.Type != unix.RTN_UNICAST {
		return way{why: "for the kernel it is no address of another host"}
	}
	w := way{direct: true}
	w.through, _ = prefixOf(r.Dst)
	for _, h := range f.links.hopsOf(r) {
		if h.Via.IsValid() && h.Via != nextHop {
			w.direct = false
		} else {
			h.Via = nextHop
		}
		h.Weight = 1
		if l, ok := f.links.get(h.Dev); !ok || !l.up {
			w.why = fmt.Sprintf("interface %s is down or has no carrier", h.Dev)
			continue
		}
		w.hops = append(w.hops, h)
	}
	return w
}

// hopsOf are the next hops of a kernel route.
func (l *links) hopsOf(r netlink.Route) []hop {
	if len(r.MultiPath) == 0 {
		return []hop{{gatewayOf(r.Gw, r.Via), l.name(r.LinkIndex), 1}}
	}
	var hops []hop
	for _, n := range r.MultiPath {
		hops = append(hops, hop{gatewayOf(n.Gw, n.Via), l.name(n.LinkIndex), n.Hops + 1})
	}
	return hops
}

// gatewayOf is a gateway of either IP version.
func gatewayOf(gw []byte, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok && v != nil {
		return address(v.Addr)
	}
	return address(gw)
}
