package fabric

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// changeChecker is a checker that looks at what a change makes new. What was there before stays, whatever else has come to be: an instance has to
// be stoppable even if its routes are in somebody's way.
type changeChecker interface {
	checkChange(base, next *Snapshot) error
}

// nowhere are prefixes to which no router leads (RFC 6890).
func nowhere() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
	}
}

// externalRoute is a prefix that is routed to a NIC of an instance.
type externalRoute struct {
	prefix      netip.Prefix
	device, key string
}

// externalTexts are the prefixes that are routed to the NICs of an instance, as its devices have them. The texts of externalRoute are their keys.
func (i *Instance) externalTexts(s *Snapshot) map[externalRoute]string {
	all := map[externalRoute]string{}
	_, devices := i.Expanded(s)
	for name, device := range devices {
		for _, key := range []string{"ipv4.routes.external", "ipv6.routes.external"} {
			if device[key] != "" {
				all[externalRoute{device: name, key: key}] = device[key]
			}
		}
	}
	return all
}

// externalRoutes are those of all NICs of an instance.
func (i *Instance) externalRoutes(s *Snapshot) []externalRoute {
	return parseExternal(i.externalTexts(s))
}

func parseExternal(texts map[externalRoute]string) []externalRoute {
	var all []externalRoute
	for r, text := range texts {
		prefixes, _ := ParsePrefixes(text) // validated with the device
		for _, p := range prefixes {
			all = append(all, externalRoute{p, r.device, r.key})
		}
	}
	return all
}

// checkChange refuses routes to the instance that would take addresses from others.
func (i *Instance) checkChange(base, next *Snapshot) error {
	texts, before := i.externalTexts(next), map[externalRoute]string{}
	if old, ok := base.Instance(i.Name); ok {
		before = old.externalTexts(base)
	}
	if maps.Equal(texts, before) {
		return nil
	}
	there := map[externalRoute]bool{} // there may be tens of thousands
	for _, r := range parseExternal(before) {
		there[r] = true
	}
	var fresh []externalRoute
	for _, r := range parseExternal(texts) {
		if !there[r] {
			if err := i.checkRoute(next, r); err != nil {
				return err
			}
			fresh = append(fresh, r)
		}
	}
	return i.checkOthersRoutes(next, fresh)
}

// checkOthersRoutes refuses routes that share addresses with those of another instance: two members would announce them, and whichever is nearer to a
// client would have them. Also within a shorter prefix, because the addresses would be the other's as soon as this instance stops.
func (i *Instance) checkOthersRoutes(next *Snapshot, fresh []externalRoute) error {
	if len(fresh) == 0 {
		return nil
	}
	type route struct {
		externalRoute
		of *Instance
	}
	var all []route
	for _, r := range fresh {
		all = append(all, route{r, i})
	}
	for _, o := range next.Instances() {
		if o.Name != i.Name {
			for _, r := range o.externalRoutes(next) {
				all = append(all, route{r, o})
			}
		}
	}
	slices.SortFunc(all, func(a, b route) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), cmp.Compare(a.of.Name, b.of.Name))
	})
	// Prefixes that share addresses are one inside of the other, and the outer one comes first: looking at the outermost one of each side is enough.
	var mine, theirs route
	for _, r := range all {
		at, other := &mine, &theirs
		if r.of != i {
			at, other = &theirs, &mine
		}
		if other.of != nil && other.prefix.Overlaps(r.prefix) {
			m, t := r, *other
			if r.of != i {
				m, t = t, m
			}
			return Conflictf("address-taken", "instance %q: %s of NIC %s: %s has addresses of %s, which is routed to NIC %s of instance %q", i.Name, m.key, m.device, m.prefix, t.prefix, t.device, t.of.Name).
				WithFix("use another prefix, or take it from instance %q first; for an address that several instances answer for make an anycast service (fabricctl anycast create NAME ADDRESS)", t.of.Name)
		}
		if at.of == nil || !at.prefix.Overlaps(r.prefix) {
			*at = r
		}
	}
	return nil
}

func (i *Instance) checkRoute(next *Snapshot, r externalRoute) error {
	if r.prefix.Bits() == 0 {
		return Invalidf("bad-value", "instance %q: %s of NIC %s: %s is everything: the member would draw all traffic of its routers to the instance", i.Name, r.key, r.device, r.prefix).
			WithFix("name the prefixes that the instance is to have")
	}
	for _, p := range nowhere() {
		if p.Overlaps(r.prefix) {
			return Invalidf("bad-value", "instance %q: %s of NIC %s: %s has addresses of %s, which no router leads to", i.Name, r.key, r.device, r.prefix, p)
		}
	}
	for _, s := range next.Anycasts() {
		if slices.Contains(s.Addresses, r.prefix) {
			return Conflictf("address-taken", "instance %q: %s of NIC %s: %s belongs to anycast service %q", i.Name, r.key, r.device, r.prefix.Addr(), s.Name).
				WithFix("make the instance a copy of the service instead (anycast=%s), or use another address", s.Name)
		}
	}
	if what := next.taken(r.prefix); what != "" {
		return Conflictf("address-taken", "instance %q: %s of NIC %s: %s %s", i.Name, r.key, r.device, r.prefix, what).WithFix("use another prefix")
	}
	return nil
}

