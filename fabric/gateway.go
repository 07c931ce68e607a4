package fabric

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Gateway is a set of addresses on a network segment that members share by VRRP (RFC 9568): one of them answers at a time.
type Gateway struct {
	Header
	Description  string         `json:"description,omitempty"`
	Interface    string         `json:"interface"`            // on each member: the hosts are behind it, and it has an address of its own there
	Addresses    []netip.Prefix `json:"addresses"`            // with the length of the subnet
	VRID         uint8          `json:"vrid"`                 // 1-255
	Interval     int            `json:"interval"`             // milliseconds between advertisements, 10-40950 in steps of 10
	Members      []string       `json:"members,omitempty"`    // names and selectors, as of a Peer; the best first; none is all
	Priorities   map[string]int `json:"priorities,omitempty"` // by member, 1-254; the others' follow from their order
	Preferred    string         `json:"preferred,omitempty"`  // member that it was moved to: before all others
	NoPreempt    bool           `json:"no_preempt,omitempty"` // leave an Active of lower priority alone
	PreemptDelay int            `json:"preempt_delay,omitempty"`
	Tracks       []Track        `json:"tracks,omitempty"`

	Checksum GatewayChecksum `json:"checksum,omitempty"`  // of IPv4 advertisements that are sent; empty is ChecksumRFC5798
	Unicast  bool            `json:"unicast,omitempty"`   // advertise to the other members' own addresses and to Peers, not to the multicast group
	Peers    []netip.Addr    `json:"peers,omitempty"`     // with Unicast: routers that are no members
	NoAccept bool            `json:"no_accept,omitempty"` // drop what is sent to the addresses themselves, neighbour discovery apart
	RA       GatewayRA       `json:"ra,omitzero"`
	Announce bool            `json:"announce,omitempty"` // the Active tells its BGP peers of the subnets
	Sync     string          `json:"sync,omitempty"`     // gateways of one sync set are Active together on one member
	Spread   string          `json:"spread,omitempty"`   // gateways of one spread set are best on a different member each
}

// Defaults and bounds of a Gateway.
const (
	DefaultGatewayInterval = 100 // milliseconds
	MinGatewayInterval     = 10  // milliseconds, the unit of RFC 9568, 5.2.7
	MaxGatewayInterval     = 40950
	MaxPreemptDelay        = 3600000 // milliseconds
	MaxPriority            = 254     // of a member that does not own the addresses (RFC 9568, 5.2.4)
)

// TrackType is what a member looks at to know whether it is fit to be the gateway.
type TrackType string

// The types of tracks.
const (
	TrackBGP     TrackType = "bgp"     // a BGP session of this member is established: the one with the peer Target, or any
	TrackRoute   TrackType = "route"   // the kernel has the route Target in its main table
	TrackCarrier TrackType = "carrier" // the interface Target is up and has a carrier
	TrackCheck   TrackType = "check"   // something answers; Target is TYPE:WHERE, see Probe
	TrackChassis TrackType = "chassis" // the member forwards for OVN: ovs-vswitchd runs and has flows, and ovn-controller has not been away for long
)

// Track makes a member give up a gateway, or its rank, while something that it needs is not there.
type Track struct {
	Type   TrackType `json:"type"`
	Target string    `json:"target,omitempty"`
	Weight int       `json:"weight,omitempty"` // taken off the priority while it is down, 1-253; 0 is a fault: the member may not be Active

	// Of a TrackCheck; 0 is the default of Check.
	Interval int `json:"interval,omitempty"` // milliseconds between the starts of two checks
	Timeout  int `json:"timeout,omitempty"`  // milliseconds until a check counts as failed
	Rise     int `json:"rise,omitempty"`     // successes in a row that make it up
	Fall     int `json:"fall,omitempty"`     // failures in a row that make it down
}

