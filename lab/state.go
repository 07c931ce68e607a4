package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// root holds one directory per lab with its state file, the nodes' disks and logs.
const root = "/var/lib/lab"

// state is the record of a lab, written before the thing it records is made, so that whatever a crash leaves is found.
type state struct {
	Name   string
	BootID string               // of the kernel all identities below belong to
	Phase  phase                // how far up got
	Runner identity             // the process that is starting the lab
	Owner  *identity            // the lab lives no longer than this process; nil for ever
	Spec   *Topology            // what runs
	Binary string               // directory searched first for programs
	Nodes  map[string]nodeState // by node name
	Cut    map[string]bool      // links that are cut, by their first endpoint
}

type phase string

const (
	phaseStarting phase = "starting"
	phaseUp       phase = "up"
)

type nodeState struct {
	Holder    identity // init of the node's PID namespace; zero while the node is off
	Processes []processRecord
}

type processRecord struct {
	Name string
	identity
}

// identity names one process for all time: process ids are reused, start times with them are not.
type identity struct {
	PID   int
	Start uint64 // clock ticks after boot, field 22 of /proc/PID/stat (proc(5))
}

func (i identity) alive() bool {
	start, err := startTime(i.PID)
	return err == nil && start == i.Start
}

func identify(pid int) (identity, error) {
	start, err := startTime(pid)
	return identity{PID: pid, Start: start}, err
}

func startTime(pid int) (uint64, error) {
	if pid <= 0 {
		return 0, fs.ErrNotExist
	}
	stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	if stat.state == "Z" || stat.state == "X" {
		return 0, fs.ErrNotExist
	}
	return stat.start, nil
}

func labDir(name string) string    { return filepath.Join(root, name) }
func statePath(name string) string { return filepath.Join(labDir(name), "state.json") }

// readState returns nil when there is no such lab.
func readState(name string) (*state, error) {
	data, err := os.ReadFile(statePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state of lab %s: %w", name, err)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read state of lab %s: %s is damaged: %w", name, statePath(name), err)
	}
	if s.Nodes == nil {
		s.Nodes = map[string]nodeState{}
	}
	return &s, nil
}

func (s *state) write() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := statePath(s.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write state of lab %s: %w", s.Name, err)
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("write state of lab %s: %w", s.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write state of lab %s: %w", s.Name, err)
	}
	return nil
}

// verdict is what up has to do about what it finds.
type verdict int

const (
	nothingThere verdict = iota
	leftovers            // a run that crashed, or whose nodes are all gone
	starting             // another process is at it
	running
)

// judge decides from the record alone; alive answers for one process.
func judge(s *state, bootID string, alive func(identity) bool) verdict {
	switch {
	case s == nil:
		return nothingThere
	case s.BootID != bootID:
		return leftovers
	case s.Owner != nil && !alive(*s.Owner):
		return leftovers
	case s.Phase == phaseStarting && alive(s.Runner):
		return starting
	case s.Phase != phaseUp:
		return leftovers
	}
	for _, node := range s.Nodes {
		if alive(node.Holder) {
			return running
		}
	}
	return leftovers
}

// lockLab makes this process the only one that starts, stops or records things in the lab.
func lockLab(ctx context.Context, name string) (unlock func(), err error) {
	path := filepath.Join(root, name+".lock")
	for {
		var file *os.File
		err := inSharedDir(root, func() (err error) {
			file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(file, path) {
			return func() { file.Close() }, nil
		}
		file.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock lab %s: another process holds it: %w", name, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sameFile is false when the lock file was removed between open and lock.
func sameFile(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func currentBootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