// checkChange is that of each instance with the profile.
func (p *Profile) checkChange(base, next *Snapshot) error {
	for _, i := range next.Instances() {
		if slices.Contains(i.Profiles, p.Name) {
			if err := i.checkChange(base, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkChange refuses addresses that are somebody's.
func (a *Anycast) checkChange(base, next *Snapshot) error {
	var before []netip.Prefix
	if old, ok := base.Anycast(a.Name); ok {
		before = old.Addresses
	}
	for _, p := range a.Addresses {
		if slices.Contains(before, p) {
			continue
		}
		what := next.taken(p)
		if i := next.routedTo(func(r netip.Prefix) bool { return r == p }); what == "" && i != nil {
			what = "is routed to instance \"" + i.Name + "\""
		}
		if what != "" {
			return Conflictf("address-taken", "anycast service %q: %s %s", a.Name, p.Addr(), what).WithFix("use another address")
		}
	}
	return nil
}

// checkChange refuses subnets that no router leads to, and those in which others have addresses already: members would look for these on the bridge.
func (n *Network) checkChange(base, next *Snapshot) error {
	var before []netip.Prefix
	if old, ok := base.Network(n.Name); ok {
		before = old.Subnets()
	}
	for _, gateway := range n.Subnets() {
		subnet := gateway.Masked()
		if slices.ContainsFunc(before, func(g netip.Prefix) bool { return g.Masked() == subnet }) {
			continue
		}
		for _, p := range nowhere() {
			if p.Overlaps(subnet) {
				return Invalidf("bad-value", "network %q: %s has addresses of %s, which no router leads to", n.Name, subnet, p).WithFix("use another subnet")
			}
		}
		if what := next.inhabited(subnet); what != "" {
			return Conflictf("address-taken", "network %q: %s has %s inside of it, which would be looked for on the bridge", n.Name, subnet, what).WithFix("use another subnet")
		}
		within := func(p netip.Prefix) bool { return subnet.Bits() <= p.Bits() && subnet.Contains(p.Addr()) }
		for _, s := range next.Anycasts() {
			if at := slices.IndexFunc(s.Addresses, within); at >= 0 {
				return Conflictf("address-taken", "network %q: anycast service %q has %s, which is inside of %s", n.Name, s.Name, s.Addresses[at].Addr(), subnet).WithFix("use another subnet")
			}
		}
		if i := next.routedTo(within); i != nil {
			return Conflictf("address-taken", "network %q: a prefix inside of %s is routed to instance %q", n.Name, subnet, i.Name).WithFix("use another subnet")
		}
	}
	return nil
}

// routedTo is the first instance that has such a prefix routed to it, nil where none has.
func (s *Snapshot) routedTo(such func(netip.Prefix) bool) *Instance {
	for _, i := range s.Instances() {
		if slices.ContainsFunc(i.externalRoutes(s), func(r externalRoute) bool { return such(r.prefix) }) {
			return i
		}
	}
	return nil
}

// inhabited tells which member or router has an address in a subnet, empty where none has.
func (s *Snapshot) inhabited(subnet netip.Prefix) string {
	for _, m := range s.Members() {
		if a := m.IP().Unmap(); subnet.Contains(a) {
			return fmt.Sprintf("the address %s of member %q", a, m.Name)
		}
	}
	for _, p := range s.Peers() {
		if subnet.Contains(p.Address) {
			return fmt.Sprintf("the address %s of BGP peer %q", p.Address, p.Name)
		}
	}
	return ""
}

// taken tells whose a prefix is, as the rest of a sentence: a network's, a member's or a router's. Shorter prefixes may have all of these
// inside of them, because the longest match counts.
func (s *Snapshot) taken(p netip.Prefix) string {
	for _, n := range s.Networks() {
		for _, gateway := range n.Subnets() {
			if subnet := gateway.Masked(); subnet.Bits() <= p.Bits() && subnet.Contains(p.Addr()) {
				return "is inside of " + subnet.String() + ", which network \"" + n.Name + "\" gives its instances"
			}
		}
	}
	if !p.IsSingleIP() {
		return ""
	}
	for _, m := range s.Members() {
		if m.IP().Unmap() == p.Addr() {
			return "is the address of member \"" + m.Name + "\""
		}
	}
	for _, o := range s.Peers() {
		if o.Address == p.Addr() {
			return "is the address of BGP peer \"" + o.Name + "\""
		}
	}
	return ""
}
