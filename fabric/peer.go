package fabric

import (
	"cmp"
	"net/netip"
	"slices"
)

// Peer is a BGP neighbour of some or all members.
type Peer struct {
	Header
	Description     string       `json:"description,omitempty"`
	Address         netip.Addr   `json:"address"`                // the zero value where Interface is given
	Interface       string       `json:"interface,omitempty"`    // unnumbered: the neighbour is the router that is heard on this interface of each member, by its link-local address
	Dynamic         netip.Prefix `json:"dynamic,omitzero"`       // any neighbour that connects from there, each a session of its own; the member needs core.bgp_address
	MaxSessions     int          `json:"max_sessions,omitempty"` // of Dynamic on one member, 1-1000; 0 is the default of 100
	ASN             PeerASN      `json:"asn"`
	LocalASN        uint32       `json:"local_asn,omitempty"`        // that it is shown in place of the member's own; 0 is that
	HoldTime        int          `json:"hold_time,omitempty"`        // seconds, 3-65535 (RFC 4271, 4.2); 0 is the default of 9
	Keepalive       int          `json:"keepalive,omitempty"`        // seconds between signs of life, at most a third of the hold time; 0 is that
	GracefulRestart int          `json:"graceful_restart,omitempty"` // seconds for which the peer shall keep our routes while the worker restarts, 1-300; 0 is the default of 30
	MultihopTTL     int          `json:"multihop_ttl,omitempty"`     // 2-255; 0 for a neighbour on a shared link
	GTSM            bool         `json:"gtsm,omitempty"`             // take only packets that crossed no router (RFC 5082), and send such that the neighbour can do so too
	BFD             PeerBFD      `json:"bfd,omitzero"`
	Password        string       `json:"password,omitempty"` // TCP MD5 (RFC 2385); never shown
	Passive         bool         `json:"passive,omitempty"`  // wait for it to connect: the member needs core.bgp_address
	Families        []string     `json:"families,omitempty"` // FamilyIPv4, FamilyIPv6; none is that of Address, of an unnumbered peer both
	AddPath         string       `json:"add_path,omitempty"` // AddPathReceive: take all the paths that it has for a prefix, not one (RFC 7911)
	MaxPrefix       MaxPrefix    `json:"max_prefix,omitzero"`
	Members         []string     `json:"members,omitempty"` // that have a session with it: names, failure_domain:NAME or group:NAME; none is all
	Disabled        bool         `json:"disabled,omitempty"`
	PeerInstall
	Import string `json:"import,omitempty"` // policy of what is taken from it; none: nothing (RFC 8212)
	Export string `json:"export,omitempty"` // policy of what it is told; none: nothing (RFC 8212)
}

// Defaults of a Peer.
const (
	DefaultHoldTime        = 9  // seconds
	DefaultGracefulRestart = 30 // seconds
	DefaultMaxSessions     = 100
)

// MaxPrefix is how much a peer may announce, before import policies, in each family.
type MaxPrefix struct {
	Limit   int    `json:"limit,omitempty"`   // 0: no limit
	Action  string `json:"action,omitempty"`  // MaxPrefixCease (the default) or MaxPrefixWarn
	Restart int    `json:"restart,omitempty"` // seconds after which a session that was ended is tried again, 1-86400; 0: not before the peer is changed
}

// AddPathReceive is the one direction of RFC 7911 in which there can be more paths than one: what a member announces is its own, one path for each
// prefix, and what comes from peers goes to no other peer.
const AddPathReceive = "receive"

// What is done with a peer that announces more than it may.
const (
	MaxPrefixCease = "cease" // end the session (RFC 4486, subcode 1)
	MaxPrefixWarn  = "warn"  // say so
)

// Kind is KindPeer.
func (*Peer) Kind() Kind { return KindPeer }

