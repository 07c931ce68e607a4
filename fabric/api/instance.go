package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// GetInstances lists the instances with their state. filter, such as "status eq Running and location eq n1", may be empty.
func (c *Client) GetInstances(ctx context.Context, filter string) ([]InstanceFull, error) {
	path := "/1.0/instances?recursion=2"
	if filter != "" {
		path += "&filter=" + url.QueryEscape(filter)
	}
	var all []InstanceFull
	_, err := c.Get(ctx, path, &all)
	return all, err
}

// GetInstance finds an instance.
func (c *Client) GetInstance(ctx context.Context, name string) (*incusapi.Instance, string, error) {
	return one[incusapi.Instance](ctx, c, "/1.0/instances/"+seg(name))
}

// GetInstanceFull finds an instance with its state.
func (c *Client) GetInstanceFull(ctx context.Context, name string) (*InstanceFull, string, error) {
	return one[InstanceFull](ctx, c, "/1.0/instances/"+seg(name)+"?recursion=1")
}

// CreateInstance makes an instance; on a member of choice through Target. The operation ends when its root disk is there, and when it runs
// if post.Start is set.
func (c *Client) CreateInstance(ctx context.Context, post InstancesPost) (*Operation, error) {
	return c.Send(ctx, http.MethodPost, "/1.0/instances", post, "")
}

// UpdateInstance replaces profiles, config and devices of an instance.
func (c *Client) UpdateInstance(ctx context.Context, name string, put incusapi.InstancePut, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/instances/"+seg(name), put, etag)
}

// PatchInstance sets the given parts of an instance and leaves the others.
func (c *Client) PatchInstance(ctx context.Context, name string, patch map[string]any, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPatch, "/1.0/instances/"+seg(name), patch, etag)
}

// DeleteInstance removes a stopped instance; the operation ends when nothing is left of it.
func (c *Client) DeleteInstance(ctx context.Context, name string) (*Operation, error) {
	return c.Send(ctx, http.MethodDelete, "/1.0/instances/"+seg(name), nil, "")
}

// GetInstanceState reads how an instance is.
func (c *Client) GetInstanceState(ctx context.Context, name string) (*incusapi.InstanceState, error) {
	state, _, err := one[incusapi.InstanceState](ctx, c, "/1.0/instances/"+seg(name)+"/state")
	return state, err
}

// UpdateInstanceState starts, stops or restarts an instance; the operation ends when it has happened.
func (c *Client) UpdateInstanceState(ctx context.Context, name string, put incusapi.InstanceStatePut) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/instances/"+seg(name)+"/state", put, "")
}

func (s *Server) getInstances(r *request) (reply, error) {
	full := r.recursion() == 2
	if r.recursion() > 0 && r.query("filter") == "" {
		return reply{metadata: s.cache.list(r, full)}, nil
	}
	all := r.snap.Instances()
	list := make([]item, 0, len(all))
	for _, i := range all {
		list = append(list, item{"/1.0/instances/" + seg(i.Name), func() any { return s.cache.json(r, i, full) }})
	}
	return r.list(list)
}

func (s *Server) getInstance(r *request) (reply, error) {
	i, err := findInstance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: s.cache.json(r, i, r.recursion() > 0), etag: etagOf(i)}, nil
}

func findInstance(r *request) (*fabric.Instance, error) {
	i, ok := r.snap.Instance(r.PathValue("name"))
	if !ok {
		return nil, notFound(instanceKey(r.PathValue("name")))
	}
	return i, nil
}

func instanceKey(name string) fabric.Key { return fabric.Key{Kind: fabric.KindInstance, Name: name} }

func (s *Server) getInstanceState(r *request) (reply, error) {
	i, err := findInstance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: showInstanceState(r.snap, condition(r, i))}, nil
}

func (s *Server) postInstance(r *request) (reply, error) {
	return reply{}, fabric.Errorf(fabric.CodeNotSupported, "rename", "instance %q: instances can't be renamed or moved", r.PathValue("name")).
		WithFix("create another one")
}

