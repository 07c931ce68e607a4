package gobgp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netfabric/fabric"
)

// setPolicies makes the policies fit for the peers, the imports and the classes of c, before sessions need them. todo is what is to be announced
// after that. Where paths have been announced before, peers are told of them.
func (s *Speaker) setPolicies(ctx context.Context, c *Config, todo additions) error {
	fresh := len(c.Peers) != len(s.sessions) || slices.ContainsFunc(c.Peers, func(p fabric.RoutingPeer) bool { return s.sessions[p.Name] == nil })
	for x := range s.classes.all() {
		fresh = fresh || x.silent
	}
	imports, mesh := importKey(c), meshKey(c)
	if !fresh && imports == s.imports && mesh == s.mesh {
		return nil
	}
	needed, untold := map[*class]bool{}, false
	for _, a := range slices.Concat(todo.fresh, todo.changed) {
		needed[a.class] = true
	}
	for _, e := range s.book.paths {
		needed[e.class] = true
		untold = untold || e.class.silent
	}
	s.classes.keep(needed)
	if imports != "" {
		s.followPaths(ctx)
	}
	if err := s.server.SetPolicies(ctx, policies(c, s.classes)); err != nil {
		return fmt.Errorf("set BGP policies: %w", err)
	}
	if untold || mesh != s.mesh {
		s.mesh = mesh
		s.tellAll(ctx)
	}
	s.book.speak(s.classes, hopless(c))
	var err error
	if imports != s.imports {
		// Until all is judged anew, this is to be tried again.
		if err = s.reimport(ctx); err == nil {
			s.imports = imports
		}
	}
	s.judgeKept(c)
	return err
}

// judgeKept drops what is kept of peers that may be restarting where c may not take it: GoBGP has none of it any more that it could judge.
func (s *Speaker) judgeKept(c *Config) {
	rules := importRules(c)
	for _, p := range c.Peers {
		a := p.Address.WithZone("")
		if rules[a] != s.judged[a] {
			s.learned.drop(a)
		} else if !p.Mesh {
			s.learned.dropWhere(a, func(p netip.Prefix, _ Learned) bool {
				return slices.ContainsFunc(c.Own, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
			})
		}
	}
	s.judged = rules
}

// importRules tell apart what configs take of one peer, by address without zone.
func importRules(c *Config) map[netip.Addr]string {
	all := map[netip.Addr]string{}
	for _, p := range c.Peers {
		var rules [][]fabric.PolicyRule
		for _, i := range c.Imports {
			if i.Peer == p.Name {
				rules = append(rules, i.Rules)
			}
		}
		text, err := json.Marshal([]any{p.Mesh, p.LocalASN, rules})
		if err != nil {
			panic(err) // it consists of numbers, addresses and texts
		}
		all[p.Address.WithZone("")] = string(text)
	}
	return all
}

// tellAll has every peer told of everything. GoBGP knows better which sessions are established: it may not have told yet.
func (s *Speaker) tellAll(ctx context.Context) {
	for _, x := range s.sessions {
		err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: keyOf(x.peer), Soft: true, Direction: api.ResetPeerRequest_OUT})
		if err != nil {
			s.log.Warn("cannot tell a peer of all paths", "peer", x.peer.Name, "error", err)
		}
	}
}

// importKey tells apart what configs take of peers.
func importKey(c *Config) string {
	members := meshPeers(c)
	if len(c.Imports)+len(members) == 0 {
		return ""
	}
	text, err := json.Marshal([]any{c.Imports, c.Own, members})
	if err != nil {
		panic(err) // it consists of numbers, addresses and texts
	}
	return string(text)
}

// reimport has what peers told so far judged anew. GoBGP knows better which sessions are established, and has nothing to judge of others.
func (s *Speaker) reimport(ctx context.Context) (err error) {
	for _, x := range s.sessions {
		err = errors.Join(err, s.reimportFrom(ctx, x))
	}
	return err
}

// reimportFrom has what one peer told so far judged anew.
func (s *Speaker) reimportFrom(ctx context.Context, x *session) error {
	err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: keyOf(x.peer), Soft: true, Direction: api.ResetPeerRequest_IN})
	if err != nil {
		return fmt.Errorf("apply the import policy to what BGP peer %q has told: %w", x.peer.Name, err)
	}
	return nil
}

const (
	importPolicy = "import"
	exportPolicy = "export"
)

