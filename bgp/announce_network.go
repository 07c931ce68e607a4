package bgp

import (
	"net/netip"

	"netfabric/fabric"
)

// announceNetworks offers the subnets of networks that are here and whose addresses the outside may see.
func announceNetworks(v fabric.View) (o offer) {
	for _, n := range v.Desired.Networks() {
		if n.Pending {
			continue
		}
		_, here := v.Facts.Networks[n.Name]
		for _, gateway := range n.Subnets() {
			subnet, owner := gateway.Masked(), fabric.KeyOf(n)
			switch {
			case hidden(n, subnet.Addr()):
				o.refuse(subnet, fabric.AnnounceNetwork, owner, fabric.ReasonNAT, "network %q hides its %s addresses (NAT)", n.Name, family(subnet.Addr()))
			case !here:
				o.refuse(subnet, fabric.AnnounceNetwork, owner, fabric.ReasonNetworkDown, "network %q is not there on this member", n.Name)
			default:
				o.announce(fabric.Announcement{Prefix: subnet, Kind: fabric.AnnounceNetwork, Owner: owner})
			}
		}
	}
	return o
}

// hidden tells whether a network masquerades addresses of the family of like.
func hidden(n *fabric.Network, like netip.Addr) bool {
	if like.Is4() {
		return n.NAT4()
	}
	return n.NAT6()
}
