package bfd

import "fmt"

// State is the state of a session (RFC 5880, 4.1).
type State uint8

// The states of a session, as numbered on the wire.
const (
	AdminDown State = iota // held down by an operator: says nothing about the path
	Down
	Init // hears the neighbour, which doesn't hear us yet as far as we know
	Up
)

var stateWords = [...]string{"admin-down", "down", "init", "up"}

// String is the state in lower case.
func (s State) String() string { return word(stateWords[:], uint8(s), "state") }

// Diag is why a session last left a state (RFC 5880, 4.1).
type Diag uint8

// The diagnostics that this package sends. The others of the RFC are shown when a neighbour sends them.
const (
	DiagNone         Diag = 0
	DiagExpired      Diag = 1 // Control Detection Time Expired
	DiagNeighborDown Diag = 3 // Neighbor Signaled Session Down
	DiagAdminDown    Diag = 7 // Administratively Down
)

var diagWords = [...]string{
	"no diagnostic",
	"nothing heard within the detection time",
	"echo failed",
	"neighbour signalled session down",
	"forwarding plane reset",
	"path down",
	"concatenated path down",
	"administratively down",
	"reverse concatenated path down",
}

// String is the diagnostic in words.
func (d Diag) String() string { return word(diagWords[:], uint8(d), "diagnostic") }

// Discard is why a received packet was not used. It is an error; its Slug is stable.
type Discard uint8

// The reasons to discard a packet. Those without a section are of RFC 5880, 6.8.6.
const (
	_                     Discard = iota
	DiscardShort                  // fewer than 24 bytes
	DiscardVersion                // version is not 1
	DiscardLength                 // length field below the minimum, or beyond the datagram
	DiscardMultiplier             // detection multiplier is 0
	DiscardMultipoint             // M bit is set
	DiscardMyDiscr                // My Discriminator is 0
	DiscardYourDiscr              // Your Discriminator is 0 and the state is neither Down nor AdminDown
	DiscardAuthentication         // A bit is set, and no session here uses authentication
	DiscardUnknown                // no session of this discriminator, or of this source, destination and interface
	DiscardAdminDown              // the session is held administratively down
	DiscardTTL                    // TTL or hop limit below the least of the session: 255 on a shared link (RFC 5881, 5)
	discards
)

var discardSlugs = [...]string{
	"", "short", "bad-version", "bad-length", "zero-multiplier", "multipoint", "zero-my-discriminator", "zero-your-discriminator",
	"authentication", "unknown-session", "admin-down", "bad-ttl",
}

var discardWords = [...]string{
	"",
	"has fewer than 24 bytes",
	"is not of version 1",
	"has a length field that doesn't fit",
	"has a detection multiplier of 0",
	"is multipoint",
	"has no My Discriminator",
	"has no Your Discriminator although its state needs one",
	"is authenticated, which is not supported",
	"belongs to no session",
	"is for a session that is administratively down",
	"has too low a TTL: it comes from farther away than the neighbour",
}

// Slug is the stable name of the reason.
func (d Discard) Slug() string { return word(discardSlugs[:], uint8(d), "discard") }

// Error says what is wrong with the packet.
func (d Discard) Error() string { return "BFD packet " + word(discardWords[:], uint8(d), "discard") }

func word(words []string, n uint8, kind string) string {
	if int(n) < len(words) {
		return words[n]
	}
	return fmt.Sprintf("%s %d", kind, n)
}
