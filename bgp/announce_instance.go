package bgp

import (
	"net/netip"

	"netfabric/fabric"
)

// announceInstances offers, for each instance of the member, the addresses of its NICs as host prefixes, and what is routed to them. The
// subnet of a network is announced by all members although each has its own bridge: only the host prefix leads to the right one.
func announceInstances(v fabric.View) (o offer) {
	for _, i := range v.Desired.Instances() {
		if i.Member != v.Member {
			continue
		}
		_, devices := i.Expanded(v.Desired)
		for _, nic := range i.NICs {
			n, ok := v.Desired.Network(nic.Network)
			if !ok {
				continue
			}
			for _, address := range nic.Addresses {
				o.nic(v, i, nic, netip.PrefixFrom(address, address.BitLen()), false, hidden(n, address))
			}
			for _, key := range []string{"ipv4.routes.external", "ipv6.routes.external"} {
				prefixes, _ := fabric.ParsePrefixes(devices[nic.Device][key]) // validated with the device
				for _, p := range prefixes {
					o.nic(v, i, nic, p, true, false)
				}
			}
		}
	}
	return o
}

// nic offers one prefix for which a NIC answers.
func (o *offer) nic(v fabric.View, i *fabric.Instance, nic fabric.NIC, p netip.Prefix, route, nat bool) {
	owner := fabric.KeyOf(i)
	if nat && !v.Desired.Cluster().Meshed() {
		o.refuse(p, fabric.AnnounceInstance, owner, fabric.ReasonNAT, "network %q hides its %s addresses (NAT)", nic.Network, family(p.Addr()))
		return
	}
	c, reason, message := copyOf(v, i, nic.Device, p.Addr())
	if reason != "" {
		o.refuse(p, fabric.AnnounceInstance, owner, reason, "%s", message)
		return
	}
	o.announce(fabric.Announcement{Prefix: p, Kind: fabric.AnnounceInstance, Owner: owner, Copies: []fabric.Copy{c}, Route: route, Inside: nat})
}
