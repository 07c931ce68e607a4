package fabric

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// memberNames are those that take part, the best first: those of each entry of Members in turn, of a selector by name, and each where it comes
// first. Without entries they are all, by name.
func (g *Gateway) memberNames(s *Snapshot) []string {
	var names []string
	if len(g.Members) == 0 {
		for _, m := range s.Members() {
			names = append(names, m.Name)
		}
	}
	for _, entry := range g.Members {
		for _, m := range s.Members() {
			if selected([]string{entry}, m) && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// On tells whether a member takes part.
func (g *Gateway) On(s *Snapshot, member string) bool {
	m, ok := s.Member(member)
	return ok && (len(g.Members) == 0 || selected(g.Members, m))
}

// mayHave tells whether a member takes part, or can come to: who a selector stands for changes.
func (g *Gateway) mayHave(member string) bool {
	return len(g.Members) == 0 || slices.ContainsFunc(g.Members, func(entry string) bool { return entry == member || strings.Contains(entry, ":") })
}

// checkMembers checks what is said of members.
func (g *Gateway) checkMembers(fail func(reason, format string, args ...any) *Error) error {
	if err := checkSelectors(g.Members); err != nil {
		return fail("bad-member", "%w", err)
	}
	for member, p := range g.Priorities {
		if p < 1 || p > MaxPriority {
			return fail("bad-priority", "priority %d of member %s must be 1 to %d", p, member, MaxPriority).
				WithFix("255 is for a router that has the addresses itself; members have them only while they are Active")
		}
		if !g.mayHave(member) {
			return fail("bad-priority", "member %s has a priority but is not one of its members", member)
		}
	}
	if g.Preferred != "" && !g.mayHave(g.Preferred) {
		return fail("bad-member", "preferred member %s is not one of its members", g.Preferred)
	}
	return nil
}

// memberWarnings are about selectors that stand for nobody, and about members for whom something is set while they take no part.
func (g *Gateway) memberWarnings(s *Snapshot) []string {
	all := selectorWarnings(g.Members, s)
	for _, m := range slices.Sorted(maps.Keys(g.Priorities)) {
		if !g.On(s, m) {
			all = append(all, fmt.Sprintf("member %s has a priority and takes no part: %s does not stand for it now", m, strings.Join(g.Members, ",")))
		}
	}
	return all
}

// Subnets are those behind the gateway, without link-local ones, in the order of its addresses.
func (g *Gateway) Subnets() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range g.Addresses {
		if subnet := p.Masked(); !p.Addr().IsLinkLocalUnicast() && !slices.Contains(all, subnet) {
			all = append(all, subnet)
		}
	}
	return all
}
