package fabric

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Policy says of routes whether a BGP peer is told of them, or whether they are taken from it, and with what attributes. The first rule that
// matches decides; what no rule matches is rejected.
type Policy struct {
	Header
	Description string       `json:"description,omitempty"`
	Rules       []PolicyRule `json:"rules"`
}

// PolicyAction is what becomes of a route that a rule matches.
type PolicyAction string

// The actions of rules.
const (
	PolicyAccept PolicyAction = "accept"
	PolicyReject PolicyAction = "reject"
)

// PolicyRule is one step of a policy.
type PolicyRule struct {
	Match  PolicyMatch  `json:"match,omitzero"`
	Action PolicyAction `json:"action"`
	Set    PolicySet    `json:"set,omitzero"`
}

// PolicyMatch is what a rule wants of a route. What is not set is not looked at; all that is set must be so. A list wants one of its values,
// Labels all of them.
type PolicyMatch struct {
	Prefixes []PrefixRange `json:"prefixes,omitempty"`
	Family   string        `json:"family,omitempty"` // FamilyIPv4 or FamilyIPv6

	// Of our own announcements.
	Kinds  []AnnouncementKind `json:"kinds,omitempty"`
	Owners []string           `json:"owners,omitempty"` // KIND/NAME, such as anycast/dns
	Labels []string           `json:"labels,omitempty"` // user.KEY=VALUE of the owner's config, with that of its profiles

	// Of routes that come from peers.
	Communities []Community    `json:"communities,omitempty"`
	ASPath      string         `json:"as_path,omitempty"` // regular expression over the AS numbers with spaces between; _ is a boundary
	NextHops    []netip.Prefix `json:"next_hops,omitempty"`
	Validation  []string       `json:"validation,omitempty"` // origin validation states, see Validations
}

// The address families of routes.
const (
	FamilyIPv4 = "ipv4"
	FamilyIPv6 = "ipv6"
)

// PolicySet is what a rule does to a route that it accepts.
type PolicySet struct {
	AddCommunities    []Community `json:"add_communities,omitempty"`
	RemoveCommunities []Community `json:"remove_communities,omitempty"`
	LocalPref         *uint32     `json:"local_pref,omitempty"` // internal peers only are told (RFC 4271, 5.1.5)
	MED               *uint32     `json:"med,omitempty"`
	LinkBandwidth     *uint32     `json:"link_bandwidth,omitempty"` // Mbit/s, 1 to MaxLinkBandwidth; of our own announcements
	Prepend           int         `json:"prepend,omitempty"`        // times that the AS number is put in front once more, 0-32
	NextHop           netip.Addr  `json:"next_hop,omitzero"`        // of the rule's family
}

// IsZero tells whether nothing is set.
func (s PolicySet) IsZero() bool {
	return len(s.AddCommunities) == 0 && len(s.RemoveCommunities) == 0 && s.LocalPref == nil && s.MED == nil && s.LinkBandwidth == nil && s.Prepend == 0 && !s.NextHop.IsValid()
}

// IsZero tells whether every route matches.
func (m PolicyMatch) IsZero() bool {
	return len(m.Prefixes) == 0 && m.Family == "" && len(m.Kinds) == 0 && len(m.Owners) == 0 && len(m.Labels) == 0 &&
		len(m.Communities) == 0 && m.ASPath == "" && len(m.NextHops) == 0 && len(m.Validation) == 0
}

// The policies that are always there.
const (
	PolicyOwn         = "own"          // what this cluster announces itself
	PolicyAll         = "all"          // everything
	PolicyNone        = "none"         // nothing
	PolicyDefaultOnly = "default-only" // the default route of each family
)

// announcementKinds are the kinds that there are, and what their owners are.
var announcementKinds = map[AnnouncementKind]Kind{AnnounceNetwork: KindNetwork, AnnounceInstance: KindInstance, AnnounceAnycast: KindAnycast, AnnounceGateway: KindGateway}

