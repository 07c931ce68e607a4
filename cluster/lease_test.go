package cluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netfabric/fabric"
)

func at(seconds float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// leaseStep is one call of the machine.
type leaseStep struct {
	now    float64
	do     leaseAction // what expire must want then
	answer *leaseRow   // what the database says to it; nil: nothing
	begin  bool
	end    bool
}

func TestLeaseMachine(t *testing.T) {
	held := func(holder string, term, beat uint64) *leaseRow { return &leaseRow{holder, term, beat} }
	for _, test := range []struct {
		name  string
		steps []leaseStep
	}{
		{"a free lease is taken at once", []leaseStep{
			{0, leaseRead, held("", 0, 0), false, false},
			{0, leaseClaim, held("a", 1, 1), true, false},
			{1.9, leaseNothing, nil, false, false},
			{2, leaseBeat, held("a", 1, 2), false, false},
		}},
		{"a claim that comes second begins nothing", []leaseStep{
			{0, leaseRead, held("", 0, 0), false, false},
			{0, leaseClaim, held("b", 1, 1), false, false},
			{2, leaseRead, held("b", 1, 2), false, false},
		}},
		{"a beat that moves is left alone, one that stands still is not", []leaseStep{
			{0, leaseRead, held("b", 7, 1), false, false},
			{2, leaseRead, held("b", 7, 2), false, false},
			{12.5, leaseRead, held("b", 7, 2), false, false}, // not since 2 + 12 yet
			{14.5, leaseClaim, held("a", 8, 1), true, false},
		}},
		{"time without the database is not time without a beat", []leaseStep{
			{0, leaseRead, held("b", 7, 1), false, false},
			{2, leaseRead, nil, false, false},
			{30, leaseRead, held("b", 7, 9), false, false},
			{32, leaseRead, held("b", 7, 9), false, false},
			{42.1, leaseClaim, held("a", 8, 1), true, false},
		}},
		{"a holder that can't renew stops", []leaseStep{
			{0, leaseRead, held("", 0, 0), false, false},
			{0, leaseClaim, held("a", 1, 1), true, false},
			{2, leaseBeat, nil, false, false},
			{2.5, leaseBeat, nil, false, false},
			{6, leaseQuit, nil, false, false},
			{6, leaseRead, held("b", 2, 1), false, false},
		}},
		{"a holder that was replaced stops", []leaseStep{
			{0, leaseRead, held("", 0, 0), false, false},
			{0, leaseClaim, held("a", 1, 1), true, false},
			{2, leaseBeat, held("b", 2, 1), false, true},
		}},
		{"what an earlier life held is taken at once", []leaseStep{
			{0, leaseRead, held("a", 3, 5), false, false},
			{0, leaseClaim, held("a", 4, 1), true, false},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := lease{self: "a"}
			for i, step := range test.steps {
				now := at(step.now)
				got := l.expire(now)
				if got != step.do {
					t.Fatalf("step %d at %gs: action %d, want %d", i, step.now, got, step.do)
				}
				switch {
				case got == leaseNothing || got == leaseQuit:
				case step.answer == nil:
					l.missed(now)
				default:
					if begin, end := l.saw(now, now, *step.answer, got); begin != step.begin || end != step.end {
						t.Fatalf("step %d at %gs: begin %v, end %v", i, step.now, begin, end)
					}
				}
			}
		})
	}
}

// TestLeaseHasOneHolder runs two machines against one row, on one clock, over answers that get lost, and members that fall silent.
func TestLeaseHasOneHolder(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		row := leaseRow{}
		machines := []*lease{{self: "a"}, {self: "b"}}
		silentUntil := make([]time.Time, 2)
		terms := map[uint64]string{}
		led := 0
		for now := at(0); now.Before(at(300)); now = now.Add(50 * time.Millisecond) {
			for i, l := range machines {
				if now.Before(l.deadline()) {
					continue
				}
				if random.IntN(40) == 0 {
					silentUntil[i] = now.Add(time.Duration(random.IntN(30)) * time.Second)
				}
				action := l.expire(now)
				if action == leaseNothing || action == leaseQuit {
					continue
				}
				reached, answered := now.After(silentUntil[i]), random.IntN(10) > 0
				if reached {
					switch {
					case action == leaseClaim && row == l.row:
						row = leaseRow{l.self, row.term + 1, 1}
					case action == leaseBeat && row.holder == l.self && row.term == l.row.term:
						row.beat++
					}
				}
				if !reached || !answered {
					l.missed(now)
					continue
				}
				l.saw(now, now, row, action)
			}
			if machines[0].leads && machines[1].leads {
				t.Fatalf("seed %d: both lead at %s", seed, now.Sub(at(0)))
			}
			for _, l := range machines {
				if l.leads {
					led++
					if other, ok := terms[l.row.term]; ok && other != l.self {
						t.Fatalf("seed %d: term %d belongs to both", seed, l.row.term)
					}
					terms[l.row.term] = l.self
				}
			}
		}
		if led == 0 {
			t.Errorf("seed %d: nobody ever led", seed)
		}
	}
}