func (s *Server) putInstance(r *request) (reply, error) {
	c, err := r.change(incusapi.InstancePut{})
	if err != nil {
		return reply{}, err
	}
	name := r.PathValue("name")
	var changed *fabric.Instance
	_, err = edit(s, r, instanceKey(name), func(tx *fabric.Tx, i *fabric.Instance) error {
		if i.Deleting {
			return errDeleting(name)
		}
		put := instancePut(i)
		if err := c.onto(&put); err != nil {
			return err
		}
		if err := changeInstance(i, put); err != nil {
			return err
		}
		if err := i.Validate(); err != nil { // before its devices are made use of
			return err
		}
		if err := checkProfiles(tx.Snapshot(), i); err != nil {
			return err
		}
		if err := keepsPool(tx.Snapshot(), i); err != nil {
			return err
		}
		changed = i
		return tx.ResolveNICs(i)
	})
	if err != nil {
		return reply{}, err
	}
	if c.patch {
		return done(nil)
	}
	op, err := s.startInstanceJob(r, changed, "Updating instance", "change will take effect", func(snap *fabric.Snapshot, state observed) (bool, error) {
		return state.revision > 0, cmp.Or(gone(snap, changed), state.failure())
	})
	return reply{op: op}, err
}

// changeInstance writes what a change wants into an instance.
func changeInstance(i *fabric.Instance, put incusapi.InstancePut) error {
	what := "instance " + i.Name
	if put.Restore != "" || put.Stateful {
		return fabric.Errorf(fabric.CodeNotSupported, "snapshots", "%s: there are no snapshots and no saved state", what)
	}
	if err := readOnly(what, "architecture", i.Architecture, put.Architecture); err != nil {
		return err
	}
	config := clean(put.Config)
	shown := volatile(i)
	for k, v := range config {
		if !strings.HasPrefix(k, "volatile.") {
			continue
		}
		if shown[k] != v {
			return fabric.Invalidf("read-only", "%s: config key %q is the system's own and can't be set", what, k)
		}
		delete(config, k)
	}
	i.Description, i.Ephemeral, i.Config, i.Devices = put.Description, put.Ephemeral, config, cleanDevices(put.Devices)
	if i.Profiles = put.Profiles; put.Profiles == nil {
		i.Profiles = []string{}
	}
	return nil
}

// checkProfiles refuses profiles that do not exist, before anything is expanded, and those that are there twice.
func checkProfiles(snap *fabric.Snapshot, i *fabric.Instance) error {
	for n, p := range i.Profiles {
		if _, ok := snap.Profile(p); !ok {
			return fabric.Invalidf("missing-reference", "instance %q needs profile %q, which does not exist", i.Name, p)
		}
		if slices.Contains(i.Profiles[:n], p) {
			return fabric.Invalidf("duplicate-profile", "instance %q has profile %q twice", i.Name, p)
		}
	}
	return nil
}

// keepsPool refuses to move a root disk to another pool.
func keepsPool(snap *fabric.Snapshot, i *fabric.Instance) error {
	pool, err := rootPool(snap, i)
	if err != nil {
		return err
	}
	if pool != i.Pool {
		return fabric.Errorf(fabric.CodeNotSupported, "pool-move", "instance %q: its root disk is in pool %q and can't move to %q", i.Name, i.Pool, pool)
	}
	return nil
}

// rootPool is the pool of the root disk among an instance's expanded devices.
func rootPool(snap *fabric.Snapshot, i *fabric.Instance) (string, error) {
	_, devices := i.Expanded(snap)
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if d := devices[name]; d["type"] == "disk" && d["path"] == "/" {
			pool, ok := snap.Pool(d["pool"])
			if !ok {
				return "", fabric.Invalidf("missing-reference", "instance %q: its root disk needs storage pool %q, which does not exist", i.Name, d["pool"])
			}
			if pool.Pending {
				return "", fabric.Invalidf("pending", "instance %q: storage pool %q is defined but not created yet", i.Name, pool.Name)
			}
			return d["pool"], nil
		}
	}
	return "", fabric.Invalidf("no-root-disk", "instance %q has no root disk: neither it nor its profiles have a disk with path=/", i.Name).
		WithFix("create a storage pool and give the profile a disk: fabricctl profile device add default root disk path=/ pool=POOL")
}

func errDeleting(name string) error {
	return fabric.Conflictf("deleting", "instance %q is being deleted", name)
}

