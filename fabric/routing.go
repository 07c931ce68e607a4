package fabric

import (
	"cmp"
	"net/netip"
	"strings"
	"time"
)

// Routing is everything that the routing worker of one member has to do. It is whole: what is not in it is to be undone.
type Routing struct {
	Member        string         `json:"member"`
	Revision      uint64         `json:"revision"`          // of the snapshot it was planned from
	Speaker       *Speaker       `json:"speaker,omitempty"` // nil: speak no BGP
	Peers         []RoutingPeer  `json:"peers,omitempty"`
	Announcements []Announcement `json:"announcements,omitempty"`
	Imports       []Import       `json:"imports,omitempty"` // what is taken of peers; of a peer that is not here, nothing
	RPKI          []RoutingRPKI  `json:"rpki,omitempty"`    // caches for origin validation
	Own           []netip.Prefix `json:"own,omitempty"`     // address space of this cluster: nothing in it is taken of any peer
	Drain         *MemberDrain   `json:"drain,omitempty"`   // nil: announce; otherwise shut down gracefully, then announce nothing

	Gateways []RoutingGateway `json:"gateways,omitempty"`
}

// InternalPeers are the names of the peers that are known to have the AS number that this member is to them.
func (r Routing) InternalPeers() map[string]bool {
	internal := map[string]bool{}
	for _, p := range r.Peers {
		internal[p.Name] = r.Speaker != nil && p.ASN == cmp.Or(p.LocalASN, r.Speaker.ASN)
	}
	return internal
}

// MemberDrain is how a member leaves its peers.
type MemberDrain struct {
	Grace   int       `json:"grace"`             // milliseconds between that peers have been told and the withdraw, at least
	Timeout int       `json:"timeout,omitempty"` // milliseconds after which everything is withdrawn although packets still arrive; Grace where that is longer
	Mode    DrainMode `json:"mode,omitempty"`
}

// DrainMode is how peers are told that a member shuts down.
type DrainMode string

// The modes.
const (
	DrainGshut   DrainMode = "gshut"   // by the community GRACEFUL_SHUTDOWN (RFC 8326); what an empty one means, too
	DrainPrepend DrainMode = "prepend" // by a longer path, for peers that know nothing of that community
)

// DrainPhase is how far a member has left its peers.
type DrainPhase string

// The phases, in their order.
const (
	DrainServing  DrainPhase = "serving"
	DrainShutting DrainPhase = "shutting" // everything is announced as a way that is about to go
	DrainDrained  DrainPhase = "drained"  // nothing is announced
)

// BGPPort is the TCP port of BGP (RFC 4271, 8.2.1).
const BGPPort = 179

// Speaker is this member as a BGP speaker.
type Speaker struct {
	ASN      uint32         `json:"asn"`
	RouterID netip.Addr     `json:"router_id"`
	Listen   netip.AddrPort `json:"listen,omitzero"` // zero: accept no sessions, only dial
	Mesh     netip.Addr     `json:"mesh,omitzero"`   // where sessions of other members are accepted, on the same port or else that of BGP
}

// Accepts tells whether somebody can connect.
func (s Speaker) Accepts() bool { return s.Listen.IsValid() || s.Mesh.IsValid() }

// Port is the TCP port on which sessions are accepted: that of Listen, or else BGPPort.
func (s Speaker) Port() uint16 {
	if s.Listen.IsValid() {
		return s.Listen.Port()
	}
	return BGPPort
}

// ListensAt tells whether Listen takes what comes for an address.
func (s Speaker) ListensAt(a netip.Addr) bool {
	l := s.Listen.Addr()
	return s.Listen.IsValid() && (l == a || l.IsUnspecified() && l.Is4() == a.Is4())
}

// meshPeer begins the name of a peer that is another member. No name of a peer that somebody configured has a colon.
const meshPeer = "mesh:"

// MeshPeerName is the name of another member as a peer.
func MeshPeerName(member string) string { return meshPeer + member }

// MemberOfMeshPeer is the member that a peer is; false for one that somebody configured.
func MemberOfMeshPeer(peer string) (member string, ok bool) { return strings.CutPrefix(peer, meshPeer) }

