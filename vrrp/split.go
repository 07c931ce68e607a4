package vrrp

import (
	"cmp"
	"slices"
	"time"
)

// seat is where a virtual router of a sync set is Active, as this host sees it.
type seat struct {
	set     string
	gateway string
	key     routerKey
	here    bool
	member  string // where not here; empty: not known
}

// strays are the virtual routers that are Active here while another member is Active for the first of their sync set: that member. First is the
// gateway that is first by name, and its IPv4. Where that one is Active is what all members that hear each other agree on; a member that
// does not know it moves nothing. So only those that are apart from it move, all to one place, and it stays.
func strays(seats []seat) map[routerKey]string {
	first := map[string]seat{}
	for _, s := range seats {
		f, known := first[s.set]
		if !known || cmp.Or(cmp.Compare(s.gateway, f.gateway), cmp.Compare(s.key.Family, f.key.Family)) < 0 {
			first[s.set] = s
		}
	}
	found := map[routerKey]string{}
	for _, s := range seats {
		if f := first[s.set]; s.here && !f.here && f.member != "" {
			found[s.key] = f.member
		}
	}
	return found
}

// stray is what a virtual router knows of being apart from the first of its sync set.
type stray struct {
	member string    // that is Active for the first; empty: it is not apart
	since  time.Time // since then, or since it was last offered to the member
	lasts  bool      // long enough to be told
	offers int       // to the member
}

// Times of sync sets that are split.
const (
	splitStep   = time.Second // how often they are looked for
	splitSettle = time.Second // beside what a takeover takes, for which a set may be split
	splitSlower = 5           // how often the time between two offers doubles: a network that works one way only is not to be stirred
)

// settle is how long a sync set may be split while its gateways change hands: no member waits longer than four intervals before it takes over.
func settle(intervals []time.Duration) time.Duration {
	if len(intervals) == 0 {
		return splitSettle
	}
	return splitSettle + 4*slices.Max(intervals)
}

// look takes where the first of the set is Active now. It tells whether this one is to be handed over to that member: again and again, but ever less
// often, as long as it does not go.
func (s *stray) look(now time.Time, member string, settle time.Duration) (move bool) {
	if member != s.member {
		*s = stray{member: member, since: now}
		return false
	}
	if member == "" || now.Sub(s.since) < settle<<min(s.offers, splitSlower) {
		return false
	}
	s.since, s.lasts = now, true
	s.offers++
	return true
}
