package fabric

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// PrefixRange is the prefixes inside one prefix whose length is in a range. As text it is PREFIX [ge N] [le N], as routers have it: without
// both only PREFIX itself, with ge alone up to single addresses, with le alone from the length of PREFIX.
type PrefixRange struct {
	Prefix    netip.Prefix
	Low, High int // lengths, inclusive
}

// ParsePrefixRange reads PREFIX [ge N] [le N].
func ParsePrefixRange(s string) (PrefixRange, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return PrefixRange{}, fmt.Errorf("a prefix is missing")
	}
	p, err := ParsePrefix(fields[0])
	if err != nil {
		return PrefixRange{}, err
	}
	r := PrefixRange{p, p.Bits(), p.Bits()}
	lengths := map[string]int{}
	for rest := fields[1:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) < 2 || rest[0] != "ge" && rest[0] != "le" {
			return PrefixRange{}, fmt.Errorf("%q is not PREFIX [ge LENGTH] [le LENGTH]", s)
		}
		n, err := strconv.Atoi(rest[1])
		if _, twice := lengths[rest[0]]; twice || err != nil {
			return PrefixRange{}, fmt.Errorf("%q is not PREFIX [ge LENGTH] [le LENGTH]", s)
		}
		lengths[rest[0]] = n
	}
	if ge, ok := lengths["ge"]; ok {
		r.Low, r.High = ge, p.Addr().BitLen()
	}
	if le, ok := lengths["le"]; ok {
		r.High = le
	}
	if r.Low < p.Bits() || r.Low > r.High || r.High > p.Addr().BitLen() {
		return PrefixRange{}, fmt.Errorf("%q: lengths %d to %d are not a range from %d to %d", s, r.Low, r.High, p.Bits(), p.Addr().BitLen())
	}
	return r, nil
}

// Contains tells whether a prefix is one of the range.
func (r PrefixRange) Contains(p netip.Prefix) bool {
	return p.Bits() >= r.Low && p.Bits() <= r.High && r.Prefix.Contains(p.Addr())
}

// String is the shortest text that ParsePrefixRange reads.
func (r PrefixRange) String() string {
	s := r.Prefix.String()
	if r.Low == r.Prefix.Bits() && r.High == r.Prefix.Bits() {
		return s
	}
	if r.Low != r.Prefix.Bits() {
		s += fmt.Sprintf(" ge %d", r.Low)
	}
	if r.High != r.Prefix.Addr().BitLen() || r.Low == r.Prefix.Bits() {
		s += fmt.Sprintf(" le %d", r.High)
	}
	return s
}

// MarshalText gives String.
func (r PrefixRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what ParsePrefixRange reads.
func (r *PrefixRange) UnmarshalText(text []byte) (err error) {
	*r, err = ParsePrefixRange(string(text))
	return err
}
