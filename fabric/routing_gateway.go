package fabric

import (
	"fmt"
	"net/netip"
	"time"
)

// RoutingGateway is a gateway that this member takes part in.
type RoutingGateway struct {
	Name         string             `json:"name"`
	Interface    string             `json:"interface"`
	VRID         uint8              `json:"vrid"`
	Addresses    []netip.Prefix     `json:"addresses"`
	Priority     int                `json:"priority"` // 1-254, while no track is down
	Interval     int                `json:"interval"` // milliseconds
	NoPreempt    bool               `json:"no_preempt,omitempty"`
	PreemptDelay int                `json:"preempt_delay,omitempty"` // milliseconds
	Tracks       []Track            `json:"tracks,omitempty"`
	Drained      bool               `json:"drained,omitempty"`    // the member is: it is Active only while no other is there
	Successors   []GatewaySuccessor `json:"successors,omitempty"` // the other members, the best first

	Checksum GatewayChecksum `json:"checksum,omitempty"`
	Unicast  bool            `json:"unicast,omitempty"` // advertise to Successors and Peers instead of the group
	Peers    []netip.Addr    `json:"peers,omitempty"`
	NoAccept bool            `json:"no_accept,omitempty"`
	RA       *GatewayRA      `json:"ra,omitempty"`       // with defaults filled in; nil: no router advertisements
	Siblings []netip.Addr    `json:"siblings,omitempty"` // link-local addresses from which other gateways of the cluster advertise themselves on interfaces of that name
	Sync     string          `json:"sync,omitempty"`
	// With Unicast: how many other members there are; and that no address of any is known yet, although one may be Active.
	OtherMembers int  `json:"other_members,omitempty"`
	Unmet        bool `json:"unmet,omitempty"`
}

// GatewaySuccessor is another member of a gateway, and its own addresses on the segment as it last reported them.
type GatewaySuccessor struct {
	Member    string       `json:"member"`
	Addresses []netip.Addr `json:"addresses"` // at most one per family
	Drained   bool         `json:"drained,omitempty"`
}

// Words for VirtualRouterState.State, of RFC 9568, 6.4.
const (
	GatewayActive     = "active"
	GatewayBackup     = "backup"
	GatewayInitialize = "initialize" // takes no part now
)

// GatewayState is how a gateway is on one member, and the data of a ConditionGateway.
type GatewayState struct {
	Gateway  string               `json:"gateway"`
	Priority int                  `json:"priority"`          // in force: 0 may not be Active
	Drained  bool                 `json:"drained,omitempty"` // the member is: it is Active only while no other is there
	Tracks   []TrackState         `json:"tracks,omitempty"`  // as configured
	Routers  []VirtualRouterState `json:"routers,omitempty"` // one per family; none while the gateway is not set up
	Foreign  []uint8              `json:"foreign,omitempty"` // VRIDs of others that are heard on the interface
	Reason   string               `json:"reason,omitempty"`  // slug, when the gateways of the member can't be run
	Message  string               `json:"message,omitempty"`
	RealTime string               `json:"real_time_error,omitempty"` // why timers have no real-time priority
	Others   []GatewaySuccessor   `json:"others,omitempty"`          // the other members' own addresses, as far as this one knows them
}

// Active tells whether the member is Active for any family.
func (s GatewayState) Active() bool {
	for _, r := range s.Routers {
		if r.State == GatewayActive {
			return true
		}
	}
	return false
}

// TrackState tells whether something that a gateway needs is there.
type TrackState struct {
	Track
	Up      bool   `json:"up"`
	Message string `json:"message,omitempty"` // when it is not
}

// ForeignClaim is that somebody on the interface said of an address of a gateway that it is at a MAC which is not the gateway's: by ARP, or by
// neighbour discovery. It is remembered for a minute.
type ForeignClaim struct {
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"`
	Port    string     `json:"port,omitempty"` // interface on which it came in: of a bridge, the port where the bridge has learned the MAC
	Since   time.Time  `json:"since"`
}

// Text says who claims, and where the address is.
func (c ForeignClaim) Text(virtualMAC string) string {
	text := fmt.Sprintf("%s is at %s, and %s claims it", c.Address, virtualMAC, c.MAC)
	if c.Port != "" {
		text += " on " + c.Port
	}
	return text
}

// VirtualRouterState is a gateway in one family.
type VirtualRouterState struct {
	Family      string              `json:"family"` // "ipv4", "ipv6"
	State       string              `json:"state"`
	Since       time.Time           `json:"since"`
	Why         string              `json:"why,omitempty"`           // slug of the last transition
	Silence     int                 `json:"silence_ms,omitempty"`    // with why "no-active": for how long no Active had been heard
	Primary     netip.Addr          `json:"primary,omitzero"`        // own address of the member on the interface
	Active      netip.Addr          `json:"active,omitzero"`         // own address of the member that was last heard to be Active
	Conflict    netip.Addr          `json:"conflict,omitzero"`       // another router that claims to be Active while this one is
	Differs     bool                `json:"differs,omitempty"`       // the Active advertises other addresses
	Version2    netip.Addr          `json:"version2,omitzero"`       // a router that speaks VRRP version 2 with this VRID, and is not listened to
	VirtualMAC  string              `json:"virtual_mac,omitempty"`   // with Claims
	Claims      []ForeignClaim      `json:"claims,omitempty"`        // of others, to addresses of the gateway
	Rogues      []RogueRouter       `json:"rogue_routers,omitempty"` // that advertise themselves to hosts beside the gateway
	RAOut       uint64              `json:"ra_out,omitempty"`        // router advertisements sent
	RSIn        uint64              `json:"rs_in,omitempty"`         // router solicitations heard
	Transitions int                 `json:"transitions"`             // since the process of the gateways was started
	History     []GatewayTransition `json:"history,omitempty"`       // the last ones, the oldest first
	Takeover    int                 `json:"takeover_ms,omitempty"`   // the last time this member took over: from the old Active's last sign, or the decision, until it advertised
	In          uint64              `json:"in"`                      // advertisements taken
	Out         uint64              `json:"out"`                     // advertisements sent
	Discarded   map[string]uint64   `json:"discarded,omitempty"`     // advertisements not taken, by cause
	Reason      string              `json:"reason,omitempty"`        // slug, when it does not work as it should
	Message     string              `json:"message,omitempty"`
}

// RogueRouter is a router that advertises itself to hosts where a gateway does, and is not trusted to.
type RogueRouter struct {
	Address  netip.Addr `json:"address"`       // link-local
	MAC      string     `json:"mac,omitempty"` // as it says
	Lifetime int        `json:"lifetime"`      // seconds for which hosts take it as a default router; 0: it only has them make addresses
}

// GatewayTransition is a past change of state.
type GatewayTransition struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	Why     string    `json:"why"` // slug
	At      time.Time `json:"at"`
	Silence int       `json:"silence_ms,omitempty"` // with why "no-active": for how long no Active had been heard
}
