package fabric

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
)

// ResolveNICs gives the NIC devices of an instance what they need: a MAC, and an address of each family that the network has. What a NIC was
// given before it keeps, unless its device asks for something else. Called in the write transaction, so that what it hands out is free.
func (tx *Tx) ResolveNICs(i *Instance) error {
	s := tx.Snapshot()
	_, devices := i.Expanded(s)
	var nics []NIC
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		d := devices[name]
		if d["type"] != "nic" {
			continue
		}
		network, ok := s.Network(d["network"])
		if !ok {
			return Invalidf("missing-reference", "instance %q: NIC %q needs network %q, which does not exist", i.Name, name, d["network"])
		}
		if network.Pending {
			return Invalidf("pending", "instance %q: NIC %q needs network %q, which is defined but not created yet", i.Name, name, network.Name)
		}
		old := NIC{}
		if at := slices.IndexFunc(i.NICs, func(n NIC) bool { return n.Device == name && n.Network == network.Name }); at >= 0 {
			old = i.NICs[at]
		}
		nic, err := resolveNIC(s, i, name, d, network, old, nics)
		if err != nil {
			return err
		}
		nics = append(nics, nic)
	}
	i.NICs = nics
	return nil
}

func resolveNIC(s *Snapshot, i *Instance, device string, d Config, network *Network, old NIC, siblings []NIC) (NIC, error) {
	self := Key{KindInstance, i.Name}
	taken := func(c Claim) bool {
		holder, held := s.Holder(c)
		if held && holder != self {
			return true
		}
		return slices.ContainsFunc(siblings, func(n NIC) bool {
			return c == Claim{"mac", n.MAC} || slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool { return c == AddressClaim(n.Network, a) })
		})
	}
	nic := NIC{Device: device, Network: network.Name, MAC: d["hwaddr"]}
	if nic.MAC == "" {
		nic.MAC = old.MAC
	}
	for nic.MAC == "" || taken(Claim{"mac", nic.MAC}) {
		if d["hwaddr"] != "" {
			return NIC{}, Conflictf("in-use", "instance %q: NIC %q: MAC %s is in use", i.Name, device, nic.MAC)
		}
		nic.MAC = randomMAC()
	}
	for _, f := range []struct {
		key    string
		subnet netip.Prefix
	}{{"ipv4.address", network.Gateway4()}, {"ipv6.address", network.Gateway6()}} {
		want := d[f.key]
		switch {
		case want == "none" || want == "" && !f.subnet.IsValid():
			continue
		case want != "":
			a := netip.MustParseAddr(want) // validated with the device
			if !f.subnet.IsValid() || !f.subnet.Masked().Contains(a) || !usable(f.subnet, a) {
				return NIC{}, Invalidf("bad-address", "instance %q: NIC %q: %s is not a free host address of network %q (%s)", i.Name, device, a, network.Name, f.subnet)
			}
			if c := AddressClaim(network.Name, a); taken(c) {
				holder, _ := s.Holder(c)
				return NIC{}, Conflictf("in-use", "instance %q: NIC %q: address %s of network %q belongs to %s", i.Name, device, a, network.Name, holder)
			}
			nic.Addresses = append(nic.Addresses, a)
			continue
		}
		if a, ok := old.Address(f.subnet.Addr()); ok && f.subnet.Masked().Contains(a) && usable(f.subnet, a) && !taken(AddressClaim(network.Name, a)) {
			nic.Addresses = append(nic.Addresses, a)
			continue
		}
		a, ok := freeAddress(f.subnet, func(a netip.Addr) bool { return taken(AddressClaim(network.Name, a)) })
		if !ok {
			return NIC{}, Conflictf("no-free-address", "instance %q: network %q has no free address in %s", i.Name, network.Name, f.subnet.Masked()).
				WithFix("delete instances, or give the network a larger subnet")
		}
		nic.Addresses = append(nic.Addresses, a)
	}
	return nic, nil
}

// usable tells whether an address of a subnet may go to a host: not the network's own, its broadcast address or its gateway.
func usable(gateway netip.Prefix, a netip.Addr) bool {
	return a != gateway.Addr() && a != gateway.Masked().Addr() && (a.Is6() || a != lastAddr(gateway))
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// freeAddress is the lowest free host address of a subnet. Starting low keeps addresses short and repeatable.
func freeAddress(gateway netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	subnet := gateway.Masked()
	for a := subnet.Addr().Next(); subnet.Contains(a); a = a.Next() {
		if usable(gateway, a) && !taken(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// randomMAC is a random address under the prefix that LXC tools use for their instances.
func randomMAC() string {
	b := make([]byte, 3)
	rand.Read(b)
	return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}

// ResolveSubnets replaces "auto" in a new network by subnets that no network has: IPv4 a private /24, IPv6 a unique local /64 (RFC 4193).
func (tx *Tx) ResolveSubnets(n *Network) error {
	free := func(p netip.Prefix) bool {
		return !slices.ContainsFunc(tx.Snapshot().Networks(), func(o *Network) bool {
			return o.Name != n.Name && slices.ContainsFunc(o.Subnets(), p.Overlaps)
		})
	}
	for key, random := range map[string]func() netip.Prefix{"ipv4.address": randomSubnet4, "ipv6.address": randomSubnet6} {
		if NetworkKeys.Get(n.Config, key) != "auto" {
			continue
		}
		const tries = 1000
		found := false
		for range tries {
			if p := random(); free(p) {
				n.Config[key], found = p.String(), true
				break
			}
		}
		if !found {
			return Conflictf("no-free-subnet", "network %q: no free private subnet found for %s", n.Name, key).WithFix("set %s yourself", key)
		}
	}
	return nil
}

func randomSubnet4() netip.Prefix {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<16))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails on Linux
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n.Int64() >> 8), byte(n.Int64()), 1}), 24)
}

func randomSubnet6() netip.Prefix {
	var b [16]byte
	rand.Read(b[:8])
	b[0] = 0xfd
	binary.BigEndian.PutUint16(b[14:], 1)
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}
