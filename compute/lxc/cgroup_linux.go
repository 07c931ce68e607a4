package lxc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hierarchies lists where cgroup hierarchies are mounted.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer f.Close()
	var all []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc_pid_mountinfo(5): the mount point is field 5, the type follows a lone dash.
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); ok && len(fields) > 4 && (kind == "cgroup" || kind == "cgroup2") {
			all = append(all, fields[4])
		}
	}
	return all, lines.Err()
}

// dropCgroups removes what a container that is gone has left in any hierarchy. Processes that are still there belonged to it, or to a start
// that broke off; they are killed.
func (r *Runtime) dropCgroups(ctx context.Context, name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		for _, suffix := range []string{"", ".monitor", ".pivot"} {
			errs = append(errs, dropTree(ctx, filepath.Join(root, r.cgroups, name+suffix)))
		}
		// The parent goes with the last container; as long as there are others it is busy.
		_ = os.Remove(filepath.Join(root, r.cgroups))
	}
	return errors.Join(errs...)
}

// dropTree removes directories, innermost first. The files in them are the kernel's.
func dropTree(ctx context.Context, root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for cgroups: %w", err)
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := empty(ctx, dir); err != nil {
			return err
		}
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a cgroup: %w", err)
		}
	}
	return nil
}

// empty kills what is in a cgroup.
func empty(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into a cgroup: %w", err)
	}
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 0 {
			continue // 0 is a process of another pid namespace
		}
		p, err := identify(pid)
		if err != nil {
			continue // gone
		}
		if err := kill(ctx, p, 0); err != nil {
			return err
		}
	}
	return nil
}
