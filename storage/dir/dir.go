// Package dir keeps storage pools as plain directories.
package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"netfabric/fabric"
	"netfabric/storage"
)

// Driver is a storage.Driver. A pool's source is a directory; it holds the mark, and below volumes/ a directory per volume with its files in
// rootfs. Names with a leading dot are volumes in the making or on their way out.
type Driver struct{}

const (
	markFile   = ".fabric-pool"
	volumesDir = "volumes"
	rootfs     = "rootfs"
)

// mark says whose a directory is.
type mark struct {
	Pool    string `json:"pool"`
	Created bool   `json:"created"` // the directory itself was made by us
}

// DefaultSource implements storage.Driver.
func (Driver) DefaultSource(dir, pool string) string { return filepath.Join(dir, pool) }

// CreatePool implements storage.Driver. An empty directory, or none, becomes a pool; anything else is foreign.
func (Driver) CreatePool(_ context.Context, p storage.Pool) error {
	if !filepath.IsAbs(p.Source) || filepath.Clean(p.Source) != p.Source {
		return fabric.Invalidf("bad-value", "storage pool %q: source %q is not a clean absolute path", p.Name, p.Source)
	}
	m, err := readMark(p)
	if err == nil && m.Pool == p.Name {
		return finishPool(p)
	}
	if err == nil {
		return foreign(p, fmt.Sprintf("it is storage pool %q", m.Pool))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create storage pool %q: %w", p.Name, err)
	}
	entries, err := os.ReadDir(p.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Made below; containers have to pass through, so search is for all.
		if err := os.MkdirAll(p.Source, 0o711); err != nil {
			return fmt.Errorf("create storage pool %q: %w", p.Name, err)
		}
		m.Created = true
	case err != nil:
		return fmt.Errorf("create storage pool %q: %w", p.Name, err)
	case len(entries) > 0 && !(len(entries) == 1 && entries[0].Name() == "lost+found"):
		return foreign(p, "it is not empty")
	}
	data, err := json.Marshal(mark{Pool: p.Name, Created: m.Created})
	if err != nil {
		return err
	}
	temporary := filepath.Join(p.Source, markFile+".new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("create storage pool %q: %w", p.Name, err)
	}
	if err := os.Rename(temporary, filepath.Join(p.Source, markFile)); err != nil {
		return fmt.Errorf("create storage pool %q: %w", p.Name, err)
	}
	return finishPool(p)
}

func foreign(p storage.Pool, why string) error {
	return fabric.Conflictf("source-foreign", "storage pool %q: %s is not ours: %s", p.Name, p.Source, why).WithFix("give an empty directory as source")
}

// finishPool makes what may be missing in a marked directory.
func finishPool(p storage.Pool) error {
	volumes := filepath.Join(p.Source, volumesDir)
	if err := os.MkdirAll(volumes, 0o711); err != nil {
		return fmt.Errorf("create storage pool %q: %w", p.Name, err)
	}
	for _, d := range []string{p.Source, volumes} {
		if err := os.Chmod(d, 0o711); err != nil {
			return fmt.Errorf("create storage pool %q: %w", p.Name, err)
		}
	}
	return nil
}

func readMark(p storage.Pool) (mark, error) {
	data, err := os.ReadFile(filepath.Join(p.Source, markFile))
	if err != nil {
		return mark{}, err
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return mark{}, fmt.Errorf("read the mark of %s: %w", p.Source, err)
	}
	return m, nil
}

// CheckPool implements storage.Driver.
func (Driver) CheckPool(_ context.Context, p storage.Pool) error {
	if m, err := readMark(p); err != nil || m.Pool != p.Name {
		return fabric.Errorf(fabric.CodeUnavailable, "pool-missing", "storage pool %q is not in %s any more", p.Name, p.Source).
			WithFix("mount what is meant to be there; if its contents are lost, delete the pool and its instances")
	}
	return nil
}

