// Package lxc runs containers with liblxc. The library is only ever called in helper processes: the daemon neither becomes the parent of a
// container nor hangs or dies with the library.
package lxc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"netfabric/compute"
	"netfabric/fabric"
)

// Options say how containers are run.
type Options struct {
	Dir    string // for everything about containers but their root file systems; no other Runtime may use it at the same time
	Helper string // absolute path of an executable that calls HelperMain when its first argument is HelperCommand
	Log    *slog.Logger
}

// Runtime is a compute.Runtime.
type Runtime struct {
	dir     string
	helper  string
	log     *slog.Logger
	cgroups string // where the containers of this directory are in every cgroup hierarchy
	changed chan struct{}

	mu      sync.Mutex
	watched map[fabric.Process]bool
}

// Files in a container's directory.
const (
	startFile   = "start.json"   // startRequest of the last start
	networkFile = "network.json" // compute.Network as last set
	limitsFile  = "limits.json"  // limits as last set
	runFile     = "run.json"     // run, written when init is about to begin
	lockFile    = "lock"         // held by the helper while it starts the container
	lxcLog      = "lxc.log"
	consoleLog  = "console.log"
	helperLog   = "helper.log"
)

// run is a life of a container.
type run struct {
	Init      fabric.Process `json:"init"`
	Monitor   fabric.Process `json:"monitor"` // liblxc's process that waits for init
	Boots     uint64         `json:"boots"`
	BootID    string         `json:"boot_id"`
	StartedAt time.Time      `json:"started_at"`
}

// New makes a runtime over a directory, which is made if it is not there.
func New(o Options) (*Runtime, error) {
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.Helper) {
		return nil, fmt.Errorf("containers in %q by %q: both must be absolute paths", o.Dir, o.Helper)
	}
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the directory of containers: %w", err)
	}
	cgroups, err := cgroupPrefix(filepath.Join(o.Dir, ".cgroup"))
	if err != nil {
		return nil, err
	}
	return &Runtime{dir: o.Dir, helper: o.Helper, log: o.Log, cgroups: cgroups, changed: make(chan struct{}, 1), watched: map[fabric.Process]bool{}}, nil
}

// cgroupPrefix is a name that this directory keeps for good: names of cgroups are the machine's, and several members may share a machine.
func cgroupPrefix(file string) (string, error) {
	if data, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(data), "fabric-") {
		return string(data), nil
	}
	random := make([]byte, 4)
	rand.Read(random)
	prefix := "fabric-" + hex.EncodeToString(random)
	return prefix, writeFile(file, []byte(prefix))
}

// Changed implements compute.Runtime.
func (r *Runtime) Changed() <-chan struct{} { return r.changed }

func (r *Runtime) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *Runtime) path(name string, file ...string) string {
	return filepath.Join(append([]string{r.dir, name}, file...)...)
}

// Containers implements compute.Runtime.
func (r *Runtime) Containers(context.Context) (map[string]compute.Container, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := map[string]compute.Container{}
	for _, e := range entries {
		if e.IsDir() && fabric.CheckHostname("instance", e.Name()) == nil {
			c, err := r.container(e.Name())
			if err != nil {
				return nil, err
			}
			all[e.Name()] = c
		}
	}
	return all, nil
}

// container finds out how a container is, from its files and the kernel's word on the processes they name.
func (r *Runtime) container(name string) (compute.Container, error) {
	last, err := readJSON[run](r.path(name, runFile))
	if err != nil {
		return compute.Container{}, err
	}
	network, err := readJSON[compute.Network](r.path(name, networkFile))
	if err != nil {
		return compute.Container{}, err
	}
	limits, err := readJSON[limits](r.path(name, limitsFile))
	if err != nil {
		return compute.Container{}, err
	}
	c := compute.Container{
		State: compute.ContainerStopped, Boots: last.Boots, BootID: last.BootID, StartedAt: last.StartedAt, Network: network, Resources: limits.Resources,
	}
	switch {
	case alive(last.Init):
		c.State, c.Process = compute.ContainerRunning, last.Init
		r.watch(last.Init)
	case locked(r.path(name, lockFile)), alive(last.Monitor):
		// Being started, or between two lives, or being cleared away. Nobody tells which and when: look again.
		c.State = compute.ContainerStarting
		time.AfterFunc(200*time.Millisecond, r.wake)
	}
	return c, nil
}

// running finds a container that has to run for what is to be done to it.
func (r *Runtime) running(name, doing string) (compute.Container, error) {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return compute.Container{}, err
	}
	c, err := r.container(name)
	if err == nil && c.State != compute.ContainerRunning {
		err = fabric.Conflictf("not-running", "%s of instance %q: it is %s", doing, name, c.State)
	}
	return c, err
}

// Log implements compute.Runtime.
func (r *Runtime) Log(name string) (io.ReadCloser, error) {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return nil, err
	}
	var readers []io.Reader
	var closers closeAll
	for _, log := range []string{lxcLog, consoleLog} {
		f, err := os.Open(r.path(name, log))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read the log of instance %q: %w", name, err), closers.Close())
		}
		readers, closers = append(readers, f), append(closers, f)
	}
	if len(readers) == 0 {
		return nil, fabric.NotFoundf("instance %q has no log: it was never started on this member", name)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(readers...), closers}, nil
}

type closeAll []io.Closer

func (all closeAll) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// readJSON reads a file, the zero value where there is none.
func readJSON[T any](file string) (T, error) {
	var v T
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return v, fmt.Errorf("read %s: %w", file, err)
	}
	return v, nil
}

func writeJSON(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(file, data)
}

// writeFile replaces a file in one step.
func writeFile(file string, data []byte) error {
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
