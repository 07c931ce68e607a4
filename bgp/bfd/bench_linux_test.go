package bfd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rounds bounds how often the slow benchmarks repeat, whatever -benchtime says.
const rounds = 11

// BenchmarkDetection cuts the cable between this package and BIRD, and measures on both sides until the session is seen down.
func BenchmarkDetection(b *testing.B) {
	for _, interval := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(fmt.Sprintf("3x%s", interval), func(b *testing.B) {
			p := newPair(b)
			cable := splice(b, p)
			logFile := filepath.Join(b.TempDir(), "bird.log")
			ms := interval.Milliseconds()
			startBIRD(b, p.b, fmt.Sprintf(`
log "%s" all;
timeformat log "%%s.%%6f";
debug protocols { events };
router id 192.0.2.2;
protocol device {}
protocol bfd bfd1 {
	interface "bfdB" { min rx interval %d ms; min tx interval %d ms; idle tx interval 1 s; multiplier 3; };
	neighbor 192.0.2.1 dev "bfdB" local 192.0.2.2;
}
`, logFile, ms, ms))
			m := startIn(b, p.a)
			k := sorts[0].a.Key
			if err := m.Set([]Peer{{Key: k, Config: Config{MinTx: interval, MinRx: interval, Multiplier: 3}}}); err != nil {
				b.Fatal(err)
			}
			events := watch(b, m, k)
			var ours, theirs []time.Duration
			for range min(b.N, rounds) {
				await(b, "both are up with the timers", func() bool {
					s := stateOf(b, m, k).Status
					return s.State == Up && s.DetectionTime == 3*interval && s.Remote.State == Up && !s.PollSequence
				})
				<-time.After(time.Duration(rand.Int64N(int64(200*time.Millisecond))) + 100*time.Millisecond) // at any phase of the timers
				for len(events) > 0 {
					<-events
				}
				seen := len(birdDowns(b, logFile))
				cut := time.Now()
				cable.cut(b)
				e := awaitEvent(b, events, Down)
				ours = append(ours, e.At.Sub(cut))
				await(b, "BIRD logs the session down", func() bool { return len(birdDowns(b, logFile)) > seen })
				theirs = append(theirs, birdDowns(b, logFile)[seen].Sub(cut))
				cable.mend(b)
			}
			report(b, "ours", ours)
			report(b, "bird", theirs)
			b.ReportMetric(0, "ns/op") // of no meaning here
		})
	}
}

func report(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, name+"-worst-ms")
}

// birdDowns are the times at which BIRD logged that its session left Up.
func birdDowns(b *testing.B, file string) (times []time.Time) {
	b.Helper()
	log, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, "from Up to Down") {
			continue
		}
		var seconds, micros int64
		if _, err := fmt.Sscanf(line, "%d.%d ", &seconds, &micros); err != nil {
			b.Fatalf("BIRD's log line %q: %v", line, err)
		}
		times = append(times, time.Unix(seconds, micros*1000))
	}
	return times
}

// cable is a bridge in the middle of a pair: it can be cut without either side losing its carrier.
type cable struct {
	ns string
}

