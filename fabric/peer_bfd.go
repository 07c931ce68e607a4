package fabric

import "cmp"

// PeerBFD is how fast the death of a neighbour is seen (RFC 5880): after Multiplier times Interval without a packet, where the neighbour agrees.
type PeerBFD struct {
	Profile    string `json:"profile,omitempty"`    // BFDProfile that says what is not said here
	Interval   int    `json:"interval,omitempty"`   // milliseconds between packets, sent and expected, 10-10000; 0: what the profile says, without one no BFD
	Multiplier int    `json:"multiplier,omitempty"` // packets in a row that may be lost, 2-255; 0: what the profile says, else the default of 3
	Passive    bool   `json:"passive,omitempty"`    // send nothing before the neighbour did
	Strict     bool   `json:"strict,omitempty"`     // no BGP session while BFD is not up
}

// DefaultBFDMultiplier is the one of a PeerBFD that has none.
const DefaultBFDMultiplier = 3

// Wanted tells whether there is to be a BFD session.
func (b PeerBFD) Wanted() bool { return b.Interval != 0 }

// Full is b with defaults filled in, and nothing in it where no BFD is wanted.
func (b PeerBFD) Full() PeerBFD {
	if !b.Wanted() {
		return PeerBFD{}
	}
	b.Multiplier = cmp.Or(b.Multiplier, DefaultBFDMultiplier)
	return b
}

// Validate checks the ranges.
func (b PeerBFD) Validate(peer string) error {
	if b.Interval == 0 && b.Profile == "" && b != (PeerBFD{}) {
		return Invalidf("bad-value", "BGP peer %q: BFD needs bfd.interval, in milliseconds, or bfd.profile", peer)
	}
	return b.validate("BGP peer", peer)
}

func (b PeerBFD) validate(what, name string) error {
	switch {
	case b.Interval != 0 && (b.Interval < 10 || b.Interval > 10000):
		return Invalidf("bad-value", "%s %q: BFD interval=%d is not in 10-10000 ms", what, name, b.Interval)
	case b.Multiplier != 0 && (b.Multiplier < 2 || b.Multiplier > 255):
		return Invalidf("bad-value", "%s %q: BFD multiplier=%d is not in 2-255", what, name, b.Multiplier)
	}
	return nil
}

// BFDState is the BFD session with a peer.
type BFDState struct {
	State     string `json:"state"`     // "admin-down", "down", "init", "up" (RFC 5880, 4.1)
	Interval  int    `json:"interval"`  // milliseconds between packets that are sent, as agreed
	Detection int    `json:"detection"` // milliseconds of silence after which the neighbour is dead, as agreed; 0 while that is not known
	// Multiplier is how many packets in a row the neighbour lets be lost; 0 while it has not been heard.
	Multiplier int    `json:"multiplier,omitempty"`
	Diagnostic string `json:"diagnostic,omitempty"`        // why the session last left a state, as this side sees it (RFC 5880, 4.1); empty: no diagnostic
	Remote     string `json:"remote_diagnostic,omitempty"` // the same as the neighbour sees it
	Flaps      uint64 `json:"flaps"`                       // failures of a session that was up
	Failure    string `json:"failure,omitempty"`           // the last failure in words
	Reason     string `json:"reason,omitempty"`            // slug, when not up
	Message    string `json:"message,omitempty"`           // for people, when not up
}

// Up tells whether the path to the neighbour is known to work.
func (b BFDState) Up() bool { return b.State == "up" }