// Validate checks address, ASN and ranges.
func (p *Peer) Validate() error {
	if err := CheckName("BGP peer", p.Name); err != nil {
		return err
	}
	if err := p.validateWhere(); err != nil {
		return err
	}
	if p.ASN == 0 {
		return Invalidf("bad-asn", "BGP peer %q has no AS number", p.Name).WithFix("give it one (asn), internal or external")
	}
	if p.ASN != ASNInternal && p.ASN != ASNExternal && (p.ASN > 4294967295 || reservedASN(uint32(p.ASN))) {
		return Invalidf("bad-asn", "BGP peer %q: AS number %d is reserved (RFC 7607, RFC 6793, RFC 7300)", p.Name, p.ASN)
	}
	if p.LocalASN != 0 && reservedASN(p.LocalASN) {
		return Invalidf("bad-asn", "BGP peer %q: local AS number %d is reserved (RFC 7607, RFC 6793, RFC 7300)", p.Name, p.LocalASN)
	}
	for _, r := range []struct {
		name             string
		value, low, high int
	}{{"hold_time", p.HoldTime, 3, 65535}, {"graceful_restart", p.GracefulRestart, 1, 300}, {"multihop_ttl", p.MultihopTTL, 2, 255},
		{"keepalive", p.Keepalive, 1, cmp.Or(p.HoldTime, DefaultHoldTime) / 3}, {"max_prefix.limit", p.MaxPrefix.Limit, 1, 1 << 30}, {"max_prefix.restart", p.MaxPrefix.Restart, 1, 86400}} {
		if r.value != 0 && (r.value < r.low || r.value > r.high) {
			return Invalidf("bad-value", "BGP peer %q: %s=%d is not in %d-%d", p.Name, r.name, r.value, r.low, r.high)
		}
	}
	if p.GTSM && p.MultihopTTL != 0 {
		return Invalidf("bad-value", "BGP peer %q: gtsm is for a neighbour on a shared link, multihop_ttl for one that is not", p.Name)
	}
	if err := p.BFD.Validate(p.Name); err != nil {
		return err
	}
	if err := p.PeerInstall.Validate(p.Name); err != nil {
		return err
	}
	if m := p.MaxPrefix; m.Action != "" && m.Action != MaxPrefixCease && m.Action != MaxPrefixWarn {
		return Invalidf("bad-value", "BGP peer %q: max_prefix.action=%q is neither cease nor warn", p.Name, m.Action)
	} else if m.Limit == 0 && m != (MaxPrefix{}) {
		return Invalidf("bad-value", "BGP peer %q: max_prefix needs a limit before an action or a restart delay", p.Name).WithFix("set max_prefix.limit (--max-prefix)")
	} else if m.Action == MaxPrefixWarn && m.Restart != 0 {
		return Invalidf("bad-value", "BGP peer %q: max_prefix.restart is the delay after which an ended session is tried again, and max_prefix.action=warn ends none", p.Name)
	}
	if p.AddPath != "" && p.AddPath != AddPathReceive {
		return Invalidf("bad-value", "BGP peer %q: add_path=%q: only %q is there, because members announce one path for each prefix", p.Name, p.AddPath, AddPathReceive)
	}
	for i, f := range p.Families {
		if f != FamilyIPv4 && f != FamilyIPv6 || slices.Contains(p.Families[:i], f) {
			return Invalidf("bad-value", "BGP peer %q: family %q is not one of ipv4 and ipv6, or there twice", p.Name, f)
		}
	}
	if err := checkSelectors(p.Members); err != nil {
		return Invalidf("bad-value", "BGP peer %q: %w", p.Name, err)
	}
	// TCP_MD5SIG_MAXKEYLEN in tcp(7).
	if len(p.Password) > 80 {
		return Invalidf("bad-value", "BGP peer %q: the password is longer than 80 bytes", p.Name)
	}
	return nil
}

// validateWhere checks what tells where the neighbour is.
func (p *Peer) validateWhere() error {
	a := p.Address
	if p.Dynamic.IsValid() {
		return p.validateDynamic()
	}
	if p.MaxSessions != 0 {
		return Invalidf("bad-value", "BGP peer %q: max_sessions is for peers by prefix (dynamic)", p.Name)
	}
	if p.Interface == "" {
		switch {
		case !a.IsValid():
			return Invalidf("bad-address", "BGP peer %q: nothing tells where it is", p.Name).WithFix("give it an address, an interface or a prefix (dynamic)")
		case a.Is4In6():
			return Invalidf("bad-address", "BGP peer %q: address %s is an IPv4 address written as an IPv6 one", p.Name, a).WithFix("write %s", a.Unmap())
		}
		if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return Invalidf("bad-address", "BGP peer %q: address %q is not a unicast address", p.Name, a)
		}
		if a.Is6() && a.IsLinkLocalUnicast() {
			return Invalidf("link-local-peer", "BGP peer %q: the link-local address %s means nothing without an interface", p.Name, a).
				WithFix("name the interface instead: the neighbour on it is found by itself (fabricctl bgp peer add %s --interface INTERFACE ASN)", p.Name)
		}
		return nil
	}
	if err := CheckInterface("interface", p.Interface); err != nil {
		return err
	}
	switch {
	case a.IsValid():
		return Invalidf("bad-address", "BGP peer %q: it has the address %s and the interface %s; one of them tells where it is", p.Name, a, p.Interface)
	case p.MultihopTTL != 0:
		return Invalidf("bad-value", "BGP peer %q: multihop_ttl is for a neighbour behind routers, which is on no interface", p.Name)
	case p.Passive && p.Password != "":
		// GoBGP can't give its listening socket a key for an address with a zone.
		return Invalidf("bad-value", "BGP peer %q: a password on an interface is for sessions that the member opens; passive leaves none", p.Name).WithFix("leave out passive, or the password")
	}
	return nil
}

