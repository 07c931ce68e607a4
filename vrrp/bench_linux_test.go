package vrrp

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asWorker starts a router process with the priority that fabric-router gives it.
var asWorker = []string{"chrt", "--rr", "9"}

// Each measurement takes seconds and is made takeoverRuns times, whatever b.N is.
const takeoverRuns = 5

var (
	measured   = map[string][]time.Duration{}
	measuredMu sync.Mutex
)

func once(name string, measure func() []time.Duration) []time.Duration {
	measuredMu.Lock()
	defer measuredMu.Unlock()
	if measured[name] == nil {
		measured[name] = measure()
		slices.Sort(measured[name])
	}
	return measured[name]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkTakeover is what a client loses when the Active dies silently: its process is killed and nothing comes from
// its host any more, while the switch sees a good cable. (Were the cable cut, the switch would flood what is for the
// virtual MAC, and keepalived forwards that while it is Backup.) Probes are 1 ms apart. The Backup has priority 100. Ours, with the priority that
// fabric-router gives it, and keepalived as it comes take turns, and die at the same phases between two advertisements: what is lost depends on that
// by up to an interval. over-formula is how much later than the RFC has it, counted from the last advertisement, a probe was sent that was answered.
func BenchmarkTakeover(b *testing.B) {
	for _, interval := range []time.Duration{time.Second, 100 * time.Millisecond, 30 * time.Millisecond, 10 * time.Millisecond} {
		b.Run(interval.String(), func(b *testing.B) {
			gaps, over := map[string][]time.Duration{}, map[string][]time.Duration{}
			for run := range takeoverRuns {
				phase := interval * time.Duration(run) / takeoverRuns
				for _, who := range []string{"ours", "keepalived"} {
					gap, late := measureTakeover(b, interval, phase, who == "ours")
					for again := 0; late < -interval/2 && again < 3; again++ { // the Backup had not heard the last advertisement: that tells nothing of a takeover
						b.Logf("%s, killed %s after an advertisement: the Backup counted from the one before, measured again", who, phase)
						gap, late = measureTakeover(b, interval, phase, who == "ours")
					}
					gaps[who], over[who] = append(gaps[who], gap), append(over[who], late)
					b.Logf("%s, killed %s after an advertisement: without an answer for %s, %s over the formula", who, phase, gap, late)
				}
			}
			for b.Loop() { // each measurement takes seconds: their number does not follow b.N
			}
			for _, who := range []string{"ours", "keepalived"} {
				slices.Sort(gaps[who])
				slices.Sort(over[who])
				b.ReportMetric(milliseconds(gaps[who][takeoverRuns/2]), who+"-p50-ms")
				b.ReportMetric(milliseconds(gaps[who][takeoverRuns-1]), who+"-worst-ms")
				b.ReportMetric(milliseconds(over[who][takeoverRuns/2]), who+"-over-formula-ms")
			}
			b.ReportMetric(float64(gaps["ours"][takeoverRuns/2])/float64(gaps["keepalived"][takeoverRuns/2]), "keepalived-ratio")
			b.ReportMetric(milliseconds(WorstOutage(interval, 100)), "formula-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// measureTakeover kills the Active a phase after it has advertised. It gives what the client was without, and how much later than the formula has it.
func measureTakeover(b *testing.B, interval, phase time.Duration, ours bool) (gap, over time.Duration) {
	l := newLink(b, 2)
	var kill func()
	if ours {
		l.launch = asWorker
		r1, r2 := l.driver("r1"), l.driver("r2")
		r1.set(testGateway(200, interval))
		r1.waitFor(IPv4, Active)
		r2.set(testGateway(100, interval))
		wait(b, 10*time.Second, "adverts", func() bool { return r2.router(IPv4).In >= 2 })
		kill = r1.kill
	} else {
		k := l.keepalived("r1", 200, interval, "")
		k.waitActive(true)
		l.keepalived("r2", 100, interval, "")
		kill = k.kill
		// It says nothing when it is ready: its interfaces are there before it listens.
		wait(b, 10*time.Second, "the second keepalived", func() bool { return l.try("r2", "ip link show vk6") })
	}
	heard, mute, p := l.adverts(), l.muter("r1"), l.probe(service4)
	p.waitAnswered(b, time.Now().Add(3*interval+200*time.Millisecond))
	heard.after(b, "192.0.2.2", phase, mute)
	kill()
	at := time.Now()
	p.waitAnswered(b, at.Add(20*time.Millisecond))
	p.waitAnswered(b, time.Now().Add(50*time.Millisecond))
	_, lost, gap := p.end()
	if lost == 0 {
		b.Fatal("nothing was lost: the Active was not dead")
	}
	sent := heard.of("192.0.2.2", 51)
	return gap, p.back.Sub(sent[len(sent)-1].Add(WorstOutage(interval, 100)))
}

// BenchmarkHandover is what a client loses in a planned move, with 1 s between advertisements.
func BenchmarkHandover(b *testing.B) {
	packets, worst := 0, time.Duration(0)
	for range takeoverRuns {
		lost, gap := measureHandover(b)
		packets, worst = packets+lost, max(worst, gap)
	}
	for b.Loop() { // see BenchmarkTakeover
	}
	b.ReportMetric(float64(packets), "packets-lost")
	b.ReportMetric(milliseconds(worst), "gap-worst-ms")
	b.ReportMetric(0, "ns/op")
}

func measureHandover(b *testing.B) (lost int, gap time.Duration) {
	l := newLink(b, 2)
	g := testGateway(200, time.Second)
	g.Successors = addrs("192.0.2.3")
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(g)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(testGateway(100, time.Second))
	wait(b, 5*time.Second, "adverts", func() bool { return r2.router(IPv4).In > 0 && r2.router(IPv6).In > 0 })
	p := l.probe(service4)
	p.waitAnswered(b, time.Now())
	if a := r1.order(order{Handover: "gw"}); a.Message != "" {
		b.Fatal(a.Message)
	}
	p.waitAnswered(b, time.Now().Add(2*Linger))
	_, lost, gap = p.end()
	return lost, gap
}

// BenchmarkTrackLost is how long after the Active has been told of a track that it lost another router is Active in both families, and what a client is
// without meanwhile.
func BenchmarkTrackLost(b *testing.B) {
	for _, interval := range []time.Duration{time.Second, 100 * time.Millisecond} {
		b.Run(interval.String(), func(b *testing.B) {
			moved, packets, worst := measureTrackLost(b, interval)
			for b.Loop() { // see BenchmarkTakeover
			}
			slices.Sort(moved)
			b.ReportMetric(milliseconds(moved[len(moved)/2]), "active-p50-ms")
			b.ReportMetric(milliseconds(moved[len(moved)-1]), "active-worst-ms")
			b.ReportMetric(float64(packets), "packets-lost")
			b.ReportMetric(milliseconds(worst), "gap-worst-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func measureTrackLost(b *testing.B, interval time.Duration) (moved []time.Duration, packets int, worst time.Duration) {
	l := newLink(b, 2)
	l.launch = asWorker
	fit := testGateway(200, interval)
	fit.Successors = addrs("192.0.2.3", l.linkLocal("r2"))
	unfit := fit
	unfit.Priority = 0
	r1, r2 := l.driver("r1"), l.driver("r2")
	families := []Family{IPv4, IPv6}
	for range 2 * takeoverRuns {
		r1.set(fit)
		for _, f := range families {
			r1.waitFor(f, Active)
		}
		r2.set(testGateway(100, interval)) // the first time
		for _, f := range families {
			r2.waitFor(f, Backup)
			heard := r2.router(f).In
			wait(b, 10*time.Second, "an advert", func() bool { return r2.router(f).In > heard })
		}
		p := l.probe(service4)
		p.waitAnswered(b, time.Now())
		at, last := time.Now(), time.Duration(0)
		r1.set(unfit)
		for _, f := range families {
			last = max(last, r2.waitFor(f, Active).Since.Sub(at))
		}
		p.waitAnswered(b, time.Now().Add(2*Linger))
		_, lost, gap := p.end()
		moved, packets, worst = append(moved, last), packets+lost, max(worst, gap)
	}
	return moved, packets, worst
}

// BenchmarkStop is how long after its worker is stopped for good the gateway is with the Backup, and what a client is without meanwhile: with a
// successor that is known, and with one that is not and hears no more than the farewell (priority 100: Skew_Time is the bound).
func BenchmarkStop(b *testing.B) {
	for _, known := range []bool{true, false} {
		b.Run(map[bool]string{true: "successor known", false: "farewell"}[known], func(b *testing.B) {
			var gaps []time.Duration
			took := once(b.Name(), func() (out []time.Duration) {
				for range takeoverRuns {
					gap, moved := measureStop(b, known)
					gaps, out = append(gaps, gap), append(out, moved)
				}
				measured[b.Name()+" gaps"] = slices.Sorted(slices.Values(gaps))
				return out
			})
			gaps = measured[b.Name()+" gaps"]
			b.ReportMetric(milliseconds(took[len(took)/2]), "ms-median")
			b.ReportMetric(milliseconds(took[len(took)-1]), "ms-worst")
			b.ReportMetric(milliseconds(gaps[len(gaps)-1]), "ms-client-worst")
			b.ReportMetric(milliseconds(WorstOutage(time.Second, 100)-3*time.Second), "ms-skew")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func measureStop(b *testing.B, known bool) (gap, moved time.Duration) {
	l := newLink(b, 2)
	g := testGateway(200, time.Second)
	if known {
		g.Successors = addrs("192.0.2.3", l.linkLocal("r2"))
	}
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(g)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(testGateway(100, time.Second))
	wait(b, 5*time.Second, "adverts", func() bool { return r2.router(IPv4).In > 0 && r2.router(IPv6).In > 0 })
	p := l.probe(service4)
	p.waitAnswered(b, time.Now())
	at := time.Now()
	if a := r1.order(order{Close: 10 * time.Second}); a.Message != "" {
		b.Fatal(a.Message)
	}
	for _, f := range []Family{IPv4, IPv6} {
		moved = max(moved, r2.waitFor(f, Active).Since.Sub(at))
	}
	p.waitAnswered(b, time.Now().Add(2*Linger))
	_, _, gap = p.end()
	return gap, moved
}

// BenchmarkManyRouters is the processor time of a member that is Active for 255 gateways on one interface, 1 s apart.
func BenchmarkManyRouters(b *testing.B) {
	const window = 10 * time.Second
	spent := once(b.Name(), func() []time.Duration {
		l := newLink(b, 1)
		d := l.driver("r1")
		var gateways []Gateway
		for i := range 255 {
			g := testGateway(255, time.Second)
			g.Name, g.VRID = fmt.Sprint("gw", i), uint8(i+1)
			g.Addresses = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, uint8(i), 1}), 24)}
			gateways = append(gateways, g)
		}
		d.set(gateways...)
		var s ManagerState
		wait(b, 60*time.Second, "all Active", func() bool {
			s = d.order(order{}).State
			return len(s.Routers) == 255 && !slices.ContainsFunc(s.Routers, func(r RouterState) bool { return !r.Accepting })
		})
		first, sent := d.order(order{}), uint64(0)
		time.Sleep(window) // what is measured is this time
		last := d.order(order{})
		for i, r := range last.State.Routers {
			sent += r.Out - first.State.Routers[i].Out
		}
		if want := uint64(255 * (window/time.Second - 1)); sent < want {
			b.Fatalf("%d adverts in %s, want %d", sent, window, want)
		}
		return []time.Duration{last.Spent - first.Spent}
	})
	b.ReportMetric(100*float64(spent[0])/float64(window), "%-of-a-core")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLoad counts transitions that nothing but load explains, while ordinary processes of nice 0 (twice as many as there are
// processors), or goroutines of the router process itself as well, keep all processors busy. Each iteration watches for 2 s; -benchtime 5m makes it
// as many as fit into five minutes.
func BenchmarkLoad(b *testing.B) {
	for _, tc := range []struct {
		name        string
		interval    time.Duration
		launch      []string
		environment []string
	}{
		{"100ms", 100 * time.Millisecond, nil, nil},
		{"100ms and goroutines", 100 * time.Millisecond, nil, []string{"VRRPT_BUSY=1"}},
		{"10ms", 10 * time.Millisecond, nil, nil},
		{"10ms nice", 10 * time.Millisecond, []string{"nice", "-n", "-15"}, nil},
		{"10ms real-time process", 10 * time.Millisecond, []string{"chrt", "--rr", "10"}, nil},
	} {
		b.Run(tc.name, func(b *testing.B) {
			l := newLink(b, 2)
			l.launch = tc.launch
			r1, r2 := l.driver("r1", tc.environment...), l.driver("r2", tc.environment...)
			r1.set(testGateway(200, tc.interval))
			r1.waitFor(IPv4, Active)
			r2.set(testGateway(100, tc.interval))
			r2.waitFor(IPv4, Backup)
			for range 2 * runtime.NumCPU() {
				spinner := l.start("r1", "sh", "-c", "while :; do :; done")
				if err := syscall.Setpriority(syscall.PRIO_PROCESS, spinner.Pid, 0); err != nil { // whatever the benchmark itself has
					b.Fatal(err)
				}
			}
			before, began := r2.router(IPv4).Since, time.Now()
			transitions := 0
			for b.Loop() {
				time.Sleep(2 * time.Second) // what is measured is this time
				if s := r2.router(IPv4); !s.Since.Equal(before) {
					transitions++
					before = s.Since
				}
			}
			b.ReportMetric(float64(transitions), "false-takeovers")
			b.ReportMetric(time.Since(began).Seconds(), "s-watched")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkParse is one received advertisement.
func BenchmarkParse(b *testing.B) {
	p := packetOf(b, good6())
	for b.Loop() {
		if _, err := Parse(p); err != nil {
			b.Fatal(err)
		}
	}
}