func splice(b *testing.B, p pair) cable {
	b.Helper()
	c := cable{"bfdt-c-" + strings.TrimPrefix(p.a, "bfdt-a-")}
	run(b, "ip", "netns", "add", c.ns)
	b.Cleanup(func() { run(b, "ip", "netns", "del", c.ns) })
	run(b, "ip", "-n", p.a, "link", "del", "bfdA")
	run(b, "ip", "-n", c.ns, "link", "add", "middle", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
	run(b, "ip", "-n", c.ns, "link", "set", "middle", "up")
	for i, side := range []struct{ ns, link, port string }{{p.a, "bfdA", "portA"}, {p.b, "bfdB", "portB"}} {
		run(b, "ip", "link", "add", side.link, "netns", side.ns, "type", "veth", "peer", "name", side.port, "netns", c.ns)
		run(b, "ip", "-n", c.ns, "link", "set", side.port, "master", "middle", "up")
		run(b, "ip", "-n", side.ns, "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", side.link)
		run(b, "ip", "-n", side.ns, "link", "set", side.link, "up")
	}
	return c
}

func (c cable) cut(b *testing.B)  { c.bridge(b, unix.SIOCBRDELIF) }
func (c cable) mend(b *testing.B) { c.bridge(b, unix.SIOCBRADDIF) }

func (c cable) bridge(b *testing.B, request uint) {
	b.Helper()
	inside(b, c.ns, func() error {
		port, err := interfaceIndex("portB")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		middle, err := unix.NewIfreq("middle")
		if err != nil {
			return err
		}
		middle.SetUint32(uint32(port))
		return unix.IoctlIfreq(fd, request, middle)
	})
}

// BenchmarkReceive gives packets to an engine of 100 sessions that are up.
func BenchmarkReceive(b *testing.B) {
	e, datagrams := busyEngine(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e.receive(epoch, datagrams[i%len(datagrams)])
		i++
	}
}

// BenchmarkTransmit lets an engine of 100 sessions send its periodic packets.
func BenchmarkTransmit(b *testing.B) {
	e, datagrams := busyEngine(b)
	b.ReportAllocs()
	for b.Loop() {
		now := e.next()
		e.expire(now)
		if s := e.queue[0]; !s.expires.IsZero() && s.expires.Sub(now) < 50*time.Millisecond {
			b.StopTimer()
			for _, d := range datagrams {
				e.receive(now, d)
			}
			b.StartTimer()
		}
	}
}

type nowhere struct{}

func (nowhere) open(Key) (path, int, *pathError) { return nowhere{}, 0, nil }
func (nowhere) send([]byte) *pathError           { return nil }
func (nowhere) close()                           {}

func busyEngine(b *testing.B) (*engine, []datagram) {
	b.Helper()
	e := newEngine(nowhere{}, testRandom(), func(Event) {})
	var peers []Peer
	for i := range 100 {
		peers = append(peers, Peer{Key: Key{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}, Config: fast, MinTTL: 255})
	}
	e.set(epoch, peers)
	var datagrams []datagram
	for _, p := range peers {
		for _, state := range []State{Init, Up} {
			packet := heard(state)
			packet.YourDiscr = e.sessions[p.Key].localDiscr
			packet.Final = state == Up
			d := datagram{source: p.Address, ttl: 255, payload: packet.Append(nil)}
			e.receive(epoch, d)
			if state == Up {
				packet.Final = false
				d.payload = packet.Append(nil)
				datagrams = append(datagrams, d)
			}
		}
	}
	return e, datagrams
}

// BenchmarkSockets sends a packet from a session's socket and receives it from the kernel.
func BenchmarkSockets(b *testing.B) {
	p := newPair(b)
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		b.Run(address, func(b *testing.B) {
			inside(b, p.a, func() error {
				l := newHost()
				if err := l.waker.open(); err != nil {
					return err
				}
				defer l.close()
				l.repoll()
				to, _, fault := l.open(Key{Address: netip.MustParseAddr(address)})
				if fault != nil {
					return fault.err
				}
				defer to.close()
				b.ReportAllocs()
				for b.Loop() {
					if fault := to.send(plainBytes); fault != nil {
						return fault.err
					}
					l.wait(time.Now().Add(time.Second))
					if _, ok := l.receive(); !ok {
						return fmt.Errorf("nothing came")
					}
				}
				return nil
			})
		})
	}
}

// BenchmarkBusy counts how often a session at 3×10 ms fails in two seconds while this process wants all processors: with the session in this
// process, in a process of its own, and with BIRD as the one that has it. The other end is a process of its own.
func BenchmarkBusy(b *testing.B) {
	c := Config{MinTx: 10 * time.Millisecond, MinRx: 10 * time.Millisecond, Multiplier: 3}
	for _, subject := range []struct {
		name  string
		start func(b *testing.B, p pair)
	}{
		{"in-process", func(b *testing.B, p pair) { set(b, startIn(b, p.b), Peer{Key: sorts[0].b.Key, Config: c}) }},
		{"own-process", func(b *testing.B, p pair) {
			set(b, newRemoteHost(b, p.b, time.Minute).connect(b), Peer{Key: sorts[0].b.Key, Config: c})
		}},
		{"bird", func(b *testing.B, p pair) {
			startBIRD(b, p.b, strings.ReplaceAll(birdConfig, "50 ms", "10 ms"))
		}},
	} {
		b.Run(subject.name, func(b *testing.B) {
			p := newPair(b)
			other := newRemoteHost(b, p.a, time.Minute).connect(b)
			set(b, other, Peer{Key: sorts[0].a.Key, Config: c})
			subject.start(b, p)
			await(b, "the session is up with the timers", func() bool {
				s := stateOf(b, other, sorts[0].a.Key).Status
				return s.State == Up && s.DetectionTime == 30*time.Millisecond && !s.PollSequence
			})
			before := stateOf(b, other, sorts[0].a.Key).Flaps
			busy(2 * time.Second)
			b.ReportMetric(float64(stateOf(b, other, sorts[0].a.Key).Flaps-before), "failures")
			b.ReportMetric(0, "ns/op") // of no meaning here
		})
	}
}
