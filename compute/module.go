package compute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"netfabric/fabric"
)

// Options are what a Module works with.
type Options struct {
	Dir      string // for what the module remembers of instances
	Images   *Images
	Pools    Pools
	Fetcher  Fetcher
	Runtime  Runtime
	IDs      func() (IDMap, error) // nil: ReadIDMap of /etc/subuid and /etc/subgid
	Parallel int                   // instances that are worked on at the same time; 0 is 4
	Log      *slog.Logger
}

// Module is the fabric.Module "compute": it keeps the instances of this member, and its copies of images, as desired. Work that takes long goes
// on after Reconcile has returned, one step at a time for each instance; Wake tells when there is news.
type Module struct {
	o       Options
	records records
	bootID  string
	slots   chan struct{}
	wake    chan struct{}
	ctx     context.Context // of the work that goes on
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	view    fabric.View // newest
	jobs    map[string]*job
	fetches map[string]*fetch
	desired map[string]bool // images that were desired once, by fingerprint
}

// job is what goes on with an instance, and what went wrong before.
type job struct {
	doing    step
	overdue  bool // it is past its deadline and does not return
	failed   error
	failures int       // in a row
	revision uint64    // of the instance when it failed
	life     time.Time // start of the life whose end was seen last
	deaths   int       // in a row
	retryAt  time.Time
	drain    drain // before the stop that is due
}

