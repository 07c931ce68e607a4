package bfd

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

// Key identifies a session: there is one for a pair of addresses on a link (RFC 5881, 3), or across routers (RFC 5883, 3).
type Key struct {
	Address   netip.Addr // the neighbour's; a link-local one has its interface as zone
	Local     netip.Addr // source of packets; zero leaves it to the kernel
	Interface string     // that packets must go out of and come in on; empty leaves it to the kernel. Only on a shared link
	Multihop  bool       // the neighbour is behind routers
}

// String names the session as people do.
func (k Key) String() string {
	s := k.Address.String()
	if k.Local.IsValid() {
		s += " from " + k.Local.String()
	}
	if k.Interface != "" && k.Interface != k.Address.Zone() {
		s += " on " + k.Interface
	}
	if k.Multihop {
		s += " multihop"
	}
	return s
}

func compareKeys(a, b Key) int {
	hops := func(k Key) int {
		if k.Multihop {
			return 1
		}
		return 0
	}
	return cmp.Or(a.Address.Compare(b.Address), a.Local.Compare(b.Local), cmp.Compare(a.Interface, b.Interface), cmp.Compare(hops(a), hops(b)))
}

// Peer is a neighbour to have a session with.
type Peer struct {
	Key
	Config
	MinTTL    uint8 // least TTL or hop limit of packets of a multihop neighbour; 0 is any. On a shared link it is always 255
	AdminDown bool  // have the session, but hold it administratively down
}

// Validate checks addresses and ranges.
func (p Peer) Validate() error {
	a := p.Address
	fail := func(format string, args ...any) error {
		return fmt.Errorf("BFD session with %s: "+format, append([]any{p.Key}, args...)...)
	}
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6():
		return fail("%q is not a unicast address", a)
	case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		return fail("a link-local address needs its interface, as in %s%%eth0", a)
	case a.Zone() != "" && p.Interface != "" && a.Zone() != p.Interface:
		return fail("the address is of interface %s, the session is to be on %s", a.Zone(), p.Interface)
	case p.Local.IsValid() && (p.Local.Is4() != a.Is4() || p.Local.Is4In6()):
		return fail("the local address %s is of another family", p.Local)
	case p.Multihop && (p.Interface != "" || a.Zone() != ""):
		return fail("a multihop session has no interface")
	case !p.Multihop && p.MinTTL != 0 && p.MinTTL != 255:
		return fail("the least TTL on a shared link is 255, not %d", p.MinTTL)
	}
	if err := p.Config.Validate(); err != nil {
		return fail("%w", err)
	}
	return nil
}

// normal is the peer with what follows from other fields.
func (p Peer) normal() Peer {
	if zone := p.Address.Zone(); zone != "" {
		p.Interface = zone
	}
	p.Local = p.Local.WithZone("")
	if !p.Multihop {
		p.MinTTL = 255
	}
	return p
}

// normalize checks a set of peers.
func normalize(peers []Peer) ([]Peer, error) {
	desired := make([]Peer, 0, len(peers))
	seen := map[Key]bool{}
	for _, p := range peers {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		p = p.normal()
		if seen[p.Key] {
			return nil, fmt.Errorf("BFD session with %s is wanted twice", p.Key)
		}
		seen[p.Key] = true
		desired = append(desired, p)
	}
	return desired, nil
}

// Event is a change of a session's state.
type Event struct {
	Key
	Change
	At time.Time
}

// PeerState is what can be seen of a session and its packets.
type PeerState struct {
	Peer   Peer
	Status Status
	Since  time.Time // when the state was entered

	Flaps       uint64    // failures of a session that was Up
	LastFailure time.Time // zero is never
	Failure     string    // the last failure in words
	Message     string    // why the session is in its state, in words

	In, Out    uint64            // packets used and sent
	SendErrors uint64            // packets that the kernel refused
	Discards   map[string]uint64 // packets from its address that were not used, by the slug of their Discard

	Reason string // slug of why packets can't be sent now, see the Reason constants; empty when they can
	Error  string // the same for people
}

// Reasons why packets of a session can't be sent or received.
const (
	ReasonPortInUse   = "bfd-port-in-use"  // another BFD daemon has the port
	ReasonNoInterface = "no-interface"     // the interface of the session is not there
	ReasonNoLocal     = "no-local-address" // the local address of the session is not on this host
	ReasonUnreachable = "no-route"         // the kernel has no route to the neighbour
	ReasonSocket      = "socket-failed"    // the kernel refuses a socket
	ReasonSend        = "send-failed"      // the kernel refuses packets
)

// explain says in words why a session is in its state.
func explain(s Status, heard bool, c Change) string {
	switch {
	case s.State == AdminDown:
		return "administratively down on this side"
	case s.State == Up:
		return "up"
	case s.Remote.State == AdminDown:
		return "the neighbour is administratively down"
	case !heard:
		return "the neighbour was never heard"
	case s.State == Init:
		return "the neighbour is heard, but doesn't show that it hears this side"
	case c.Diag == DiagNeighborDown && c.RemoteDiag != DiagNone && c.RemoteDiag != DiagNeighborDown:
		return fmt.Sprintf("%s: %s", c.Diag, c.RemoteDiag)
	case c.Diag != DiagNone:
		return c.Diag.String()
	}
	return "down"
}
