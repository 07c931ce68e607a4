package fabric

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SyncSet is the other gateways of the gateway's sync set: they are Active together on one member.
func (g *Gateway) SyncSet(s *Snapshot) []*Gateway {
	var all []*Gateway
	for _, o := range s.Gateways() {
		if g.Sync != "" && o.Sync == g.Sync && o.Name != g.Name {
			all = append(all, o)
		}
	}
	return all
}

// Join gives the gateway those settings of another one that all of a sync set share.
func (g *Gateway) Join(o *Gateway) {
	g.Members, g.Priorities, g.Preferred = slices.Clone(o.Members), maps.Clone(o.Priorities), o.Preferred
	g.NoPreempt, g.PreemptDelay, g.Spread = o.NoPreempt, o.PreemptDelay, o.Spread
}

// Free tells whether nothing is set of what the gateways of a sync set share.
func (g *Gateway) Free() bool {
	return len(g.Members) == 0 && len(g.Priorities) == 0 && g.Preferred == "" && !g.NoPreempt && g.PreemptDelay == 0 && g.Spread == ""
}

// Differs names the first setting in which two gateways of a sync set differ, empty where none.
func (g *Gateway) Differs(o *Gateway) string {
	switch {
	case !slices.Equal(g.Members, o.Members):
		return "members"
	case !maps.Equal(g.Priorities, o.Priorities):
		return "priorities"
	case g.Preferred != o.Preferred:
		return "preferred member"
	case g.NoPreempt != o.NoPreempt || g.PreemptDelay != o.PreemptDelay:
		return "preemption"
	case g.Spread != o.Spread:
		return "spread set"
	}
	return ""
}

// check refuses a sync set whose gateways can't be together.
func (g *Gateway) check(next *Snapshot) error {
	for _, o := range g.SyncSet(next) {
		if what := g.Differs(o); what != "" {
			return Conflictf("sync-differs", "gateways %q and %q of sync set %q differ in %s: they could not be Active together", g.Name, o.Name, g.Sync, what).
				WithFix("give both the same, or leave it out when the gateway joins the set")
		}
	}
	return nil
}

// checkSets checks the names of sets, and what can't be had with them.
func (g *Gateway) checkSets(fail func(reason, format string, args ...any) *Error) error {
	for what, name := range map[string]string{"sync set": g.Sync, "spread set": g.Spread} {
		if name == "" {
			continue
		}
		if err := CheckName(what, name); err != nil {
			return err
		}
	}
	if g.Spread != "" && len(g.Priorities) > 0 {
		return fail("bad-set", "spread set %q gives members their priorities: they can't be given for one gateway", g.Spread).WithFix("leave out one of the two")
	}
	return nil
}

// turn is which member of a spread set comes first: each next gateway, or sync set, by name begins with the next member.
func (g *Gateway) turn(s *Snapshot) int {
	var units []string
	for _, o := range s.Gateways() {
		if o.Spread == g.Spread && o.Name != g.Name {
			units = append(units, o.unit())
		}
	}
	units = append(units, g.unit())
	slices.Sort(units)
	return slices.Index(slices.Compact(units), g.unit())
}

// unit is what moves together: a sync set, or a gateway.
func (g *Gateway) unit() string { return cmp.Or(g.Sync, g.Name) }

// rotated is a list that begins with the n-th of its elements, and goes round.
func rotated(list []string, n int) []string {
	if len(list) == 0 {
		return list
	}
	n %= len(list)
	return slices.Concat(list[n:], list[:n])
}

// setWarnings are about sets that do nothing.
func (g *Gateway) setWarnings(s *Snapshot) []string {
	var all []string
	if g.Sync != "" && len(g.SyncSet(s)) == 0 {
		all = append(all, fmt.Sprintf("sync set %s has no other gateway: nothing moves along", g.Sync))
	}
	if g.Spread == "" {
		return all
	}
	var others []string
	for _, o := range s.Gateways() {
		if o.Spread == g.Spread && o.unit() != g.unit() {
			others = append(others, o.Name)
		}
	}
	switch {
	case len(others) == 0:
		all = append(all, fmt.Sprintf("spread set %s has no other gateway: nothing is shared", g.Spread))
	case g.NoPreempt:
		all = append(all, fmt.Sprintf("without preemption the load of %s and %s stays on one member after a failure", g.Name, strings.Join(others, ", ")))
	}
	return all
}