// DeletePool implements storage.Driver.
func (d Driver) DeletePool(ctx context.Context, p storage.Pool) error {
	m, err := readMark(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Pool != p.Name {
		return foreign(p, fmt.Sprintf("it is storage pool %q", m.Pool))
	}
	volumes, err := d.Volumes(ctx, p)
	if err != nil {
		return err
	}
	if len(volumes) > 0 {
		return fabric.Conflictf("pool-in-use", "storage pool %q still has volumes: %s", p.Name, strings.Join(volumes, ", "))
	}
	if err := os.RemoveAll(filepath.Join(p.Source, volumesDir)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(p.Source, markFile)); err != nil {
		return err
	}
	if m.Created {
		if err := os.Remove(p.Source); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// CreateVolume implements storage.Driver.
func (d Driver) CreateVolume(ctx context.Context, p storage.Pool, name string, fill storage.Fill) error {
	if err := fabric.CheckName("volume", name); err != nil {
		return err
	}
	if err := d.CheckPool(ctx, p); err != nil {
		return err
	}
	final := volume(p, name)
	if _, err := os.Lstat(final); err == nil {
		return fabric.Conflictf("volume-exists", "volume %q exists in storage pool %q", name, p.Name)
	}
	temporary := filepath.Join(p.Source, volumesDir, "."+name+".new")
	if err := os.RemoveAll(temporary); err != nil {
		return fmt.Errorf("create volume %q: drop an earlier attempt: %w", name, err)
	}
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return fmt.Errorf("create volume %q in storage pool %q: %w", name, p.Name, err)
	}
	root := filepath.Join(temporary, rootfs)
	err := os.Mkdir(root, 0o755)
	if err == nil {
		err = fill(ctx, root)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.Rename(temporary, final)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create volume %q in storage pool %q: %w", name, p.Name, err), os.RemoveAll(temporary))
	}
	return nil
}

func volume(p storage.Pool, name string) string { return filepath.Join(p.Source, volumesDir, name) }

// DeleteVolume implements storage.Driver.
func (Driver) DeleteVolume(_ context.Context, p storage.Pool, name string) error {
	if err := fabric.CheckName("volume", name); err != nil {
		return err
	}
	gone := filepath.Join(p.Source, volumesDir, "."+name+".gone")
	// An earlier attempt may have stopped half-way: the name is free for the rename only without its rest.
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("delete volume %q: %w", name, err)
	}
	if err := os.Rename(volume(p, name), gone); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("delete volume %q: %w", name, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("delete volume %q: %w", name, err)
	}
	return nil
}

// Mount implements storage.Driver. The directory around the files belongs to their owner and nobody else may pass it: set-user-id programs of
// a container are out of reach for users of the host.
func (Driver) Mount(_ context.Context, p storage.Pool, name string) (string, error) {
	if err := fabric.CheckName("volume", name); err != nil {
		return "", err
	}
	root := filepath.Join(volume(p, name), rootfs)
	inner, err := os.Lstat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fabric.NotFoundf("volume %q is not in storage pool %q", name, p.Name)
	}
	if err != nil {
		return "", fmt.Errorf("mount volume %q: %w", name, err)
	}
	outer, err := os.Lstat(volume(p, name))
	if err != nil {
		return "", fmt.Errorf("mount volume %q: %w", name, err)
	}
	uid, gid := owner(inner)
	if u, g := owner(outer); u != uid || g != gid {
		if err := os.Lchown(volume(p, name), uid, gid); err != nil {
			return "", fmt.Errorf("mount volume %q: %w", name, err)
		}
	}
	return root, nil
}

func owner(info fs.FileInfo) (uid, gid int) {
	s := info.Sys().(*syscall.Stat_t) // on Linux it always is
	return int(s.Uid), int(s.Gid)
}

// Volumes implements storage.Driver.
func (Driver) Volumes(_ context.Context, p storage.Pool) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.Source, volumesDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the volumes of storage pool %q: %w", p.Name, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