// policies are those of a config: by default nothing comes in and nothing goes out.
func policies(c *Config, classes *classes) *api.SetPoliciesRequest {
	b := &builder{neighbours: map[string]string{}}
	in := b.imports(c)
	out := b.exports(c, classes)
	return &api.SetPoliciesRequest{DefinedSets: b.sets, Policies: []*api.Policy{in, out}}
}

// builder collects the sets that statements refer to.
type builder struct {
	sets       []*api.DefinedSet
	neighbours map[string]string // names of sets, by peer
}

func (b *builder) set(kind api.DefinedType, list []string) *api.MatchSet {
	name := fmt.Sprintf("set-%d", len(b.sets))
	b.sets = append(b.sets, &api.DefinedSet{DefinedType: kind, Name: name, List: list})
	return &api.MatchSet{Type: api.MatchSet_ANY, Name: name}
}

func (b *builder) prefixes(ranges []fabric.PrefixRange) *api.MatchSet {
	m := b.set(api.DefinedType_PREFIX, nil)
	set := b.sets[len(b.sets)-1]
	for _, r := range ranges {
		set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: r.Prefix.String(), MaskLengthMin: uint32(r.Low), MaskLengthMax: uint32(r.High)})
	}
	return m
}

func (b *builder) neighbour(p fabric.RoutingPeer) *api.MatchSet {
	if _, ok := b.neighbours[p.Name]; !ok {
		b.neighbours[p.Name] = b.set(api.DefinedType_NEIGHBOR, []string{fmt.Sprintf("%s/%d", p.Address.WithZone(""), p.Address.BitLen())}).Name
	}
	return &api.MatchSet{Type: api.MatchSet_ANY, Name: b.neighbours[p.Name]}
}

// exports: to a peer goes what we announce ourselves and is of a class that the peer is in, with the attributes that the class has for it.
func (b *builder) exports(c *Config, classes *classes) *api.Policy {
	policy := &api.Policy{Name: exportPolicy}
	for _, p := range c.Peers {
		lists, sets := map[string][]string{}, map[string]fabric.PolicySet{}
		for x := range classes.all() {
			if set, ok := x.told[p.Name]; ok {
				key := setKey(set)
				lists[key], sets[key] = append(lists[key], fmt.Sprintf("^0:%d$", x.id)), set
			}
		}
		if p.Mesh {
			policy.Statements = append(policy.Statements, b.meshExports(c, p, lists, sets, len(policy.Statements))...)
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(lists)) {
			slices.Sort(lists[key])
			conditions := &api.Conditions{
				RouteType:    api.Conditions_ROUTE_TYPE_LOCAL,
				NeighborSet:  b.neighbour(p),
				CommunitySet: b.set(api.DefinedType_COMMUNITY, lists[key]),
			}
			if p.ASN == 0 {
				// Whether it is external is known only when the session is established. To an internal one, a path goes without our AS number.
				conditions.AsPathLength = &api.AsPathLength{Type: api.AsPathLength_GE, Length: 1}
			}
			policy.Statements = append(policy.Statements, &api.Statement{
				Name:       fmt.Sprintf("out-%d", len(policy.Statements)),
				Conditions: conditions,
				Actions:    exportActions(sets[key], cmp.Or(p.LocalASN, c.Speaker.ASN)),
			})
		}
	}
	if len(policy.Statements) == 0 {
		policy.Statements = []*api.Statement{{Name: "none", Actions: &api.Actions{RouteAction: api.RouteAction_REJECT}}}
	}
	return policy
}

// exportActions put the attributes of a set on a path of our own, in place of the number of its class.
func exportActions(set fabric.PolicySet, asn uint32) *api.Actions {
	actions := attributeActions(set)
	actions.RouteAction = api.RouteAction_ACCEPT
	if set.Prepend > 0 {
		actions.AsPrepend = &api.AsPrependAction{Asn: asn, Repeat: uint32(set.Prepend)}
	}
	communities, large := digits(set.AddCommunities)
	actions.Community = &api.CommunityAction{Type: api.CommunityAction_REMOVE, Communities: []string{`^0:\d+$`}}
	if len(communities) > 0 {
		actions.Community = &api.CommunityAction{Type: api.CommunityAction_REPLACE, Communities: communities}
	}
	if len(large) > 0 {
		actions.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_REPLACE, Communities: large}
	}
	if set.LinkBandwidth != nil {
		actions.ExtCommunity = &api.CommunityAction{Type: api.CommunityAction_REPLACE, Communities: []string{linkBandwidth(asn, *set.LinkBandwidth)}}
	}
	return actions
}

