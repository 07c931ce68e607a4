package compute

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"netfabric/fabric"
)

// Deadlines of steps.
const (
	createTimeout  = 30 * time.Minute // fetching and unpacking
	startTimeout   = time.Minute
	stopTimeout    = 30 * time.Second // after the guest's own time
	removeTimeout  = 10 * time.Minute
	networkTimeout = 10 * time.Second
	limitTimeout   = 10 * time.Second
	lateAfter      = 30 * time.Second // past the deadline: what was told to end has not
)

// begin starts a step. m.mu is held.
func (m *Module) begin(v fabric.View, s situation, j *job, next step) {
	j.doing = next
	timeout, do := m.operation(v, s, next)
	m.work.Go(func() {
		select {
		case m.slots <- struct{}{}:
		case <-m.ctx.Done():
			m.end(s, j, errBrokenOff)
			return
		}
		release := func() { <-m.slots }
		ctx, cancel := context.WithTimeoutCause(m.ctx, timeout, fmt.Errorf("it took longer than %s", timeout))
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		late := time.NewTimer(timeout + lateAfter)
		defer late.Stop()
		select {
		case err := <-done:
			release()
			m.end(s, j, err)
			return
		case <-late.C:
		}
		// It holds on to its instance, but not to the place of others.
		release()
		m.mu.Lock()
		j.overdue = true
		m.mu.Unlock()
		m.signal()
		m.o.Log.Error("a step hangs", "instance", s.name, "step", next)
		go func() { m.end(s, j, <-done) }()
	})
}

// end notes how a step ended.
func (m *Module) end(s situation, j *job, err error) {
	m.mu.Lock()
	what := j.doing
	j.doing, j.overdue = stepNone, false
	if err == nil {
		j.failed, j.failures = nil, 0
	} else {
		j.failed = err
		j.failures++
		j.retryAt = time.Now().Add(backoff(j.failures))
		if s.instance != nil {
			j.revision = s.instance.Revision
		}
	}
	m.mu.Unlock()
	if err != nil {
		m.o.Log.Warn("a step failed", "instance", s.name, "step", what, "error", err)
	} else {
		m.o.Log.Info("done", "instance", s.name, "step", what)
	}
	m.signal()
}

// operation gives a step's deadline and what it does.
func (m *Module) operation(v fabric.View, s situation, next step) (time.Duration, func(context.Context) error) {
	switch next {
	case stepCreate:
		return createTimeout, func(ctx context.Context) error { return m.create(ctx, v, s) }
	case stepStart:
		return startTimeout, func(ctx context.Context) error { return m.start(ctx, v, s) }
	case stepStop:
		grace := graceOf(v.Desired, s)
		return grace + stopTimeout, func(ctx context.Context) error { return m.o.Runtime.Stop(ctx, s.name, grace) }
	case stepNetwork:
		return networkTimeout, func(ctx context.Context) error {
			return m.o.Runtime.SetNetwork(ctx, s.name, adapt(s.container.Network, s.network))
		}
	case stepLimit:
		return limitTimeout, func(ctx context.Context) error { return m.o.Runtime.SetResources(ctx, s.name, s.resources) }
	case stepRemove:
		return removeTimeout, func(ctx context.Context) error { return m.remove(ctx, s) }
	}
	panic("no operation for step " + string(next))
}

// graceOf is how long the guest has to stop by itself.
func graceOf(desired *fabric.Snapshot, s situation) time.Duration {
	if s.gone() || s.instance.Force {
		return 0
	}
	if s.instance.Timeout > 0 {
		return time.Duration(s.instance.Timeout) * time.Second
	}
	config, _ := s.instance.Expanded(desired)
	seconds, _ := strconv.Atoi(fabric.InstanceKeys.Get(config, "boot.host_shutdown_timeout"))
	return time.Duration(seconds) * time.Second
}

// idsOf is the id map that an instance should have.
func (m *Module) idsOf(config fabric.Config) (IDMap, error) {
	if fabric.ParseBool(fabric.InstanceKeys.Get(config, "security.privileged")) {
		return IDMap{}, nil
	}
	return m.o.IDs()
}

// resourcesOf are the most that an instance may use. Values have been checked when they were set.
func resourcesOf(config fabric.Config) (x Resources) {
	x.Memory, _ = fabric.ParseSize(config["limits.memory"])
	x.Processes, _ = strconv.Atoi(config["limits.processes"])
	return x
}

