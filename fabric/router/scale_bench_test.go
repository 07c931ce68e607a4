package router

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// many is where the prefixes of benchmarks are.
var many = netip.MustParsePrefix("100.64.0.0/10")

// hostPrefixes are n different ones.
func hostPrefixes(n int) []netip.Prefix {
	all := make([]netip.Prefix, n)
	first := binary.BigEndian.Uint32(many.Addr().AsSlice())
	for i := range all {
		all[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+uint32(i)))), 32)
	}
	return all
}

// BenchmarkScale hands a worker many announcements at once and measures until a router's kernel has them all, and until it has none any more,
// beside an FRR router that begins to redistribute as many kernel routes. The receiver is BIRD, which puts into its kernel what it is told at once, and FRR.
func BenchmarkScale(b *testing.B) {
	for _, receiver := range []string{"bird", "frr"} {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", receiver, n), func(b *testing.B) { benchmarkScale(b, receiver, n) })
		}
	}
}

const scaleASN = 65001 // of the receiver

// scaleSite is a receiver with two senders: a worker, and FRR.
type scaleSite struct {
	up     *bgptest.Node
	worker *member
	plain  *bgptest.FRR
	tally  *bgptest.Tally
}

func newScaleSite(b *testing.B, receiver string) scaleSite {
	up := bgptest.NewNode(b, "up")
	up.IP("link add lan type bridge")
	up.IP("link set dev lan up")
	up.Address("lan", "10.98.0.1/24")
	m := newMember(b, nil, up, 1)
	m.value = fabric.Routing{
		Member: "m1", Revision: 1,
		Speaker: &fabric.Speaker{ASN: 65010, RouterID: netip.MustParseAddr("10.98.0.11")},
		Peers:   []fabric.RoutingPeer{{Name: "up", Address: netip.MustParseAddr("10.98.0.1"), ASN: scaleASN, HoldTime: 90, GracefulRestart: 30}},
	}
	other := bgptest.NewNode(b, "other")
	up.Link("lan2", other, "eth0")
	up.IP("link set dev lan2 master lan")
	other.Address("eth0", "10.98.0.12/24")
	receive(b, receiver, up)
	plain := bgptest.StartFRR(b, other, fastFRR(65020, "10.98.0.1", scaleASN))
	m.start()
	m.set()
	return scaleSite{up: up, worker: m, plain: plain, tally: up.Tally(many)}
}

// receive makes a host a router that takes what 10.98.0.11 (AS 65010) and 10.98.0.12 (AS 65020) tell.
func receive(b *testing.B, kind string, n *bgptest.Node) {
	if kind == "frr" {
		bgptest.StartFRR(b, n, fastFRR(scaleASN, "10.98.0.11", 65010, "10.98.0.12", 65020))
		return
	}
	config := "router id 10.98.0.1;\n"
	for i, asn := range []int{65010, 65020} {
		config += fmt.Sprintf("protocol bgp { local 10.98.0.1 as %d; neighbor 10.98.0.%d as %d; passive on; hold time 90; ipv4 { import all; export none; }; }\n", scaleASN, 11+i, asn)
	}
	bgptest.StartBIRD(b, n, config)
}

// fastFRR is a configuration of bgpd that waits for nothing it can be told not to wait for. Neighbours are addresses with their AS numbers.
func fastFRR(asn int, neighbours ...any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "bgp route-map delay-timer 0\nrouter bgp %d\n no bgp ebgp-requires-policy\n no bgp network import-check\n coalesce-time 0\n timers bgp 3 90\n", asn)
	for pair := range slices.Chunk(neighbours, 2) {
		fmt.Fprintf(&b, " neighbor %[1]s remote-as %[2]d\n neighbor %[1]s timers connect 1\n neighbor %[1]s advertisement-interval 0\n", pair...)
	}
	return b.String()
}

func benchmarkScale(b *testing.B, receiver string, n int) {
	const bound, settled = time.Minute, 5 * time.Second // after which memory is looked at
	s := newScaleSite(b, receiver)
	prefixes := hostPrefixes(n)
	m := s.worker
	bgptest.Eventually(b, 20*time.Second, func() string {
		state, err := m.client.State(b.Context())
		if err != nil || len(state.Peers) != 1 || !state.Peers[0].Established() {
			return fmt.Sprintf("%+v, %v", state.Peers, err)
		}
		if p := s.plain.Neighbor("10.98.0.1"); p.State != "Established" {
			return "FRR: " + p.State
		}
		return ""
	})
	set := func(count int) time.Time {
		m.value.Revision++
		m.value.Announcements = nil
		for _, p := range prefixes[:count] {
			m.value.Announcements = append(m.value.Announcements, fabric.Announcement{
				Prefix: p, Kind: fabric.AnnounceInstance, Owner: fabric.Key{Kind: fabric.KindInstance, Name: "web1"}, Peers: []string{"up"},
			})
		}
		began := time.Now()
		m.set()
		return began
	}
	fill(b, s.plain.Node, prefixes)
	redistribute := func(word string) time.Time {
		began := time.Now()
		s.plain.Vtysh("configure terminal", "router bgp 65020", "address-family ipv4 unicast", word+"redistribute kernel")
		return began
	}
	var came, went, theirs, busy []time.Duration
	resident := 0
	for b.Loop() {
		used := processorTime(b, m.worker.Process.Pid)
		began := set(n)
		came = append(came, s.tally.Until(n, bound).Sub(began))
		busy = append(busy, processorTime(b, m.worker.Process.Pid)-used)
		<-time.After(settled)
		resident = max(resident, memory(b, m.worker.Process.Pid, "VmRSS:"))
		began = set(0)
		went = append(went, s.tally.Until(0, bound).Sub(began))
		began = redistribute("")
		theirs = append(theirs, s.tally.Until(n, bound).Sub(began))
		redistribute("no ")
		s.tally.Until(0, bound)
	}
	report(b, "worker", came)
	report(b, "withdraw", went)
	report(b, "frr", theirs)
	report(b, "cpu", busy)
	b.ReportMetric(ms(came, 0.5)/ms(theirs, 0.5), "ratio")
	b.ReportMetric(float64(resident)/(1<<20), "rss-MiB")
	b.ReportMetric(float64(memory(b, m.worker.Process.Pid, "VmHWM:"))/(1<<20), "rss-peak-MiB")
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// fill gives a host kernel routes that lead nowhere, as somebody else's.
func fill(b *testing.B, n *bgptest.Node, prefixes []netip.Prefix) {
	var lines bytes.Buffer
	for _, p := range prefixes {
		fmt.Fprintf(&lines, "route add blackhole %s\n", p)
	}
	file := b.TempDir() + "/routes"
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	n.Run("ip", "-batch", file)
}

// report tells the median, the 99th percentile where there is one, and the worst.
func report(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(ms(took, 0.5), name+"-p50-ms")
	if len(took) >= 100 {
		b.ReportMetric(ms(took, 0.99), name+"-p99-ms")
	}
	b.ReportMetric(ms(took, 1), name+"-worst-ms")
}

// memory is a line of what the kernel tells of a process' memory (proc_pid_status(5)), in bytes: VmRSS is its resident set, VmHWM the largest so far.
func memory(b *testing.B, pid int, line string) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), line)
	text, _, _ = strings.Cut(strings.TrimSpace(text), " ")
	kib, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}

// processorTime is what a process has used so far, in user and in kernel mode (proc(5): fields 14 and 15 of stat, in hundredths of a second).
func processorTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	sum := 0
	for _, f := range fields[11:13] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		sum += ticks
	}
	return time.Duration(sum) * 10 * time.Millisecond
}
