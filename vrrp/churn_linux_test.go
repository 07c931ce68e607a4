package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// BenchmarkChurn is how far apart the advertisements of a gateway are, 10 ms by its settings, while another one on the same interface comes and goes.
func BenchmarkChurn(b *testing.B) {
	const times = 50
	l := newLink(b, 2)
	l.launch = asWorker
	steady := testGateway(200, 10*time.Millisecond)
	steady.Addresses = steady.Addresses[:1]
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(steady)
	r1.waitFor(IPv4, Active)
	backup := steady
	backup.Priority = 100
	r2.set(backup)
	before := r2.waitFor(IPv4, Backup).Changes
	other := testGateway(254, 10*time.Millisecond)
	other.Name, other.VRID, other.RA = "other", 52, &RouterAdvertising{Lifetime: time.Minute, Interval: 20 * time.Second}
	other.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")}
	heard := l.adverts()
	wait(b, 10*time.Second, "adverts", func() bool { return len(heard.of("192.0.2.2", 51)) > 500 })
	quiet := longestGap(heard.of("192.0.2.2", 51))
	working := func() int {
		routers := r1.order(order{}).State.Routers
		return len(routers) - len(slices.DeleteFunc(routers, func(r RouterState) bool { return r.Accepting && r.State == Active }))
	}
	for range times {
		r1.set(steady, other)
		wait(b, 10*time.Second, "the other one Active", func() bool { return working() == 3 })
		r1.set(steady)
		wait(b, 10*time.Second, "the other one gone", func() bool { return len(r1.order(order{}).State.Routers) == 1 })
	}
	seen := heard.of("192.0.2.2", 51)[500:]
	for b.Loop() { // see BenchmarkTakeover
	}
	b.ReportMetric(milliseconds(longestGap(seen)), "gap-worst-ms")
	b.ReportMetric(milliseconds(quiet), "gap-before-ms")
	b.ReportMetric(float64(len(seen)), "adverts")
	b.ReportMetric(float64((r2.router(IPv4).Changes-before+1)/2), "false-takeovers") // there, and mostly back
	b.ReportMetric(0, "ns/op")
}
