// Package router is the routing worker of a member: it makes BGP sessions, announcements and kernel routes what one Routing value says, and
// reports what has become of it.
package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/bgp/unnumbered"
	"netfabric/fabric"
	"netfabric/fabric/inside"
)

// Worker applies Routing values. All its work is done by the goroutine of Run.
type Worker struct {
	log     *slog.Logger
	disk    *disk
	keeper  *verdictKeeper
	started time.Time
	calls   chan func()
	over    chan struct{} // closed when Run is over

	speaker    *gobgp.Speaker
	inside     *inside.Runner
	installer  *installer
	bfd        *detectors
	begun      map[string]bool // peers whose session is established
	held       map[string]hold // peers without a session, by name
	watchdog   *watchdog
	filter     filter
	filterErr  error
	links      *links
	kernel     *kernel
	neighbours *unnumbered.Discovery
	found      map[string]unnumbered.State // by interface
	peers      []fabric.RoutingPeer        // of routing, with the addresses that were found
	lost       losses
	recorded   map[string]netip.Addr // neighbours in the file for the next run
	knocks     knocks
	callers    callers
	expanded   fabric.Routing // routing with callers in the places of dynamic peers
	routing    fabric.Routing
	fromDisk   bool
	set        bool // there is a value
	taken      bool // and it is new
	restarts   bool // kernel routes of an earlier run have forwarded until now
	processes  map[fabric.Process]*watched
	trackers   map[copyKey]*tracker
	timed      map[copyKey]*tracker // of these, the ones with something to do at a time
	standings  map[standKey]*standing
	parting    []parting
	dampings   map[dampKey]*damping
	leave      *leave
	settled    fabric.DrainPhase // that what is done reflects
	version    uint64            // of what the speaker was last given
	applied    gobgp.Config      // that
	hops       hops
	shutting   uint64                 // the first version with which peers are told that the member leaves
	verdicts   map[copyKey]verdict    // of an earlier run
	stood      map[standKey]bool      // subnets behind gateways that an earlier run announced last
	failed     map[netip.Prefix]error // kernel routes that can't be made
	pruneErr   error
	keepErr    error     // the value is not on disk
	dirty      bool      // something happened that what is done does not reflect yet
	reload     time.Time // when to look at what routes the kernel has
	tell       time.Time // when to tell of results of checks that changed no verdict; zero: there are none
	told       time.Time // when that was done last

	setting sync.Mutex // of Set and Patch
	values  uint64     // that were set; under setting
	looking sync.Mutex // of Routes
	telling telling    // of state

	changes  changes // of the state
	gateways *gateways
}

// watched is a process that copies depend on.
type watched struct {
	handle *process
	dead   string // why; empty while it lives
}

// New makes a worker that keeps its value in the directory state. bfd makes the command of a process that runs ServeBFD, helper that of one that
// runs inside.Helper.
func New(log *slog.Logger, state string, bfd, helper func() *exec.Cmd) (*Worker, error) {
	d, err := openDisk(state)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		log: log, disk: d, keeper: newVerdictKeeper(), inside: inside.NewRunner(helper), started: time.Now().UTC().Truncate(time.Millisecond),
		calls: make(chan func(), 256), over: make(chan struct{}),
		processes: map[fabric.Process]*watched{}, trackers: map[copyKey]*tracker{}, dampings: map[dampKey]*damping{}, leave: newLeave(), hops: hops{own: ownAddress6}, verdicts: map[copyKey]verdict{}, lost: losses{}, callers: callers{},
	}
	w.gateways = newGateways(log, state, func() {
		w.bump()
		w.post(func() { w.dirty = w.dirty || len(w.standings) > 0 })
	})
	w.speaker = gobgp.New(log, func() {
		w.gateways.poke()
		w.post(w.sessionsChanged)
	})
	if w.watchdog, err = openWatchdog(d, log, time.Now()); err != nil {
		return nil, err
	}
	w.speaker.OnState(w.watchdog.saw)
	w.speaker.OnStranger(w.stranger)
	w.speaker.KeepVRPs(vrpFiles{d})
	w.installer = newInstaller(log, w.speaker.Learned, w.bump)
	w.speaker.OnLearned(func() { signal(w.installer.wake) })
	w.bfd = newDetectors(log, state, bfd)
	w.bfd.failed = w.speaker.Fail
	w.bfd.changed = func() { w.post(func() { w.dirty = true; w.bump() }) }
	return w, nil
}

