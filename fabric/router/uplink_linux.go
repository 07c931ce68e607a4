package router

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// onLink finds the interface that an address is reached by without a router between; false where the kernel knows none.
func onLink(a netip.Addr) (name string, ok bool) {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 || routes[0].Gw != nil || routes[0].Via != nil {
		return "", false
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", false
	}
	return link.Attrs().Name, true
}
