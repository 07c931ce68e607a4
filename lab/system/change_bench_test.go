package system

import (
	"slices"
	"testing"
	"time"

	"netfabric/fabric/api"
	"netfabric/lab/probe"
)

// benchTopology has a place for everything that is compared.
const benchTopology = "../topologies/bench.clab.yml"

// routers of benchTopology, with the addresses at which speakers reach them.
var benchRouters = []struct{ name, kind, address string }{{"r1", "frr", "192.0.2.1"}, {"r2", "bird", "192.0.2.2"}}

// BenchmarkChange measures 200 changes of what is routed to an instance, from before the PATCH request to the route in the kernel of each
// router, or gone from it. In turns with it, a bare GoBGP speaker announces and withdraws a prefix of its own to the same routers: from before
// AddPath. The member is one of three, so that each change is a commit on at least two.
func BenchmarkChange(b *testing.B) {
	const changes, product, plain = 200, "198.18.0.1/32", "198.18.0.2/32"
	w := worldOf(b, benchTopology)
	image := w.image(b, "n1", "/tmp/busybox.tar.gz")
	w.script(b, "n1", `
		config set core.bgp_asn=65100
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=none
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		bgp peer add r1 192.0.2.1 65000 --export own
		bgp peer add r2 192.0.2.2 65000 --export own
		launch busybox web1 --target n1
	`)
	speaker := w.startBare(b, "g1", "65300", "192.0.2.31", "192.0.2.1", "192.0.2.2")
	socket, err := w.lab.MustNode(b, "n1").Path("/var/lib/fabric/unix.socket")
	if err != nil {
		b.Fatal(err)
	}
	client := api.NewUnixClient(socket)
	patch := func(there bool) {
		routes := ""
		if there {
			routes = product
		}
		nic := map[string]string{"type": "nic", "network": "fabbr0", "ipv4.routes.external": routes}
		op, err := client.PatchInstance(b.Context(), "web1", map[string]any{"devices": map[string]any{"eth0": nic}}, "")
		if err == nil && op != nil {
			err = op.Wait(b.Context())
		}
		if err != nil {
			b.Error(err)
		}
	}
	watches := map[string]*watch{}
	for _, r := range benchRouters {
		for _, prefix := range []string{product, plain} {
			watches[r.name+prefix] = w.watchNextHops(b, r.name, prefix, 0)
		}
	}
	seen := func(prefix string, there bool, at time.Duration, into map[string][]time.Duration) {
		for _, r := range benchRouters {
			n := watches[r.name+prefix].until(b, func(n probe.NextHops) bool { return n.Count > 0 == there })
			into[r.kind] = append(into[r.kind], n.At-at)
		}
	}
	for _, there := range []bool{true, false} { // sessions are up, and everything has been done once
		patch(there)
		speaker.set(plain, there)
		for _, prefix := range []string{product, plain} {
			seen(prefix, there, 0, map[string][]time.Duration{})
		}
	}
	var answers []time.Duration
	ours, bares := map[string][]time.Duration{}, map[string][]time.Duration{}
	for b.Loop() {
		for n := range changes {
			there := n%2 == 0
			at, answered := probe.Now(), make(chan time.Duration, 1)
			go func() {
				patch(there)
				answered <- probe.Now()
			}()
			seen(product, there, at, ours)
			answers = append(answers, <-answered-at)
			seen(plain, there, speaker.set(plain, there), bares)
		}
	}
	for _, r := range benchRouters {
		metrics(b, "change-"+r.kind, ours[r.kind])
		metrics(b, "bare-"+r.kind, bares[r.kind])
		b.ReportMetric(quantile(ours[r.kind], 0.99)/quantile(bares[r.kind], 0.99), r.kind+"-p99-ratio")
	}
	metrics(b, "answer", answers)
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// metrics reports the median, the 99th percentile where there is one, and the worst. It sorts what took how long.
func metrics(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(quantile(took, 0.5), name+"-p50-ms")
	if len(took) >= 100 {
		b.ReportMetric(quantile(took, 0.99), name+"-p99-ms")
	}
	b.ReportMetric(quantile(took, 1), name+"-worst-ms")
}

// quantile is in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
}
