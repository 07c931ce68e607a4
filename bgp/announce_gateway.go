package bgp

import "netfabric/fabric"

// announceGateways offers the subnets behind the gateways that the member takes part in. Whether it is Active is for the worker to know: that
// changes within milliseconds, and without the database.
func announceGateways(v fabric.View) (o offer) {
	for _, g := range v.Desired.Gateways() {
		if !g.Announce || !g.On(v.Desired, v.Member) {
			continue
		}
		for _, subnet := range g.Subnets() {
			o.announce(fabric.Announcement{Prefix: subnet, Kind: fabric.AnnounceGateway, Owner: fabric.KeyOf(g), Gateway: g.Name})
		}
	}
	return o
}
