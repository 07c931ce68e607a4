package fabric

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// PolicyRoute is a route as policies see it.
type PolicyRoute struct {
	Prefix netip.Prefix

	// Of our own announcements.
	Kind   AnnouncementKind
	Owner  Key
	Labels Config // of the owner, expanded

	// Of routes that come from peers.
	Communities []Community
	ASPath      []uint32
	NextHop     netip.Addr
	Validation  string // origin validation state
}

// PolicyDecision is what a policy says of a route.
type PolicyDecision struct {
	Accept bool
	Rule   int // that decided, from 1; 0: none matched
	Set    PolicySet
	Why    string // in words, naming policy and rule
}

// PolicyDecider decides by one policy. It may be used by several goroutines.
type PolicyDecider struct {
	policy  *Policy
	asPaths []*regexp.Regexp // by rule
	owners  []map[string]bool
}

// Decider makes ready to decide by the policy, which must be valid.
func (p *Policy) Decider() *PolicyDecider {
	d := &PolicyDecider{policy: p, asPaths: make([]*regexp.Regexp, len(p.Rules)), owners: make([]map[string]bool, len(p.Rules))}
	for i, r := range p.Rules {
		if r.Match.ASPath != "" {
			d.asPaths[i], _ = compileASPath(r.Match.ASPath) // validated
		}
		for _, o := range r.Match.Owners {
			if d.owners[i] == nil {
				d.owners[i] = map[string]bool{}
			}
			d.owners[i][o] = true
		}
	}
	return d
}

// Decide finds the first rule that matches.
func (d *PolicyDecider) Decide(route PolicyRoute) PolicyDecision {
	for i, r := range d.policy.Rules {
		if d.matches(i, r.Match, route) {
			return PolicyDecision{r.Action == PolicyAccept, i + 1, r.Set, fmt.Sprintf("policy %q rule %d %ss %s", d.policy.Name, i+1, r.Action, route.Prefix)}
		}
	}
	return PolicyDecision{Why: fmt.Sprintf("policy %q has no rule that accepts %s", d.policy.Name, route.Prefix)}
}

func (d *PolicyDecider) matches(i int, m PolicyMatch, route PolicyRoute) bool {
	if m.Family != "" && m.Family != FamilyOf(route.Prefix.Addr()) {
		return false
	}
	if len(m.Prefixes) > 0 && !slices.ContainsFunc(m.Prefixes, func(r PrefixRange) bool { return r.Contains(route.Prefix) }) {
		return false
	}
	if len(m.Kinds) > 0 && !slices.Contains(m.Kinds, route.Kind) {
		return false
	}
	if d.owners[i] != nil && !d.owners[i][route.Owner.String()] {
		return false
	}
	for _, l := range m.Labels {
		key, value, _ := strings.Cut(l, "=")
		if got, ok := route.Labels[key]; !ok || got != value {
			return false
		}
	}
	if len(m.Communities) > 0 && !slices.ContainsFunc(m.Communities, func(c Community) bool { return slices.Contains(route.Communities, c) }) {
		return false
	}
	if d.asPaths[i] != nil && !d.asPaths[i].MatchString(asPathText(route.ASPath)) {
		return false
	}
	if len(m.Validation) > 0 && !slices.Contains(m.Validation, route.Validation) {
		return false
	}
	return len(m.NextHops) == 0 || slices.ContainsFunc(m.NextHops, func(p netip.Prefix) bool { return p.Contains(route.NextHop) })
}

func asPathText(path []uint32) string {
	var numbers []string
	for _, n := range path {
		numbers = append(numbers, strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(numbers, " ")
}