// NewModule makes the module. It does nothing before the first Reconcile.
func NewModule(o Options) *Module {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.IDs == nil {
		o.IDs = func() (IDMap, error) { return ReadIDMap("/etc/subuid", "/etc/subgid") }
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	m := &Module{
		o: o, records: records{o.Dir}, bootID: strings.TrimSpace(string(boot)), slots: make(chan struct{}, o.Parallel), wake: make(chan struct{}, 1),
		jobs: map[string]*job{}, fetches: map[string]*fetch{}, desired: map[string]bool{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.work.Go(func() {
		for {
			select {
			case <-o.Runtime.Changed():
				m.signal()
			case <-m.ctx.Done():
				return
			}
		}
	})
	return m
}

// Close breaks off the work that goes on and waits for it to end. Containers run on.
func (m *Module) Close() {
	m.cancel()
	m.work.Wait()
}

// Name implements fabric.Module.
func (*Module) Name() string { return "compute" }

// Wake implements fabric.Module.
func (m *Module) Wake() <-chan struct{} { return m.wake }

func (m *Module) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Reconcile implements fabric.Module.
func (m *Module) Reconcile(ctx context.Context, v fabric.View) (fabric.Report, error) {
	// Under the lock: what a step has done is seen here if its end is.
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view = v
	containers, err := m.o.Runtime.Containers(ctx)
	if err != nil {
		return fabric.Report{}, err
	}
	kept, err := m.records.load()
	if err != nil {
		return fabric.Report{}, err
	}
	report := fabric.Report{Facts: fabric.Facts{Instances: map[string]fabric.InstanceFact{}}}
	now := time.Now()
	for _, name := range m.names(v, kept, containers) {
		s := m.situation(v, name, kept, containers)
		if s.instance == nil && v.Desired.Revision == 0 {
			continue // nothing is known yet: nothing is unwanted
		}
		m.pursue(v, s, now, &report)
	}
	for name, j := range m.jobs {
		if _, ok := v.Desired.Instance(name); !ok && j.doing == stepNone {
			delete(m.jobs, name)
		}
	}
	return report, m.reconcileImages(v, now, &report)
}

// names lists every instance that is desired here, or of which something is here.
func (m *Module) names(v fabric.View, kept map[string]record, containers map[string]Container) []string {
	all := map[string]bool{}
	for _, i := range v.Desired.Instances() {
		if i.Member == v.Member {
			all[i.Name] = true
		}
	}
	for name := range kept {
		all[name] = true
	}
	for name := range containers {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func (m *Module) situation(v fabric.View, name string, kept map[string]record, containers map[string]Container) situation {
	s := situation{name: name, member: v.Member, bootID: m.bootID}
	s.container, s.known = containers[name]
	if r, ok := kept[name]; ok {
		s.record = &r
	}
	_, in := v.Desired.Member(v.Member)
	s.outsider = !in
	i, ok := v.Desired.Instance(name)
	if !ok {
		return s
	}
	s.instance = i
	config, _ := i.Expanded(v.Desired)
	s.autostart = fabric.ParseBool(fabric.InstanceKeys.Get(config, "boot.autostart"))
	s.resources = resourcesOf(config)
	s.facts = v.Facts.Pools != nil && v.Facts.Networks != nil
	_, s.pool = v.Facts.Pools[i.Pool]
	s.network, s.networkErr = wantedNetwork(v.Desired, i, v.Facts.Networks)
	return s
}

// pursue begins the next step for an instance where one is due, and reports.
func (m *Module) pursue(v fabric.View, s situation, now time.Time, report *fabric.Report) {
	j := m.jobs[s.name]
	if j == nil {
		j = &job{}
		m.jobs[s.name] = j
	}
	if s.instance != nil && j.failed != nil && j.revision != s.instance.Revision {
		j.failed, j.failures, j.retryAt = nil, 0, time.Time{} // somebody changed something: try at once
	}
	if s.died() && !j.life.Equal(s.container.StartedAt) && j.doing == stepNone {
		j.died(s.container.StartedAt, now)
		m.o.Log.Warn("instance ended by itself", "instance", s.name, "deaths", j.deaths)
	}
	var blocked *fabric.Error
	if j.doing == stepNone {
		var next step
		next, blocked = decide(s)
		draining := m.drain(v, s, j, next, now)
		if draining > 0 {
			if report.Again == 0 || draining < report.Again {
				report.Again = draining
			}
		} else if next == stepNone {
			if blocked == nil {
				j.failed, j.failures = nil, 0
			}
		} else if wait := j.retryAt.Sub(now); wait > 0 && (j.failed != nil || next == stepStart && s.died()) {
			if report.Again == 0 || wait < report.Again {
				report.Again = wait
			}
		} else {
			m.begin(v, s, j, next)
		}
	}
	m.report(s, j, blocked, report)
}

// drain tells how long a step has to wait because it stops a copy of an anycast service that traffic may still be led to.
func (m *Module) drain(v fabric.View, s situation, j *job, next step, now time.Time) time.Duration {
	if next != stepStop || s.instance == nil || s.container.State != ContainerRunning {
		j.drain = drain{}
		return 0
	}
	config, _ := s.instance.Expanded(v.Desired)
	if len(config.AnycastServices()) == 0 {
		return 0
	}
	return j.drain.wait(now, withdrawn(v.Facts.Routing, s.name), config.AnycastDrain())
}

// died notes the end of a life that nobody had asked for.
func (j *job) died(life, now time.Time) {
	if now.Sub(life) >= healthyAfter {
		j.deaths = 0
	}
	j.deaths++
	j.life = life
	j.retryAt = now.Add(backoff(j.deaths))
}

// report says how an instance is.
func (m *Module) report(s situation, j *job, blocked *fabric.Error, report *fabric.Report) {
	status := fabric.InstanceStopped
	switch {
	case j.doing == stepStop, j.doing == stepRemove:
		status = fabric.InstanceStopping
	case j.doing == stepStart, j.doing == stepCreate && s.instance != nil && s.instance.Power == fabric.PowerRunning:
		status = fabric.InstanceStarting
	case s.container.State == ContainerRunning:
		status = fabric.InstanceRunning
	case s.container.State == ContainerStarting:
		status = fabric.InstanceStarting
	}
	fact := fabric.InstanceFact{Status: status, Boots: s.container.Boots}
	if s.container.State == ContainerRunning {
		fact.Process, fact.NICs = s.container.Process, nicFacts(s.container.Network)
	}
	if s.record != nil || s.known {
		report.Facts.Instances[s.name] = fact
	}
	if s.instance == nil || s.instance.Member != s.member {
		return
	}
	key := fabric.KeyOf(s.instance)
	if s.instance.Deleting && s.record == nil && !s.known && j.doing == stepNone {
		report.Released = append(report.Released, key)
	}
	state := fabric.InstanceState{Status: status, PID: fact.Process.PID, Boots: fact.Boots, NICs: fact.NICs, Root: s.record != nil && s.record.Ready}
	if s.container.State == ContainerRunning {
		state.StartedAt = s.container.StartedAt
	}
	c := fabric.Condition{Object: key, Member: s.member, Type: fabric.ConditionInstance, OK: true, Observed: s.instance.Revision}
	if reason, message := trouble(s, j, blocked); reason != "" {
		c.OK, c.Reason, c.Message = false, reason, message
		if status == fabric.InstanceStopped {
			state.Status = fabric.InstanceError
		}
	} else if status == fabric.InstanceRunning && s.networkErr == nil && needsRestart(s.container.Network, s.network) {
		c.Message = "changes of its NICs take effect with its next restart"
	} else if status == fabric.InstanceStopped && s.instance.Power == fabric.PowerRunning && s.heldBack() {
		c.Message = "not started again after the member was down: boot.autostart is false"
	}
	report.Conditions = append(report.Conditions, c.WithData(state))
}

// trouble is what stands in the way of an instance, with a stable reason.
func trouble(s situation, j *job, blocked *fabric.Error) (reason, message string) {
	switch {
	case j.overdue:
		return "operation-hangs", fmt.Sprintf("its %s is past its deadline and does not return", j.doing)
	case j.doing == stepStart, j.doing == stepCreate && j.failed == nil:
		return "", "" // being mended
	case j.failed != nil:
		return fabric.ReasonOf(j.failed), j.failed.Error()
	case blocked != nil:
		return blocked.Reason, blocked.Error()
	case s.died() && j.doing == stepNone:
		return "died", "its init ended by itself; it is started again after a back-off"
	}
	return "", ""
}

// Exec runs a command in an instance of this member. The instance's environment.* keys and some usual variables are below those of r.
func (m *Module) Exec(ctx context.Context, instance string, r fabric.ExecRequest) (status int, err error) {
	m.mu.Lock()
	v := m.view
	m.mu.Unlock()
	if v.Desired == nil {
		return 0, fabric.Errorf(fabric.CodeUnavailable, "not-ready", "exec in instance %q: this member has just begun", instance)
	}
	i, ok := v.Desired.Instance(instance)
	if !ok || i.Member != v.Member {
		return 0, fabric.NotFoundf("instance %q is not on this member", instance)
	}
	config, _ := i.Expanded(v.Desired)
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
	if r.UID == 0 {
		env["HOME"], env["USER"] = "/root", "root"
	}
	if r.Terminal {
		env["TERM"] = "xterm"
	}
	maps.Copy(env, variables(config))
	maps.Copy(env, r.Environment)
	r.Environment = env
	if r.Cwd == "" {
		r.Cwd = "/"
		if r.UID == 0 {
			r.Cwd = "/root"
		}
	}
	return m.o.Runtime.Exec(ctx, instance, r)
}

// variables are the environment.* keys of a config.
func variables(config fabric.Config) map[string]string {
	all := map[string]string{}
	for k, v := range config {
		if name, ok := strings.CutPrefix(k, "environment."); ok {
			all[name] = v
		}
	}
	return all
}

// Log reads what an instance's last start and its console had to say. The caller closes it.
func (m *Module) Log(instance string) (io.ReadCloser, error) { return m.o.Runtime.Log(instance) }

var errBrokenOff = errors.New("the daemon is ending")
