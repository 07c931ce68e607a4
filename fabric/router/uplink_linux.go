package router

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// ownAddress6 finds the IPv6 address of this host on the interface by which another one is reached: a global one, or else, when no router is between, the
// link-local one.
func ownAddress6(to netip.Addr) (found netip.Addr, ok bool) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}, false
	}
	r := routes[0]
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return netip.Addr{}, false
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, x := range list {
		a := address(x.IP)
		switch {
		case x.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED|unix.IFA_F_TEMPORARY) != 0:
		case a.IsLinkLocalUnicast():
			if !found.IsValid() && r.Gw == nil && r.Via == nil {
				found = a
			}
		case a.IsGlobalUnicast() && x.Mask.String() != singleIPv6:
			return a, true
		}
	}
	return found, found.IsValid()
}

// singleIPv6 is the mask of an address that is no host's own for good: addresses of gateways have it.
const singleIPv6 = "ffffffffffffffffffffffffffffffff"
