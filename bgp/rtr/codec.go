// Package rtr learns from caches which AS may announce which prefix (RFC 8210; RFC 6810 for caches that know no other), and hands that on to the
// client that GoBGP has: one that believes everything it reads is not shown a stranger.
package rtr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// VRP is a validated ROA payload: an AS that may announce a prefix, and parts of it up to a length (RFC 6811, 2).
type VRP struct {
	Prefix    netip.Prefix
	MaxLength uint8
	ASN       uint32
}

// PDU types (RFC 8210, 5).
const (
	SerialNotify  = 0
	SerialQuery   = 1
	ResetQuery    = 2
	CacheResponse = 3
	PrefixIPv4    = 4
	PrefixIPv6    = 6
	EndOfData     = 7
	CacheReset    = 8
	RouterKey     = 9
	ErrorReport   = 10
)

// Codes of error reports (RFC 8210, 12).
const (
	CorruptData        = 0
	NoData             = 2
	UnsupportedVersion = 4
	UnknownWithdrawal  = 6
	Duplicate          = 7
)

// PDU is one message. What its type does not have is zero.
type PDU struct {
	Version  uint8
	Type     uint8
	Session  uint16 // of an ErrorReport, the code
	Serial   uint32
	Withdraw bool
	VRP      VRP
	Refresh  uint32 // seconds; of an EndOfData of version 1
	Retry    uint32
	Expire   uint32
	Text     string // of an ErrorReport
}

const (
	headerLength = 8
	maxLength    = 1 << 16 // of an error report or router key: the others have a length of their own
)

// length is how long a PDU must be; ok is false where that is left open.
func length(version, kind uint8) (n uint32, ok bool) {
	switch kind {
	case SerialNotify, SerialQuery:
		return 12, true
	case ResetQuery, CacheResponse, CacheReset:
		return 8, true
	case PrefixIPv4:
		return 20, true
	case PrefixIPv6:
		return 32, true
	case EndOfData:
		if version == 0 {
			return 12, true
		}
		return 24, true
	}
	return 0, false
}

// Read reads one PDU. An error other than one of r tells what is wrong with it.
func Read(r io.Reader) (PDU, error) {
	var header [headerLength]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return PDU{}, err
	}
	p := PDU{Version: header[0], Type: header[1], Session: binary.BigEndian.Uint16(header[2:])}
	n := binary.BigEndian.Uint32(header[4:])
	if p.Version > 1 {
		return p, fmt.Errorf("version %d is not known", p.Version)
	}
	if want, fixed := length(p.Version, p.Type); fixed && n != want {
		return p, fmt.Errorf("type %d has %d bytes, not %d", p.Type, n, want)
	} else if !fixed && p.Type != ErrorReport && p.Type != RouterKey {
		return p, fmt.Errorf("type %d is not known", p.Type)
	} else if n < headerLength || n > maxLength {
		return p, fmt.Errorf("type %d has %d bytes, which is not in %d-%d", p.Type, n, headerLength, maxLength)
	}
	body := make([]byte, n-headerLength)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return p, err
	}
	return p, p.parse(body)
}

func (p *PDU) parse(b []byte) error {
	switch p.Type {
	case SerialNotify, SerialQuery:
		p.Serial = binary.BigEndian.Uint32(b)
	case EndOfData:
		p.Serial = binary.BigEndian.Uint32(b)
		if len(b) == 16 {
			p.Refresh, p.Retry, p.Expire = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		}
	case PrefixIPv4, PrefixIPv6:
		address, _ := netip.AddrFromSlice(b[4 : len(b)-4])
		bits, most := int(b[1]), b[2]
		if bits > int(most) || int(most) > address.BitLen() || b[0] > 1 {
			return fmt.Errorf("prefix %s/%d with maximum length %d and flags %d makes no sense", address, bits, most, b[0])
		}
		p.Withdraw = b[0] == 0
		p.VRP = VRP{netip.PrefixFrom(address, bits).Masked(), most, binary.BigEndian.Uint32(b[len(b)-4:])}
	case ErrorReport:
		p.Text = errorText(b)
	}
	return nil
}

// errorText is the text of an error report (RFC 8210, 5.11), behind the PDU that it is about.
func errorText(b []byte) string {
	for _, skip := range []bool{true, false} {
		if len(b) < 4 {
			return ""
		}
		n := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return ""
		}
		if !skip {
			return string(b[:n])
		}
		b = b[n:]
	}
	return ""
}

// Append adds a PDU to b as it is on the wire.
func (p PDU) Append(b []byte) []byte {
	start := len(b)
	b = append(b, p.Version, p.Type)
	b = binary.BigEndian.AppendUint16(b, p.Session)
	b = append(b, 0, 0, 0, 0)
	switch p.Type {
	case SerialNotify, SerialQuery:
		b = binary.BigEndian.AppendUint32(b, p.Serial)
	case EndOfData:
		b = binary.BigEndian.AppendUint32(b, p.Serial)
		if p.Version > 0 {
			for _, t := range []uint32{p.Refresh, p.Retry, p.Expire} {
				b = binary.BigEndian.AppendUint32(b, t)
			}
		}
	case PrefixIPv4, PrefixIPv6:
		flags := byte(1)
		if p.Withdraw {
			flags = 0
		}
		b = append(b, flags, byte(p.VRP.Prefix.Bits()), p.VRP.MaxLength, 0)
		b = append(b, p.VRP.Prefix.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint32(b, p.VRP.ASN)
	case ErrorReport:
		b = binary.BigEndian.AppendUint32(b, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Text)))
		b = append(b, p.Text...)
	}
	binary.BigEndian.PutUint32(b[start+4:], uint32(len(b)-start))
	return b
}

// prefixPDU is the PDU that announces or withdraws a VRP.
func prefixPDU(version uint8, v VRP, withdraw bool) PDU {
	kind := uint8(PrefixIPv6)
	if v.Prefix.Addr().Is4() {
		kind = PrefixIPv4
	}
	return PDU{Version: version, Type: kind, VRP: v, Withdraw: withdraw}
}
