package router

import (
	"fmt"
	"net/netip"
	"slices"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// fibKey identifies a kernel route.
type fibKey struct {
	prefix netip.Prefix
	table  uint32
	metric uint32
}

// installPeer is how the routes of a peer are installed.
type installPeer struct {
	fabric.PeerInstall
	name   string
	via    netip.Addr // of the session, with the zone that it has
	table  uint32     // 0: the member knows none of that name
	metric uint32
}

// installPeers are those of a routing value, by address without zone. table finds the number of a routing table.
func installPeers(peers []fabric.RoutingPeer, table func(name string) (uint32, bool)) map[netip.Addr]installPeer {
	all := map[netip.Addr]installPeer{}
	for _, p := range peers {
		x := installPeer{PeerInstall: p.PeerInstall, name: p.Name, via: p.Address, metric: uint32(p.Metric)}
		if x.Wanted() {
			x.table, _ = table(p.Table)
		}
		all[p.Address.WithZone("")] = x
	}
	return all
}

// way is how the kernel reaches a next hop.
type way struct {
	hops    []hop        // none: not at all
	through netip.Prefix // the kernel route that says so; the zero value when the next hop is on a link of the session
	direct  bool         // no router is between
	why     string       // there are no hops
}

// needsLink tells whether a next hop says nothing without a link. Link-local addresses of IPv4 don't: the kernel has a route to them.
func needsLink(nextHop netip.Addr) bool {
	return nextHop.Is6() && !nextHop.Is4In6() && nextHop.IsLinkLocalUnicast()
}

// sessionLink is the interface that the session with the peer at via runs over, or why there is none that both are on. routed tells how the kernel
// reaches an address.
func sessionLink(via netip.Addr, routed func(netip.Addr) way) (dev, why string) {
	if via.Zone() != "" {
		return via.Zone(), ""
	}
	if via.IsValid() && !needsLink(via) {
		switch w := routed(via); {
		case w.direct && len(w.hops) > 0:
			return w.hops[0].Dev, ""
		case len(w.hops) == 0:
			return "", fmt.Sprintf("it is link-local, and there is no way to the peer at %s: %s", via, w.why)
		}
	}
	return "", fmt.Sprintf("it is link-local, and the session with %s is over no link that both are on", via)
}

// placed is what becomes of one path: the kernel route that it is in, or why it is in none.
type placed struct {
	peer    installPeer
	path    gobgp.Learned
	key     fibKey
	hops    []hop
	reason  string
	message string
}

// place says where the best paths to a prefix go. ways tells how the kernel reaches the next hop of a path.
func place(p netip.Prefix, paths []gobgp.Learned, peers map[netip.Addr]installPeer, ways func(gobgp.Learned, installPeer) way) []placed {
	var all []placed
	for _, x := range paths {
		peer, ok := peers[x.Peer]
		if !ok {
			continue // it is about to go
		}
		r := placed{peer: peer, path: x, key: fibKey{p, peer.table, peer.metric}}
		switch {
		case !peer.Wanted():
			r.reason, r.message = fabric.ReasonInstallNone, fmt.Sprintf("peer %q has install=none", peer.name)
		case peer.Install == fabric.InstallDefault && p.Bits() != 0:
			r.reason, r.message = fabric.ReasonNotDefault, fmt.Sprintf("peer %q has install=default", peer.name)
		case peer.table == 0:
			r.reason, r.message = fabric.ReasonTableUnknown, fmt.Sprintf("this member has no routing table %q in rt_tables", peer.Table)
		default:
			r.hops, r.message = usable(p, x.NextHop, ways(x, peer))
			if len(r.hops) == 0 {
				r.reason = fabric.ReasonNoWay
			}
		}
		all = append(all, r)
	}
	return all
}

// usable are the hops of a way, unless the way to the next hop would be the route itself: the kernel would go in circles.
func usable(p netip.Prefix, nextHop netip.Addr, w way) (hops []hop, why string) {
	if len(w.hops) == 0 {
		return nil, fmt.Sprintf("next hop %s: %s", nextHop, w.why)
	}
	if !w.direct && w.through.IsValid() && p.Contains(nextHop) && w.through.Bits() <= p.Bits() {
		return nil, fmt.Sprintf("next hop %s: it is inside of the prefix, and the only way to it is %s", nextHop, w.through)
	}
	return w.hops, ""
}

// kernelRoutes are the routes that places make, each with all its next hops.
func kernelRoutes(all []placed) map[fibKey][]hop {
	routes := map[fibKey][]hop{}
	for _, x := range all {
		if len(x.hops) > 0 {
			routes[x.key] = append(routes[x.key], x.hops...)
		}
	}
	for key, hops := range routes {
		slices.SortFunc(hops, compareHops)
		routes[key] = slices.Compact(hops)
	}
	return routes
}

// toldAll tells whether all peers whose routes are installed have told all they have since this run began, so that what else is in the kernel is stale.
func toldAll(peers []fabric.RoutingPeer, ended map[gobgp.PeerFamily]bool) bool {
	for _, p := range peers {
		if !p.PeerInstall.Wanted() {
			continue
		}
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			if p.Carries(a) && !ended[gobgp.PeerFamily{Peer: p.Address.WithZone(""), IPv6: a.Is6()}] {
				return false
			}
		}
	}
	return true
}