// validateDynamic checks a peer by prefix.
func (p *Peer) validateDynamic() error {
	d := p.Dynamic
	switch {
	case p.Address.IsValid() || p.Interface != "":
		return Invalidf("bad-address", "BGP peer %q: one of address, interface and dynamic tells where it is", p.Name)
	case d != d.Masked():
		return Invalidf("bad-address", "BGP peer %q: %s has bits set past its length", p.Name, d).WithFix("did you mean %s?", d.Masked())
	case d.Bits() < 1:
		return Invalidf("bad-address", "BGP peer %q: from %s anybody could connect", p.Name, d).WithFix("give a longer prefix")
	case d.Addr().Is4In6() || d.Addr().IsMulticast() || d.Addr().IsLinkLocalUnicast():
		return Invalidf("bad-address", "BGP peer %q: %s is not a prefix of unicast addresses", p.Name, d)
	case p.MaxSessions < 0 || p.MaxSessions > 1000:
		return Invalidf("bad-value", "BGP peer %q: max_sessions=%d is not in 1-1000", p.Name, p.MaxSessions)
	}
	return nil
}

// Where is the address of the peer, its interface or its prefix.
func (p *Peer) Where() string {
	switch {
	case p.Interface != "":
		return p.Interface
	case p.Dynamic.IsValid():
		return p.Dynamic.String()
	}
	return p.Address.String()
}

// meets tells whether one neighbour could be both peers.
func (p *Peer) meets(o *Peer) bool {
	switch {
	case p.Dynamic.IsValid() && o.Dynamic.IsValid():
		return p.Dynamic.Overlaps(o.Dynamic)
	case p.Dynamic.IsValid():
		return p.Dynamic.Contains(o.Address)
	case o.Dynamic.IsValid():
		return o.Dynamic.Contains(p.Address)
	}
	return p.Where() == o.Where()
}

// Refs names the members, the policies and the BFD profile.
func (p *Peer) Refs() []Key {
	var refs []Key
	for _, name := range []string{p.Import, p.Export} {
		if name != "" && !IsBuiltinPolicy(name) {
			refs = append(refs, Key{KindPolicy, name})
		}
	}
	if p.BFD.Profile != "" {
		refs = append(refs, Key{KindBFDProfile, p.BFD.Profile})
	}
	return append(refs, selectorRefs(p.Members)...)
}

// Claims is empty: two peers may have one address when their members differ, see check.
func (*Peer) Claims() []Claim { return nil }

func (p *Peer) check(next *Snapshot) error {
	if err := p.checkPolicies(next); err != nil {
		return err
	}
	if n, ok := next.Network(p.Interface); ok {
		return Invalidf("peer-interface", "BGP peer %q: %s is the bridge of network %q: any instance there could be the neighbour", p.Name, p.Interface, n.Name).
			WithFix("use an interface that leads to the router alone")
	}
	for _, o := range next.Peers() {
		if o.Name == p.Name || !o.meets(p) {
			continue
		}
		if slices.ContainsFunc(next.Members(), func(m *Member) bool { return o.selects(m) && p.selects(m) }) {
			return Conflictf("peer-address", "BGP peer %q: peer %q is at %s too, on a member that both are for", p.Name, o.Name, o.Where())
		}
	}
	return nil
}

// checkPolicies refuses policies that ask for what routes of their direction don't have: such rules would never match.
func (p *Peer) checkPolicies(next *Snapshot) error {
	if policy, ok := next.Policy(p.Export); ok {
		if rule, what := policy.forExport(); rule > 0 {
			return Invalidf("policy-direction", "BGP peer %q: export policy %q matches %s in rule %d, which our own announcements don't have", p.Name, p.Export, what, rule)
		}
	}
	if policy, ok := next.Policy(p.Import); ok {
		if rule, what := policy.forImport(); rule > 0 {
			return Invalidf("policy-direction", "BGP peer %q: import policy %q matches %s in rule %d, which routes of peers don't have", p.Name, p.Import, what, rule)
		}
		if i := slices.IndexFunc(policy.Rules, func(r PolicyRule) bool { return r.Set.LinkBandwidth != nil }); i >= 0 {
			return Invalidf("policy-direction", "BGP peer %q: import policy %q sets link_bandwidth in rule %d, which is for our own announcements", p.Name, p.Import, i+1)
		}
	}
	return nil
}

// On tells whether a member has a session with the peer.
func (p *Peer) On(s *Snapshot, member string) bool { return !p.Disabled && p.IsFor(s, member) }

// Warnings are about settings that are most likely mistaken without being wrong.
func (p *Peer) Warnings(s *Snapshot) []string { return selectorWarnings(p.Members, s) }

// IsFor tells whether the peer is one of a member's, be it disabled or not.
func (p *Peer) IsFor(s *Snapshot, member string) bool {
	m, ok := s.Member(member)
	if !ok {
		m = &Member{Header: Header{Name: member}}
	}
	return p.selects(m)
}

func (p *Peer) selects(m *Member) bool {
	return len(p.Members) == 0 || selected(p.Members, m)
}

// Carries tells whether sessions with the peer carry the family of an address.
func (p *Peer) Carries(a netip.Addr) bool {
	if len(p.Families) == 0 {
		return p.Interface != "" || cmp.Or(p.Address, p.Dynamic.Addr()).Is4() == a.Is4()
	}
	return slices.Contains(p.Families, FamilyOf(a))
}
