package inside

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// group is a control group of version 2 for one command, and all that comes of it.
type group struct {
	path string
	dir  *os.File
}

// groupsOf finds the control groups of a process: its directory in the hierarchy of version 2, and the files by which to join those of version 1.
func groupsOf(proc string) (unified string, v1 []string, err error) {
	own, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return "", nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // cgroups(7)
		if len(fields) != 3 {
			continue
		}
		at := mountOf(string(mounts), fields[1])
		switch {
		case at == "" || strings.HasSuffix(fields[2], " (deleted)"):
		case fields[1] == "":
			unified = filepath.Join(at, fields[2])
		default:
			v1 = append(v1, filepath.Join(at, fields[2], "cgroup.procs"))
		}
	}
	if unified == "" {
		return "", nil, errors.New("no control groups of version 2 are mounted on the member, by which a command could be ended for good")
	}
	return unified, v1, nil
}

// mountOf is where the hierarchy of a controller is mounted whole; that of version 2 has none (proc_pid_mountinfo(5)).
func mountOf(mountinfo, controllers string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kind) < 3 || fields[3] != "/" {
			continue
		}
		if controllers == "" && kind[0] == "cgroup2" || controllers != "" && kind[0] == "cgroup" && hasAll(kind[2], controllers) {
			return fields[4]
		}
	}
	return ""
}

func hasAll(options, controllers string) bool {
	have := "," + options + ","
	for c := range strings.SplitSeq(controllers, ",") {
		if !strings.Contains(have, ","+c+",") {
			return false
		}
	}
	return true
}

func makeGroup(path string) (group, error) {
	if err := os.Mkdir(path, 0o755); err != nil {
		return group{}, fmt.Errorf("make control group: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return group{}, errors.Join(fmt.Errorf("open control group: %w", err), os.Remove(path))
	}
	return group{path, dir}, nil
}

// kill has all in the group end, whatever namespace it is in.
func (g group) kill() {
	// That there is nothing to kill is no error, and what can't be killed is seen by what follows.
	_ = os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0)
}

// remove removes the group as soon as it is empty. What stays is removed by the next run of this program.
func (g group) remove() {
	if g.dir != nil {
		g.dir.Close()
	}
	for end := time.Now().Add(killBound); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err := os.Remove(g.path); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
	}
}
