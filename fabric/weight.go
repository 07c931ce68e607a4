package fabric

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Weighting is what the weights of a service's copies become for the BGP peers that are told of its addresses. What counts is the sum of those
// that a member leads traffic to.
type Weighting string

// The weightings.
const (
	WeightNone          Weighting = "none"           // nothing
	WeightMED           Weighting = "med"            // MULTI_EXIT_DISC, lower for a higher weight (RFC 4271, 5.1.4)
	WeightLocalPref     Weighting = "local-pref"     // LOCAL_PREF, for internal peers only (RFC 4271, 5.1.5)
	WeightLinkBandwidth Weighting = "link-bandwidth" // extended community by which routers share traffic out (draft-ietf-idr-link-bandwidth)
)

// Weightings lists them.
var Weightings = []Weighting{WeightNone, WeightMED, WeightLocalPref, WeightLinkBandwidth}

// MaxWeight is the highest weight of a copy: the kernel knows 256 for a next hop of a route.
const MaxWeight = 256

func (w Weighting) validate(what string) error {
	if w == "" || slices.Contains(Weightings, w) {
		return nil
	}
	var names []string
	for _, known := range Weightings {
		names = append(names, string(known))
	}
	return Invalidf("bad-value", "%s: weight %q does not exist", what, w).WithFix("use one of %s", strings.Join(names, ", "))
}

// AnycastWeight is how much traffic a copy is to have, compared with others: 1 to MaxWeight.
func (c Config) AnycastWeight() int {
	n, _ := strconv.Atoi(InstanceKeys.Get(c, "anycast.weight"))
	return cmp.Or(n, 1)
}
