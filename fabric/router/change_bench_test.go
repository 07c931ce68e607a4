package router

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"netfabric/fabric"
)

// BenchmarkChangeAmong measures 100 changes of one announcement beside 10,000 others, and beside none: from before the worker is told to the route
// in the kernel of a BIRD router, and until the worker has answered.
func BenchmarkChangeAmong(b *testing.B) {
	for _, others := range []int{0, 10_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) { benchmarkChangeAmong(b, others) })
	}
}

func benchmarkChangeAmong(b *testing.B, others int) {
	const changes, prefix, bound = 100, "198.51.100.1/32", 20 * time.Second
	s := newScaleSite(b, "bird")
	m := s.worker
	announce := func(prefixes ...netip.Prefix) []fabric.Announcement {
		var all []fabric.Announcement
		for n, p := range prefixes {
			owner := fabric.Key{Kind: fabric.KindInstance, Name: fmt.Sprint("web", n)}
			all = append(all, fabric.Announcement{Prefix: p, Kind: fabric.AnnounceInstance, Owner: owner, Peers: []string{"up"}})
		}
		return all
	}
	base := announce(hostPrefixes(others)...)
	one := announce(netip.MustParsePrefix(prefix))
	watch := s.up.Watch()
	var seen, answered []time.Duration
	change := func(there bool) {
		m.value.Revision++
		if m.value.Announcements = base; there {
			m.value.Announcements = append(slices.Clip(base), one...)
		}
		began, answer := time.Now(), make(chan time.Duration, 1)
		go func() {
			m.set()
			answer <- time.Since(began)
		}()
		seen = append(seen, watch.Until(prefix, there, bound).Sub(began))
		answered = append(answered, <-answer)
	}
	change(true) // the session is up, and all others are there
	s.tally.Until(others, bound)
	change(false)
	for b.Loop() {
		seen, answered = nil, nil
		for n := range changes {
			change(n%2 == 0)
		}
		slices.Sort(answered)
		slices.Sort(seen)
		report(b, "seen", seen)
		report(b, "answered", answered)
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}
