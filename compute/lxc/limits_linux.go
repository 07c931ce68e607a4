package lxc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/fabric"
)

// limits are those of a container as last set.
type limits struct {
	compute.Resources
	Cgroup string `json:"cgroup,omitempty"` // of the container, below each hierarchy's mount point; empty: the limits are those that it was started with
}

// SetResources implements compute.Runtime.
func (r *Runtime) SetResources(_ context.Context, name string, x compute.Resources) error {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return err
	}
	c, err := r.container(name)
	if err != nil {
		return err
	}
	if c.State != compute.ContainerRunning {
		return fabric.Conflictf("not-running", "set the limits of instance %q: it is %s", name, c.State)
	}
	l := limits{x, filepath.Join(r.cgroups, name)}
	if err := l.apply(); err != nil {
		return fmt.Errorf("set the limits of instance %q: %w", name, err)
	}
	return writeJSON(r.path(name, limitsFile), l)
}

// apply makes the limits hold for what runs.
func (l limits) apply() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	return errors.Join(l.limitMemory(roots), l.limitProcesses(roots))
}

func (l limits) limitMemory(roots []string) error {
	for _, root := range roots {
		dir := filepath.Join(root, l.Cgroup)
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

func (l limits) limitProcesses(roots []string) error {
	for _, root := range roots {
		if err := writeLimit(filepath.Join(root, l.Cgroup, "pids.max"), int64(l.Processes), "max"); !errors.Is(err, fs.ErrNotExist) {
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
