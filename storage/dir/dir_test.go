package dir_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"netfabric/fabric"
	"netfabric/storage"
	"netfabric/storage/dir"
	"netfabric/storage/storagetest"
)

func TestSuite(t *testing.T) {
	storagetest.TestDriver(t, dir.Driver{}, func(t *testing.T) string { return filepath.Join(t.TempDir(), "pool") })
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := dir.Driver{}.CreatePool(t.Context(), storage.Pool{Name: "p", Source: source})
	if fabric.ReasonOf(err) != "source-foreign" {
		t.Errorf("got %v", err)
	}
	if err := (dir.Driver{}).DeletePool(t.Context(), storage.Pool{Name: "p", Source: source}); err != nil {
		t.Errorf("nothing of ours is there to delete: %v", err)
	}
	if entries, _ := os.ReadDir(source); len(entries) != 1 {
		t.Errorf("foreign directory was changed: %v", entries)
	}
}

func TestGivenDirectoryStays(t *testing.T) {
	p := storage.Pool{Name: "p", Source: t.TempDir()}
	for _, do := range []func(context.Context, storage.Pool) error{dir.Driver{}.CreatePool, dir.Driver{}.DeletePool} {
		if err := do(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(p.Source); err != nil || len(entries) != 0 {
		t.Errorf("directory of the user: %v, %v", entries, err)
	}
}

func TestOnlyOwnerPasses(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give files away")
	}
	p := storage.Pool{Name: "p", Source: filepath.Join(t.TempDir(), "pool")}
	if err := (dir.Driver{}).CreatePool(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := (dir.Driver{}).CreateVolume(t.Context(), p, "v", func(_ context.Context, root string) error { return os.Chown(root, 1000000, 1000000) }); err != nil {
		t.Fatal(err)
	}
	root, err := dir.Driver{}.Mount(t.Context(), p, "v")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(root))
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 1000000 || info.Mode().Perm() != 0o700 {
		t.Errorf("directory around the files: owner %d, mode %o", s.Uid, info.Mode().Perm())
	}
}
