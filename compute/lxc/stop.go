package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/fabric"
)

// settle is how long liblxc's monitor has to clear up after its init, and the kernel to end a killed process.
const settle = 5 * time.Second

// untilReady is how long an init may take until it waits for a signal.
const untilReady = 3 * time.Second

// Stop implements compute.Runtime.
func (r *Runtime) Stop(ctx context.Context, name string, grace time.Duration) error {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return err
	}
	if grace > 0 {
		if err := r.askToStop(ctx, name, grace); err != nil {
			return fmt.Errorf("stop instance %q: %w", name, err)
		}
	}
	// A guest that reboots itself at this moment has a new init with every look.
	for range 10 {
		last, err := readJSON[run](r.path(name, runFile))
		if err != nil {
			return err
		}
		if !alive(last.Init) && !alive(last.Monitor) {
			return r.clear(ctx, name)
		}
		if err := kill(ctx, last.Init, 0); err != nil {
			return fmt.Errorf("stop instance %q: %w", name, err)
		}
		if err := kill(ctx, last.Monitor, settle); err != nil {
			return fmt.Errorf("stop instance %q: %w", name, err)
		}
	}
	return fmt.Errorf("stop instance %q: it comes back each time", name)
}

// askToStop sends init the signal it waits for and gives it time to end.
func (r *Runtime) askToStop(ctx context.Context, name string, grace time.Duration) error {
	last, err := readJSON[run](r.path(name, runFile))
	if err != nil {
		return err
	}
	h, err := open(last.Init)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.close()
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	s, ok := haltSignal(last.Init)
	for began := time.Now(); !ok; s, ok = haltSignal(last.Init) {
		if time.Since(began) > untilReady {
			return nil // it can't be asked
		}
		look, cancel := context.WithTimeout(patience, 50*time.Millisecond)
		err := h.wait(look)
		cancel()
		if err == nil || patience.Err() != nil {
			return ctx.Err()
		}
	}
	if err := h.signal(s); err != nil {
		return fmt.Errorf("ask init to stop: %w", err)
	}
	// Whether it ended or not, the rest is killed; only the caller's own end ends this.
	_ = h.wait(patience)
	return ctx.Err()
}

// kill ends a process: by itself within patience, else by force.
func kill(ctx context.Context, p fabric.Process, patience time.Duration) error {
	h, err := open(p)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.close()
	if patience > 0 {
		wait, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if h.wait(wait) == nil {
			return nil
		}
	}
	if err := h.signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	wait, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if err := h.wait(wait); err != nil {
		return fabric.Errorf(fabric.CodeInternal, "kill-hangs", "process %d does not end although it was killed: %w", p.PID, err)
	}
	return nil
}

// clear removes what a container that is gone has left on the member.
func (r *Runtime) clear(ctx context.Context, name string) error {
	network, err := readJSON[compute.Network](r.path(name, networkFile))
	if err != nil {
		return err
	}
	if err := errors.Join(dropLinks(network), r.dropCgroups(ctx, name)); err != nil {
		return fmt.Errorf("clear up after instance %q: %w", name, err)
	}
	return nil
}

// Remove implements compute.Runtime.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return err
	}
	c, err := r.container(name)
	if err != nil {
		return err
	}
	if c.State != compute.ContainerStopped {
		return fabric.Conflictf("not-stopped", "remove instance %q: it is %s", name, c.State)
	}
	if err := r.clear(ctx, name); err != nil {
		return err
	}
	if err := os.RemoveAll(r.path(name)); err != nil {
		return fmt.Errorf("remove instance %q: %w", name, err)
	}
	return nil
}

// SetNetwork implements compute.Runtime.
func (r *Runtime) SetNetwork(_ context.Context, name string, n compute.Network) error {
	c, err := r.running(name, "set the addresses")
	if err != nil {
		return err
	}
	if err := applyNetwork(c.Process, c.Network, n); err != nil {
		return fmt.Errorf("set the addresses of instance %q: %w", name, err)
	}
	return writeJSON(r.path(name, networkFile), n)
}