// Times of the loop.
const (
	reloadAfter = 20 * time.Millisecond // a sign that one of our routes was removed
	retryAfter  = time.Second           // routes that could not be made
	sayBound    = 50 * time.Millisecond // that peers are being told of a new value, which is then part of the answer to it
	tellEvery   = 5 * time.Second       // results of checks, which may change with each of them
	reloadEvery = 30 * time.Second      // without a sign: IPv4 routes vanish with the carrier of their interface without a word
	reloadShare = 1000                  // then, at most this part of the time goes into it
	reloadLast  = 5 * time.Minute       // but it is done at least so often
)

// Run applies the value of an earlier run, if there is one, and does what Set says from then on, until ctx ends. When polite is closed it
// leaves for good: peers are told to drop the routes. In any case routes in the kernel stay.
func (w *Worker) Run(ctx context.Context, polite <-chan struct{}) error {
	defer close(w.over)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go w.keeper.run(w.disk, w.log)
	defer w.keeper.stop()
	// What peers take back when the worker leaves stays in the kernel, as all routes do.
	installing, stopInstalling := context.WithCancel(ctx)
	defer stopInstalling()
	if err := w.begin(ctx, installing); err != nil {
		return err
	}
	defer w.neighbours.Set(nil)
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-polite:
			stopInstalling()
			inTurn(ctx, w.calls, w.farewells()...)
			return nil
		case f := <-w.calls:
			f()
		case <-timer.C:
		}
		// Whatever else is known already belongs to the same step.
		for more := true; more; {
			select {
			case f := <-w.calls:
				f()
			default:
				more = false
			}
		}
		timer.Reset(time.Until(w.step(time.Now())))
	}
}

// begin finds out what there is and takes up the value of the earlier run.
func (w *Worker) begin(ctx, installing context.Context) (err error) {
	look := func() { w.post(func() { w.reloadIn(0) }) }
	w.links, err = watchLinks(ctx, w.log, func() {
		w.gateways.poke()
		w.installer.linksChanged()
		w.post(w.linksChanged)
	})
	if err != nil {
		return fmt.Errorf("follow interfaces: %w", err)
	}
	w.neighbours = unnumbered.New(w.log, func(name string) (int, bool) {
		x, _ := w.links.get(name)
		return x.index, x.up
	}, func() { w.post(func() { w.dirty = true; w.bump() }) })
	w.recall()
	w.recallCallers(time.Now())
	if w.kernel, err = openKernel(w.links); err != nil {
		return err
	}
	if err := w.kernel.load(); err != nil {
		return err
	}
	edge, err := openFIB(w.links)
	if err != nil {
		return err
	}
	go watchRoutes(ctx, w.log, func(e routeEvent) {
		w.gateways.routeChanged(e.prefix)
		w.installer.routeChanged(e)
		if e.protocol != ProtocolBGP {
			w.post(func() { w.routeChanged(e) })
		}
	}, func() {
		look()
		w.installer.linksChanged()
	})
	go w.speaker.Run(ctx)
	go w.installer.Run(installing, edge)
	go w.bfd.Run(ctx)
	go w.gateways.run(ctx, tracked{sessions: func() []fabric.PeerState { return notMembers(w.speaker.State().Peers) }, links: w.links})
	value, same, err := w.disk.routing()
	if err != nil {
		w.log.Error("the value of the earlier run is lost", "error", err)
	}
	if value != nil {
		if w.restarts = same; same {
			w.verdicts = w.disk.verdicts(w.log)
			w.stood = w.disk.standings(w.log)
		} else {
			// The host has been started since. What depends on nothing can't be seen to be there: it waits until it is announced anew.
			value.Announcements = slices.DeleteFunc(value.Announcements, func(a fabric.Announcement) bool { return len(a.Copies) == 0 && a.Gateway == "" })
		}
		w.fromDisk = true
		w.take(*value)
	}
	return nil
}

