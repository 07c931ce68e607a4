package compute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netfabric/fabric"
)

// fakeRuntime runs containers that are only numbers. It keeps the invariants of a real one and fails the test on misuse.
type fakeRuntime struct {
	t       *testing.T
	changed chan struct{}

	mu         sync.Mutex
	containers map[string]Container
	specs      map[string]Spec
	nextPID    int
	starts     map[string]int
	graces     []time.Duration
	startErr   map[string]error
	hang       map[string]chan struct{} // Start of these waits, whatever its context says
}

func newFakeRuntime(t *testing.T) *fakeRuntime {
	return &fakeRuntime{
		t: t, changed: make(chan struct{}, 1), nextPID: 100, containers: map[string]Container{}, specs: map[string]Spec{},
		starts: map[string]int{}, startErr: map[string]error{}, hang: map[string]chan struct{}{},
	}
}

func (f *fakeRuntime) Containers(context.Context) (map[string]Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.containers), nil
}

func (f *fakeRuntime) Start(_ context.Context, s Spec) error {
	f.mu.Lock()
	wait := f.hang[s.Name]
	f.mu.Unlock()
	if wait != nil {
		<-wait
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts[s.Name]++
	if f.containers[s.Name].State == ContainerRunning {
		f.t.Errorf("start of %s, which runs", s.Name)
	}
	if _, err := os.Stat(s.Root); err != nil {
		f.t.Errorf("start of %s without its root: %v", s.Name, err)
	}
	if err := f.startErr[s.Name]; err != nil {
		return err
	}
	f.nextPID++
	f.specs[s.Name] = s
	f.containers[s.Name] = Container{
		State: ContainerRunning, Process: fabric.Process{PID: f.nextPID, Start: uint64(f.nextPID)}, Boots: s.Boots, BootID: bootIDForTest, StartedAt: time.Now(), Network: s.Network, Resources: s.Resources,
	}
	return nil
}

func (f *fakeRuntime) Stop(_ context.Context, name string, grace time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.graces = append(f.graces, grace)
	f.stopped(name)
	return nil
}

func (f *fakeRuntime) stopped(name string) {
	c := f.containers[name]
	c.State, c.Process = ContainerStopped, fabric.Process{}
	f.containers[name] = c
}

// die ends a container as a crash of its init does.
func (f *fakeRuntime) die(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped(name)
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fakeRuntime) Remove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.containers[name].State == ContainerRunning {
		f.t.Errorf("remove of %s, which runs", name)
	}
	delete(f.containers, name)
	return nil
}

func (f *fakeRuntime) SetResources(_ context.Context, name string, x Resources) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[name]
	if c.State != ContainerRunning {
		f.t.Errorf("limits for %s, which does not run", name)
	}
	c.Resources = x
	f.containers[name] = c
	return nil
}

func (f *fakeRuntime) SetNetwork(_ context.Context, name string, n Network) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[name]
	if c.State != ContainerRunning {
		f.t.Errorf("addresses for %s, which does not run", name)
	}
	c.Network = n
	f.containers[name] = c
	return nil
}

func (f *fakeRuntime) Exec(_ context.Context, name string, r fabric.ExecRequest) (int, error) {
	_, err := fmt.Fprintf(r.Stdout, "%s %v %s %s", name, r.Command, r.Environment["HOME"], r.Environment["GREETING"])
	return 0, err
}

func (f *fakeRuntime) Log(string) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (f *fakeRuntime) Changed() <-chan struct{} { return f.changed }

func (f *fakeRuntime) get(name string) Container {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.containers[name]
}

func (f *fakeRuntime) started(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts[name]
}

// fakePools has one pool that is a directory.
type fakePools struct{ dir string }

func (p fakePools) HasVolume(_ context.Context, _, volume string) (bool, error) {
	_, err := os.Stat(filepath.Join(p.dir, volume))
	return err == nil, nil
}

func (p fakePools) CreateVolume(ctx context.Context, _, volume string, fill func(context.Context, string) error) error {
	root := filepath.Join(p.dir, volume)
	if err := os.Mkdir(root, 0o755); errors.Is(err, os.ErrExist) {
		return fabric.Conflictf("volume-exists", "volume %q exists", volume)
	} else if err != nil {
		return err
	}
	if err := fill(ctx, root); err != nil {
		return errors.Join(err, os.RemoveAll(root))
	}
	return nil
}

func (p fakePools) DeleteVolume(_ context.Context, _, volume string) error {
	return os.RemoveAll(filepath.Join(p.dir, volume))
}

func (p fakePools) Mount(_ context.Context, _, volume string) (string, error) {
	root := filepath.Join(p.dir, volume)
	if _, err := os.Stat(root); err != nil {
		return "", fabric.NotFoundf("volume %q is not there", volume)
	}
	return root, nil
}

// fakeFetcher gives images of other members, as long as these are up.
type fakeFetcher struct {
	mu      sync.Mutex
	members map[string]*Images
	asked   []string
}

func (f *fakeFetcher) Fetch(_ context.Context, member, fingerprint string) ([]fabric.ImageFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, member)
	images, ok := f.members[member]
	if !ok {
		return nil, fabric.Errorf(fabric.CodeUnavailable, "member-offline", "member %q does not answer", member)
	}
	return images.Open(fingerprint)
}
