package vrrp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The interval between advertisements is 12 bits of centiseconds (RFC 9568, 5.2.7).
const (
	IntervalUnit = 10 * time.Millisecond
	MinInterval  = IntervalUnit
	MaxInterval  = 4095 * IntervalUnit
)

const (
	headerLen    = 8
	version3     = 3 << 4
	maxAddresses = 255
)

// Checksum is what the checksum of an IPv4 advertisement is computed over. IPv6 always has the pseudo-header.
type Checksum string

// The forms of the checksum. Routers in the field (keepalived, FRR) drop the form of RFC 9568 and then believe that
// there is no Active: both forms are accepted on receive, and the deployed one is what is sent by default.
const (
	ChecksumPseudoHeader Checksum = "rfc5798" // as deployed
	ChecksumPlain        Checksum = "rfc9568" // 5.2.8: the VRRP message only
)

// Message is what a packet is for: the type of RFC 9568, 5.2.2. Only advertisements are of the protocol; routers that do not know the others discard
// them. Those are sent to single routers.
type Message uint8

// The messages.
const (
	MessageAdvertisement Message = 1
	MessageIntroduction  Message = 14 // in answer to a hello: its Addresses are the other members' own
	MessageHello         Message = 15 // its sender takes part with that priority, and does not know whether everybody knows it
)

// Advertisement is the one message of VRRPv3 (RFC 9568, 5.2), or another in its form.
type Advertisement struct {
	Message   Message // 0 is a MessageAdvertisement to Marshal
	VRID      uint8
	Priority  uint8
	Interval  time.Duration // Max Advertise Interval: MinInterval to MaxInterval in steps of IntervalUnit
	Addresses []netip.Addr  // 1 to 255 of one family; the first of IPv6 is link-local
	Checksum  Checksum      // form it was received with; Marshal sends this form, ChecksumPseudoHeader when empty
	Directed  bool          // received at a unicast address; Marshal ignores it
}

// Family is the family of the addresses.
func (a Advertisement) Family() Family {
	if len(a.Addresses) > 0 {
		return FamilyOf(a.Addresses[0])
	}
	return IPv4
}

// Packet is an IP packet of protocol 112 as it was received.
type Packet struct {
	Source      netip.Addr
	Destination netip.Addr
	TTL         int // TTL or hop limit
	Payload     []byte
}

// DiscardError says which rule a received packet broke. All of them are package variables to compare with errors.Is.
type DiscardError struct {
	Slug    string // stable, e.g. "checksum"; counters have it as their name
	Message string
	Section string // of RFC 9568
}

// Error is the message with its source.
func (e *DiscardError) Error() string { return e.Message + " (RFC 9568, " + e.Section + ")" }

// The rules for receiving (RFC 9568, 7.1), in the order in which they are checked.
var (
	ErrFamily      = &DiscardError{"family", "source and destination are of different IP versions", "5.2.9"}
	ErrTTL         = &DiscardError{"ttl", "TTL or hop limit is not 255: the packet may come from beyond this link", "7.1"}
	ErrDestination = &DiscardError{"destination", "sent to a multicast group that is not VRRP's", "5.1.1.2"}
	ErrSource      = &DiscardError{"source", "source is not a unicast address, or not link-local with IPv6", "5.1.2.1"}
	ErrShort       = &DiscardError{"short", "packet is shorter than a VRRP header", "7.1"}
	ErrVersion2    = &DiscardError{"v2", "VRRP version 2: this program speaks version 3 only; set the neighbour to version 3", "7.1"}
	ErrVersion     = &DiscardError{"version", "unknown VRRP version", "7.1"}
	ErrType        = &DiscardError{"type", "unknown VRRP packet type", "7.1"}
	ErrCount       = &DiscardError{"count", "no addresses are advertised", "5.2.5"}
	ErrLength      = &DiscardError{"length", "length does not match the count of addresses", "7.1"}
	ErrChecksum    = &DiscardError{"checksum", "checksum is wrong with and without pseudo-header", "5.2.8"}
	ErrVRID        = &DiscardError{"vrid", "VRID 0 is not a virtual router", "5.2.3"}
	ErrInterval    = &DiscardError{"interval", "advertisement interval is 0", "5.2.7"}
	ErrLinkLocal   = &DiscardError{"link-local", "first IPv6 address is not link-local", "5.2.9"}
)

// Slug is the slug of the rule that err is about, "other" where it is about none.
func Slug(err error) string {
	if e := (*DiscardError)(nil); errors.As(err, &e) {
		return e.Slug
	}
	return "other"
}

