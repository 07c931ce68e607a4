package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Down ends a lab and removes everything it made. A lab that is not there is no error.
func Down(ctx context.Context, name string) error {
	if err := checkName("lab name", name); err != nil {
		return err
	}
	if _, err := os.Stat(labDir(name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := lockLab(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	return (&Lab{name: name}).destroy(ctx)
}

// Down ends the lab and removes everything it made.
func (l *Lab) Down(ctx context.Context) error {
	err := Down(ctx, l.name)
	if l.owned != nil {
		l.owned.Close()
		unix.Close(l.owner)
		l.owned = nil
	}
	return err
}

// Sweep removes labs that were to end with a process that is gone.
func Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for labs of crashed runs: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		s, err := readState(entry.Name())
		if err == nil && s != nil && s.Owner != nil && (s.BootID != currentBootID() || !s.Owner.alive()) {
			err = Down(ctx, s.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// List names the labs of this machine, running or crashed.
func List() ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// destroy works from the record of the lab, and from the marks where a crash came before the record. The caller has the
// lab's lock.
func (l *Lab) destroy(ctx context.Context) error {
	s, err := readState(l.name)
	if err != nil {
		return err
	}
	var errs []error
	var cgroups []string
	if s != nil && s.BootID == currentBootID() {
		var killed sync.WaitGroup
		results := make(chan error, len(s.Nodes))
		for _, node := range s.Nodes {
			if !node.Holder.alive() {
				continue
			}
			cgroups = append(cgroups, nodeForeignCgroups(node.Holder)...)
			killed.Go(func() { results <- killAndWait(ctx, node.Holder) })
		}
		killed.Wait()
		close(results)
		for err := range results {
			errs = append(errs, err)
		}
	}
	errs = append(errs, killCgroup(ctx, l.name))
	names := []string{wireNode}
	if s != nil && s.Spec != nil {
		for _, node := range s.Spec.Nodes {
			names = append(names, node.Name)
		}
	}
	for _, name := range names {
		errs = append(errs, removeNetns(netnsPath(l.name, name)))
	}
	removeEmptyCgroups(cgroups)
	errs = append(errs, removeCgroups(l.name))
	if err := errors.Join(errs...); err != nil {
		// The record stays, so that another try knows what to remove.
		return fmt.Errorf("remove lab %s: %w", l.name, err)
	}
	if err := os.RemoveAll(labDir(l.name)); err != nil {
		return fmt.Errorf("remove lab %s: %w", l.name, err)
	}
	// Whoever waits for the lock notices that its file is gone and makes a new one.
	_ = os.Remove(filepath.Join(root, l.name+".lock"))
	_ = os.Remove(root)     // stays while there is another lab
	_ = os.Remove(netnsDir) // stays while there is another namespace
	return nil
}

func nodeForeignCgroups(holder identity) []string {
	processes, err := processesUnder(holder)
	if err != nil {
		return nil
	}
	pids := make([]int, len(processes))
	for i, process := range processes {
		pids[i] = process.PID
	}
	return foreignCgroups(holder.PID, pids)
}

// Logs returns the last lines of everything that wrote a log in the lab, each under its node and name.
func (l *Lab) Logs() string {
	var out strings.Builder
	for _, node := range l.Nodes() {
		files, _ := filepath.Glob(filepath.Join(node.logDir(), "*.log"))
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".log")
			fmt.Fprintf(&out, "--- %s %s\n%s\n", node.Name(), name, node.logTail(name))
		}
	}
	return out.String()
}