func TestLead(t *testing.T) {
	members := startCluster(t, 2)
	var running atomic.Int32
	var mu sync.Mutex
	var terms []uint64
	work := func(ctx context.Context, term uint64) {
		if running.Add(1) != 1 {
			t.Error("two lead at once")
		}
		mu.Lock()
		terms = append(terms, term)
		mu.Unlock()
		<-ctx.Done()
		running.Add(-1)
	}
	first, endFirst := context.WithCancel(t.Context())
	second, endSecond := context.WithCancel(t.Context())
	var leads sync.WaitGroup
	defer leads.Wait()
	defer endSecond()
	defer endFirst()
	leads.Go(func() { members[0].Lead(first, "x", work) })
	eventually(t, "the first leads", func() bool { return running.Load() == 1 })
	leads.Go(func() { members[1].Lead(second, "x", work) })
	endFirst()
	eventually(t, "the second leads", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return running.Load() == 1 && len(terms) == 2
	})
	mu.Lock()
	defer mu.Unlock()
	if terms[1] <= terms[0] {
		t.Errorf("terms %v", terms)
	}
}

// TestFence checks that a write of a leader that was replaced without knowing is refused.
func TestFence(t *testing.T) {
	m := startCluster(t, 1)[0]
	ctx := context.WithValue(t.Context(), fenceKey{}, &fence{"x", "n1", 3})
	set := func(holder string, term int) {
		if err := m.run(t.Context(), func(ctx context.Context, c *conn) error {
			return c.exec(ctx, "INSERT OR REPLACE INTO lease (name, holder, term, beat) VALUES ('x', ?, ?, 1)", holder, term)
		}); err != nil {
			t.Fatal(err)
		}
	}
	set("n1", 3)
	if _, err := m.Apply(ctx, create("w-a", "count")); err != nil {
		t.Errorf("write of the holder: %v", err)
	}
	set("n2", 4)
	if _, err := m.Apply(ctx, create("w-b", "count")); fabric.ReasonOf(err) != "lease-lost" || fabric.CodeOf(err) != fabric.CodeStale {
		t.Errorf("write of a former holder: %v", err)
	}
	if _, ok := m.Snapshot().Profile("w-b"); ok {
		t.Error("it was made")
	}
}

func TestLiveness(t *testing.T) {
	var l liveness
	const threshold = 10 * time.Second
	for i, step := range []struct {
		now    float64
		beats  map[string]uint64
		online string
	}{
		{0, map[string]uint64{"a": 5, "b": 9}, ""}, // who knows how old these are
		{1, map[string]uint64{"a": 6, "b": 9}, "a"},
		{2, map[string]uint64{"a": 7, "b": 9, "c": 1}, "ac"}, // c came while we looked
		{9, map[string]uint64{"a": 7, "b": 10, "c": 1}, "abc"},
		{12, map[string]uint64{"a": 7, "b": 11, "c": 1}, "abc"},
		{12.1, map[string]uint64{"a": 7, "b": 11, "c": 1}, "b"},
		{13, map[string]uint64{"a": 1, "b": 11}, "ab"}, // a was removed and added again
	} {
		now := at(step.now)
		l.observe(now, step.beats)
		got := ""
		for _, name := range []string{"a", "b", "c"} {
			if l.online(now, name, threshold) {
				got += name
			}
		}
		if got != step.online {
			t.Errorf("step %d: online %q, want %q", i, got, step.online)
		}
	}
}
