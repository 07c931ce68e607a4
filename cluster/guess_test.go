package cluster

import (
	"context"
	"strings"
	"sync"
	"testing"

	"netfabric/fabric"
)

// loner is a store that hears nothing of what others write, beside a member.
func loner(t *testing.T, m *member) *store {
	s := newStore(nil, logger(t, "loner"))
	s.database = func() string { return "" }
	s.self = func() string { return "loner" }
	s.writer = func() uint64 { return 98 }
	s.connect = m.connect
	s.explain = func(why error) error { return why }
	s.told, s.changed, s.observe = func(commit) {}, func(*fabric.Snapshot) {}, func(map[string]uint64) {}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { s.write(ctx) })
	t.Cleanup(func() {
		stop()
		writer.Wait()
	})
	return s
}

func profile(name, value string) *fabric.Profile {
	return &fabric.Profile{Header: fabric.Header{Name: name}, Config: fabric.Config{"user.x": value}}
}

func TestWriteOnAStateThatIsNotTheNewest(t *testing.T) {
	m := startCluster(t, 1)[0]
	s := loner(t, m)
	put := func(s interface {
		Apply(context.Context, func(*fabric.Tx) error) (uint64, error)
	}, name string, seen *[]bool) uint64 {
		t.Helper()
		revision, err := s.Apply(t.Context(), func(tx *fabric.Tx) error {
			_, there := tx.Snapshot().Profile("others")
			*seen = append(*seen, there)
			return tx.Put(profile(name, "1"))
		})
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	var seen []bool
	put(s, "first", &seen) // reads the database
	before := put(m, "others", new([]bool))
	seen = nil
	if got := put(s, "second", &seen); got != before+1 {
		t.Errorf("revision %d, want %d", got, before+1)
	}
	if len(seen) != 2 || seen[0] || !seen[1] {
		t.Errorf("in its runs the change saw what others wrote: %v", seen)
	}
	seen = nil
	if put(s, "third", &seen); len(seen) != 1 {
		t.Errorf("on the newest state the change ran %d times", len(seen))
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	m := startCluster(t, 1)[0]
	s := loner(t, m)
	for name, value := range map[string]string{
		"quotes": `it's 'quoted', "twice" and ''doubled''`, "statement": "'); DELETE FROM objects; --", "lines": "a\nb\tc", "marks": "? ?1 :a @b $c",
		"long": strings.Repeat("x'", maxInline),
	} {
		for range 2 { // on the state that was read, and on that which is known
			value += "."
			if _, err := m.Apply(t.Context(), func(tx *fabric.Tx) error { return tx.Put(profile(name, value)) }); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, err := s.Apply(t.Context(), func(tx *fabric.Tx) error {
			if p, _ := tx.Snapshot().Profile(name); p != nil && p.Config["user.x"] == value {
				return nil
			}
			return errStale
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errStale = fabric.Conflictf("other", "the database has another value")
