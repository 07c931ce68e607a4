package fabric

import "cmp"

// BFDProfile is how fast the death of neighbours is seen, for peers that name it. What a peer says itself goes before it.
type BFDProfile struct {
	Header
	Description string `json:"description,omitempty"`
	Interval    int    `json:"interval"`             // milliseconds between packets, sent and expected, 10-10000
	Multiplier  int    `json:"multiplier,omitempty"` // packets in a row that may be lost, 2-255; 0 is the default of 3
	Passive     bool   `json:"passive,omitempty"`    // send nothing before the neighbour did
	Strict      bool   `json:"strict,omitempty"`     // no BGP session while BFD is not up
}

// Kind is KindBFDProfile.
func (*BFDProfile) Kind() Kind { return KindBFDProfile }

// Validate checks the name and the ranges.
func (b *BFDProfile) Validate() error {
	if err := CheckName("BFD profile", b.Name); err != nil {
		return err
	}
	if b.Interval == 0 {
		return Invalidf("bad-value", "BFD profile %q: it needs an interval, in milliseconds", b.Name)
	}
	return PeerBFD{Interval: b.Interval, Multiplier: b.Multiplier}.validate("BFD profile", b.Name)
}

// Refs is empty.
func (*BFDProfile) Refs() []Key { return nil }

// Claims is empty.
func (*BFDProfile) Claims() []Claim { return nil }

// BFDOf is the BFD of a peer with what its profile says filled in, and the defaults.
func (s *Snapshot) BFDOf(p *Peer) PeerBFD {
	b := p.BFD
	if profile, ok := s.BFDProfile(b.Profile); ok {
		b.Interval = cmp.Or(b.Interval, profile.Interval)
		b.Multiplier = cmp.Or(b.Multiplier, profile.Multiplier)
		b.Passive, b.Strict = b.Passive || profile.Passive, b.Strict || profile.Strict
	}
	b.Profile = ""
	return b.Full()
}
