package router

import (
	"cmp"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// validate refuses values that could only come from a mistake.
func validate(r fabric.Routing) error {
	seen, gateways := map[netip.Prefix]bool{}, interfacesOfGateways(r.Gateways)
	sorted := slices.IsSortedFunc(r.Announcements, func(a, b fabric.Announcement) int { return comparePrefix(a.Prefix, b.Prefix) }) // then those that are there twice are neighbours
	for i, a := range r.Announcements {
		if !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() {
			return fabric.Invalidf("bad-prefix", "announcement of %s: not a prefix", a.Prefix)
		}
		if sorted && i > 0 && a.Prefix == r.Announcements[i-1].Prefix || seen[a.Prefix] {
			return fabric.Invalidf("bad-prefix", "announcement of %s: it is there twice", a.Prefix)
		}
		if !sorted {
			seen[a.Prefix] = true
		}
		if err := validateBehind(a, gateways); err != nil {
			return err
		}
		for _, c := range a.Copies {
			if a.Route && (c.Dev == "" || !c.Via.IsValid() || c.Via.Is4() != a.Prefix.Addr().Is4()) {
				return fabric.Invalidf("bad-copy", "announcement of %s: copy %s/%s has no way for a route", a.Prefix, c.Instance, c.Device)
			}
		}
	}
	names, taken := map[string]bool{}, map[string]bool{}
	for _, p := range r.Peers {
		places := 0
		for _, there := range []bool{p.Address.IsValid(), p.Interface != "", p.Dynamic.IsValid()} {
			if there {
				places++
			}
		}
		if places != 1 || p.Dynamic.IsValid() != (p.MaxSessions > 0) || p.Name == "" || p.HoldTime < 3 || p.GracefulRestart < 1 {
			return fabric.Invalidf("bad-peer", "peer %q: needs a name, one of address, interface and prefix, and times", p.Name)
		}
		if err := p.BFD.Validate(p.Name); err != nil {
			return err
		}
		place := cmp.Or(p.Interface, p.Over().String())
		if p.Dynamic.IsValid() {
			place = p.Dynamic.String()
		}
		if names[p.Name] || taken[place] {
			return fabric.Invalidf("bad-peer", "peer %q at %s: the name or the place is there twice", p.Name, place)
		}
		names[p.Name], taken[place] = true, true
	}
	if err := validateGateways(r.Gateways); err != nil {
		return err
	}
	if r.Speaker != nil && (r.Speaker.ASN == 0 || !r.Speaker.RouterID.Is4()) {
		return fabric.Invalidf("bad-speaker", "speaker: needs an AS number and an IPv4 router ID")
	}
	return nil
}
