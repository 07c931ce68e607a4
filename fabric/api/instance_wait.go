package api

import (
	"context"
	"time"

	"netfabric/fabric"
)

// observed is what an instance's member has last said of it.
type observed struct {
	fabric.InstanceState
	revision uint64 // of the instance that it speaks of
	reason   string
	message  string
	name     string
}

func observe(r *request, i *fabric.Instance) observed {
	c := condition(r, i)
	return observed{fabric.JSON[fabric.InstanceState](c.Data), c.Observed, c.Reason, c.Message, i.Name}
}

// failure is why the member could not make the instance what was asked, nil where it did not say so.
func (o observed) failure() error {
	if o.Status != fabric.InstanceError {
		return nil
	}
	reason, message := o.reason, o.message
	if reason == "" {
		reason = "instance-error"
	}
	if message == "" {
		message = "its member gives no reason"
	}
	return fabric.Errorf(fabric.CodeUnavailable, reason, "instance %q: %s", o.name, message)
}

// startInstanceJob starts an operation that ends when the instance's member has made what was just written. until is not shown what the member
// said before. promise says what will happen when the member is offline: then nobody waits for it.
func (s *Server) startInstanceJob(r *request, i *fabric.Instance, description, promise string, until func(*fabric.Snapshot, observed) (bool, error)) (*operation, error) {
	var written uint64
	if now, ok := s.Store.Snapshot().Instance(i.Name); ok {
		written = now.Revision
	}
	return s.operations.start(job{
		description: description,
		resources:   map[string][]string{"instances": {"/1.0/instances/" + seg(i.Name)}, "containers": {"/1.0/containers/" + seg(i.Name)}},
		location:    r.status.Self,
		run: func(ctx context.Context, _ *operation) error {
			return s.await(ctx, func() (bool, error) {
				req := s.newRequest(nil, nil)
				state := observe(req, i)
				absent := offline(req.status, i.Member)
				if absent || state.revision < written {
					state = observed{name: i.Name}
				}
				ok, err := until(req.snap, state)
				if !ok && err == nil && absent {
					return false, fabric.Errorf(fabric.CodeUnavailable, "member-offline", "member %q is offline: the %s when it is back", i.Member, promise)
				}
				return ok, err
			})
		},
	})
}

// gone fails what waits for an instance that was deleted meanwhile.
func gone(snap *fabric.Snapshot, i *fabric.Instance) error {
	if now, ok := snap.Instance(i.Name); !ok || !now.Created.Equal(i.Created) {
		return fabric.Conflictf("deleted", "instance %q was deleted meanwhile", i.Name)
	}
	return nil
}

// overtaken fails what waits for an instance to start or stop when another request wants the opposite meanwhile.
func overtaken(snap *fabric.Snapshot, i *fabric.Instance) error {
	if err := gone(snap, i); err != nil {
		return err
	}
	if now, _ := snap.Instance(i.Name); now.Power != i.Power {
		return fabric.Conflictf("overtaken", "instance %q: another request wants it %s meanwhile", i.Name, now.Power)
	}
	return nil
}

// await looks after each change of the store, or of this member's own word, until look is content or fails. Who is online changes without
// either: hence the slow look too.
func (s *Server) await(ctx context.Context, look func() (bool, error)) error {
	changed, end := s.Store.Subscribe()
	defer end()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		own := s.Changed() // before the look, so that nothing is missed after it
		if ok, err := look(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-own:
		case <-tick.C:
		}
	}
}
