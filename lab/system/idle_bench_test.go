package system

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"netfabric/fabric/api"
	"netfabric/lab"
)

// BenchmarkIdle measures what processor time the programs of a member use while nothing changes: with 10,000 prefixes routed to its instances and
// announced to both routers, and before it had any. It is the same member both times, as the one whose database leads does more than others.
// The time is twice the 30 s after which modules and the worker look at everything again. 100 % is one processor.
func BenchmarkIdle(b *testing.B) {
	const instances, prefixes, settling, span = 5, 2000, 40 * time.Second, time.Minute
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
	`)
	socket, err := w.lab.MustNode(b, "n1").Path("/var/lib/fabric/unix.socket")
	if err != nil {
		b.Fatal(err)
	}
	client := api.NewUnixClient(socket)
	for i := range instances {
		w.ctl(b, "n1", fmt.Sprintf("launch busybox web%d --target n1", i+1))
	}
	<-time.After(settling) // sessions are no longer young, and all that was to be told has been
	idle := w.busy(b, "n1", span)
	for i := range instances {
		var routes []string
		for n := range prefixes {
			routes = append(routes, fmt.Sprintf("198.%d.%d.%d/32", 18+i/8, i%8*32+n/256, n%256))
		}
		nic := map[string]string{"type": "nic", "network": "fabbr0", "ipv4.routes.external": strings.Join(routes, ",")}
		op, err := client.PatchInstance(b.Context(), fmt.Sprintf("web%d", i+1), map[string]any{"devices": map[string]any{"eth0": nic}}, "")
		if err == nil && op != nil {
			err = op.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, router := range []string{"r1", "r2"} {
		lab.WaitFor(b, 2*time.Minute, "10,000 routes", func() error {
			if have := strings.Count(w.lab.MustNode(b, router).MustExec(b, "ip", "route"), "\n198."); have < instances*prefixes {
				return fmt.Errorf("%s has %d", router, have)
			}
			return nil
		})
	}
	<-time.After(settling)
	for b.Loop() {
		announcing, added := w.busy(b, "n1", span), 0.0
		for program, percent := range announcing {
			added += percent - idle[program]
			b.ReportMetric(percent, "announcing-"+program+"-%")
			b.ReportMetric(idle[program], "idle-"+program+"-%")
		}
		b.ReportMetric(added, "added-%")
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// busy is what a member's programs use of a processor within a time, in percent.
func (w *world) busy(b *testing.B, member string, span time.Duration) map[string]float64 {
	b.Helper()
	before, percent := map[string]time.Duration{}, map[string]float64{"fabric-node": 0, "fabric-router": 0}
	for program := range percent {
		before[program] = w.used(b, member, program)
	}
	began := time.Now()
	<-time.After(span)
	took := time.Since(began)
	for program := range percent {
		percent[program] = 100 * float64(w.used(b, member, program)-before[program]) / float64(took)
	}
	return percent
}

// used is the processor time that a member's processes of a program have taken (proc(5): fields 14 and 15 of stat, in hundredths of a second).
func (w *world) used(b *testing.B, member, program string) (sum time.Duration) {
	b.Helper()
	list, err := w.lab.MustNode(b, member).Processes()
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range list {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil || !strings.Contains(string(text), "("+program+")") {
			continue
		}
		_, after, _ := strings.Cut(string(text), ") ")
		for _, field := range strings.Fields(after)[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	if sum == 0 {
		b.Fatalf("%s does not run %s", member, program)
	}
	return sum
}
