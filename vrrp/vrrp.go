// Package vrrp lets members share the addresses of a gateway by VRRPv3 (RFC 9568): codec, pure state machine, and the driver that ties both to Linux.
package vrrp

import (
	"net"
	"net/netip"
)

// Protocol is the IP protocol number of VRRP (RFC 9568, 5.1.1.4).
const Protocol = 112

// PriorityOwner is the priority of the owner of the addresses, PriorityFarewell that of an Active which leaves (RFC 9568, 5.2.4).
const (
	PriorityOwner    = 255
	PriorityFarewell = 0
)

// Family is an IP version. A virtual router speaks exactly one; a gateway with addresses of both is two virtual routers.
type Family string

// The families.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// FamilyOf is the family of an address; IPv4-mapped addresses are IPv6.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Group is the multicast group that advertisements go to: 224.0.0.18 or ff02::12 (RFC 9568, 5.1.1.2 and 5.1.2.2).
func (f Family) Group() netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{224, 0, 0, 18})
	}
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
}

// VirtualMAC is the link-layer address that all members of a virtual router share (RFC 9568, 7.3).
func VirtualMAC(f Family, vrid uint8) net.HardwareAddr {
	if f == IPv4 {
		return net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x01, vrid}
	}
	return net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x02, vrid}
}

// VirtualLinkLocal is the link-local address of an IPv6 virtual router for which none is configured: the same on
// every member, as its first address must be link-local (RFC 9568, 5.2.9). It is no modified EUI-64 of the virtual
// MAC, which 7.4 keeps out of interface identifiers.
func VirtualLinkLocal(vrid uint8) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 12: 0x5e, 14: 0x02, 15: vrid})
}