// ParseTrack reads TYPE[:TARGET][,WEIGHT], such as bgp, route:0.0.0.0/0 or carrier:eth2,50, and check:TYPE:WHERE[,interval=TIME][,timeout=TIME][,rise=N][,fall=N][,WEIGHT].
func ParseTrack(s string) (Track, error) {
	what, options, _ := strings.Cut(s, ",")
	kind, target, _ := strings.Cut(what, ":")
	t := Track{Type: TrackType(kind), Target: target}
	if what != s {
		for option := range strings.SplitSeq(options, ",") {
			if err := t.parsePace(option); err != nil {
				return t, err
			}
		}
	}
	if t.Type == TrackRoute {
		if p, err := netip.ParsePrefix(target); err == nil {
			t.Target = p.Masked().String()
		}
	}
	return t, t.check()
}

// String is what ParseTrack reads.
func (t Track) String() string {
	s := string(t.Type)
	if t.Target != "" {
		s += ":" + t.Target
	}
	s += t.pace()
	if t.Weight != 0 {
		s += "," + strconv.Itoa(t.Weight)
	}
	return s
}

func (t Track) check() error {
	if t.Weight < 0 || t.Weight >= MaxPriority {
		return Invalidf("bad-track", "track %s: the weight must be 1 to 253, or left out for a fault", t)
	}
	if err := t.checkPaced(); err != nil {
		return err
	}
	switch t.Type {
	case TrackCheck:
		_, _, err := t.Probe()
		return err
	case TrackBGP:
		if t.Target != "" {
			return CheckName("BGP peer", t.Target)
		}
	case TrackRoute:
		if p, err := netip.ParsePrefix(t.Target); err != nil || p != p.Masked() {
			return Invalidf("bad-track", "track %s: %q is not a prefix", t, t.Target).WithFix("for example route:0.0.0.0/0")
		}
	case TrackCarrier:
		return CheckInterface("interface", t.Target)
	case TrackChassis:
		if t.Target != "" {
			return Invalidf("bad-track", "track %s: a member has one chassis, and %q names none", t, t.Target).WithFix("use chassis")
		}
	default:
		return Invalidf("bad-track", "track %s: unknown type %q", t, t.Type).WithFix("use bgp, bgp:PEER, route:PREFIX, carrier:INTERFACE, chassis or check:TYPE:WHERE")
	}
	return nil
}

// Kind is KindGateway.
func (*Gateway) Kind() Kind { return KindGateway }

// Validate checks everything that the gateway alone can be wrong in.
func (g *Gateway) Validate() error {
	if err := CheckName("gateway", g.Name); err != nil {
		return err
	}
	if err := CheckInterface("interface", g.Interface); err != nil {
		return err
	}
	fail := func(reason, format string, args ...any) *Error {
		return Invalidf(reason, "gateway %q: "+format, append([]any{g.Name}, args...)...)
	}
	if g.VRID == 0 {
		return fail("bad-vrid", "the VRID must be 1 to 255")
	}
	if g.Interval < MinGatewayInterval || g.Interval > MaxGatewayInterval || g.Interval%MinGatewayInterval != 0 {
		return fail("bad-interval", "interval %d ms must be %d to %d ms in steps of %d", g.Interval, MinGatewayInterval, MaxGatewayInterval, MinGatewayInterval)
	}
	if g.PreemptDelay < 0 || g.PreemptDelay > MaxPreemptDelay {
		return fail("bad-value", "preempt delay %d ms must be 0 to %d ms", g.PreemptDelay, MaxPreemptDelay)
	}
	if g.NoPreempt && g.PreemptDelay > 0 {
		return fail("bad-value", "a preempt delay without preemption delays nothing").WithFix("leave out one of the two")
	}
	if err := g.checkAddresses(fail); err != nil {
		return err
	}
	if err := g.checkProtocol(fail); err != nil {
		return err
	}
	if err := g.checkRA(fail); err != nil {
		return err
	}
	if err := g.checkSets(fail); err != nil {
		return err
	}
	if err := g.checkMembers(fail); err != nil {
		return err
	}
	if g.Announce && len(g.Subnets()) == 0 {
		return fail("bad-announce", "it has only link-local addresses: there is no subnet to announce").WithFix("give it an address that others can route to, or leave out announce")
	}
	for i, t := range g.Tracks {
		if err := t.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(g.Tracks[:i], func(o Track) bool { return o.Type == t.Type && o.Target == t.Target }) {
			return fail("bad-track", "%s is tracked twice", t)
		}
	}
	return nil
}

