package router

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// onSubnet tells whether an interface has an address of its own in a subnet, so that the host forwards to the subnet without any gateway's address.
func onSubnet(name string, subnet netip.Prefix) bool {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return false
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return false
	}
	for _, x := range list {
		bits, _ := x.Mask.Size()
		if netip.PrefixFrom(address(x.IP), bits).Masked() == subnet {
			return true
		}
	}
	return false
}