// BuiltinPolicies are the policies that are always there, by name. They can't be changed.
func BuiltinPolicies() []*Policy {
	accept := func(m PolicyMatch) []PolicyRule { return []PolicyRule{{Match: m, Action: PolicyAccept}} }
	defaults := []PrefixRange{{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, {Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}}
	return []*Policy{
		{Header: Header{Name: PolicyAll}, Description: "Everything", Rules: accept(PolicyMatch{})},
		{Header: Header{Name: PolicyDefaultOnly}, Description: "The default routes", Rules: accept(PolicyMatch{Prefixes: defaults})},
		{Header: Header{Name: PolicyNone}, Description: "Nothing", Rules: []PolicyRule{}},
		{Header: Header{Name: PolicyOwn}, Description: "What this cluster announces itself",
			Rules: accept(PolicyMatch{Kinds: []AnnouncementKind{AnnounceNetwork, AnnounceInstance, AnnounceAnycast, AnnounceGateway}})},
	}
}

func builtinPolicy(name string) (*Policy, bool) {
	all := BuiltinPolicies()
	if i := slices.IndexFunc(all, func(p *Policy) bool { return p.Name == name }); i >= 0 {
		return all[i], true
	}
	return nil, false
}

// IsBuiltinPolicy tells whether a policy of that name is always there.
func IsBuiltinPolicy(name string) bool {
	_, ok := builtinPolicy(name)
	return ok
}

// Kind is KindPolicy.
func (*Policy) Kind() Kind { return KindPolicy }

// Limits of policies: what one statement after the other is looked at for each route and peer.
const (
	maxRules   = 256
	maxMatches = 1024 // values in one list of a rule
	maxPrepend = 32
)

// MaxLinkBandwidth is the highest bandwidth in Mbit/s that routers understand: FRR has 32 bits for bytes per second.
const MaxLinkBandwidth = 34359

// Validate checks name and rules.
func (p *Policy) Validate() error {
	if err := CheckName("BGP policy", p.Name); err != nil {
		return err
	}
	if IsBuiltinPolicy(p.Name) {
		return Invalidf("builtin-policy", "BGP policy %q is built in and can't be changed", p.Name).WithFix("use another name")
	}
	if len(p.Rules) > maxRules {
		return Invalidf("bad-value", "BGP policy %q has %d rules: %d are the most", p.Name, len(p.Rules), maxRules)
	}
	for i, r := range p.Rules {
		if err := r.validate(); err != nil {
			return Invalidf("bad-rule", "BGP policy %q, rule %d: %w", p.Name, i+1, err)
		}
	}
	return nil
}

func (r PolicyRule) validate() error {
	if err := r.Match.validate(); err != nil {
		return err
	}
	if r.Action != PolicyAccept && r.Action != PolicyReject {
		return fmt.Errorf("action %q is neither accept nor reject", r.Action)
	}
	if r.Action == PolicyReject && !r.Set.IsZero() {
		return fmt.Errorf("it rejects, so there is nothing to set")
	}
	return r.Set.validate(r.Match.Family)
}

func (m PolicyMatch) validate() error {
	for _, n := range []int{len(m.Prefixes), len(m.Kinds), len(m.Owners), len(m.Labels), len(m.Communities), len(m.NextHops)} {
		if n > maxMatches {
			return fmt.Errorf("a list has %d values: %d are the most", n, maxMatches)
		}
	}
	if m.Family != "" && m.Family != FamilyIPv4 && m.Family != FamilyIPv6 {
		return fmt.Errorf("family %q is neither %s nor %s", m.Family, FamilyIPv4, FamilyIPv6)
	}
	for _, r := range m.Prefixes {
		if !r.Prefix.IsValid() {
			return fmt.Errorf("a prefix is empty")
		}
		if m.Family != "" && FamilyOf(r.Prefix.Addr()) != m.Family {
			return fmt.Errorf("prefix %s can't be of family %s", r, m.Family)
		}
	}
	for _, v := range m.Validation {
		if !slices.Contains(Validations, v) {
			return fmt.Errorf("validation %q is not one of %s", v, strings.Join(Validations, ", "))
		}
	}
	for _, k := range m.Kinds {
		if _, ok := announcementKinds[k]; !ok {
			return fmt.Errorf("kind %q does not exist: want network, instance, anycast or gateway", k)
		}
	}
	for _, o := range m.Owners {
		if err := checkOwner(o); err != nil {
			return err
		}
	}
	for _, l := range m.Labels {
		key, _, ok := strings.Cut(l, "=")
		if !ok || len(key) <= len("user.") || !strings.HasPrefix(key, "user.") {
			return fmt.Errorf("label %q is not user.KEY=VALUE", l)
		}
	}
	if m.ASPath != "" {
		if _, err := compileASPath(m.ASPath); err != nil {
			return fmt.Errorf("as_path %q is not a regular expression: %w", m.ASPath, err)
		}
	}
	for _, p := range m.NextHops {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("next hop %q is not a prefix", p)
		}
	}
	return nil
}