// RoutingPeer is a neighbour to have a session with. Password is why the value on disk is only root's to read.
type RoutingPeer struct {
	Name            string       `json:"name"`
	Address         netip.Addr   `json:"address"`                // the zero value where Interface is given: the worker finds it
	Interface       string       `json:"interface,omitempty"`    // that an unnumbered neighbour is on
	Dynamic         netip.Prefix `json:"dynamic,omitzero"`       // any neighbour that connects from there, each a session of its own; Address is the zero value then
	MaxSessions     int          `json:"max_sessions,omitempty"` // of Dynamic
	Local           netip.Addr   `json:"local,omitzero"`         // to dial from; the zero value leaves it to the kernel
	ASN             uint32       `json:"asn"`                    // 0: any but our own
	LocalASN        uint32       `json:"local_asn,omitempty"`    // 0: that of the speaker
	HoldTime        int          `json:"hold_time"`              // seconds
	Keepalive       int          `json:"keepalive,omitempty"`    // seconds; 0: a third of the hold time
	GracefulRestart int          `json:"graceful_restart"`       // seconds
	MultihopTTL     int          `json:"multihop_ttl,omitempty"`
	Passive         bool         `json:"passive,omitempty"`
	Mesh            bool         `json:"mesh,omitempty"`        // another member: it is told everything, and routes to our own addresses are taken of it
	Port            uint16       `json:"port,omitempty"`        // TCP port that it accepts sessions on; 0: that of BGP
	ReflectorID     netip.Addr   `json:"reflector_id,omitzero"` // it is a client, to which and from which routes are reflected in the cluster of this ID (RFC 4456); zero: it is not
	IPv4            bool         `json:"ipv4,omitempty"`        // families that the session carries; without both, that of Address, of an unnumbered neighbour both
	IPv6            bool         `json:"ipv6,omitempty"`
	AddPath         bool         `json:"add_path,omitempty"`      // take all its paths for a prefix (RFC 7911)
	AddPathSend     bool         `json:"add_path_send,omitempty"` // tell it all paths for a prefix, if it takes them
	MaxPrefix       MaxPrefix    `json:"max_prefix,omitzero"`
	GTSM            bool         `json:"gtsm,omitempty"`
	PeerInstall                  // with defaults filled in
	BFD             PeerBFD      `json:"bfd,omitzero"` // with defaults filled in
	Password        string       `json:"password,omitempty"`
}

// Carries tells whether the session carries the family of an address.
func (p RoutingPeer) Carries(a netip.Addr) bool {
	if !p.IPv4 && !p.IPv6 {
		return p.Interface != "" || p.Over().Is4() == a.Is4()
	}
	return p.IPv4 && a.Is4() || p.IPv6 && a.Is6()
}

// Over is an address of the IP version that the session runs over.
func (p RoutingPeer) Over() netip.Addr {
	switch {
	case p.Interface != "":
		return netip.IPv6Unspecified()
	case p.Dynamic.IsValid():
		return p.Dynamic.Addr()
	}
	return p.Address
}

// SessionName names the session with one of the neighbours that a dynamic peer stands for.
func SessionName(peer string, a netip.Addr) string { return peer + "@" + a.String() }

// PeerOfSession is the name of the peer that a session is one of.
func PeerOfSession(name string) string {
	peer, _, _ := strings.Cut(name, "@")
	return peer
}

// Internal tells whether the peer has the AS number that a speaker with AS number own has for it.
func (p RoutingPeer) Internal(own uint32) bool { return p.ASN == cmp.Or(p.LocalASN, own) }

// AnnouncementKind is why a prefix is announced. Policies match on it.
type AnnouncementKind string

// The kinds of announcements.
const (
	AnnounceNetwork  AnnouncementKind = "network"  // subnet of a bridge network
	AnnounceInstance AnnouncementKind = "instance" // address of a NIC, or a prefix routed to it
	AnnounceAnycast  AnnouncementKind = "anycast"  // address of an anycast service
	AnnounceGateway  AnnouncementKind = "gateway"  // subnet behind a gateway
)

