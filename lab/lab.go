package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lab is a running topology.
type Lab struct {
	name     string
	topology *Topology
	binary   string
	owned    *os.File // read end of the owner's pipe, given to holders; nil when the lab outlives this process
	owner    int      // write end: a bare descriptor, that no finalizer closes before the process ends
	progress io.Writer
}

type options struct {
	name        string
	binary      string
	progress    io.Writer
	reconfigure bool
	withProcess bool
}

// Option changes how Up starts a lab.
type Option func(*options)

// WithName runs the topology under another name, so that the same file can run several times at once.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithBinDir names the directory that nodes search first for programs. Without it that is $LAB_BIN, else bin/ beside the
// go.mod above the topology file.
func WithBinDir(dir string) Option { return func(o *options) { o.binary = dir } }

// WithProgress writes a line for every step with the time it took.
func WithProgress(w io.Writer) Option { return func(o *options) { o.progress = w } }

// WithReconfigure destroys a running lab of the same name first; without it Up refuses.
func WithReconfigure() Option { return func(o *options) { o.reconfigure = true } }

// EndWithProcess ends every process of the lab when this process ends, however it does.
func EndWithProcess() Option { return func(o *options) { o.withProcess = true } }

// ErrRunning is why Up refuses to start what runs already.
var ErrRunning = errors.New("it is running already")