func checkOwner(o string) error {
	kind, name, _ := strings.Cut(o, "/")
	for _, k := range announcementKinds {
		if Kind(kind) == k && name != "" {
			return nil
		}
	}
	return fmt.Errorf("owner %q is not network/NAME, instance/NAME, anycast/NAME or gateway/NAME", o)
}

func (s PolicySet) validate(family string) error {
	for _, c := range s.AddCommunities {
		if slices.Contains(s.RemoveCommunities, c) {
			return fmt.Errorf("community %s can't be both added and removed", c)
		}
	}
	if n := max(len(s.AddCommunities), len(s.RemoveCommunities)); n > maxMatches/16 {
		return fmt.Errorf("it adds or removes %d communities: %d are the most", n, maxMatches/16)
	}
	if s.Prepend < 0 || s.Prepend > maxPrepend {
		return fmt.Errorf("prepend=%d is not in 0-%d", s.Prepend, maxPrepend)
	}
	if b := s.LinkBandwidth; b != nil && (*b < 1 || *b > MaxLinkBandwidth) {
		return fmt.Errorf("link_bandwidth=%d is not in 1-%d", *b, MaxLinkBandwidth)
	}
	if !s.NextHop.IsValid() {
		return nil
	}
	if !s.NextHop.IsGlobalUnicast() || s.NextHop.Is4In6() || s.NextHop.Zone() != "" {
		return fmt.Errorf("next hop %s is not an address to send packets to", s.NextHop)
	}
	if f := FamilyOf(s.NextHop); family != f {
		return fmt.Errorf("next hop %s is for routes of family %s only: set family: %s in match", s.NextHop, f, f)
	}
	return nil
}

// compileASPath compiles an expression over AS numbers. "_" is a boundary between them, or an end of the path.
func compileASPath(expression string) (*regexp.Regexp, error) {
	return regexp.Compile(ASPathExpression(expression))
}

// ASPathExpression is a condition on the AS path as a plain regular expression (RE2).
func ASPathExpression(condition string) string {
	return "(?:" + strings.ReplaceAll(condition, "_", `(?:^|[,{}() ]|$)`) + ")"
}

// Refs is empty: rules may name owners that do not exist yet.
func (*Policy) Refs() []Key { return nil }

// Claims is empty.
func (*Policy) Claims() []Claim { return nil }

// check makes sure that the policy can be used where peers use it.
func (p *Policy) check(next *Snapshot) error {
	for _, peer := range next.Peers() {
		if peer.Import == p.Name || peer.Export == p.Name {
			if err := peer.checkPolicies(next); err != nil {
				return err
			}
		}
	}
	return nil
}

// forExport finds the first thing that a rule wants and that our own announcements don't have.
func (p *Policy) forExport() (rule int, what string) {
	for i, r := range p.Rules {
		switch {
		case len(r.Match.Communities) > 0:
			return i + 1, "communities"
		case r.Match.ASPath != "":
			return i + 1, "as_path"
		case len(r.Match.NextHops) > 0:
			return i + 1, "next_hops"
		case len(r.Match.Validation) > 0:
			return i + 1, "validation"
		}
	}
	return 0, ""
}

// forImport finds the first thing that a rule wants and that routes of peers don't have.
func (p *Policy) forImport() (rule int, what string) {
	for i, r := range p.Rules {
		switch {
		case len(r.Match.Kinds) > 0:
			return i + 1, "kinds"
		case len(r.Match.Owners) > 0:
			return i + 1, "owners"
		case len(r.Match.Labels) > 0:
			return i + 1, "labels"
		}
	}
	return 0, ""
}

// FamilyOf is FamilyIPv4 or FamilyIPv6.
func FamilyOf(a netip.Addr) string {
	if a.Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}
