package bfd

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// birdConfig has a session on each sort of address: of BFD's own protocol, for want of a user of the link.
const birdConfig = `
router id 192.0.2.2;
protocol device {}
protocol bfd bfd1 {
	interface "bfdB" { min rx interval 50 ms; min tx interval 50 ms; idle tx interval 1 s; multiplier 3; };
	neighbor 192.0.2.1 dev "bfdB" local 192.0.2.2;
	neighbor 2001:db8::1 dev "bfdB" local 2001:db8::2;
	neighbor fe80::1 dev "bfdB" local fe80::2;
}
`

// patientBIRD is for tests in which nothing may fail, however busy the machine is.
var patientBIRD = strings.ReplaceAll(birdConfig, "multiplier 3", "multiplier 10")

type bird struct {
	*daemon
	control string
}

func startBIRD(t testing.TB, ns, config string) *bird {
	t.Helper()
	dir := t.TempDir()
	file, control := filepath.Join(dir, "bird.conf"), filepath.Join(dir, "bird.ctl")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bird{startDaemon(t, ns, "bird", "-f", "-c", file, "-s", control, "-P", filepath.Join(dir, "bird.pid")), control}
	await(t, "BIRD answers", func() bool {
		select {
		case <-b.exited:
			t.Fatalf("BIRD ended: %s", b.output)
		default:
		}
		return exec.Command("birdc", "-s", control, "show", "status").Run() == nil
	})
	return b
}

func (b *bird) do(t testing.TB, words ...string) string {
	t.Helper()
	return run(t, "birdc", append([]string{"-s", b.control}, words...)...)
}

var birdKeys = []Key{
	{Address: netip.MustParseAddr("192.0.2.2")},
	{Address: netip.MustParseAddr("2001:db8::2")},
	{Address: netip.MustParseAddr("fe80::2%bfdA")},
}

func birdPeers(c Config) (peers []Peer) {
	for _, k := range birdKeys {
		peers = append(peers, Peer{Key: k, Config: c})
	}
	return peers
}

func TestBIRD(t *testing.T) {
	p := newPair(t)
	b := startBIRD(t, p.b, patientBIRD)
	m := startIn(t, p.a)
	if err := m.Realtime(); err != nil {
		t.Log(err)
	}
	ours := Config{MinTx: 100 * time.Millisecond, MinRx: 50 * time.Millisecond, Multiplier: 10}
	if err := m.Set(birdPeers(ours)); err != nil {
		t.Fatal(err)
	}
	for _, k := range birdKeys {
		awaitState(t, m, k, Up)
	}
	// Both sides take the slower of what one wants to send and the other to receive.
	for _, k := range birdKeys {
		await(t, "timers are negotiated with "+k.String(), func() bool {
			s := stateOf(t, m, k).Status
			return s.TransmitInterval == 100*time.Millisecond && s.DetectionTime == 500*time.Millisecond && !s.PollSequence
		})
	}
	await(t, "BIRD has the timers too", func() bool {
		return strings.Count(b.do(t, "show", "bfd", "sessions"), "0.050    1.000") == len(birdKeys)
	})

	ours = Config{MinTx: 50 * time.Millisecond, MinRx: 200 * time.Millisecond, Multiplier: 10}
	if err := m.Set(birdPeers(ours)); err != nil {
		t.Fatal(err)
	}
	await(t, "both sides have the changed timers", func() bool {
		for _, k := range birdKeys {
			if s := stateOf(t, m, k).Status; s.DetectionTime != 2*time.Second || s.PollSequence {
				return false
			}
		}
		return strings.Count(b.do(t, "show", "bfd", "sessions"), "0.200    0.500") == len(birdKeys)
	})
	for _, k := range birdKeys {
		if s := stateOf(t, m, k); s.Flaps != 0 || s.Status.State != Up || len(s.Discards) != 0 {
			t.Errorf("%s: %+v", k, s)
		}
	}
}

// BIRD dies: all sessions see it in time.
func TestBIRDDies(t *testing.T) {
	p := newPair(t)
	b := startBIRD(t, p.b, birdConfig)
	m := startIn(t, p.a)
	if err := m.Set(birdPeers(Config{MinTx: 50 * time.Millisecond, MinRx: 50 * time.Millisecond, Multiplier: 3})); err != nil {
		t.Fatal(err)
	}
	events := map[Key]<-chan Event{}
	for _, k := range birdKeys {
		awaitState(t, m, k, Up)
		await(t, "timers are negotiated", func() bool { return stateOf(t, m, k).Status.DetectionTime == 150*time.Millisecond })
		events[k] = watch(t, m, k)
	}
	began := time.Now()
	b.kill()
	for _, k := range birdKeys {
		e := awaitEvent(t, events[k], Down)
		t.Logf("%s: %s after %s", k, e.Diag, e.At.Sub(began))
		if !e.Failure() || e.Diag != DiagExpired || e.At.Sub(began) > 5*time.Second {
			t.Errorf("%s: event %+v after %s", k, e, e.At.Sub(began))
		}
		if s := stateOf(t, m, k); s.Flaps != 1 || s.Message != "nothing heard within the detection time" {
			t.Errorf("%s: %d flaps, %q", k, s.Flaps, s.Message)
		}
	}
	startBIRD(t, p.b, birdConfig)
	for _, k := range birdKeys {
		awaitState(t, m, k, Up)
	}
}

// What this side takes down for its operator is no failure to BIRD.
func TestBIRDIsTold(t *testing.T) {
	p := newPair(t)
	b := startBIRD(t, p.b, patientBIRD)
	m := startIn(t, p.a)
	c := steady
	if err := m.Set(birdPeers(c)); err != nil {
		t.Fatal(err)
	}
	for _, k := range birdKeys {
		awaitState(t, m, k, Up)
	}
	if err := m.Set(birdPeers(c)[1:]); err != nil {
		t.Fatal(err)
	}
	await(t, "the session that is not wanted has left", func() bool { states, _ := m.State(); return len(states) == 2 })
	if s := birdSession(b.do(t, "show", "bfd", "sessions"), "192.0.2.1"); !strings.Contains(s, " Down ") {
		t.Errorf("BIRD says: %q", s)
	}
	if s := birdSession(b.do(t, "show", "bfd", "sessions"), "2001:db8::1"); !strings.Contains(s, " Up ") {
		t.Errorf("BIRD says: %q", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if s := birdSession(b.do(t, "show", "bfd", "sessions"), "2001:db8::1"); !strings.Contains(s, " Down ") {
		t.Errorf("BIRD says: %q", s)
	}
}

// birdSession is the line of a session.
func birdSession(table, address string) string {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == address {
			return line
		}
	}
	return ""
}
