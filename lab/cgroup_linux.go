package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Every process of a node is born in the cgroup lab/NAME/NODE/init.scope of the cgroup2 hierarchy: a mark that no crash
// can lose and no daemon sheds by forking. Containers started in the node land below lab/NAME/NODE, because LXC starts
// from the cgroup of process 1 and takes a trailing init.scope off.

// makeCgroup returns the open directory for a new node's processes.
func makeCgroup(lab, node string) (*os.File, error) {
	mount, err := cgroup2Mount()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(mount, "lab", lab, node, "init.scope")
	err = inSharedDir(filepath.Join(mount, "lab"), func() error { return os.MkdirAll(path, 0o755) })
	if err != nil {
		return nil, fmt.Errorf("make cgroup of node %s: %w", node, err)
	}
	// With cgroup2 alone, containers get only the controllers that every level above hands down: all that the machine
	// hands to its own services.
	if controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.subtree_control")); err == nil {
		for _, level := range []string{"lab", "lab/" + lab, "lab/" + lab + "/" + node} {
			for _, controller := range strings.Fields(string(controllers)) {
				// A controller that cannot be handed down limits what containers can be limited by, nothing else.
				_ = os.WriteFile(filepath.Join(mount, level, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return os.Open(path)
}

func openCgroup(lab, node string) (*os.File, error) {
	mount, err := cgroup2Mount()
	if err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(mount, "lab", lab, node, "init.scope"))
}

func cgroup2Mount() (string, error) {
	for _, mount := range cgroupMounts() {
		if mount.controllers == "" {
			return mount.path, nil
		}
	}
	return "", errors.New("no cgroup2 hierarchy is mounted on this machine; the lab marks its processes there (mount -t cgroup2 none /sys/fs/cgroup)")
}

const freezeBound = 50 * time.Millisecond

type cgroupMount struct{ path, controllers string }

func (m cgroupMount) has(controllers string) bool {
	options := strings.Split(m.controllers, ",")
	for _, controller := range strings.Split(controllers, ",") {
		if !slices.Contains(options, controller) {
			return false
		}
	}
	return true
}

// cgroupMounts lists the hierarchies; cgroup2 has no controllers in its name, as in /proc/PID/cgroup (cgroups(7)).
func cgroupMounts() []cgroupMount {
	file, err := os.Open("/proc/mounts")
	if err != nil {
		return nil
	}
	defer file.Close()
	var mounts []cgroupMount
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 4:
		case fields[2] == "cgroup2":
			mounts = append(mounts, cgroupMount{path: fields[1]})
		case fields[2] == "cgroup":
			mounts = append(mounts, cgroupMount{path: fields[1], controllers: fields[3]})
		}
	}
	return mounts
}

// freezeCgroup stops every process of a node where it is; SIGKILL still ends it.
func freezeCgroup(ctx context.Context, parts ...string) error {
	mount, err := cgroup2Mount()
	if err != nil {
		return err
	}
	path := filepath.Join(append([]string{mount, "lab"}, parts...)...)
	if err := os.WriteFile(filepath.Join(path, "cgroup.freeze"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("freeze cgroup %s: %w", path, err)
	}
	// A process in an uninterruptible wait stops when that ends; what it is doing then it does without a cable.
	ctx, cancel := context.WithTimeout(ctx, freezeBound)
	defer cancel()
	_ = pollLevel(ctx, func() bool {
		events, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
		return err != nil || strings.Contains(string(events), "frozen 1")
	})
	return nil
}

// killCgroup kills every process of a lab, or of one node when it is named, whatever namespace it is in.
func killCgroup(ctx context.Context, parts ...string) error {
	mount, err := cgroup2Mount()
	if err != nil {
		return err
	}
	path := filepath.Join(append([]string{mount, "lab"}, parts...)...)
	err = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill what runs in cgroup %s: %w", path, err)
	}
	err = pollLevel(ctx, func() bool {
		events, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
		return err != nil || strings.Contains(string(events), "populated 0")
	})
	if err != nil {
		return fmt.Errorf("processes in cgroup %s have not ended: %w", path, err)
	}
	return nil
}

// removeCgroups removes the empty cgroups of a lab, or of one node when it is named. A cgroup that has been killed must
// not be used again: Linux up to 6.18 at least kills at birth what is cloned into one (it compares the kill count of the
// parent's cgroup with that of the child's).
func removeCgroups(parts ...string) error {
	mount, err := cgroup2Mount()
	if err != nil {
		return err
	}
	top := filepath.Join(append([]string{mount, "lab"}, parts...)...)
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	_ = os.Remove(filepath.Join(mount, "lab")) // stays while there is another lab
	return nil
}

// foreignCgroups lists the cgroup1 directories that a node's processes were put in by others than the lab (containers'),
// which are those where the holder is not.
func foreignCgroups(holder int, pids []int) []string {
	home := cgroupsOf(holder)
	var dirs []string
	for _, pid := range pids {
		for controllers, path := range cgroupsOf(pid) {
			if controllers == "" || path == home[controllers] {
				continue
			}
			for _, mount := range cgroupMounts() {
				if mount.has(controllers) {
					dirs = append(dirs, filepath.Join(mount.path, path))
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// cgroupsOf reads /proc/PID/cgroup: controllers to path.
func cgroupsOf(pid int) map[string]string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil
	}
	paths := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		if fields := strings.SplitN(line, ":", 3); len(fields) == 3 {
			paths[fields[1]] = fields[2]
		}
	}
	return paths
}

// removeEmptyCgroups removes dirs and, upwards, what they leave empty. The kernel refuses those still in use.
func removeEmptyCgroups(dirs []string) {
	for _, dir := range slices.Backward(dirs) {
		for strings.Count(dir, "/") > strings.Count("/sys/fs/cgroup/x", "/") && os.Remove(dir) == nil {
			dir = filepath.Dir(dir)
		}
	}
}