// Announcement is one prefix that peers may be told of, and what has to be true for it.
// Several announcements of one prefix are merged by the planner: a prefix is there once.
type Announcement struct {
	Prefix     netip.Prefix         `json:"prefix"`
	Kind       AnnouncementKind     `json:"kind"`
	Owner      Key                  `json:"owner"`                // the object because of which it is announced
	Peers      []string             `json:"peers"`                // names; the peers it goes to
	Attributes map[string]PolicySet `json:"attributes,omitempty"` // by peer, for those of Peers that are told more than the prefix
	Withheld   []RoutePeer          `json:"withheld,omitempty"`   // the peers of its member that it does not go to, and why
	Copies     []Copy               `json:"copies,omitempty"`     // who answers for it here: one healthy copy is enough; none means that it does not depend on any
	Gateway    string               `json:"gateway,omitempty"`    // it is announced while the member is Active for this one of Routing.Gateways, in the family of the prefix
	Inside     bool                 `json:"inside,omitempty"`     // only other members are told: the network hides it from the outside
	Route      bool                 `json:"route,omitempty"`      // install a kernel route to the healthy copies
	Weighted   map[string]Weighting `json:"weighted,omitempty"`   // by peer, of Peers: what it is told of the weight of the copies in use
	Keep       int                  `json:"keep,omitempty"`       // that many copies answer although only their checks fail, or they flap: there are too few healthy ones elsewhere
}

// Import is what is taken of a peer: the rules of a policy.
type Import struct {
	Peer  string       `json:"peer"`
	Rules []PolicyRule `json:"rules"`
}

// Copy is an instance's NIC that answers for a prefix.
type Copy struct {
	Instance string     `json:"instance"`
	Device   string     `json:"device"`
	Link     string     `json:"link"`             // interface on the member: the copy is dead when it is gone or down
	Dev      string     `json:"dev"`              // interface on the member that the kernel route goes out of
	Via      netip.Addr `json:"via"`              // address of the NIC: gateway of the kernel route
	Process  Process    `json:"process"`          // init of the instance: the copy is dead when it is
	Weight   int        `json:"weight,omitempty"` // 1 to MaxWeight; 0 counts as 1
	Check    *Check     `json:"check,omitempty"`  // made in the instance's network namespace against the prefix's address; nil: alive is healthy
	Drain    string     `json:"drain,omitempty"`  // slug of why it answers no more although it lives: ReasonMaintenance or ReasonDraining
	Linger   int        `json:"linger,omitempty"` // milliseconds for which the kernel route to a drained copy stays, for what is under way
}

// RoutingState is what the worker reports.
type RoutingState struct {
	Worker   WorkerState    `json:"worker"`
	Peers    []PeerState    `json:"peers"`
	Tables   []TableState   `json:"tables,omitempty"` // of the kernel, with routes that come from peers
	Routes   []RouteState   `json:"routes"`
	RPKI     []RPKIState    `json:"rpki,omitempty"`     // of every cache, by name
	Gateways []GatewayState `json:"gateways,omitempty"` // of every wanted gateway, by name
}

// WorkerState is the worker itself.
type WorkerState struct {
	PID      int        `json:"pid"`
	Started  time.Time  `json:"started"`
	Revision uint64     `json:"revision"`          // of the Routing value last applied
	FromDisk bool       `json:"from_disk"`         // that value is the one of an earlier run
	Error    string     `json:"error,omitempty"`   // why applying it is not complete
	Reason   string     `json:"reason,omitempty"`  // slug of Error
	Warning  string     `json:"warning,omitempty"` // what works, but not as well as it could
	Drain    DrainPhase `json:"drain,omitempty"`   // how far the member has left its peers
}

