package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// quotaPeriod is in what time processes may use their part of a processor, in microseconds.
const quotaPeriod = 100_000

// Starve leaves processes of a node that part of one processor, in percent, until end is called; threads with real-time priority get as much. It
// needs the controller cpu, in cgroup1 or handed down in cgroup2. Processes that they start stay with them.
func (n *Node) Starve(percent int, processes ...Process) (end func() error, err error) {
	quota := strconv.Itoa(quotaPeriod * percent / 100)
	var dir, home string
	limits := [][2]string{{"cpu.cfs_period_us", strconv.Itoa(quotaPeriod)}, {"cpu.cfs_quota_us", quota}, {"cpu.rt_runtime_us", strconv.Itoa(10_000 * percent)}}
	if i := slices.IndexFunc(cgroupMounts(), func(m cgroupMount) bool { return m.has("cpu") }); i >= 0 {
		home = cgroupMounts()[i].path
		dir = filepath.Join(home, "lab-"+n.lab.name+"-"+n.spec.Name)
	} else {
		mount, err := cgroup2Mount()
		if err != nil {
			return nil, err
		}
		home = filepath.Join(mount, "lab", n.lab.name, n.spec.Name, "init.scope")
		dir = filepath.Join(filepath.Dir(home), "starved.scope")
		limits = [][2]string{{"cpu.max", quota + " " + strconv.Itoa(quotaPeriod)}}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("node %s: starve: %w", n.spec.Name, err)
	}
	end = func() error {
		left, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(left)) {
			err = errors.Join(err, moveTo(home, pid))
		}
		return errors.Join(err, os.Remove(dir))
	}
	for _, l := range limits {
		// A kernel without groups of real-time threads does not limit them.
		if err := os.WriteFile(filepath.Join(dir, l[0]), []byte(l[1]), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("node %s: starve: %w", n.spec.Name, err), end())
		}
	}
	for _, p := range processes {
		if err := moveTo(dir, strconv.Itoa(p.PID)); err != nil {
			return nil, errors.Join(fmt.Errorf("node %s: starve %s: %w", n.spec.Name, p.Name, err), end())
		}
	}
	return end, nil
}

func moveTo(dir, pid string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0o644)
}
