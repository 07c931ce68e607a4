package compute

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// wantedNetwork is what an instance should have of the network on this member. The error says which network is missing.
func wantedNetwork(s *fabric.Snapshot, i *fabric.Instance, networks map[string]fabric.NetworkFact) (Network, *fabric.Error) {
	config, devices := i.Expanded(s)
	var want Network
	for _, service := range config.AnycastServices() {
		if a, ok := s.Anycast(service); ok {
			want.Loopback = append(want.Loopback, a.Addresses...)
		}
	}
	slices.SortFunc(want.Loopback, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	want.Loopback = slices.Compact(want.Loopback)
	var routed4, routed6 bool // the first NIC with a gateway of a family has the default route
	for _, nic := range i.NICs {
		network, ok := s.Network(nic.Network)
		fact, up := networks[nic.Network]
		if !ok || !up {
			return want, fabric.Errorf(fabric.CodeUnavailable, "network-down", "instance %q: network %q is not up on this member", i.Name, nic.Network)
		}
		n := NIC{
			Device: nic.Device, Network: nic.Network, MAC: nic.MAC, MTU: fact.MTU, Bridge: fact.Bridge,
			Inside: fabric.InsideName(nic.Device, devices[nic.Device]), Link: hostLink(i.Name, nic.Device),
		}
		for _, a := range nic.Addresses {
			gateway, routed := network.Gateway4(), &routed4
			if a.Is6() {
				gateway, routed = network.Gateway6(), &routed6
			}
			if !gateway.IsValid() {
				continue
			}
			n.Addresses = append(n.Addresses, netip.PrefixFrom(a, gateway.Bits()))
			if !*routed {
				*routed = true
				n.Gateways = append(n.Gateways, gateway.Addr())
			}
		}
		want.NICs = append(want.NICs, n)
	}
	return want, nil
}

// hostLink names the member's end of a NIC: the same for every start, and at most 15 bytes.
func hostLink(instance, device string) string {
	sum := sha256.Sum256([]byte(instance + "/" + device))
	return "f" + hex.EncodeToString(sum[:7])
}

// nicFacts is what others may know of a container's NICs.
func nicFacts(n Network) []fabric.NICFact {
	var facts []fabric.NICFact
	for _, nic := range n.NICs {
		f := fabric.NICFact{Device: nic.Device, Network: nic.Network, Link: nic.Link, Bridge: nic.Bridge, Inside: nic.Inside, MAC: nic.MAC}
		for _, a := range nic.Addresses {
			f.Addresses = append(f.Addresses, a.Addr())
		}
		facts = append(facts, f)
	}
	return facts
}