// PeerState is a BGP session. State is a word of RFC 4271, 8.2.2.
type PeerState struct {
	Name      string       `json:"name"`
	Address   netip.Addr   `json:"address"`             // of an unnumbered neighbour with its interface as zone; the zero value while there is none
	Interface string       `json:"interface,omitempty"` // that an unnumbered neighbour is on
	Dynamic   netip.Prefix `json:"dynamic,omitzero"`    // of a dynamic peer that nobody has connected to yet
	ASN       uint32       `json:"asn"`
	State     string       `json:"state"` // "idle", "connect", "active", "opensent", "openconfirm", "established"
	Since     time.Time    `json:"since"`
	LastError string       `json:"last_error,omitempty"`
	Hold      string       `json:"hold,omitempty"`       // slug of why no session is tried now
	Sent      int          `json:"sent"`                 // prefixes announced to it
	Received  int          `json:"received"`             // prefixes it announced
	Accepted  int          `json:"accepted"`             // of those, prefixes that the import policy accepts
	Warning   string       `json:"warning,omitempty"`    // what is not right although the session is established
	Lacks     string       `json:"lacks,omitempty"`      // family that the session was to carry and does not: FamilyIPv4 or FamilyIPv6
	OverLimit bool         `json:"over_limit,omitempty"` // the peer announces more than max_prefix.limit, or the session ended because it did
	// Updates are UPDATE messages of the session and those before it, as last read.
	UpdatesIn  uint64    `json:"updates_in"`
	UpdatesOut uint64    `json:"updates_out"`
	Installed  int       `json:"installed,omitempty"`      // kernel routes that lead to it because it announced them
	Failed     int       `json:"install_failed,omitempty"` // prefixes that are to be installed and can't be
	Flaps      int       `json:"flaps"`                    // times an established session was lost
	BFD        *BFDState `json:"bfd,omitempty"`            // nil: the session has no BFD
}

// DynamicState is what is reported of a dynamic peer: it stands for sessions, each a state of its own.
type DynamicState struct {
	PeerState             // where there are no sessions, why
	Sessions  []PeerState `json:"sessions,omitempty"`
}

// SessionsOf are the sessions that a report on a peer tells of.
func SessionsOf(c Condition) []PeerState {
	d := JSON[DynamicState](c.Data)
	if len(d.Sessions) > 0 {
		return d.Sessions
	}
	return []PeerState{d.PeerState}
}

// TableState is a routing table of the kernel, as far as its routes come from peers.
type TableState struct {
	Table  string `json:"table"` // as peers have it
	Routes int    `json:"routes"`
	Failed int    `json:"failed,omitempty"` // that are wanted and can't be made
}

// Established tells whether routes can be exchanged.
func (p PeerState) Established() bool { return p.State == "established" }

// RouteState is one prefix that this member announces, or could. It is the answer to "why, and why not".
type RouteState struct {
	Prefix  netip.Prefix     `json:"prefix"`
	Kind    AnnouncementKind `json:"kind"`
	Owner   Key              `json:"owner"`
	Up      bool             `json:"up"`                // offered to peers
	Reason  string           `json:"reason,omitempty"`  // slug, when not Up or not announced to any peer
	Message string           `json:"message,omitempty"` // for people
	Peers   []RoutePeer      `json:"peers,omitempty"`   // when not Up: those that have not been told of the withdraw yet
	Copies  []CopyState      `json:"copies,omitempty"`
	Weight  int              `json:"weight,omitempty"` // sum of the weights of the copies in use, where peers are told of it
}

// RoutePeer tells whether a peer has been told of a prefix.
type RoutePeer struct {
	Peer      string `json:"peer"`
	Announced bool   `json:"announced"`
	Reason    string `json:"reason,omitempty"`  // slug, when not Announced
	Message   string `json:"message,omitempty"` // for people, where there is more to say than the slug does
}

// CopyState is the health of a copy.
type CopyState struct {
	Instance string    `json:"instance"`
	Device   string    `json:"device"`
	Healthy  bool      `json:"healthy"`
	Kept     bool      `json:"kept,omitempty"`   // not healthy, and used all the same: see Announcement.Keep
	Reason   string    `json:"reason,omitempty"` // slug, when not Healthy
	Message  string    `json:"message,omitempty"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"`   // ReasonDamped: when it is used again if it flaps no more
	Check    string    `json:"check,omitempty"`  // what came of its last checks, in words
	Weight   int       `json:"weight,omitempty"` // see Copy.Weight
	Flaps    int       `json:"flaps,omitempty"`  // times it became unhealthy, as far as they still count
}