// Parse checks a received packet by every rule that needs no configuration and gives what it says. Errors wrap a
// *DiscardError.
func Parse(p Packet) (Advertisement, error) {
	if err := checkIP(p); err != nil {
		return Advertisement{}, err
	}
	b := p.Payload
	if len(b) < headerLen {
		return Advertisement{}, fmt.Errorf("%d bytes: %w", len(b), ErrShort)
	}
	switch v := b[0] >> 4; {
	case v == 2:
		return Advertisement{}, ErrVersion2
	case v != 3:
		return Advertisement{}, fmt.Errorf("version %d: %w", v, ErrVersion)
	case !Message(b[0] & 0xf).known(p.Destination):
		return Advertisement{}, fmt.Errorf("type %d: %w", b[0]&0xf, ErrType)
	case b[3] == 0:
		return Advertisement{}, ErrCount
	}
	size := 4
	if !p.Source.Is4() {
		size = 16
	}
	if want := headerLen + int(b[3])*size; len(b) != want {
		return Advertisement{}, fmt.Errorf("%d bytes for %d addresses instead of %d: %w", len(b), b[3], want, ErrLength)
	}
	form, ok := verify(p)
	if !ok {
		return Advertisement{}, ErrChecksum
	}
	a := Advertisement{
		Message:  Message(b[0] & 0xf),
		VRID:     b[1],
		Priority: b[2],
		// The upper four bits are reserved: sent as 0, ignored here (5.2.6).
		Interval: time.Duration(binary.BigEndian.Uint16(b[4:])&0xfff) * IntervalUnit,
		Checksum: form,
		Directed: !p.Destination.IsMulticast(),
	}
	if a.VRID == 0 {
		return Advertisement{}, ErrVRID
	}
	if a.Interval == 0 {
		return Advertisement{}, ErrInterval
	}
	a.Addresses = make([]netip.Addr, b[3])
	for i := range a.Addresses {
		a.Addresses[i], _ = netip.AddrFromSlice(b[headerLen+i*size:][:size])
	}
	if size == 16 && !a.Addresses[0].IsLinkLocalUnicast() {
		return Advertisement{}, fmt.Errorf("%s: %w", a.Addresses[0], ErrLinkLocal)
	}
	return a, nil
}

// known tells whether there is such a message to a destination.
func (m Message) known(destination netip.Addr) bool {
	return m == MessageAdvertisement || (m == MessageHello || m == MessageIntroduction) && !destination.IsMulticast()
}

// checkIP checks what the IP header says.
func checkIP(p Packet) error {
	multicast := p.Destination.IsMulticast()
	switch {
	case p.Source.Is4() != p.Destination.Is4():
		return fmt.Errorf("%s to %s: %w", p.Source, p.Destination, ErrFamily)
	case p.TTL != 255:
		return fmt.Errorf("%d: %w", p.TTL, ErrTTL)
	case multicast && p.Destination.WithZone("") != FamilyOf(p.Destination).Group():
		return fmt.Errorf("%s: %w", p.Destination, ErrDestination)
	case p.Source.IsMulticast() || p.Source.IsUnspecified(),
		p.Source.Is6() && multicast && !p.Source.IsLinkLocalUnicast():
		return fmt.Errorf("%s: %w", p.Source, ErrSource)
	}
	return nil
}

// verify tells which form of the checksum fits the payload.
func verify(p Packet) (Checksum, bool) {
	if fold(sum(p.Payload)+pseudoHeader(p.Source, p.Destination, len(p.Payload))) == 0xffff {
		return ChecksumPseudoHeader, true
	}
	return ChecksumPlain, p.Source.Is4() && fold(sum(p.Payload)) == 0xffff
}

// Marshal gives the payload of the packet from source to destination that says a. It fails on what Parse would refuse.
func (a Advertisement) Marshal(source, destination netip.Addr) ([]byte, error) {
	if err := a.check(source, destination); err != nil {
		return nil, fmt.Errorf("encode advertisement of VRID %d: %w", a.VRID, err)
	}
	b := make([]byte, headerLen, headerLen+len(a.Addresses)*16)
	b[0], b[1], b[2], b[3] = version3|byte(cmp.Or(a.Message, MessageAdvertisement)), a.VRID, a.Priority, uint8(len(a.Addresses))
	binary.BigEndian.PutUint16(b[4:], uint16(a.Interval/IntervalUnit))
	for _, address := range a.Addresses {
		b = append(b, address.AsSlice()...)
	}
	total := sum(b)
	if source.Is6() || a.Checksum != ChecksumPlain {
		total += pseudoHeader(source, destination, len(b))
	}
	binary.BigEndian.PutUint16(b[6:], ^fold(total))
	return b, nil
}

func (a Advertisement) check(source, destination netip.Addr) error {
	switch {
	case a.VRID == 0:
		return ErrVRID
	case len(a.Addresses) == 0:
		return ErrCount
	case len(a.Addresses) > maxAddresses:
		return fmt.Errorf("%d addresses: at most %d fit", len(a.Addresses), maxAddresses)
	case a.Interval < MinInterval:
		return ErrInterval
	case a.Interval > MaxInterval || a.Interval%IntervalUnit != 0:
		return fmt.Errorf("interval %s: must be a multiple of %s of at most %s", a.Interval, IntervalUnit, MaxInterval)
	}
	for _, address := range a.Addresses {
		if FamilyOf(address) != FamilyOf(source) {
			return fmt.Errorf("%s: %w", address, ErrFamily)
		}
	}
	if source.Is6() && !a.Addresses[0].IsLinkLocalUnicast() {
		return fmt.Errorf("%s: %w", a.Addresses[0], ErrLinkLocal)
	}
	return checkIP(Packet{Source: source, Destination: destination, TTL: 255})
}

// pseudoHeader is the sum of what RFC 8200, 8.1 (and RFC 5798 for IPv4) puts before the message.
func pseudoHeader(source, destination netip.Addr, length int) uint32 {
	return sum(source.AsSlice()) + sum(destination.AsSlice()) + Protocol + uint32(length)
}

// sum adds up 16-bit words (RFC 1071). An odd last byte is the upper half of a word.
func sum(b []byte) uint32 {
	var total uint32
	for ; len(b) >= 2; b = b[2:] {
		total += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	return total
}

func fold(total uint32) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
