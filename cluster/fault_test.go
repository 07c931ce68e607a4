package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"netfabric/fabric"
)

// ledger is what writers were told about their writes.
type ledger struct {
	mu      sync.Mutex
	acked   map[string]bool
	unknown map[string]bool
	last    time.Time     // of the last acknowledgement
	gap     time.Duration // the longest between two
}

func (l *ledger) ack(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.unknown[name] = true
		return
	}
	l.acked[name] = true
	now := time.Now()
	if !l.last.IsZero() {
		l.gap = max(l.gap, now.Sub(l.last))
	}
	l.last = now
}

// takeGap returns the longest gap since it was last asked.
func (l *ledger) takeGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.gap = 0 }()
	return l.gap
}

// create makes one object and counts it in another one. It fails if the object is there already: then it was applied twice.
func create(name, counter string) func(*fabric.Tx) error {
	return func(tx *fabric.Tx) error {
		if _, ok := tx.Snapshot().Profile(name); ok {
			return fmt.Errorf("%s was applied before", name)
		}
		count := 0
		if c, ok := tx.Snapshot().Profile(counter); ok {
			count, _ = strconv.Atoi(c.Config["user.count"])
		}
		if err := tx.Put(&fabric.Profile{Header: fabric.Header{Name: counter}, Config: fabric.Config{"user.count": strconv.Itoa(count + 1)}}); err != nil {
			return err
		}
		return tx.Put(&fabric.Profile{Header: fabric.Header{Name: name}, Config: fabric.Config{}})
	}
}

// keepWriting writes as fast as it can until stop, and says what it was told.
func keepWriting(t *testing.T, s fabric.Store, id string, l *ledger, stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		name := fmt.Sprintf("w-%s-%d", id, i)
		_, err := s.Apply(t.Context(), create(name, "count-"+id))
		switch fabric.ReasonOf(err) {
		case "", "outcome-unknown":
			l.ack(name, err)
		case "no-quorum", "busy": // refused, which takes seconds: the gap tells, and the audit that it was not applied
			t.Logf("write %s: %v", name, err)
		default:
			t.Errorf("write %s: %v", name, err)
			return
		}
	}
}

// audit compares what writers were told with what is there.
func (l *ledger) audit(t *testing.T, m *member) {
	t.Helper()
	if _, err := m.Apply(t.Context(), func(*fabric.Tx) error { return nil }); err != nil { // brings it up to date
		t.Fatal(err)
	}
	s := m.Snapshot()
	counted, there := 0, 0
	for _, p := range s.Profiles() {
		if c, ok := p.Config["user.count"]; ok {
			n, _ := strconv.Atoi(c)
			counted += n
		}
		if strings.HasPrefix(p.Name, "w-") {
			there++
			if !l.acked[p.Name] && !l.unknown[p.Name] {
				t.Errorf("%s is there, and nobody was told anything of it", p.Name)
			}
		}
	}
	lost := 0
	for name := range l.acked {
		if _, ok := s.Profile(name); !ok {
			lost++
		}
	}
	if lost > 0 || counted != there {
		t.Errorf("%d acknowledged writes lost; %d objects counted as %d", lost, there, counted)
	}
	t.Logf("%d writes acknowledged, %d unknown, %d there", len(l.acked), len(l.unknown), there)
}

func TestLeaderDies(t *testing.T) {
	p, members := startWithProcess(t)
	l := &ledger{acked: map[string]bool{}, unknown: map[string]bool{}}
	var stop atomic.Bool
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() { keepWriting(t, members[i%2].Store(), strconv.Itoa(i), l, &stop) })
	}
	defer writers.Wait()
	defer stop.Store(true)
	settle := func() {
		before := 0
		eventually(t, "writes go on", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			if before == 0 {
				before = len(l.acked)
			}
			return len(l.acked) > before+50
		})
	}
	// The bounds are promises; the machine of the tests is shared, so twice as long is still taken for kept.
	for _, fault := range []struct {
		name   string
		signal syscall.Signal
		bound  time.Duration
	}{{"killed", syscall.SIGKILL, 2 * time.Second}, {"killed again", syscall.SIGKILL, 2 * time.Second}, {"stopped", syscall.SIGSTOP, 4 * time.Second}} {
		p.lead(t, members)
		settle()
		l.takeGap()
		p.signal(t, fault.signal)
		settle()
		gap := l.takeGap()
		t.Logf("leader %s: no write for %s", fault.name, gap.Round(time.Millisecond))
		if gap > fault.bound {
			t.Errorf("leader %s: no write for %s, want at most %s", fault.name, gap, fault.bound)
		}
		if fault.signal == syscall.SIGKILL {
			p.start(t, "-")
		} else {
			p.signal(t, syscall.SIGCONT)
		}
	}
	stop.Store(true)
	writers.Wait()
	for _, m := range members {
		l.audit(t, m)
	}
}