// Up starts the topology in a file and returns when all daemons serve and all exec commands have succeeded. What a crashed
// run of the same name left is removed first; when anything fails, what was started is removed again.
func Up(ctx context.Context, path string, opts ...Option) (*Lab, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	topology, err := Load(path)
	if err != nil {
		return nil, err
	}
	if o.name != "" {
		if err := checkName("lab name", o.name); err != nil {
			return nil, err
		}
		topology.Name = o.name
	}
	l := &Lab{name: topology.Name, topology: topology, progress: o.progress, binary: findBinaries(o.binary, topology.Dir)}
	if l.progress == nil {
		l.progress = io.Discard
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start lab %s: network namespaces need root (sudo)", l.name)
	}
	if err := Sweep(ctx); err != nil {
		return nil, err
	}
	unlock, err := lockLab(ctx, l.name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := l.makeRoom(ctx, o.reconfigure); err != nil {
		return nil, err
	}
	if err := l.start(ctx, o.withProcess); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		err = fmt.Errorf("start lab %s: %w", l.name, err)
		return nil, errors.Join(err, l.destroy(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// checkPrograms finds out what is missing before anything is made.
func (l *Lab) checkPrograms() error {
	for _, spec := range l.topology.Nodes {
		node := &Node{lab: l, spec: spec}
		list, err := services(spec)
		if err != nil {
			return fmt.Errorf("node %s: %w", spec.Name, err)
		}
		for _, service := range list {
			path, err := node.lookPath(service.argv[0])
			if err == nil {
				_, err = os.Stat(path)
			}
			if err != nil {
				return fmt.Errorf("node %s: %w", spec.Name, err)
			}
		}
		for _, bind := range spec.Binds {
			if _, err := os.Stat(bind.Source); err != nil {
				return fmt.Errorf("node %s: bind: %w", spec.Name, err)
			}
		}
	}
	return nil
}

// makeRoom removes leftovers; a lab that runs is only removed when asked to.
func (l *Lab) makeRoom(ctx context.Context, reconfigure bool) error {
	old, err := readState(l.name)
	if err != nil {
		return err
	}
	found := judge(old, currentBootID(), identity.alive)
	if found == starting {
		return fmt.Errorf("start lab %s: process %d is starting it", l.name, old.Runner.PID)
	}
	if found == running && !reconfigure {
		return fmt.Errorf("start lab %s: %w: take it down first, or use --reconfigure to start it anew", l.name, ErrRunning)
	}
	if err := l.checkPrograms(); err != nil {
		return fmt.Errorf("start lab %s: %w", l.name, err)
	}
	switch found {
	case nothingThere:
		return nil
	case running:
		l.say("taking the running lab down")
	case leftovers:
		l.say("removing what an earlier run left")
	}
	return l.destroy(ctx)
}

func (l *Lab) say(text string) { fmt.Fprintf(l.progress, "lab %s: %s\n", l.name, text) }

func (l *Lab) start(ctx context.Context, withProcess bool) error {
	runner, err := identify(os.Getpid())
	if err != nil {
		return err
	}
	s := &state{
		Name: l.name, BootID: currentBootID(), Phase: phaseStarting, Runner: runner,
		Spec: l.topology, Binary: l.binary, Nodes: map[string]nodeState{},
	}
	if withProcess {
		s.Owner = &runner
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("make the pipe that tells nodes when this process ends: %w", err)
		}
		l.owned, l.owner = os.NewFile(uintptr(ends[0]), "owner"), ends[1]
	}
	if err := s.write(); err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{fmt.Sprintf("%d namespaces", len(l.topology.Nodes)), l.makeNamespaces},
		{fmt.Sprintf("%d links", len(l.topology.Links)), l.makeLinks},
		{"daemons and exec commands", func(ctx context.Context) error {
			return l.eachNode(func(n *Node) error { return n.startRole(ctx) })
		}},
	}
	for _, step := range steps {
		begin := time.Now()
		if err := step.run(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		l.say(fmt.Sprintf("%s (%d ms)", step.name, time.Since(begin).Milliseconds()))
	}
	return l.update(func(s *state) error { s.Phase = phaseUp; return nil })
}

func (l *Lab) makeNamespaces(ctx context.Context) error {
	if err := newNetns(netnsPath(l.name, wireNode)); err != nil {
		return err
	}
	return l.eachNode(func(n *Node) error {
		if err := n.powerOn(ctx); err != nil {
			return err
		}
		return nameNetns(fmt.Sprintf("/proc/%d/ns/net", n.PID()), netnsPath(l.name, n.spec.Name))
	})
}

func (l *Lab) makeLinks(context.Context) error {
	for i := range l.topology.Links {
		w := planWire(l.name, l.topology, i)
		if err := w.build(l.name); err != nil {
			return fmt.Errorf("link %s to %s: %w", w.spec.A, w.spec.B, err)
		}
	}
	return l.eachNode(func(n *Node) error {
		if err := setUpNetwork(l.name, n.spec, n.interfaces(), n.mtu()); err != nil {
			return fmt.Errorf("node %s: %w", n.spec.Name, err)
		}
		return nil
	})
}

// eachNode runs f for all nodes at once. One error says what is wrong: the others are mostly the same.
func (l *Lab) eachNode(f func(*Node) error) error {
	errs := make([]error, len(l.topology.Nodes))
	var group sync.WaitGroup
	for i, spec := range l.topology.Nodes {
		group.Go(func() { errs[i] = f(&Node{lab: l, spec: spec}) })
	}
	group.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (the first of %d nodes that failed)", errs[0], len(errs))
}

// update changes the state file; f sees what any process wrote before.
func (l *Lab) update(f func(*state) error) error {
	file, err := os.OpenFile(filepath.Join(labDir(l.name), "state.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lab %s is not up: %w", l.name, err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock state of lab %s: %w", l.name, err)
	}
	s, err := readState(l.name)
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("lab %s is not up", l.name)
	}
	if err := f(s); err != nil {
		return err
	}
	return s.write()
}

// Open returns a lab that another process started.
func Open(name string) (*Lab, error) {
	if err := checkName("lab name", name); err != nil {
		return nil, err
	}
	s, err := readState(name)
	if err != nil {
		return nil, err
	}
	switch judge(s, currentBootID(), identity.alive) {
	case running:
		return &Lab{name: name, topology: s.Spec, binary: s.Binary, progress: io.Discard}, nil
	case starting:
		return nil, fmt.Errorf("lab %s is still being started by process %d", name, s.Runner.PID)
	case leftovers:
		return nil, fmt.Errorf("lab %s is not running, but a crashed run left things behind: up starts it anew, down removes them", name)
	}
	return nil, fmt.Errorf("lab %s is not running: start it with up", name)
}

// Name is the name the lab runs under.
func (l *Lab) Name() string { return l.name }

// Topology is what runs.
func (l *Lab) Topology() *Topology { return l.topology }

// Node finds a node by name.
func (l *Lab) Node(name string) (*Node, error) {
	spec, ok := l.topology.Node(name)
	if !ok {
		var names []string
		for _, node := range l.topology.Nodes {
			names = append(names, node.Name)
		}
		return nil, fmt.Errorf("lab %s has no node %q; it has %s", l.name, name, strings.Join(names, ", "))
	}
	return &Node{lab: l, spec: spec}, nil
}

// Nodes lists the nodes by name.
func (l *Lab) Nodes() []*Node {
	nodes := make([]*Node, len(l.topology.Nodes))
	for i, spec := range l.topology.Nodes {
		nodes[i] = &Node{lab: l, spec: spec}
	}
	return nodes
}

// NodeStatus is one line of an inspection.
type NodeStatus struct {
	Name      string   `json:"name"`
	Role      Role     `json:"role"`
	Netns     string   `json:"netns"`
	PID       int      `json:"pid"`       // of the node's init; 0 when it is off
	State     string   `json:"state"`     // "running" or "off"
	Processes int      `json:"processes"` // its containers' included
	Addresses []string `json:"addresses"` // "eth1 192.0.2.1/24", as long as the namespace exists
}

// Inspect says what is true now.
func (l *Lab) Inspect() ([]NodeStatus, error) {
	var out []NodeStatus
	for _, node := range l.Nodes() {
		status := NodeStatus{Name: node.Name(), Role: node.Role(), Netns: node.Netns(), PID: node.PID(), State: "off"}
		processes, err := node.Processes()
		if err != nil {
			return nil, err
		}
		status.Processes = len(processes)
		if status.PID != 0 {
			status.State = "running"
			if status.Addresses, err = addresses(netnsPath(l.name, node.Name())); err != nil {
				return nil, err
			}
		}
		status.Addresses = slices.DeleteFunc(status.Addresses, func(a string) bool { return strings.HasPrefix(a, "lo ::1") })
		out = append(out, status)
	}
	return out, nil
}

// findBinaries is the directory with the programs under test; empty when there is none.
func findBinaries(option, topologyDir string) string {
	for _, dir := range []string{option, os.Getenv("LAB_BIN")} {
		if dir != "" {
			if abs, err := filepath.Abs(dir); err == nil {
				return abs
			}
		}
	}
	for dir := topologyDir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin")
		}
	}
	return ""
}
