package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

// fake is a module whose work is a function; it remembers the views it was given.
type fake struct {
	name string
	wake chan struct{}

	mu    sync.Mutex
	views []fabric.View
	do    func(v fabric.View) (fabric.Report, error)
}

func newFake(name string) *fake { return &fake{name: name, wake: make(chan struct{}, 1)} }

func (f *fake) Name() string          { return f.name }
func (f *fake) Wake() <-chan struct{} { return f.wake }

func (f *fake) Reconcile(_ context.Context, v fabric.View) (fabric.Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views = append(f.views, v)
	if f.do == nil {
		return fabric.Report{}, nil
	}
	return f.do(v)
}

func (f *fake) will(do func(v fabric.View) (fabric.Report, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.views)
}

func (f *fake) last() fabric.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.views[len(f.views)-1]
}

func apply(t *testing.T, s fabric.Store, o fabric.Object) {
	t.Helper()
	if _, err := s.Apply(t.Context(), func(tx *fabric.Tx) error { return tx.Put(o) }); err != nil {
		t.Fatal(err)
	}
}

func profile(name string) *fabric.Profile { return &fabric.Profile{Header: fabric.Header{Name: name}} }

// start runs an agent in the bubble of a synctest until the test ends.
func start(t *testing.T, o Options) *Agent {
	t.Helper()
	o.Member = "n1"
	o.Log = slog.New(slog.DiscardHandler)
	a := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return a
}

func TestModulesAreNotCalledBeforeAnythingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, m := fabrictest.NewMemory(), newFake("m")
		start(t, Options{Store: store, Modules: []fabric.Module{m}})
		time.Sleep(time.Hour)
		if m.calls() != 0 {
			t.Fatalf("called %d times with an empty snapshot: a module would remove what it does not find there", m.calls())
		}
		apply(t, store, profile("p"))
		synctest.Wait()
		if m.calls() == 0 || m.last().Desired.Revision != 1 || m.last().Member != "n1" {
			t.Fatalf("after the first write: %d calls", m.calls())
		}
	})
}

func TestWakePeriodAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, m := fabrictest.NewMemory(), newFake("m")
		apply(t, store, profile("p"))
		start(t, Options{Store: store, Modules: []fabric.Module{m}, Period: time.Minute})
		time.Sleep(gatherFor)
		synctest.Wait()
		begun := m.calls() // what it reported first is a change of the store, which wakes it once more
		m.wake <- struct{}{}
		synctest.Wait()
		if m.calls() != begun+1 {
			t.Fatalf("after its own wake: %d calls more", m.calls()-begun)
		}
		m.will(func(fabric.View) (fabric.Report, error) { return fabric.Report{Again: time.Second}, nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.calls() != begun+2 {
			t.Fatalf("after the period: %d calls more", m.calls()-begun)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if m.calls() != begun+3 {
			t.Fatalf("after what it asked for: %d calls more", m.calls()-begun)
		}
	})
}

func TestFailureBacksOffAndIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, m := fabrictest.NewMemory(), newFake("m")
		apply(t, store, profile("p"))
		m.will(func(fabric.View) (fabric.Report, error) {
			return fabric.Report{}, fabric.Errorf(fabric.CodeInternal, "broken", "no luck")
		})
		start(t, Options{Store: store, Modules: []fabric.Module{m}})
		time.Sleep(10 * time.Second) // calls at 0 (twice: the first report wakes it), 1, 3 and 7 s
		synctest.Wait()
		if m.calls() != 5 {
			t.Fatalf("%d calls in 10 s of failing", m.calls())
		}
		health := store.Reports().All(fabric.ConditionModule)
		if len(health) != 1 || health[0].OK || health[0].Reason != "broken" || health[0].Detail != "m" || health[0].Member != "n1" {
			t.Fatalf("conditions: %+v", health)
		}
		m.will(func(fabric.View) (fabric.Report, error) { panic("boom") })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if health := store.Reports().All(fabric.ConditionModule); health[0].OK {
			t.Fatal("a panic counts as success")
		}
		m.will(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if health := store.Reports().All(fabric.ConditionModule); !health[0].OK {
			t.Fatalf("still failing: %+v", health)
		}
	})
}

func TestFactsOfOneModuleReachTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fabrictest.NewMemory(), newFake("a"), newFake("b")
		apply(t, store, profile("p"))
		facts := fabric.Facts{Pools: map[string]fabric.PoolFact{"p": {Driver: "dir"}}}
		a.will(func(fabric.View) (fabric.Report, error) { return fabric.Report{Facts: facts}, nil })
		agent := start(t, Options{Store: store, Modules: []fabric.Module{a, b}})
		if b.last().Facts.Pools["p"].Driver != "dir" || agent.Facts().Pools["p"].Driver != "dir" {
			t.Fatal("facts did not arrive")
		}
		before := b.calls()
		a.wake <- struct{}{}
		synctest.Wait()
		if b.calls() != before {
			t.Fatal("the same facts again woke the other module")
		}
	})
}

func TestReportsWaitForAllModulesAndKeepTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := fabrictest.NewMemory(), newFake("a"), newFake("b")
		apply(t, store, profile("p"))
		key := fabric.Key{Kind: fabric.KindProfile, Name: "p"}
		if err := store.Report(t.Context(), "n1", []fabric.Condition{{Object: key, Member: "n1", Type: fabric.ConditionReady, OK: true, Message: "earlier run"}}); err != nil {
			t.Fatal(err)
		}
		condition := func(ok bool, message string) func(fabric.View) (fabric.Report, error) {
			return func(fabric.View) (fabric.Report, error) {
				return fabric.Report{Conditions: []fabric.Condition{{Object: key, Type: fabric.ConditionReady, OK: ok, Message: message}}}, nil
			}
		}
		a.will(condition(true, "first"))
		hold := make(chan struct{})
		b.will(func(fabric.View) (fabric.Report, error) { <-hold; return fabric.Report{}, nil })
		agent := start(t, Options{Store: store, Modules: []fabric.Module{a, b}})
		if c, _ := store.Reports().Get(key, "n1", fabric.ConditionReady); c.Message != "earlier run" {
			t.Fatalf("stored before all modules have spoken: %+v", c)
		}
		close(hold)
		time.Sleep(gatherFor)
		synctest.Wait()
		first, _ := store.Reports().Get(key, "n1", fabric.ConditionReady)
		if first.Message != "first" || first.Since.IsZero() {
			t.Fatalf("stored: %+v", first)
		}
		time.Sleep(time.Hour)
		a.will(condition(true, "second"))
		a.wake <- struct{}{}
		time.Sleep(gatherFor)
		synctest.Wait()
		if c, _ := store.Reports().Get(key, "n1", fabric.ConditionReady); c.Message != "second" || !c.Since.Equal(first.Since) {
			t.Fatalf("a new message moved the time: %+v", c)
		}
		store.Refuse(fabric.Errorf(fabric.CodeUnavailable, "no-quorum", "no quorum"))
		a.will(condition(false, "third"))
		a.wake <- struct{}{}
		synctest.Wait()
		if c, _ := agent.Reports().Get(key, "n1", fabric.ConditionReady); c.OK || c.Since.Equal(first.Since) {
			t.Fatalf("own word is not shown without quorum: %+v", c)
		}
		store.Refuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if c, _ := store.Reports().Get(key, "n1", fabric.ConditionReady); c.Message != "third" {
			t.Fatalf("not stored after quorum came back: %+v", c)
		}
	})
}

func TestWordsThatComeAllTheTimeAreStoredNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, m := fabrictest.NewMemory(), newFake("m")
		apply(t, store, profile("p"))
		key := fabric.Key{Kind: fabric.KindProfile, Name: "p"}
		said := 0
		m.will(func(fabric.View) (fabric.Report, error) {
			return fabric.Report{Conditions: []fabric.Condition{{Object: key, Type: fabric.ConditionReady, OK: true, Message: strconv.Itoa(said)}}}, nil
		})
		start(t, Options{Store: store, Modules: []fabric.Module{m}})
		time.Sleep(time.Second)
		begun := store.Reports().Counter
		say := func() {
			m.mu.Lock()
			said++
			m.mu.Unlock()
			m.wake <- struct{}{}
		}
		say()
		time.Sleep(gatherFor)
		synctest.Wait()
		if n := store.Reports().Counter - begun; n != 1 {
			t.Fatalf("after a rest, a word is stored %d times after %s", n, gatherFor)
		}
		for range 200 {
			say()
			time.Sleep(5 * time.Millisecond)
		}
		if n, most := store.Reports().Counter-begun, uint64(1+time.Second/storeEvery); n > most {
			t.Errorf("%d commits in a second, want %d at most", n, most)
		}
		time.Sleep(storeEvery)
		synctest.Wait()
		if c, _ := store.Reports().Get(key, "n1", fabric.ConditionReady); c.Message != strconv.Itoa(said) {
			t.Errorf("the last word is not stored: %q of %d", c.Message, said)
		}
	})
}

func TestReleasedObjectsAreRemovedOnlyWhenMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, m := fabrictest.NewMemory(), newFake("m")
		instance := func(name string, deleting bool) *fabric.Instance {
			return &fabric.Instance{Header: fabric.Header{Name: name}, Type: "container", Member: "n1", Pool: "p", Power: fabric.PowerStopped, Deleting: deleting}
		}
		if _, err := store.Apply(t.Context(), func(tx *fabric.Tx) error {
			return errors.Join(
				tx.Put(&fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.1:8443", Certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}),
				tx.Put(&fabric.Pool{Header: fabric.Header{Name: "p"}, Driver: "dir"}),
				tx.Put(instance("gone", true)), tx.Put(instance("kept", false)))
		}); err != nil {
			t.Fatal(err)
		}
		m.will(func(fabric.View) (fabric.Report, error) {
			return fabric.Report{Released: []fabric.Key{{Kind: fabric.KindInstance, Name: "gone"}, {Kind: fabric.KindInstance, Name: "kept"}, {Kind: fabric.KindInstance, Name: "never"}}}, nil
		})
		start(t, Options{Store: store, Modules: []fabric.Module{m}})
		time.Sleep(gatherFor)
		synctest.Wait()
		if _, ok := store.Snapshot().Instance("gone"); ok {
			t.Error("the marked instance is still there")
		}
		if _, ok := store.Snapshot().Instance("kept"); !ok {
			t.Error("an instance without mark was removed")
		}
	})
}

func TestSavedSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "snapshot.json")
	if s, err := LoadSnapshot(file); err != nil || s.Revision != 0 {
		t.Fatalf("no file: %v, %v", s, err)
	}
	synctest.Test(t, func(t *testing.T) {
		store := fabrictest.NewMemory()
		apply(t, store, profile("p"))
		start(t, Options{Store: store, Saved: file})
		apply(t, store, profile("q"))
		time.Sleep(time.Second)
		synctest.Wait()
	})
	s, err := LoadSnapshot(file)
	if err != nil || s.Revision != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if p, ok := s.Profile("q"); !ok || p.Revision != 2 {
		t.Fatalf("profile q: %+v", p)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode: %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSnapshot(file); err == nil {
		t.Fatal("half a file was read without complaint")
	}
}