func (g *Gateway) checkAddresses(fail func(reason, format string, args ...any) *Error) error {
	if len(g.Addresses) == 0 {
		return fail("bad-address", "it has no address").WithFix("give one or more, such as 192.0.2.1/24")
	}
	if len(g.Addresses) > 200 {
		return fail("bad-address", "%d addresses do not fit into an advertisement", len(g.Addresses))
	}
	for i, p := range g.Addresses {
		a := p.Addr()
		if !p.IsValid() || a.Is4In6() || a.Zone() != "" || !a.IsGlobalUnicast() && !(a.Is6() && a.IsLinkLocalUnicast()) {
			return fail("bad-address", "%s is not the address of a router", p)
		}
		if p.IsSingleIP() {
			return fail("bad-address", "%s has no subnet", p).WithFix("give the length of the segment's subnet, as in 192.0.2.1/24")
		}
		if slices.ContainsFunc(g.Addresses[:i], func(o netip.Prefix) bool { return o.Addr() == a }) {
			return fail("bad-address", "address %s is there twice", a)
		}
	}
	return nil
}

// Refs names the members and the tracked peers. A member that is only preferred can be removed.
func (g *Gateway) Refs() []Key {
	var refs []Key
	refs = append(refs, selectorRefs(g.Members)...)
	for m := range g.Priorities {
		refs = append(refs, Key{KindMember, m})
	}
	for _, t := range g.Tracks {
		if t.Type == TrackBGP && t.Target != "" {
			refs = append(refs, Key{KindPeer, t.Target})
		}
	}
	return refs
}

// vridSpace is the space of claims to the VRIDs of an interface: a VRID is unique on a segment, for both families.
func vridSpace(iface string) string { return "vrid:" + iface }

// Claims holds the VRID and the addresses on the interface.
func (g *Gateway) Claims() []Claim {
	claims := []Claim{{vridSpace(g.Interface), strconv.Itoa(int(g.VRID))}}
	for _, p := range g.Addresses {
		claims = append(claims, Claim{"gateway-address:" + g.Interface, p.Addr().String()})
	}
	return claims
}

// FreeVRID is the lowest VRID that no gateway on an interface has, and that is not to be avoided.
func FreeVRID(s *Snapshot, iface string, avoid map[uint8]bool) (uint8, error) {
	taken := map[uint8]bool{}
	for _, g := range s.Gateways() {
		if g.Interface == iface {
			taken[g.VRID] = true
		}
	}
	for vrid := 1; vrid <= 255; vrid++ {
		if !taken[uint8(vrid)] && !avoid[uint8(vrid)] {
			return uint8(vrid), nil
		}
	}
	return 0, Conflictf("no-vrid", "all 255 VRIDs of interface %s are in use", iface)
}

// Ranked is a member of a gateway and its priority while nothing is wrong with it.
type Ranked struct {
	Member   string `json:"member"`
	Priority int    `json:"priority"`
}

// Priorities that members get by their order.
const (
	firstPriority = 200
	priorityStep  = 10 // at most
	movedPriority = 240
	// drainedPriority is that of drained members alone: they serve where nobody else does.
	drainedPriority = 1
)

// Ranking is the members with their priorities, the best first: those given, for the others by the order of the gateway's members, see memberNames,
// and before all the member that it was moved to. In a spread set each gateway begins with another member. Drained members come last.
func (g *Gateway) Ranking(s *Snapshot) []Ranked {
	members := g.memberNames(s)
	if g.Spread != "" {
		members = rotated(members, g.turn(s))
	}
	preferred, drained := g.Preferred, slices.ContainsFunc(members, s.Drained)
	if !slices.Contains(members, preferred) || s.Drained(preferred) {
		preferred = ""
	}
	step := max(1, min(priorityStep, (firstPriority-1)/max(1, len(members))))
	var all []Ranked
	best := movedPriority
	for i, m := range members {
		p, given := g.Priorities[m]
		if !given {
			p = max(1, firstPriority-step*i)
		}
		switch {
		case s.Drained(m):
			p = drainedPriority
		case drained:
			p = max(p, drainedPriority+1)
		}
		if preferred != "" && m != preferred {
			p = min(p, MaxPriority-1) // the best priority is the preferred member's alone
			best = max(best, p+1)
		}
		all = append(all, Ranked{m, p})
	}
	for i := range all {
		if all[i].Member == preferred {
			all[i].Priority = best
		}
	}
	slices.SortStableFunc(all, func(a, b Ranked) int { return b.Priority - a.Priority })
	return all
}