// linkBandwidth is the extended community of draft-ietf-idr-link-bandwidth, which has the bandwidth in bytes per second and room for an AS
// number of two bytes. mbit is at most 34359: more does not fit in 32 bits of bytes.
func linkBandwidth(asn, mbit uint32) string {
	if asn > math.MaxUint16 {
		asn = bgp.AS_TRANS
	}
	return fmt.Sprintf("lb:%d:%d", asn, mbit*125_000)
}

// attributeActions are those that are the same in both directions.
func attributeActions(set fabric.PolicySet) *api.Actions {
	actions := &api.Actions{}
	if set.LocalPref != nil {
		actions.LocalPref = &api.LocalPrefAction{Value: *set.LocalPref}
	}
	if set.MED != nil {
		actions.Med = &api.MedAction{Type: api.MedAction_REPLACE, Value: int64(*set.MED)}
	}
	if set.NextHop.IsValid() {
		actions.Nexthop = &api.NexthopAction{Address: set.NextHop.String()}
	}
	return actions
}

// digits are communities in numbers, those that are large apart.
func digits(all []fabric.Community) (communities, large []string) {
	for _, c := range all {
		if c.Large {
			large = append(large, c.Digits())
		} else {
			communities = append(communities, c.Digits())
		}
	}
	return communities, large
}

// exactly are expressions that match the given texts only.
func exactly(texts []string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, "^"+t+"$")
	}
	return all
}

// martians are prefixes that are nobody's to announce, with all that is inside of them (RFC 6890: neither forwardable nor global).
var martians = func() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "::1/128", "fe80::/10", "ff00::/8",
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

// imports: what we announce ourselves is used. Of what peers tell, martians are not; what other members tell beside that is. Of other peers, our own address
// space and what has come by ourselves is not, and of the rest, what the rules of the peer accept.
func (b *builder) imports(c *Config) *api.Policy {
	policy := &api.Policy{Name: importPolicy}
	add := func(conditions *api.Conditions, actions *api.Actions) {
		policy.Statements = append(policy.Statements, &api.Statement{Name: fmt.Sprintf("in-%d", len(policy.Statements)), Conditions: conditions, Actions: actions})
	}
	add(&api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, &api.Actions{RouteAction: api.RouteAction_ACCEPT})
	members := meshPeers(c)
	if len(c.Imports)+len(members) == 0 {
		return policy
	}
	reject := &api.Actions{RouteAction: api.RouteAction_REJECT}
	never := func(prefixes []netip.Prefix) {
		var all []fabric.PrefixRange
		for _, p := range prefixes {
			all = append(all, fabric.PrefixRange{Prefix: p, Low: max(1, p.Bits()), High: p.Addr().BitLen()})
		}
		for _, ranges := range byFamily(all) {
			add(&api.Conditions{PrefixSet: b.prefixes(ranges)}, reject)
		}
	}
	never(martians)
	for _, p := range members {
		add(&api.Conditions{NeighborSet: b.neighbour(p)}, &api.Actions{RouteAction: api.RouteAction_ACCEPT})
	}
	never(c.Own)
	loop := func(asn uint32) *api.MatchSet {
		return b.set(api.DefinedType_AS_PATH, []string{fmt.Sprintf("_%d_", asn)})
	}
	add(&api.Conditions{AsPathSet: loop(c.Speaker.ASN)}, reject)
	for _, p := range c.Peers {
		if p.ASN == 0 {
			add(&api.Conditions{NeighborSet: b.neighbour(p), RouteType: api.Conditions_ROUTE_TYPE_INTERNAL}, reject)
		}
		if p.LocalASN != 0 {
			add(&api.Conditions{NeighborSet: b.neighbour(p), AsPathSet: loop(p.LocalASN)}, reject)
		}
	}
	for _, i := range c.Imports {
		at := slices.IndexFunc(c.Peers, func(p fabric.RoutingPeer) bool { return p.Name == i.Peer })
		if at < 0 {
			continue
		}
		for _, r := range i.Rules {
			for _, conditions := range b.conditions(c.Peers[at], r.Match) {
				for _, actions := range importActions(r) {
					add(conditions, actions)
				}
			}
		}
	}
	return policy
}

// byFamily parts ranges by family: GoBGP's sets have one. Families without a range are left out.
func byFamily(ranges []fabric.PrefixRange) [][]fabric.PrefixRange {
	var four, six []fabric.PrefixRange
	for _, r := range ranges {
		if r.Prefix.Addr().Is4() {
			four = append(four, r)
		} else {
			six = append(six, r)
		}
	}
	return slices.DeleteFunc([][]fabric.PrefixRange{four, six}, func(r []fabric.PrefixRange) bool { return len(r) == 0 })
}