func TestNoQuorum(t *testing.T) {
	members := startCluster(t, 3)
	ctx := t.Context()
	if _, err := members[2].Apply(ctx, create("w-a", "count")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have the write", func() bool { _, ok := members[0].Snapshot().Profile("w-a"); return ok })
	members[1].kill()
	members[2].kill()
	last := members[0]

	begin := time.Now()
	_, err := last.Apply(ctx, create("w-b", "count"))
	took := time.Since(begin)
	if reason := fabric.ReasonOf(err); reason != "no-quorum" && reason != "outcome-unknown" || took > quorumPatience+2*time.Second {
		t.Errorf("first write without quorum: after %s: %v", took, err)
	}
	t.Logf("after %s: %v", took.Round(time.Millisecond), err)

	begin = time.Now()
	_, err = last.Apply(ctx, create("w-c", "count"))
	took = time.Since(begin)
	if fabric.ReasonOf(err) != "no-quorum" || fabric.CodeOf(err) != fabric.CodeUnavailable || took > 3*time.Second {
		t.Errorf("second write without quorum: after %s: %v", took, err)
	}
	t.Logf("after %s: %v", took.Round(time.Millisecond), err)
	for _, want := range []string{"2 of 3", "n2, n3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, ok := last.Snapshot().Profile("w-a"); !ok {
		t.Error("reads do not go on")
	}
	if s := last.Status(); s.Quorum || s.Message == "" || !s.Bootstrapped || s.Members[1].Online {
		t.Errorf("status: %+v", s)
	}

	// The last one reboots.
	initial := last.Snapshot()
	last.kill()
	begin = time.Now()
	again := openMember(t, "n1", last.dir, initial)
	t.Cleanup(func() { again.close(t) })
	if took := time.Since(begin); took > time.Second {
		t.Errorf("open without quorum took %s", took)
	}
	if _, ok := again.Snapshot().Profile("w-a"); !ok || again.Name() != "n1" {
		t.Error("the last good state is not served")
	}
	if _, err := again.Apply(ctx, create("w-d", "count")); fabric.ReasonOf(err) != "no-quorum" {
		t.Errorf("write after boot without quorum: %v", err)
	}

	// A second one comes back: that is a quorum.
	second := openMember(t, "n2", members[1].dir, nil)
	t.Cleanup(func() { second.close(t) })
	eventually(t, "there is a quorum", func() bool { return again.Status().Quorum && second.Status().Quorum })
	if _, err := again.Apply(ctx, create("w-e", "count")); err != nil {
		t.Errorf("write with quorum: %v", err)
	}
}

func TestAllDieAtOnce(t *testing.T) {
	members := startCluster(t, 3)
	const writes = 30
	for i := range writes {
		if _, err := members[i%3].Apply(t.Context(), create(fmt.Sprint("w-", i), "count")); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		m.kill()
	}
	var again []*member
	for _, m := range members {
		a := openMember(t, "again", m.dir, nil)
		t.Cleanup(func() { a.close(t) })
		again = append(again, a)
	}
	for _, m := range again {
		eventually(t, "every write is back", func() bool {
			c, ok := m.Snapshot().Profile("count")
			return ok && c.Config["user.count"] == strconv.Itoa(writes)
		})
	}
}

func TestNotInCluster(t *testing.T) {
	m := openMember(t, "none", t.TempDir(), nil)
	defer m.close(t)
	_, err := m.Apply(t.Context(), func(*fabric.Tx) error { return nil })
	if fabric.ReasonOf(err) != "not-in-cluster" || fabric.CodeOf(err) != fabric.CodeUnavailable {
		t.Errorf("apply: %v", err)
	}
	if s := m.Status(); s.Bootstrapped || s.Quorum {
		t.Errorf("status: %+v", s)
	}
	if _, err := m.AddToken(t.Context(), "n2"); fabric.ReasonOf(err) != "not-in-cluster" {
		t.Errorf("add: %v", err)
	}
	if err := m.Remove(t.Context(), "n2", false); fabric.ReasonOf(err) != "not-in-cluster" {
		t.Errorf("remove: %v", err)
	}
}

func TestCanceledWait(t *testing.T) {
	m := startCluster(t, 1)[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := m.Apply(ctx, create("w-a", "count")); fabric.CodeOf(err) != fabric.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}
