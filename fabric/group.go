package fabric

import (
	"fmt"
	"slices"
	"strings"
)

// Group is a name for some members. Which these are is said by the members, see Member.Groups.
type Group struct {
	Header
	Description string `json:"description,omitempty"`
}

// DefaultGroup is the group of members that are in no other. It is always there.
const DefaultGroup = "default"

// Kind is KindGroup.
func (*Group) Kind() Kind { return KindGroup }

// Validate checks the name.
func (g *Group) Validate() error {
	if err := CheckName("cluster group", g.Name); err != nil {
		return err
	}
	if g.Name == DefaultGroup {
		return Invalidf("builtin-group", "cluster group %q is always there and can't be changed", g.Name)
	}
	return nil
}

// Refs is empty.
func (*Group) Refs() []Key { return nil }

// Claims is empty.
func (*Group) Claims() []Claim { return nil }

// InGroup tells whether a member is in a group.
func (m *Member) InGroup(group string) bool { return slices.Contains(m.AllGroups(), group) }

// AllGroups are the groups that a member is in: at least DefaultGroup.
func (m *Member) AllGroups() []string {
	if len(m.Groups) == 0 {
		return []string{DefaultGroup}
	}
	return m.Groups
}

// SetGroups puts a member into exactly these groups; without any, into DefaultGroup.
func (m *Member) SetGroups(groups []string) {
	m.Groups = slices.Compact(slices.Sorted(slices.Values(groups)))
	if len(m.Groups) == 0 || len(m.Groups) == 1 && m.Groups[0] == DefaultGroup {
		m.Groups = nil
	}
}

func (m *Member) groupRefs() []Key {
	var refs []Key
	for _, g := range m.Groups {
		if g != DefaultGroup {
			refs = append(refs, Key{KindGroup, g})
		}
	}
	return refs
}

// Selectors of members, for lists that otherwise have names of members.
const (
	domainSelector = "failure_domain:" // the members of a failure domain
	groupSelector  = "group:"          // the members of a group
)

// selected tells whether a list of names and selectors has a member in it.
func selected(list []string, m *Member) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		if domain, ok := strings.CutPrefix(entry, domainSelector); ok {
			return domain == m.Domain()
		}
		if group, ok := strings.CutPrefix(entry, groupSelector); ok {
			return m.InGroup(group)
		}
		return entry == m.Name
	})
}

// selectorRefs are what a list of names and selectors can't be without.
func selectorRefs(list []string) []Key {
	var refs []Key
	for _, entry := range list {
		switch group, ok := strings.CutPrefix(entry, groupSelector); {
		case ok && group != DefaultGroup:
			refs = append(refs, Key{KindGroup, group})
		case !ok && !strings.HasPrefix(entry, domainSelector):
			refs = append(refs, Key{KindMember, entry})
		}
	}
	return refs
}

func checkSelectors(list []string) error {
	for _, entry := range list {
		if entry == domainSelector || entry == groupSelector {
			return fmt.Errorf("members: %q names no failure domain or group", entry)
		}
	}
	return nil
}

// selectorWarnings are about selectors in a list that stand for nobody. A rack may come later than what is for it, so they are allowed.
func selectorWarnings(list []string, s *Snapshot) []string {
	var all []string
	for _, entry := range list {
		if slices.ContainsFunc(s.Members(), func(m *Member) bool { return selected([]string{entry}, m) }) {
			continue
		}
		if domain, ok := strings.CutPrefix(entry, domainSelector); ok {
			var known []string
			for _, m := range s.Members() {
				known = append(known, m.Domain())
			}
			slices.Sort(known)
			all = append(all, fmt.Sprintf("no member is in failure domain %q; there are members in %s", domain, strings.Join(slices.Compact(known), ", ")))
		} else if group, ok := strings.CutPrefix(entry, groupSelector); ok {
			all = append(all, fmt.Sprintf("no member is in group %q", group))
		}
	}
	return all
}

// RenamedGroup gives a list of names and selectors in which a group has another name.
func RenamedGroup(list []string, from, to string) []string {
	var all []string
	for _, entry := range list {
		if entry == groupSelector+from {
			entry = groupSelector + to
		}
		all = append(all, entry)
	}
	return all
}