// conditions are alternatives that together say what m says of routes that come from a peer: one statement can't have a list of prefixes of
// both families, nor of communities of both sizes, nor more than one validation state.
func (b *builder) conditions(p fabric.RoutingPeer, m fabric.PolicyMatch) []*api.Conditions {
	if len(m.Validation) == 0 {
		return b.conditionsOf(p, m, 0)
	}
	var all []*api.Conditions
	for _, v := range m.Validation {
		all = append(all, b.conditionsOf(p, m, validationResults[v])...)
	}
	return all
}

func (b *builder) conditionsOf(p fabric.RoutingPeer, m fabric.PolicyMatch, validation int32) []*api.Conditions {
	common := func() *api.Conditions {
		c := &api.Conditions{NeighborSet: b.neighbour(p), RpkiResult: validation}
		switch m.Family {
		case fabric.FamilyIPv4:
			c.AfiSafiIn = []*api.Family{familyOf(netip.IPv4Unspecified())}
		case fabric.FamilyIPv6:
			c.AfiSafiIn = []*api.Family{familyOf(netip.IPv6Unspecified())}
		}
		if m.ASPath != "" {
			c.AsPathSet = b.set(api.DefinedType_AS_PATH, []string{fabric.ASPathExpression(m.ASPath)})
		}
		for _, n := range m.NextHops {
			c.NextHopInList = append(c.NextHopInList, n.String())
		}
		return c
	}
	all := []*api.Conditions{}
	prefixes := byFamily(m.Prefixes)
	communities, large := digits(m.Communities)
	for i := range max(1, len(prefixes)) {
		one := func() *api.Conditions {
			c := common()
			if len(prefixes) > 0 {
				c.PrefixSet = b.prefixes(prefixes[i])
			}
			return c
		}
		if len(communities) == 0 && len(large) == 0 {
			all = append(all, one())
		}
		if len(communities) > 0 {
			c := one()
			c.CommunitySet = b.set(api.DefinedType_COMMUNITY, exactly(communities))
			all = append(all, c)
		}
		if len(large) > 0 {
			c := one()
			c.LargeCommunitySet = b.set(api.DefinedType_LARGE_COMMUNITY, exactly(large))
			all = append(all, c)
		}
	}
	return all
}

// importActions are what statements with the same conditions do one after the other; the last decides. A statement can't both add and
// remove communities; to add first leaves the conditions true.
func importActions(r fabric.PolicyRule) []*api.Actions {
	if r.Action != fabric.PolicyAccept {
		return []*api.Actions{{RouteAction: api.RouteAction_REJECT}}
	}
	actions := attributeActions(r.Set)
	actions.RouteAction = api.RouteAction_ACCEPT
	if r.Set.Prepend > 0 {
		actions.AsPrepend = &api.AsPrependAction{UseLeftMost: true, Repeat: uint32(r.Set.Prepend)}
	}
	all := []*api.Actions{actions}
	if communities, large := digits(r.Set.AddCommunities); len(communities)+len(large) > 0 {
		all = []*api.Actions{{Community: communityAction(api.CommunityAction_ADD, communities), LargeCommunity: communityAction(api.CommunityAction_ADD, large)}, actions}
	}
	communities, large := digits(r.Set.RemoveCommunities)
	actions.Community = communityAction(api.CommunityAction_REMOVE, exactly(communities))
	actions.LargeCommunity = communityAction(api.CommunityAction_REMOVE, exactly(large))
	return all
}

func communityAction(kind api.CommunityAction_Type, communities []string) *api.CommunityAction {
	if len(communities) == 0 {
		return nil
	}
	return &api.CommunityAction{Type: kind, Communities: communities}
}

// assignPolicies puts the policies in force: without a word in them, nothing comes in and nothing goes out (RFC 8212).
func (s *Speaker) assignPolicies(ctx context.Context) error {
	if err := s.server.SetPolicies(ctx, policies(&Config{Speaker: s.running}, s.classes)); err != nil {
		return fmt.Errorf("set BGP policies: %w", err)
	}
	for name, direction := range map[string]api.PolicyDirection{importPolicy: api.PolicyDirection_IMPORT, exportPolicy: api.PolicyDirection_EXPORT} {
		err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: direction, DefaultAction: api.RouteAction_REJECT, Policies: []*api.Policy{{Name: name}},
		}})
		if err != nil {
			return fmt.Errorf("assign BGP %s policy: %w", name, err)
		}
	}
	return nil
}
