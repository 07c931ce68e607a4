package rtr

import (
	"net/netip"

	"netfabric/fabric"
)

// Origin is what origin validation looks at of a route: the prefix, and the AS that announces it.
type Origin struct {
	Prefix netip.Prefix
	ASN    uint32
}

// Turn is what becomes of an origin's validation state (RFC 6811, 2).
type Turn struct{ From, To string }

// Turns are those of the origins whose state is another one with the VRPs after than with those before.
func Turns(before, after map[VRP]struct{}, origins []Origin) map[Origin]Turn {
	moved := map[netip.Prefix]bool{}
	note := func(all, other map[VRP]struct{}) {
		for v := range all {
			if _, ok := other[v]; !ok {
				moved[v.Prefix] = true
			}
		}
	}
	note(before, after)
	note(after, before)
	if len(moved) == 0 {
		return nil
	}
	// Only of prefixes around those that may turn are VRPs looked for: there are hundreds of thousands of others.
	var may []Origin
	around := map[netip.Prefix]bool{}
	for _, o := range origins {
		touched := false
		for p := range covering(o.Prefix) {
			touched = touched || moved[p]
		}
		if !touched {
			continue
		}
		may = append(may, o)
		for p := range covering(o.Prefix) {
			around[p] = true
		}
	}
	old, fresh := lookup(before, around), lookup(after, around)
	turns := map[Origin]Turn{}
	for _, o := range may {
		if t := (Turn{validate(old, o), validate(fresh, o)}); t.From != t.To {
			turns[o] = t
		}
	}
	return turns
}

// covering are a prefix and all that it is inside of.
func covering(p netip.Prefix) func(yield func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		for bits := p.Bits(); bits >= 0; bits-- {
			if !yield(netip.PrefixFrom(p.Addr(), bits).Masked()) {
				return
			}
		}
	}
}

// lookup finds VRPs by their prefix, where that is one of some.
func lookup(vrps map[VRP]struct{}, some map[netip.Prefix]bool) map[netip.Prefix][]VRP {
	found := map[netip.Prefix][]VRP{}
	for v := range vrps {
		if some[v.Prefix] {
			found[v.Prefix] = append(found[v.Prefix], v)
		}
	}
	return found
}

// validate is the state of an origin. AS 0 may announce nothing (RFC 6483, 4).
func validate(vrps map[netip.Prefix][]VRP, o Origin) string {
	state := fabric.ValidationNotFound
	for p := range covering(o.Prefix) {
		for _, v := range vrps[p] {
			if o.Prefix.Bits() <= int(v.MaxLength) && v.ASN == o.ASN && v.ASN != 0 {
				return fabric.ValidationValid
			}
			state = fabric.ValidationInvalid
		}
	}
	return state
}