func (s *Server) putInstanceState(r *request) (reply, error) {
	var put incusapi.InstanceStatePut
	if err := r.decode(&put); err != nil {
		return reply{}, err
	}
	if put.Stateful {
		return reply{}, fabric.Errorf(fabric.CodeNotSupported, "stateful", "the state of an instance can't be saved")
	}
	if put.Timeout < -1 || put.Timeout > 3600 {
		return reply{}, fabric.Invalidf("bad-value", "timeout %d: want seconds up to 3600, or -1 for the instance's own", put.Timeout)
	}
	act, ok := powerActions[put.Action]
	if !ok {
		return reply{}, fabric.Errorf(fabric.CodeNotSupported, "action", "action %q is not supported", put.Action).WithFix("actions are start, stop and restart")
	}
	var changed *fabric.Instance
	_, err := edit(s, r, instanceKey(r.PathValue("name")), func(tx *fabric.Tx, i *fabric.Instance) error {
		if i.Deleting {
			return errDeleting(i.Name)
		}
		if err := act.change(i, observe(r, i), put); err != nil {
			return err
		}
		changed = i
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	op, err := s.startInstanceJob(r, changed, act.description, act.promise, func(snap *fabric.Snapshot, state observed) (bool, error) {
		err := overtaken(snap, changed)
		if changed.Deleting && fabric.ReasonOf(err) == "deleted" {
			return true, nil // an ephemeral instance goes when it stops
		}
		reached := state.Status == fabric.InstanceStopped
		if changed.Power == fabric.PowerRunning {
			reached = state.Status == fabric.InstanceRunning && state.Boots >= changed.Boots
		}
		return reached, cmp.Or(err, state.failure())
	})
	return reply{op: op}, err
}

// powerAction is something that can be asked of an instance.
type powerAction struct {
	description string
	promise     string // what will happen when an offline member is back
	change      func(i *fabric.Instance, now observed, put incusapi.InstanceStatePut) error
}

var powerActions = map[string]powerAction{
	"start": {"Starting instance", "instance will be started", func(i *fabric.Instance, now observed, _ incusapi.InstanceStatePut) error {
		if i.Power == fabric.PowerRunning && now.Status == fabric.InstanceRunning {
			return fabric.Conflictf("already-running", "instance %q is running already", i.Name)
		}
		i.Power, i.Force, i.Timeout = fabric.PowerRunning, false, 0
		i.Boots++
		return nil
	}},
	"stop": {"Stopping instance", "instance will be stopped", func(i *fabric.Instance, now observed, put incusapi.InstanceStatePut) error {
		if i.Power == fabric.PowerStopped && (now.Status == fabric.InstanceStopped || now.Status == "") {
			return fabric.Conflictf("already-stopped", "instance %q is stopped already", i.Name)
		}
		i.Power, i.Force, i.Timeout = fabric.PowerStopped, put.Force, max(put.Timeout, 0)
		i.Deleting = i.Ephemeral
		return nil
	}},
	"restart": {"Restarting instance", "instance will be restarted", func(i *fabric.Instance, now observed, put incusapi.InstanceStatePut) error {
		if i.Power == fabric.PowerStopped {
			return fabric.Conflictf("not-running", "instance %q is not running", i.Name).WithFix("start it")
		}
		i.Force, i.Timeout = put.Force, max(put.Timeout, 0)
		i.Boots++
		return nil
	}},
}

func (s *Server) deleteInstance(r *request) (reply, error) {
	force := r.query("force") == "1" || r.query("force") == "true"
	var doomed *fabric.Instance
	_, err := edit(s, r, instanceKey(r.PathValue("name")), func(tx *fabric.Tx, i *fabric.Instance) error {
		now := observe(r, i)
		if !force && !i.Deleting && (i.Power == fabric.PowerRunning || now.Status == fabric.InstanceRunning || now.Status == fabric.InstanceStopping) {
			return fabric.Conflictf("running", "instance %q is running", i.Name).WithFix("stop it first, or delete it with force")
		}
		i.Deleting, i.Power = true, fabric.PowerStopped
		i.Force = i.Force || force
		doomed = i
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	op, err := s.startInstanceJob(r, doomed, "Deleting instance", "instance will be deleted", func(snap *fabric.Snapshot, state observed) (bool, error) {
		if gone(snap, doomed) != nil {
			return true, nil
		}
		return false, state.failure()
	})
	return reply{op: op}, err
}
