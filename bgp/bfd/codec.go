// Package bfd detects within milliseconds that the path to a neighbour is dead (RFC 5880; RFC 5881 on a shared link, RFC 5883 across routers).
package bfd

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// PacketSize is the size in bytes of a control packet without authentication.
const PacketSize = 24

// version is that of RFC 5880, 4.1.
const version = 1

// Packet is a BFD control packet without authentication section (RFC 5880, 4.1). Its durations are whole microseconds from 0 to 2^32-1.
type Packet struct {
	Diag                    Diag
	State                   State
	Poll                    bool
	Final                   bool
	ControlPlaneIndependent bool // BFD of the sender lives on while its control plane restarts
	Demand                  bool
	Multiplier              uint8         // Detect Mult: never 0
	MyDiscr                 uint32        // names the session at the sender: never 0
	YourDiscr               uint32        // names the session at the receiver: 0 while unknown
	MinTx                   time.Duration // Desired Min TX Interval
	MinRx                   time.Duration // Required Min RX Interval: 0 asks for no periodic packets
	MinEchoRx               time.Duration // Required Min Echo RX Interval: 0 refuses echo packets
}

// Bits of the second byte, below the state.
const (
	bitPoll = 1 << (5 - iota)
	bitFinal
	bitControlPlaneIndependent
	bitAuthentication
	bitDemand
	bitMultipoint
)

// Append appends the packet's wire format to b.
func (p Packet) Append(b []byte) []byte {
	flags := uint8(p.State) << 6
	for _, f := range [...]struct {
		set bool
		bit uint8
	}{{p.Poll, bitPoll}, {p.Final, bitFinal}, {p.ControlPlaneIndependent, bitControlPlaneIndependent}, {p.Demand, bitDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, version<<5|uint8(p.Diag)&0x1f, flags, p.Multiplier, PacketSize)
	b = binary.BigEndian.AppendUint32(b, p.MyDiscr)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscr)
	b = binary.BigEndian.AppendUint32(b, microseconds(p.MinTx))
	b = binary.BigEndian.AppendUint32(b, microseconds(p.MinRx))
	return binary.BigEndian.AppendUint32(b, microseconds(p.MinEchoRx))
}

// Parse reads the payload of a UDP datagram. It makes those checks of RFC 5880, 6.8.6 that need no session, in their order there; every error
// is a Discard. Bytes after the packet's own length are ignored.
func Parse(b []byte) (Packet, error) {
	if d := check(b); d != 0 {
		return Packet{}, d
	}
	return Packet{
		Diag:                    Diag(b[0] & 0x1f),
		State:                   State(b[1] >> 6),
		Poll:                    b[1]&bitPoll != 0,
		Final:                   b[1]&bitFinal != 0,
		ControlPlaneIndependent: b[1]&bitControlPlaneIndependent != 0,
		Demand:                  b[1]&bitDemand != 0,
		Multiplier:              b[2],
		MyDiscr:                 binary.BigEndian.Uint32(b[4:]),
		YourDiscr:               binary.BigEndian.Uint32(b[8:]),
		MinTx:                   duration(b[12:]),
		MinRx:                   duration(b[16:]),
		MinEchoRx:               duration(b[20:]),
	}, nil
}

func check(b []byte) Discard {
	if len(b) < PacketSize {
		return DiscardShort
	}
	state, flags, length := State(b[1]>>6), b[1], int(b[3])
	least := PacketSize
	if flags&bitAuthentication != 0 {
		least = PacketSize + 2
	}
	switch {
	case b[0]>>5 != version:
		return DiscardVersion
	case length < least || length > len(b):
		return DiscardLength
	case b[2] == 0:
		return DiscardMultiplier
	case flags&bitMultipoint != 0:
		return DiscardMultipoint
	case binary.BigEndian.Uint32(b[4:]) == 0:
		return DiscardMyDiscr
	case binary.BigEndian.Uint32(b[8:]) == 0 && state != Down && state != AdminDown:
		return DiscardYourDiscr
	case flags&bitAuthentication != 0:
		return DiscardAuthentication
	}
	return 0
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), math.MaxUint32))
}

func duration(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

// String shows the packet in one line.
func (p Packet) String() string {
	s := fmt.Sprintf("%s my=%d your=%d x%d tx=%s rx=%s", p.State, p.MyDiscr, p.YourDiscr, p.Multiplier, p.MinTx, p.MinRx)
	if p.Diag != DiagNone {
		s += fmt.Sprintf(" diag=%d", uint8(p.Diag))
	}
	for _, f := range [...]struct {
		set  bool
		name string
	}{{p.Poll, " poll"}, {p.Final, " final"}, {p.ControlPlaneIndependent, " independent"}, {p.Demand, " demand"}} {
		if f.set {
			s += f.name
		}
	}
	return s
}
