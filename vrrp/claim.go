package vrrp

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/bpf"
)

// Claim is that somebody said of an address of a gateway that it is at a MAC which is not the gateway's.
type Claim struct {
	Address netip.Addr
	MAC     string
	Port    string    // interface on which it came in: of a bridge, the port where the bridge has learned the MAC
	Since   time.Time // first said
	Last    time.Time
}

const (
	claimMemory = time.Minute // after which a claim that has not been repeated is forgotten
	maxClaims   = 16          // remembered per virtual router: a flood of claims must not fill memory
	defendStep  = time.Second // at least between announcements in answer to claims
)

// ICMPv6 messages by which a host learns the MAC of an address (RFC 4861, 4.1 to 4.4).
const (
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighborSolicitation  = 135
	neighborAdvertisement = 136
)

// parseClaim reads of which address a frame says at which MAC it is: ARP of either operation (RFC 826), and the messages of RFC 4861. The
// address is not checked for being anybody's.
func parseClaim(frame []byte) (address netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(frame) < 14 {
		return address, nil, false
	}
	source, body := net.HardwareAddr(frame[6:12]), frame[14:]
	switch uint16(frame[12])<<8 | uint16(frame[13]) {
	case etherARP:
		if len(body) < 28 || [6]byte(body[:6]) != [6]byte{0, 1, 0x08, 0x00, 6, 4} {
			return address, nil, false
		}
		return netip.AddrFrom4([4]byte(body[14:18])), net.HardwareAddr(body[8:14]), true
	case etherIPv6:
		if len(body) < 48 || body[6] != 58 || body[7] != 255 {
			return address, nil, false
		}
		return parseNeighbor(source, netip.AddrFrom16([16]byte(body[8:24])), body[40:])
	}
	return address, nil, false
}

// parseNeighbor is parseClaim for ICMPv6. Without an option that names a MAC it is the frame's that counts.
func parseNeighbor(frameMAC net.HardwareAddr, source netip.Addr, message []byte) (address netip.Addr, mac net.HardwareAddr, ok bool) {
	const sourceOption, targetOption = 1, 2
	fixed, option := 0, byte(sourceOption)
	switch message[0] {
	case routerSolicitation:
		fixed = 8
	case routerAdvertisement:
		fixed = 16
	case neighborSolicitation:
		fixed = 24
	case neighborAdvertisement:
		fixed, option = 24, targetOption
	default:
		return address, nil, false
	}
	if len(message) < fixed {
		return address, nil, false
	}
	if address = source; option == targetOption {
		address = netip.AddrFrom16([16]byte(message[8:24]))
	}
	mac = frameMAC
	for options := message[fixed:]; len(options) >= 8; {
		length := 8 * int(options[1])
		if length == 0 || length > len(options) {
			return address, nil, false // RFC 4861, 4.6: discarded
		}
		if options[0] == option {
			mac = net.HardwareAddr(options[2:8])
		}
		options = options[length:]
	}
	return address, mac, true
}

// expectedMAC tells whether a MAC is one of the virtual router's. Some routers answer for IPv4 from the MAC of IPv6 as well.
func expectedMAC(mac net.HardwareAddr, vrid uint8) bool {
	return slices.Equal(mac, VirtualMAC(IPv4, vrid)) || slices.Equal(mac, VirtualMAC(IPv6, vrid))
}

// claimList are the claims of one virtual router, the oldest first.
type claimList []Claim

// note takes a claim, and tells whether it is new.
func (l *claimList) note(address netip.Addr, mac, port string, now time.Time) bool {
	for i := range *l {
		if c := &(*l)[i]; c.Address == address && c.MAC == mac {
			c.Last, c.Port = now, port
			return false
		}
	}
	l.forget(now)
	if len(*l) == maxClaims {
		return false
	}
	*l = append(*l, Claim{Address: address, MAC: mac, Port: port, Since: now, Last: now})
	return true
}

// forget drops claims that have not been repeated, and tells whether there were any.
func (l *claimList) forget(now time.Time) bool {
	before := len(*l)
	*l = slices.DeleteFunc(*l, func(c Claim) bool { return now.Sub(c.Last) > claimMemory })
	return len(*l) != before
}

// claimSnap is how much of a frame is looked at.
const claimSnap = 256

// maxInstructions is how long a filter may be (BPF_MAXINSNS of the kernel).
const maxInstructions = 4096

// claimFilter passes the frames of one EtherType that say where one of the addresses is. Where the addresses do not fit into a filter, it passes
// all messages of the kind.
func claimFilter(f Family, addresses []netip.Addr) []bpf.Instruction {
	pass, drop := bpf.RetConstant{Val: claimSnap}, bpf.RetConstant{}
	if f == IPv4 {
		var program []bpf.Instruction
		program = append(program, bpf.LoadAbsolute{Off: 28, Size: 4}) // sender's protocol address
		for _, a := range addresses {
			b := a.As4()
			word := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
			program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word, SkipTrue: 1}, pass)
		}
		return append(program, drop)
	}
	const next, kind, source, target = 20, 54, 22, 62
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: next, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 58, SkipTrue: 1}, drop,
		bpf.LoadAbsolute{Off: kind, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: routerSolicitation, SkipTrue: 1}, bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: neighborAdvertisement, SkipTrue: 1}, drop,
	}
	const perAddress = 9
	if 2*perAddress*len(addresses)+len(program)+4 > maxInstructions {
		return append(program, pass)
	}
	block := func(offset uint32) (out []bpf.Instruction) {
		for _, a := range addresses {
			b := a.As16()
			for i := uint32(0); i < 16; i += 4 {
				word := uint32(b[i])<<24 | uint32(b[i+1])<<16 | uint32(b[i+2])<<8 | uint32(b[i+3])
				out = append(out, bpf.LoadAbsolute{Off: offset + i, Size: 4}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word, SkipTrue: uint8(perAddress - 2 - i/2)})
			}
			out = append(out, pass)
		}
		return append(out, drop)
	}
	sources := block(source)
	program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: neighborAdvertisement, SkipFalse: 1}, bpf.Jump{Skip: uint32(len(sources))})
	return append(append(program, sources...), block(target)...)
}
