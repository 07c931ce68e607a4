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

	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/fabric"
)

// limits are those of a container as last set.
type limits struct {
	compute.Resources
	Cgroup string `json:"cgroup,omitempty"` // of the container, with its parent; empty: the limits are those that it was started with
}

// SetResources implements compute.Runtime.
func (r *Runtime) SetResources(_ context.Context, name string, x compute.Resources) error {
	c, err := r.running(name, "set the limits")
	if err != nil {
		return err
	}
	l := limits{x, filepath.Join(r.cgroups, name)}
	if err := l.apply(c.Process.PID); err != nil {
		return fmt.Errorf("set the limits of instance %q: %w", name, err)
	}
	return writeJSON(r.path(name, limitsFile), l)
}

// apply makes the limits hold for what runs as the children of init, and for init.
func (l limits) apply(init int) error {
	dirs, err := l.dirs(init)
	if err != nil {
		return err
	}
	return errors.Join(l.limitMemory(dirs), l.limitProcesses(dirs))
}

// dirs are the cgroups of the container in all hierarchies. liblxc makes them below those of process 1, which may be anywhere.
func (l limits) dirs(init int) ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", init))
	if err != nil {
		return nil, fmt.Errorf("find the cgroups of process %d: %w", init, err)
	}
	var dirs []string
	for _, root := range roots {
		for _, at := range parents(string(data), l.Cgroup) {
			if dir := filepath.Join(root, at, l.Cgroup); isDir(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs, nil
}

// parents are the cgroups below which a process has one of that name, from what proc(5) says of the process.
func parents(proc, cgroup string) []string {
	var all []string
	for line := range strings.Lines(proc) { // cgroups(7): hierarchy:controllers:path
		before, after, ok := strings.Cut(strings.TrimSpace(line), "/"+cgroup)
		fields := strings.SplitN(before, ":", 3)
		if ok && len(fields) == 3 && (after == "" || after[0] == '/') && !slices.Contains(all, fields[2]) {
			all = append(all, fields[2])
		}
	}
	return all
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (l limits) limitMemory(dirs []string) error {
	for _, dir := range dirs {
		// Version 2 kills for want of memory, version 1 refuses.
		if used, err := unreclaimable(dir); err == nil && l.Memory > 0 && used > l.Memory {
			return memoryInUse(l.Memory)
		}
		for file, none := range map[string]string{"memory.max": "max", "memory.limit_in_bytes": "-1"} {
			switch err := writeLimit(filepath.Join(dir, file), l.Memory, none); {
			case err == nil:
				return nil
			case errors.Is(err, unix.EBUSY):
				return memoryInUse(l.Memory)
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
	}
	return missing("memory", l.Memory > 0)
}

func memoryInUse(limit int64) error {
	return fabric.Conflictf("memory-in-use", "limits.memory: more than %d bytes are in use", limit).
		WithFix("have the instance use less, or restart it")
}

func (l limits) limitProcesses(dirs []string) error {
	for _, dir := range dirs {
		if err := writeLimit(filepath.Join(dir, "pids.max"), int64(l.Processes), "max"); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return missing("processes", l.Processes > 0)
}

// missing is the error that a limit can't be set because the container has no such cgroup; without a limit there is none.
func missing(what string, wanted bool) error {
	if !wanted {
		return nil
	}
	return fabric.Errorf(fabric.CodeUnavailable, "no-cgroup", "limits.%s: the kernel counts no %s for it", what, what).
		WithFix("restart the instance; if that does not help, see that the host has the cgroup controller (/sys/fs/cgroup)")
}

// writeLimit sets a limit where the kernel has the file for it.
func writeLimit(file string, n int64, none string) error {
	text := none
	if n > 0 {
		text = strconv.FormatInt(n, 10)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// unreclaimable is how many bytes a cgroup of version 2 uses that the kernel can't take from it: all but the page cache.
func unreclaimable(dir string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, "memory.current"))
	if err != nil {
		return 0, err
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if key == "inactive_file" || key == "active_file" {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				used -= n
			}
		}
	}
	return used, lines.Err()
}