// Reasons why a prefix is not announced: stable slugs that the API and the command line show.
const (
	ReasonNoASN           = "no-asn"                // the cluster has no core.bgp_asn
	ReasonNoPeer          = "no-peer"               // no peer has this member
	ReasonSessionDown     = "session-down"          // no session with the peer is established
	ReasonNAT             = "nat"                   // the network is hidden behind its members
	ReasonNetworkDown     = "network-down"          // the network is not there on this member
	ReasonInstanceStopped = "instance-stopped"      // the instance does not run
	ReasonNoAddress       = "no-address"            // the NIC has no address of the family
	ReasonNoCopy          = "no-copy"               // no instance here is a copy of the service
	ReasonCheckPending    = "check-pending"         // the check has not succeeded often enough yet
	ReasonCheckFailed     = "check-failed"          // the check failed too often
	ReasonDrained         = "drained"               // the member has bgp.drained=true
	ReasonDamped          = "damped"                // the copy became unhealthy too often in short order
	ReasonMaintenance     = "maintenance"           // the instance has anycast.maintenance=true
	ReasonDraining        = "draining"              // the instance is about to be stopped, restarted or deleted
	ReasonLinkDown        = "link-down"             // the interface of the copy is gone or down
	ReasonProcessDead     = "process-dead"          // the init of the instance is dead
	ReasonGatewayBackup   = "gateway-backup"        // another member is Active for the gateway
	ReasonGatewayFault    = "gateway-fault"         // this member can't be Active for the gateway
	ReasonGatewayUnknown  = "gateway-unknown"       // it is not known whether this member is Active for the gateway
	ReasonWorkerDown      = "worker-down"           // the routing worker does not answer
	ReasonPrefixOwned     = "prefix-owned-by-other" // another object on this member announces the same prefix
	ReasonRouteFailed     = "route-failed"          // the kernel route to the copies can't be installed
	ReasonSending         = "sending"               // the session has just been established, or the prefix has just come up
	ReasonDisk            = "disk"                  // the routing worker can't write its state directory
	ReasonNoNextHop       = "no-next-hop"           // the session runs over the other IP version, and no rule says which next hop to tell
	ReasonNoExportPolicy  = "no-export-policy"      // the peer has no export policy (RFC 8212)
	ReasonPolicy          = "policy"                // the export policy of the peer rejects the prefix
	ReasonOutside         = "outside-bgp-prefixes"  // it is in none of the cluster's bgp.prefixes
	ReasonListenFailed    = "listen-failed"         // the address to accept BGP sessions on can't be used
	ReasonBFDDown         = "bfd-down"              // BFD with the peer is not up
	ReasonBFDWaits        = "bfd-waits"             // BFD begins when the BGP session is established
	ReasonBFDFailed       = "bfd-failed"            // there is no process that does BFD
	ReasonFilterFailed    = "filter-failed"         // the packet filter for BGP can't be set
	ReasonMaxPrefix       = "max-prefix"            // the peer announced more than max_prefix.limit
	ReasonNoNeighbor      = "no-neighbor"           // nobody has been found on the interface of the peer
	ReasonNoCaller        = "no-caller"             // nobody has connected from the prefix of the dynamic peer
	ReasonNoListener      = "no-listener"           // the peer is to connect, and the member accepts no sessions
	ReasonSameNeighbor    = "same-neighbor"         // the neighbour has the link-local address of another one
	ReasonNoFamily        = "family-not-negotiated" // the session does not carry the prefix's IP version, because the peer doesn't
	ReasonNotExternal     = "not-external"          // the peer is to be external and has our own AS number
	ReasonRPKIDown        = "rpki-down"             // an RPKI cache does not answer
	ReasonRPKINoData      = "rpki-no-data"          // an RPKI cache has told nothing yet, or so long ago that it has expired
	ReasonInstallNone     = "install-none"          // routes of the peer are not installed
	ReasonNotDefault      = "not-default"           // of the peer only default routes are installed
	ReasonNotBest         = "not-best"              // another path to the prefix is better
	ReasonNoWay           = "next-hop-unreachable"  // the kernel has no way to the next hop
	ReasonForeignRoute    = "foreign-route"         // somebody else's kernel route is in the way
	ReasonInstallFailed   = "install-failed"        // the kernel did not take the route
	ReasonTableUnknown    = "table-unknown"         // the member knows no routing table of that name
	ReasonPenalty         = "penalty"               // the peer is believed to have crashed the routing worker
)