// post has f run by the goroutine of Run.
func (w *Worker) post(f func()) {
	select {
	case w.calls <- f:
	case <-w.over:
	}
}

// do has f run by the goroutine of Run, and waits until it has.
func (w *Worker) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	run := func() {
		f()
		close(done)
	}
	select {
	case w.calls <- run:
	case <-w.over:
		return errors.New("the routing worker ends")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-w.over:
		return errors.New("the routing worker ends")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take takes over a value: what watches copies is there afterwards for exactly those of the value.
func (w *Worker) take(r fabric.Routing) {
	w.leave.Set(r.Drain, w.set, time.Now())
	w.follow(w.expanded, r, time.Now())
	w.routing, w.set, w.taken, w.dirty = r, true, true, true
	w.hops.lookSoon(time.Now())
	w.gateways.set(r.Gateways)
	w.neighbours.Set(interfacesOf(r.Peers))
	w.lost.keep(r.Peers)
	w.expanded = expand(r, w.callers)
	w.peers, _ = resolve(w.expanded, w.found)
	needed := map[fabric.Process]bool{}
	trackers, dampings := map[copyKey]*tracker{}, map[dampKey]*damping{}
	for _, a := range r.Announcements {
		for _, c := range a.Copies {
			key := keyOf(a.Prefix, c)
			t, ok := w.trackers[key]
			if !ok {
				t = newTracker(c, w.damping(dampKey{a.Prefix, c.Instance, c.Device}), w.verdicts[key], time.Now())
			}
			t.follow(c, time.Now())
			trackers[key] = t
			dampings[dampKey{a.Prefix, c.Instance, c.Device}] = t.damping
			needed[c.Process] = true
		}
	}
	for key, d := range w.dampings {
		if !d.Forgotten(time.Now()) {
			dampings[key] = d // its next life inherits it
		}
	}
	w.trackers, w.dampings = trackers, dampings
	w.verdicts = nil
	for p, x := range w.processes {
		if !needed[p] {
			if x.handle != nil {
				x.handle.close()
			}
			w.inside.Forget(p)
			delete(w.processes, p)
		}
	}
	for p := range needed {
		if _, ok := w.processes[p]; !ok {
			w.processes[p] = w.watch(p)
		}
	}
}

// damping is what is remembered of a copy's flaps.
func (w *Worker) damping(key dampKey) *damping {
	if d := w.dampings[key]; d != nil {
		return d
	}
	d := &damping{}
	w.dampings[key] = d
	return d
}

// watch takes hold of a process and learns of its end.
func (w *Worker) watch(p fabric.Process) *watched {
	handle, err := openProcess(p)
	if err != nil {
		return &watched{dead: err.Error()}
	}
	x := &watched{handle: handle}
	go func() {
		if handle.wait() {
			w.post(func() {
				x.dead = fmt.Sprintf("process %d has ended", p.PID)
				w.dirty = true
			})
		}
	}()
	return x
}

func (w *Worker) sessionsChanged() {
	begun, alive := map[string]bool{}, map[string]bool{}
	for _, p := range w.speaker.State().Peers {
		if p.Established() {
			begun[p.Name], alive[p.Interface] = true, true
		}
	}
	w.neighbours.Alive(alive)
	if !maps.Equal(begun, w.begun) {
		w.begun, w.dirty = begun, true
	}
	w.bump()
}

func (w *Worker) linksChanged() {
	w.dirty = true
	w.hops.lookSoon(time.Now())
	w.neighbours.LinksChanged()
	w.reloadIn(reloadAfter)
}

func (w *Worker) routeChanged(e routeEvent) {
	if w.kernel.concerns(e) {
		w.reloadIn(reloadAfter)
	}
}

// reloadIn has a look taken at the kernel's routes no later than after d.
func (w *Worker) reloadIn(d time.Duration) {
	if at := time.Now().Add(d); at.Before(w.reload) {
		w.reload = at
	}
}

// step does what is due, and tells when something will be.
func (w *Worker) step(now time.Time) time.Time {
	if !now.Before(w.reload) {
		before, began := w.kernel.installed, time.Now()
		if err := w.kernel.load(); err != nil {
			w.log.Error("cannot see kernel routes", "error", err)
		}
		w.reload = now.Add(min(max(reloadEvery, reloadShare*time.Since(began)), reloadLast))
		if len(w.failed) > 0 || w.pruneErr != nil || w.filter.lost() || !maps.EqualFunc(before, w.kernel.installed, slices.Equal) {
			w.dirty = true
		}
	}
	if w.pardoned(now) || w.answer(now) {
		w.dirty = true
	}
	if at, ok := w.filter.Deadline(); w.leave.Expire(now) || ok && !now.Before(at) {
		w.dirty = true
	}
	if w.hops.look(w.routing.Peers, now) {
		w.dirty = true
	}
	for _, t := range w.timed {
		w.dirty = w.dirty || !t.due.IsZero() && !now.Before(t.due)
	}
	if at, ok := w.standingsDue(); ok && !now.Before(at) {
		w.dirty = true
	}
	if w.dirty && w.set {
		w.dirty = false
		w.settle(now)
	}
	next := w.reload
	if !w.hops.due.IsZero() && w.hops.due.Before(next) {
		next = w.hops.due
	}
	if at, ok := w.watchdog.penalties.next(now); ok && at.Before(next) {
		next = at
	}
	if at, ok := w.callers.next(); ok && at.Before(next) {
		next = at
	}
	if at, ok := w.filter.Deadline(); ok && at.Before(next) {
		next = at
	}
	if at, ok := w.standingsDue(); ok && at.Before(next) {
		next = at
	}
	if !w.tell.IsZero() && !now.Before(w.tell) {
		w.tell, w.told = time.Time{}, now
		w.bump()
	}
	if w.leave.Waits() {
		w.leave.Asked(w.speaker.State().Version >= w.shutting && w.acknowledged(), now)
		if at := now.Add(tellPoll); at.Before(next) {
			next = at
		}
	}
	if at, ok := w.leave.Count(); ok {
		if !now.Before(at) {
			w.leave.Counted(w.arrived(), now)
			at = now.Add(sampleEvery)
		}
		if at.Before(next) {
			next = at
		}
	}
	if at, ok := w.leave.Deadline(); ok && at.Before(next) {
		next = at
	}
	if !w.tell.IsZero() && w.tell.Before(next) {
		next = w.tell
	}
	for key, t := range w.timed {
		if !t.due.IsZero() && t.due.Before(next) {
			next = t.due
		}
		if at, ok := w.check(key, t, now); ok && at.Before(next) {
			next = at
		}
	}
	return next
}

// pardoned tells whether the penalty of a peer that is held for it is over.
func (w *Worker) pardoned(now time.Time) bool {
	return slices.ContainsFunc(w.peers, func(p fabric.RoutingPeer) bool {
		_, guilty := w.watchdog.penalties.held(p.Address.WithZone(""), now)
		return w.held[p.Name].reason == fabric.ReasonPenalty && !guilty
	})
}

// check starts the check of a copy if it is due, and tells when the next one is.
func (w *Worker) check(key copyKey, t *tracker, now time.Time) (time.Time, bool) {
	p := w.processes[t.copy.Process]
	if t.health == nil || t.blocked || p == nil || p.handle == nil {
		return time.Time{}, false
	}
	at, ok := t.health.Deadline()
	if !ok || now.Before(at) {
		return at, ok
	}
	h := t.health
	h.Started(now)
	go func() {
		var failure, note string
		if h.check.Type == fabric.CheckExec {
			failure, note = execCheck(w.inside, key.process, h.check, key.prefix.Addr())
		} else {
			failure = runCheck(p.handle.ns, h.check, key.prefix.Addr())
		}
		w.post(func() {
			before, beforeMessage := h.Verdict()
			words := h.Words()
			h.Result(failure)
			h.note = note
			if after, message := h.Verdict(); after != before || message != beforeMessage {
				w.dirty = true
			}
			if h.Words() != words && w.tell.IsZero() {
				w.tell = w.told.Add(tellEvery)
			}
		})
	}()
	return time.Time{}, false
}

// settle makes routes and announcements what the copies allow.
func (w *Worker) settle(now time.Time) {
	w.version++
	changed := w.taken || w.leave.phase != w.settled
	if w.leave.phase != w.settled {
		w.shutting = w.version
	}
	w.taken, w.settled = false, w.leave.phase
	w.timed = map[copyKey]*tracker{}
	for key, t := range w.trackers {
		changed = t.judge(w, now) || changed
		if t.health != nil || !t.due.IsZero() {
			w.timed[key] = t
		}
	}
	stood := w.judgeStandings(now)
	want := wantedRoutes(w.routing, w.trackers)
	failed := w.kernel.put(want)
	changed = changed || !maps.EqualFunc(failed, w.failed, func(a, b error) bool { return a.Error() == b.Error() })
	w.failed = failed
	w.expanded = expand(w.routing, w.callers)
	internal := w.expanded.InternalPeers()
	paths := make([]gobgp.Path, 0, len(w.expanded.Announcements))
	for _, a := range w.announcedNow(w.expanded.Announcements) {
		if w.leave.phase != fabric.DrainDrained && w.failed[a.Prefix] == nil && answered(a, w.trackers, w.standings) {
			paths = append(paths, gobgp.Path{Prefix: a.Prefix, Peers: a.Peers, Attributes: w.leave.attributes(a.Peers, internal, weighed(a, w.trackers))})
		}
	}
	w.found = w.neighbours.State()
	w.record(w.found)
	var missing map[string]hold
	w.peers, missing = resolve(w.expanded, w.found)
	w.bfd.Apply(there(w.peers, missing), w.begun)
	w.installer.Apply(there(w.peers, missing))
	states, _, _ := w.bfd.State()
	var open []fabric.RoutingPeer
	before := w.held
	open, w.held = admit(w.peers, missing, states, w.begun, w.watchdog.penalties, before, now)
	w.lost.note(w.speaker.State().Peers, w.held, before)
	guarded := w.guard(guardOf(w.routing.Speaker, open, w.open()), now)
	// Only now that routes are there, and before any goes: nothing is promised that can't be kept.
	w.applied = gobgp.Config{
		Speaker: w.routing.Speaker, Peers: open, Paths: paths, Imports: w.expanded.Imports, Keys: keysOf(w.routing.Peers), Closed: !guarded, RPKI: w.routing.RPKI, Own: w.routing.Own, NextHops: w.hops.found, Version: w.version, Restarting: w.restarts,
	}
	w.speaker.Apply(w.applied)
	w.pruneErr = w.kernel.prune(want)
	if len(w.failed) > 0 || w.pruneErr != nil {
		w.reloadIn(retryAfter)
	}
	if stood {
		w.disk.keepStandings(w.log, w.standings)
	}
	if changed {
		w.keeper.put(w.trackers)
	}
	if changed || stood {
		w.bump()
	}
}

// bump tells those who wait that the state changed.
func (w *Worker) bump() { w.changes.bump() }

// Changes is the number of changes of the state so far, and a channel that is closed at the next.
func (w *Worker) Changes() (uint64, <-chan struct{}) { return w.changes.next() }

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
