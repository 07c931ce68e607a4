package router

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// BenchmarkAnnounceToKernel measures 200 changes, from before each is asked for to the route in the kernel of an FRR router: asked of the
// worker through its socket, and of another FRR router with vtysh.
func BenchmarkAnnounceToKernel(b *testing.B) {
	const changes = 200
	s := newSite(b, 1)
	m := s.members[0]
	m.start()
	m.set()
	ours := s.frr.Node.Watch()
	ours.Until(anycast4, true, 10*time.Second)
	plain, theirs := frrPair(b)

	base := m.value.Announcements
	viaWorker := func(prefix string, there bool) {
		m.value.Announcements = base
		if there {
			a := fabric.Announcement{
				Prefix: netip.MustParsePrefix(prefix), Kind: fabric.AnnounceNetwork,
				Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: []string{"up4"},
			}
			m.value.Announcements = append(slices.Clip(base), a)
		}
		m.set()
	}
	viaVtysh := func(prefix string, there bool) {
		no := "no "
		if there {
			no = ""
		}
		plain.Vtysh("configure terminal", "router bgp 65010", "address-family ipv4 unicast", no+"network "+prefix)
	}
	for b.Loop() {
		worker := measure(changes, ours, viaWorker)
		vtysh := measure(changes, theirs, viaVtysh)
		report(b, "worker", worker)
		report(b, "vtysh", vtysh)
		b.ReportMetric(ms(worker, 0.5)/ms(vtysh, 0.5), "p50-ratio")
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// frrPair is two FRR routers with a session, and the kernel routes of the second.
func frrPair(b *testing.B) (*bgptest.FRR, *bgptest.Watch) {
	one, two := bgptest.NewNode(b, "one"), bgptest.NewNode(b, "two")
	one.Link("eth0", two, "eth0")
	one.Address("eth0", "10.96.0.1/24")
	two.Address("eth0", "10.96.0.2/24")
	config := `
router bgp %d
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 1 3
 neighbor %s remote-as %d
 neighbor %s timers connect 1
`
	plain := bgptest.StartFRR(b, one, fmt.Sprintf(config, 65010, "10.96.0.2", 65001, "10.96.0.2"))
	bgptest.StartFRR(b, two, fmt.Sprintf(config, 65001, "10.96.0.1", 65010, "10.96.0.1"))
	watch := two.Watch()
	plain.Vtysh("configure terminal", "router bgp 65010", "address-family ipv4 unicast", "network 198.51.100.0/24")
	watch.Until("198.51.100.0/24", true, 20*time.Second)
	return plain, watch
}

// measure makes changes, each of another prefix that is there before or is not, and returns how long they took, sorted.
func measure(changes int, watch *bgptest.Watch, change func(prefix string, there bool)) []time.Duration {
	var took []time.Duration
	for n := range changes {
		prefix, there := fmt.Sprintf("100.64.%d.0/24", n/2), n%2 == 0
		began := time.Now()
		change(prefix, there)
		took = append(took, watch.Until(prefix, there, 5*time.Second).Sub(began))
	}
	slices.Sort(took)
	return took
}

func ms(sorted []time.Duration, quantile float64) float64 {
	return float64(sorted[int(quantile*float64(len(sorted)-1))]) / float64(time.Millisecond)
}
