package vrrp

import (
	"net/netip"
	"time"
)

// RouterState is what is so with one virtual router: a gateway in one family.
type RouterState struct {
	Gateway   string
	Interface string
	Link      string // interface with the virtual MAC
	Family    Family
	VRID      uint8
	Addresses []netip.Prefix // as advertised

	State       State
	Since       time.Time
	Reason      Reason             // of the last transition
	Transitions []TransitionRecord // the last ones
	Changes     uint64             // transitions ever
	Takeover    time.Duration      // from the old Active's last sign, or the decision, until this one had advertised, the last time it took over
	HandingOver bool
	Accepting   bool // the addresses and the virtual MAC are on this host

	Primary        netip.Addr
	Priority       uint8
	Active         netip.Addr    // who was last heard to be Active; Primary when it is this router
	ActivePriority uint8         // its priority
	DownDeadline   time.Time     // when this Backup takes over unless it hears an Active
	WorstOutage    time.Duration // of hosts, if this router has to take over from an Active that dies, by the formula
	Conflict       netip.Addr    // other router that claims to be Active too
	Differs        bool          // the last advertisement heard lists other addresses than ours
	Rogues         []Advertiser  // routers that advertise themselves to hosts beside this gateway
	RAOut          uint64        // router advertisements sent
	RSIn           uint64        // router solicitations heard
	Version2       netip.Addr    // a router that speaks VRRP version 2 with this VRID, and is not listened to

	Claims []Claim // of others to its addresses, within the last minute

	In         uint64            // advertisements taken
	Out        uint64            // advertisements sent
	Discarded  map[string]uint64 // advertisements not taken, by slug
	SendErrors uint64

	Error       string // why the gateway does not work as it should; empty when it does
	ErrorReason string // slug of Error
}

// TransitionRecord is a past transition.
type TransitionRecord struct {
	From, To State
	Reason   Reason
	At       time.Time
	Silence  time.Duration // with ReasonNoActive: how long no Active had been heard, 0 if never
}

// HeardVRID is a virtual router on one of our interfaces that no gateway is configured for.
type HeardVRID struct {
	Interface string
	Family    Family
	VRID      uint8
	Source    netip.Addr
	Priority  uint8
	Version   int // 3, or 2
	Last      time.Time
}

// ManagerState is everything a Manager knows.
type ManagerState struct {
	Routers       []RouterState // by gateway, then family
	Foreign       []HeardVRID   // heard within the last minutes
	RealTime      bool          // timers run on a real-time thread
	RealTimeError string        // why not
	SetupError    string        // why the host does not forward or filter as gateways need it
	Error         string        // of work on the host that belongs to no gateway any more
}

// maxTransitions is how many transitions are remembered per virtual router.
const maxTransitions = 16
