package vrrp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// advertFrame is the Ethernet frame of an advertisement to the group: from the virtual MAC, so that bridges learn where
// the Active is, and from the router's own address (RFC 9568, 7.2).
func advertFrame(vrid uint8, source netip.Addr, payload []byte) []byte {
	f := FamilyOf(source)
	frame := ethernet(multicastMAC(f.Group()), VirtualMAC(f, vrid), etherType(f))
	if f == IPv4 {
		header := make([]byte, 20)
		header[0], header[1] = 0x45, 0xc0 // network control
		binary.BigEndian.PutUint16(header[2:], uint16(20+len(payload)))
		header[8], header[9] = 255, Protocol
		copy(header[12:], source.AsSlice())
		copy(header[16:], f.Group().AsSlice())
		binary.BigEndian.PutUint16(header[10:], ^fold(sum(header)))
		return append(append(frame, header...), payload...)
	}
	return append(append(frame, ipv6Header(source, f.Group(), Protocol, len(payload))...), payload...)
}

// announceFrame tells everybody on the link that an address is at the virtual MAC.
func announceFrame(vrid uint8, address netip.Addr) []byte {
	if address.Is4() {
		return garpFrame(VirtualMAC(IPv4, vrid), address)
	}
	return naFrame(VirtualMAC(IPv6, vrid), address)
}

// garpFrame is a gratuitous ARP request (RFC 9568, 6.4.2; the form of RFC 5227, 3 that every host takes).
func garpFrame(mac net.HardwareAddr, address netip.Addr) []byte {
	frame := ethernet(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, etherARP)
	frame = append(frame, 0, 1, 0x08, 0x00, 6, 4, 0, 1) // Ethernet, IPv4, request
	frame = append(append(frame, mac...), address.AsSlice()...)
	frame = append(append(frame, 0, 0, 0, 0, 0, 0), address.AsSlice()...)
	return append(frame, make([]byte, 60-len(frame))...)
}

// naFrame is an unsolicited neighbour advertisement: router and override set, solicited not, with the target's
// link-layer address (RFC 9568, 6.4.2 and 8.2.4; RFC 4861, 4.4).
func naFrame(mac net.HardwareAddr, address netip.Addr) []byte {
	allNodes := netip.IPv6LinkLocalAllNodes()
	message := make([]byte, 32)
	message[0] = 136
	message[4] = 0x80 | 0x20 // R, O
	copy(message[8:], address.AsSlice())
	message[24], message[25] = 2, 1 // target link-layer address, 8 bytes
	copy(message[26:], mac)
	total := sum(message) + sum(address.AsSlice()) + sum(allNodes.AsSlice()) + 58 + uint32(len(message))
	binary.BigEndian.PutUint16(message[2:], ^fold(total))
	frame := ethernet(multicastMAC(allNodes), mac, etherIPv6)
	return append(append(frame, ipv6Header(address, allNodes, 58, len(message))...), message...)
}

func ipv6Header(source, destination netip.Addr, next byte, length int) []byte {
	header := make([]byte, 40)
	header[0], header[1] = 0x6c, 0x00 // version 6, network control
	binary.BigEndian.PutUint16(header[4:], uint16(length))
	header[6], header[7] = next, 255
	copy(header[8:], source.AsSlice())
	copy(header[24:], destination.AsSlice())
	return header
}

func ethernet(to, from net.HardwareAddr, kind uint16) []byte {
	frame := make([]byte, 0, 128)
	frame = append(append(frame, to...), from...)
	return binary.BigEndian.AppendUint16(frame, kind)
}

func etherType(f Family) uint16 {
	if f == IPv4 {
		return etherIPv4
	}
	return etherIPv6
}

// multicastMAC is the Ethernet address of a group (RFC 1112, 6.4; RFC 2464, 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.AsSlice()
	if group.Is4() {
		return net.HardwareAddr{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
