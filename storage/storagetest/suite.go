// Package storagetest has the suite of tests that every storage driver must pass.
package storagetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"netfabric/fabric"
	"netfabric/storage"
)

// TestDriver runs the suite. newSource gives a place where a pool can be made; it is called for every case.
func TestDriver(t *testing.T, driver storage.Driver, newSource func(t *testing.T) string) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, storage.Driver, storage.Pool)
	}{
		{"pool can be made twice", poolTwice},
		{"pool of another name is foreign", poolForeign},
		{"pool that is gone is missed, not made anew", poolMissing},
		{"pool with volumes is not deleted", poolInUse},
		{"volume is filled and found again", volumeFilled},
		{"volume that fails to fill leaves nothing", volumeFails},
		{"volume exists once", volumeTwice},
		{"volume is deleted, absent or not", volumeDeleted},
		{"volume names stay inside the pool", volumeNames},
		{"a cancelled fill leaves nothing", volumeCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, driver, storage.Pool{Name: "p1", Source: newSource(t)})
		})
	}
}

func create(t *testing.T, d storage.Driver, p storage.Pool) {
	t.Helper()
	if err := d.CreatePool(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func fillWith(content string) storage.Fill {
	return func(_ context.Context, root string) error {
		return os.WriteFile(filepath.Join(root, "file"), []byte(content), 0o640)
	}
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	if got := fabric.ReasonOf(err); got != reason {
		t.Errorf("reason %q, want %q: %v", got, reason, err)
	}
}

func wantVolumes(t *testing.T, d storage.Driver, p storage.Pool, want ...string) {
	t.Helper()
	got, err := d.Volumes(t.Context(), p)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("volumes are %v (%v), want %v", got, err, want)
	}
}

func poolTwice(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	create(t, d, p)
	if err := d.CheckPool(t.Context(), p); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := d.DeletePool(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	wantReason(t, d.CheckPool(t.Context(), p), "pool-missing")
}

func poolForeign(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	other := storage.Pool{Name: "p2", Source: p.Source}
	wantReason(t, d.CreatePool(t.Context(), other), "source-foreign")
	wantReason(t, d.DeletePool(t.Context(), other), "source-foreign")
	if err := d.CheckPool(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func poolMissing(t *testing.T, d storage.Driver, p storage.Pool) {
	wantReason(t, d.CheckPool(t.Context(), p), "pool-missing")
	wantReason(t, d.CreateVolume(t.Context(), p, "v", fillWith("x")), "pool-missing")
}

func poolInUse(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	if err := d.CreateVolume(t.Context(), p, "v", fillWith("x")); err != nil {
		t.Fatal(err)
	}
	wantReason(t, d.DeletePool(t.Context(), p), "pool-in-use")
	wantVolumes(t, d, p, "v")
}

func volumeFilled(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	for _, name := range []string{"b", "a"} {
		if err := d.CreateVolume(t.Context(), p, name, fillWith("of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	wantVolumes(t, d, p, "a", "b")
	for range 2 {
		root, err := d.Mount(t.Context(), p, "b")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(root, "file")); string(got) != "of b" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func volumeFails(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	boom := errors.New("boom")
	err := d.CreateVolume(t.Context(), p, "v", func(ctx context.Context, root string) error {
		if err := fillWith("x")(ctx, root); err != nil {
			t.Error(err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	wantVolumes(t, d, p)
	wantReason(t, second(d.Mount(t.Context(), p, "v")), "not-found")
	if err := d.CreateVolume(t.Context(), p, "v", fillWith("x")); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func volumeTwice(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	if err := d.CreateVolume(t.Context(), p, "v", fillWith("first")); err != nil {
		t.Fatal(err)
	}
	wantReason(t, d.CreateVolume(t.Context(), p, "v", fillWith("second")), "volume-exists")
	root, err := d.Mount(t.Context(), p, "v")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "file")); string(got) != "first" {
		t.Errorf("got %q, %v", got, err)
	}
}

func volumeDeleted(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	if err := d.CreateVolume(t.Context(), p, "v", fillWith("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.DeleteVolume(t.Context(), p, "v"); err != nil {
			t.Error(err)
		}
	}
	wantVolumes(t, d, p)
	if err := d.DeletePool(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func volumeNames(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	for _, name := range []string{"", ".", "..", "../v", "a/b", ".hidden", "a\x00b"} {
		wantReason(t, d.CreateVolume(t.Context(), p, name, fillWith("x")), "bad-name")
		wantReason(t, d.DeleteVolume(t.Context(), p, name), "bad-name")
		wantReason(t, second(d.Mount(t.Context(), p, name)), "bad-name")
	}
}

func volumeCancelled(t *testing.T, d storage.Driver, p storage.Pool) {
	create(t, d, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := d.CreateVolume(ctx, p, "v", func(context.Context, string) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantVolumes(t, d, p)
}