// WorstOutage is how long hosts can be without the gateway when the Active dies without a word and a member of this priority takes over:
// Active_Down_Interval (RFC 9568, 6.1).
func (g *Gateway) WorstOutage(priority int) time.Duration {
	interval := time.Duration(g.Interval) * time.Millisecond
	return 3*interval + time.Duration(256-priority)*interval/256
}

// Warnings are settings that contradict each other without being wrong, with the arithmetic that says so.
func (g *Gateway) Warnings(s *Snapshot) []string {
	var all []string
	ranking := g.Ranking(s)
	all = append(all, g.setWarnings(s)...)
	all = append(all, g.memberWarnings(s)...)
	if len(ranking) == 0 {
		return append(all, "no member of the cluster takes part")
	}
	if len(ranking) == 1 {
		all = append(all, fmt.Sprintf("only member %s takes part: when it fails, nobody takes over", ranking[0].Member))
	}
	for _, t := range g.Tracks {
		if len(ranking) > 1 && t.Weight > 0 && ranking[0].Priority-t.Weight > ranking[1].Priority {
			all = append(all, fmt.Sprintf("track %s moves nothing: %s has priority %d, less %d is %d, still above the %d of %s",
				t, ranking[0].Member, ranking[0].Priority, t.Weight, ranking[0].Priority-t.Weight, ranking[1].Priority, ranking[1].Member))
		}
	}
	if len(g.Tracks) > 0 && !g.NoPreempt && g.PreemptDelay == 0 {
		all = append(all, "preemption without a delay: an uplink that comes and goes takes the gateway along each time; --preempt-delay 5s or so ends that")
	}
	outage := g.WorstOutage(ranking[min(1, len(ranking)-1)].Priority)
	for _, t := range g.Tracks {
		if t.Type == TrackCheck {
			_, c, _ := t.Probe()
			if outage := g.WorstOutage(ranking[min(1, len(ranking)-1)].Priority); c.seenAfter() > 10*outage {
				all = append(all, fmt.Sprintf("track %s: a failure is seen after %d checks %d ms apart and a timeout of %d ms, %v in all, while a crash of the member is over after %v",
					t, c.Fall, c.Interval, c.Timeout, c.seenAfter(), outage.Round(time.Millisecond)))
			}
		}
		for _, p := range s.Peers() {
			if t.Type == TrackBGP && (t.Target == "" || t.Target == p.Name) {
				all = append(all, slowTrack(t, p, outage)...)
			}
		}
	}
	return all
}

// slowTrack warns of a peer whose silent failure is seen much later than the death of the whole member is over.
func slowTrack(t Track, p *Peer, outage time.Duration) []string {
	over := fmt.Sprintf("a crash of the member is over after %v", outage.Round(time.Millisecond))
	if b := p.BFD.Full(); b.Wanted() {
		detection := time.Duration(b.Interval*b.Multiplier) * time.Millisecond
		if detection <= outage {
			return nil
		}
		return []string{fmt.Sprintf("track %s: BFD is slower than VRRP: a silent failure of peer %s is seen after %d × %d ms = %v, while %s", t, p.Name, b.Multiplier, b.Interval, detection, over)}
	}
	hold := time.Duration(cmp.Or(p.HoldTime, DefaultHoldTime)) * time.Second
	if hold <= 10*outage {
		return nil
	}
	return []string{fmt.Sprintf("track %s: a silent failure of peer %s is seen after its hold time of %v, while %s; BFD sees it sooner", t, p.Name, hold, over)}
}
