package storage_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
	"netfabric/storage"
	"netfabric/storage/dir"
)

func view(t *testing.T, pools ...*fabric.Pool) fabric.View {
	t.Helper()
	store := fabrictest.NewMemory()
	if _, err := store.Apply(t.Context(), func(tx *fabric.Tx) error {
		// Something is always there: an empty snapshot of revision 0 would mean that nothing is known yet.
		if err := tx.Put(&fabric.Profile{Header: fabric.Header{Name: "default"}}); err != nil {
			return err
		}
		for _, p := range pools {
			if err := tx.Put(p); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return fabric.View{Member: "m1", Desired: store.Snapshot(), Reports: fabric.EmptyReports()}
}

func pool(name string, config fabric.Config) *fabric.Pool {
	return &fabric.Pool{Header: fabric.Header{Name: name}, Driver: "dir", Config: config}
}

func newModule(root string) *storage.Module {
	return storage.NewModule(root, map[string]storage.Driver{"dir": dir.Driver{}}, slog.New(slog.DiscardHandler))
}

func reconcile(t *testing.T, m *storage.Module, v fabric.View) fabric.Report {
	t.Helper()
	r, err := m.Reconcile(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPoolComesAndGoes(t *testing.T) {
	root := t.TempDir()
	m := newModule(root)
	r := reconcile(t, m, view(t, pool("default", fabric.Config{})))
	if got := r.Facts.Pools["default"].Source; got != filepath.Join(root, "storage-pools", "default") {
		t.Errorf("source is %q", got)
	}
	if len(r.Conditions) != 1 || !r.Conditions[0].OK || r.Conditions[0].Observed == 0 {
		t.Errorf("conditions: %+v", r.Conditions)
	}
	if err := m.CreateVolume(t.Context(), "default", "v", func(context.Context, string) error { return nil }); err != nil {
		t.Fatal(err)
	}

	m = newModule(root) // the daemon restarted; the pool is no longer desired but has a volume
	if _, err := m.Reconcile(t.Context(), view(t)); fabric.ReasonOf(err) != "pool-in-use" {
		t.Errorf("got %v", err)
	}
	if err := m.DeleteVolume(t.Context(), "default", "v"); err != nil {
		t.Fatal(err)
	}
	reconcile(t, m, fabric.View{Member: "m1", Desired: fabric.EmptySnapshot(), Reports: fabric.EmptyReports()})
	if _, err := os.Stat(filepath.Join(root, "storage-pools", "default")); err != nil {
		t.Errorf("removed before anything is known: %v", err)
	}
	reconcile(t, m, view(t))
	if _, err := os.Stat(filepath.Join(root, "storage-pools", "default")); !os.IsNotExist(err) {
		t.Errorf("pool is still there: %v", err)
	}
}

func TestPoolThatVanishedIsNotMadeAnew(t *testing.T) {
	root := t.TempDir()
	v := view(t, pool("default", fabric.Config{}))
	m := newModule(root)
	source := reconcile(t, m, v).Facts.Pools["default"].Source
	if err := os.RemoveAll(source); err != nil {
		t.Fatal(err)
	}
	r := reconcile(t, m, v)
	if c := r.Conditions[0]; c.OK || c.Reason != "pool-missing" || len(r.Facts.Pools) != 0 {
		t.Errorf("got %+v and %v", c, r.Facts.Pools)
	}
}

func TestForeignSourceIsReported(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := pool("default", fabric.Config{})
	p.Config["source"] = source
	r := reconcile(t, newModule(t.TempDir()), view(t, p, pool("good", fabric.Config{})))
	if c := r.Conditions[0]; c.OK || c.Reason != "source-foreign" {
		t.Errorf("got %+v", c)
	}
	if _, ok := r.Facts.Pools["good"]; !ok {
		t.Error("one bad pool keeps another from being made")
	}
}

func TestPendingPoolWaits(t *testing.T) {
	p := pool("default", fabric.Config{})
	p.Pending = true
	if r := reconcile(t, newModule(t.TempDir()), view(t, p)); len(r.Conditions) != 0 || len(r.Facts.Pools) != 0 {
		t.Errorf("got %+v", r)
	}
}
