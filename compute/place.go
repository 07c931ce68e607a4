package compute

import (
	"cmp"
	"slices"
	"strings"

	"netfabric/fabric"
)

// Place says on which member an instance goes. With a target that is the one, if it exists and is online; else it is the member with the
// fewest instances among those that are online and take instances by themselves (scheduler.instance=all), the first by name of equals. The target @GROUP chooses so among the
// members of a group, whether they take instances by themselves or not. It is
// meant to be called in the write transaction that makes the instance.
func Place(s *fabric.Snapshot, online func(member string) bool, i *fabric.Instance, target string) (member string, err error) {
	group, grouped := strings.CutPrefix(target, "@")
	if target != "" && !grouped {
		if _, ok := s.Member(target); !ok {
			return "", fabric.Invalidf("no-member", "instance %q: there is no member %q", i.Name, target)
		}
		if !online(target) {
			return "", fabric.Errorf(fabric.CodeUnavailable, "member-offline", "instance %q: member %q is offline", i.Name, target).
				WithFix("choose another target, or wait until it is back")
		}
		return target, nil
	}
	count := map[string]int{}
	for _, other := range s.Instances() {
		if other.Name != i.Name {
			count[other.Member]++
		}
	}
	var fit []string
	manual, offline := 0, 0
	for _, m := range s.Members() {
		if grouped && !m.InGroup(group) {
			continue
		}
		switch {
		case !grouped && fabric.MemberKeys.Get(m.Config, "scheduler.instance") != "all":
			manual++
		case !online(m.Name):
			offline++
		default:
			fit = append(fit, m.Name)
		}
	}
	if len(fit) == 0 && grouped {
		return "", fabric.Errorf(fabric.CodeUnavailable, "no-member-fits", "instance %q: no member of group %q is there to take it, %d are offline", i.Name, group, offline).
			WithFix("choose another group, or put members into it: fabricctl cluster group add MEMBER %s", group)
	}
	if len(fit) == 0 {
		return "", fabric.Errorf(fabric.CodeUnavailable, "no-member-fits", "instance %q: no member can take it: %d of %d are offline, %d take only instances with a target",
			i.Name, offline, s.Len(fabric.KindMember), manual).WithFix("choose a member with a target")
	}
	return slices.MinFunc(fit, func(a, b string) int { return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b)) }), nil
}