// create makes the root volume of an instance. The record comes before the volume, so that what a crash leaves half done is known as such, and only
// where there is no volume of that name, so that what a crash leaves is never taken for an earlier attempt of ours when it is somebody else's.
func (m *Module) create(ctx context.Context, v fabric.View, s situation) error {
	config, _ := s.instance.Expanded(v.Desired)
	ids, err := m.idsOf(config)
	if err != nil {
		return err
	}
	if err := m.ensureImage(ctx, s.instance.Image); err != nil {
		return err
	}
	r := record{Created: s.instance.Created, Pool: s.instance.Pool, IDs: ids}
	if s.record != nil {
		if err := m.o.Pools.DeleteVolume(ctx, s.record.Pool, s.name); err != nil {
			return fmt.Errorf("create instance %q: drop an earlier attempt: %w", s.name, err)
		}
	} else if there, err := m.o.Pools.HasVolume(ctx, r.Pool, s.name); err != nil {
		return fmt.Errorf("create instance %q: look for a volume of that name: %w", s.name, err)
	} else if there {
		return fabric.Conflictf("volume-exists", "create instance %q: storage pool %q on this member has a volume of that name that no instance is known to have", s.name, r.Pool).
			WithFix("move it out of the pool, or give the instance another name")
	}
	if err := m.records.save(s.name, r); err != nil {
		return fmt.Errorf("create instance %q: %w", s.name, err)
	}
	err = m.o.Pools.CreateVolume(ctx, s.instance.Pool, s.name, func(ctx context.Context, root string) error {
		return m.o.Images.Unpack(ctx, s.instance.Image, root, ids)
	})
	if fabric.ReasonOf(err) == "volume-exists" {
		// It is nobody's that this member knows of; deleting it with the record would be wrong.
		if err := m.records.drop(s.name); err != nil {
			m.o.Log.Error("can't forget an instance that was not made", "instance", s.name, "error", err)
		}
	}
	if err != nil {
		return fmt.Errorf("create instance %q: %w", s.name, err)
	}
	r.Ready = true
	if err := m.records.save(s.name, r); err != nil {
		return fmt.Errorf("create instance %q: %w", s.name, err)
	}
	return nil
}

func (m *Module) start(ctx context.Context, v fabric.View, s situation) error {
	config, _ := s.instance.Expanded(v.Desired)
	spec := Spec{
		Name: s.name, Boots: s.instance.Boots, Network: s.network, Resources: s.resources, Environment: variables(config),
		Nesting: fabric.ParseBool(fabric.InstanceKeys.Get(config, "security.nesting")),
	}
	var err error
	if spec.IDs, err = m.idsOf(config); err != nil {
		return err
	}
	if spec.Root, err = m.o.Pools.Mount(ctx, s.record.Pool, s.name); err != nil {
		return fmt.Errorf("start instance %q: %w", s.name, err)
	}
	if spec.IDs != s.record.IDs {
		if err := m.changeIDs(ctx, s, &spec); err != nil {
			return fmt.Errorf("start instance %q: give its files other owners: %w", s.name, err)
		}
	}
	return m.o.Runtime.Start(ctx, spec)
}

// changeIDs moves the files of an instance to the id map that it has now.
func (m *Module) changeIDs(ctx context.Context, s situation, spec *Spec) error {
	if err := reown(ctx, spec.Root, s.record.IDs, spec.IDs); err != nil {
		return err
	}
	r := *s.record
	r.IDs = spec.IDs
	if err := m.records.save(s.name, r); err != nil {
		return err
	}
	// The volume's own directory follows the owner of its root.
	root, err := m.o.Pools.Mount(ctx, r.Pool, s.name)
	spec.Root = root
	return err
}

// remove takes everything of an instance off this member. The record goes last.
func (m *Module) remove(ctx context.Context, s situation) error {
	if err := m.o.Runtime.Remove(ctx, s.name); err != nil {
		return err
	}
	if s.record == nil {
		return nil
	}
	if err := m.o.Pools.DeleteVolume(ctx, s.record.Pool, s.name); err != nil {
		return fmt.Errorf("delete instance %q: %w", s.name, err)
	}
	return m.records.drop(s.name)
}
