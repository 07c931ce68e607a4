package bgp

import (
	"maps"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// imports are the rules by which routes are taken of peers. Peers of which nothing is taken are left out.
func imports(v fabric.View, peers []fabric.RoutingPeer) []fabric.Import {
	var all []fabric.Import
	for _, p := range peers {
		object, ok := v.Desired.Peer(p.Name)
		if !ok {
			continue
		}
		if policy, ok := v.Desired.Policy(object.Import); ok && len(policy.Rules) > 0 {
			all = append(all, fabric.Import{Peer: p.Name, Rules: policy.Rules})
		}
	}
	return all
}

// own is the address space of the cluster, on this member and all others, as the smallest list of prefixes: it is never learned from outside.
func own(v fabric.View) []netip.Prefix {
	all := map[netip.Prefix]bool{}
	for _, p := range v.Desired.Cluster().Prefixes() {
		all[p] = true
	}
	for _, n := range v.Desired.Networks() {
		for _, gateway := range n.Subnets() {
			all[gateway.Masked()] = true
		}
	}
	for _, service := range v.Desired.Anycasts() {
		for _, p := range service.Addresses {
			all[p] = true
		}
	}
	for _, g := range v.Desired.Gateways() {
		if g.Announce {
			for _, p := range g.Subnets() {
				all[p] = true
			}
		}
	}
	for _, i := range v.Desired.Instances() {
		_, devices := i.Expanded(v.Desired)
		for _, device := range devices {
			for _, key := range []string{"ipv4.routes.external", "ipv6.routes.external"} {
				prefixes, _ := fabric.ParsePrefixes(device[key]) // validated with the device
				for _, p := range prefixes {
					all[p] = true
				}
			}
		}
	}
	var smallest []netip.Prefix
	for _, p := range slices.SortedFunc(maps.Keys(all), comparePrefix) {
		// What holds p comes before p, and everything between them is inside it too.
		if n := len(smallest); n == 0 || !inside(smallest[n-1], p) {
			smallest = append(smallest, p)
		}
	}
	return smallest
}
