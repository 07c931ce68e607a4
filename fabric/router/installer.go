package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// installer keeps kernel routes that come from peers. What is wanted follows from what peers told, see place; what the kernel has is read from it.
//
// All its work is done by the goroutine of Run: the worker's own has checks to make, and ten thousand routes take a while.
type installer struct {
	log     *slog.Logger
	learn   func() gobgp.Changes
	table   func(name string) (uint32, bool)
	changed func() // after each change of what State says; must not block
	wake    chan struct{}
	calls   chan func()
	over    chan struct{} // closed when Run is over

	mu      sync.Mutex
	desired []fabric.RoutingPeer
	set     bool // desired is known
	fresh   bool // and new
	seen    installerEvents
	state   installState

	// Of the goroutine of Run.
	fib     fibEdge
	peers   map[netip.Addr]installPeer
	list    []fabric.RoutingPeer
	ended   map[gobgp.PeerFamily]bool
	targets []fibKey // without prefix: where routes may be
	paths   map[netip.Prefix][]gobgp.Learned
	want    map[fibKey][]hop
	have    map[fibKey][]hop
	unread  error // why what the kernel has is not known
	failed  map[fibKey]error
	ways    map[wayKey]way
	earlier map[fibKey]bool // routes of an earlier run that nobody has told of in this one
	grace   time.Time       // until then what an earlier run installed stays, unless all peers have told everything before; zero: not any more
	reload  time.Time       // when to look at what the kernel has
	retry   time.Time       // when to try again what failed; zero: nothing did
	wait    time.Duration   // until retry: it doubles while nothing new fails
	look    time.Time       // when to look at ways again; zero: not before something happens
	learnAt time.Time       // when to ask for what is learned although nothing happens; zero: never
	count   time.Time       // when to count; zero: nothing changed
	counted time.Duration   // that took
}

// fibEdge is the kernel: see fib.
type fibEdge interface {
	load() (map[fibKey][]hop, error)
	put(key fibKey, hops []hop, ours bool) error
	remove(key fibKey) error
	way(nextHop, via netip.Addr) way
}

// installerEvents is what happened in the kernel since the installer looked.
type installerEvents struct {
	missed bool // some events are not known
	ways   bool // interfaces or routes of others changed
	freed  bool // a route of somebody else went
	gone   []fibKey
}

// wayKey is what a way is looked up by.
type wayKey struct{ nextHop, via netip.Addr }

// Times of the installer.
const (
	installSettle = 20 * time.Millisecond // events of the kernel come in bursts
	installRetry  = time.Second           // at first
	installPause  = 30 * time.Second      // at last
	installReload = 30 * time.Second      // without a sign: see reloadEvery
	installCounts = 100 * time.Millisecond
	countShare    = 20   // at most this part of the time goes into counting
	installQueue  = 1024 // routes that went; with more everything is looked at
)

func newInstaller(log *slog.Logger, learn func() gobgp.Changes, changed func()) *installer {
	return &installer{
		log: log, learn: learn, changed: changed, wake: make(chan struct{}, 1), calls: make(chan func()), over: make(chan struct{}),
		table: func(name string) (uint32, bool) { return tableNumber(tableFiles, name) },
		paths: map[netip.Prefix][]gobgp.Learned{}, want: map[fibKey][]hop{}, have: map[fibKey][]hop{}, failed: map[fibKey]error{}, ways: map[wayKey]way{},
	}
}

// Apply makes the routes those that come from peers. It returns at once.
func (i *installer) Apply(peers []fabric.RoutingPeer) {
	i.mu.Lock()
	same := i.set && slices.Equal(i.desired, peers)
	i.desired, i.set, i.fresh = peers, true, i.fresh || !same
	i.mu.Unlock()
	if !same {
		signal(i.wake)
	}
}

// State is how the routes are.
func (i *installer) State() installState {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

// routeChanged takes note of an event of the kernel.
func (i *installer) routeChanged(e routeEvent) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case e.protocol != ProtocolBGP:
		i.seen.ways, i.seen.freed = true, i.seen.freed || e.gone
	case !e.gone:
		return // it is our own doing
	case len(i.seen.gone) >= installQueue:
		i.seen.missed = true
	default:
		i.seen.gone = append(i.seen.gone, e.fibKey)
	}
	signal(i.wake)
}

// linksChanged has ways looked at: routes may have gone with an interface, without a word.
func (i *installer) linksChanged() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen.ways, i.seen.missed = true, true
	signal(i.wake)
}

// Run does the work until ctx ends. The routes stay then.
func (i *installer) Run(ctx context.Context, edge fibEdge) {
	defer close(i.over)
	i.fib = edge
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.wake:
		case f := <-i.calls:
			f()
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		next := i.step(time.Now())
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// await waits until Run is over, or ctx ends.
func (i *installer) await(ctx context.Context) {
	select {
	case <-i.over:
	case <-ctx.Done():
	}
}

// do has f run by the goroutine of Run, and waits until it has.
func (i *installer) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case i.calls <- func() { f(); close(done) }:
		<-done
		return nil
	case <-i.over:
		return errors.New("the routing worker ends")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step does what is due, and tells when something will be; zero for never.
func (i *installer) step(now time.Time) time.Time {
	i.mu.Lock()
	set, fresh, desired, seen := i.set, i.fresh, i.desired, i.seen
	i.fresh, i.seen = false, installerEvents{}
	i.mu.Unlock()
	if !set {
		i.mu.Lock()
		i.seen.missed = true
		i.mu.Unlock()
		return time.Time{}
	}
	all := false // whether everything is to be looked at, or only the prefixes in dirty
	dirty := map[netip.Prefix]bool{}
	if fresh {
		if i.list == nil && !i.begin(now, desired) {
			i.mu.Lock()
			i.fresh = true
			i.mu.Unlock()
			return now.Add(installRetry)
		}
		i.list, i.peers = append([]fabric.RoutingPeer{}, desired...), installPeers(desired, i.table)
		all = true
	}
	if i.takeLearned(dirty); len(dirty) > 0 {
		i.countSoon(now)
	}
	if seen.missed || slices.ContainsFunc(seen.gone, func(k fibKey) bool { return i.have[k] != nil }) {
		i.reload = now
	}
	again := !i.retry.IsZero() && !now.Before(i.retry)
	if again {
		i.retry = time.Time{}
	}
	if again || seen.freed || seen.missed {
		for key := range i.failed {
			dirty[key.prefix] = true
		}
	}
	if seen.ways && i.look.IsZero() {
		i.look = now.Add(installSettle)
	}
	if !i.look.IsZero() && !now.Before(i.look) {
		i.look = time.Time{}
		all = i.lookAgain() || all
	}
	if !i.reload.IsZero() && !now.Before(i.reload) {
		all = i.read() || all
		i.reload = now.Add(installReload)
	}
	if !i.grace.IsZero() && (!now.Before(i.grace) || toldAll(i.list, i.ended)) {
		i.grace, i.earlier, all = time.Time{}, nil, true
	}
	if all || len(dirty) > 0 {
		i.settle(now, all, dirty)
	}
	if !i.count.IsZero() && !now.Before(i.count) {
		i.count = time.Time{}
		i.tell()
	}
	return i.deadline()
}

// begin takes over what an earlier run installed, and tells whether it could: without knowing that nothing can be done right.
func (i *installer) begin(now time.Time, desired []fabric.RoutingPeer) bool {
	have, err := i.load()
	if err != nil {
		return false
	}
	i.have, i.earlier = have, map[fibKey]bool{}
	for key := range have {
		i.earlier[key] = true
	}
	i.reload, i.grace = now.Add(installReload), now.Add(longestRestart(desired))
	return true
}

// deadline is the first of what is due later.
func (i *installer) deadline() (next time.Time) {
	due := []time.Time{i.look, i.retry, i.count, i.grace, i.learnAt}
	if len(i.have)+len(i.want) > 0 {
		due = append(due, i.reload)
	}
	for _, at := range due {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// longestRestart is how long the peers have to tell everything again.
func longestRestart(peers []fabric.RoutingPeer) time.Duration {
	seconds := 0
	for _, p := range peers {
		if p.PeerInstall.Wanted() {
			seconds = max(seconds, p.GracefulRestart)
		}
	}
	return time.Duration(seconds) * time.Second
}

// takeLearned takes over what peers told since.
func (i *installer) takeLearned(dirty map[netip.Prefix]bool) {
	c := i.learn()
	for p, paths := range c.Paths {
		before := i.paths[p]
		if slices.Equal(before, paths) {
			continue
		}
		if dirty[p] = true; len(paths) == 0 {
			delete(i.paths, p)
		} else {
			i.paths[p] = paths
		}
	}
	i.ended, i.learnAt = c.Ended, c.Next
}

// lookAgain looks at how the kernel reaches next hops, and tells whether that changed.
func (i *installer) lookAgain() (changed bool) {
	for key, before := range i.ways {
		w := i.fib.way(key.nextHop, key.via)
		if !slices.Equal(w.hops, before.hops) || w.through != before.through || w.direct != before.direct || w.why != before.why {
			i.ways[key], changed = w, true
		}
	}
	return changed
}

func wayKeyOf(x gobgp.Learned, p installPeer) wayKey {
	if needsLink(x.NextHop) {
		return wayKey{x.NextHop, p.via}
	}
	return wayKey{nextHop: x.NextHop}
}

func (i *installer) wayTo(x gobgp.Learned, p installPeer) way {
	key := wayKeyOf(x, p)
	w, ok := i.ways[key]
	if !ok {
		w = i.fib.way(key.nextHop, key.via)
		i.ways[key] = w
	}
	return w
}

// read learns what the kernel has, and tells whether that is something else than what was known.
func (i *installer) read() (changed bool) {
	have, err := i.load()
	if err != nil {
		return false
	}
	changed = !maps.EqualFunc(have, i.have, slices.Equal)
	i.have = have
	return changed
}

func (i *installer) load() (map[fibKey][]hop, error) {
	have, err := i.fib.load()
	if err != nil {
		i.log.Error("cannot see kernel routes of peers", "error", err)
	}
	i.unread = err
	i.fail()
	return have, err
}

// fail takes note of why the kernel is not as it should be.
func (i *installer) fail() {
	err := cmp.Or(i.unread, i.stuck())
	i.mu.Lock()
	same := fmt.Sprint(i.state.err) == fmt.Sprint(err)
	i.state.err = err
	i.mu.Unlock()
	if !same {
		i.changed()
	}
}

// settle makes the kernel have what is wanted: for all prefixes, or for those that are dirty. Routes come before others go.
func (i *installer) settle(now time.Time, all bool, dirty map[netip.Prefix]bool) {
	var keys map[fibKey]bool
	if all {
		keys = i.planAll()
	} else {
		keys = i.planSome(dirty)
	}
	changed := map[netip.Prefix]bool{}
	news := false // whether something failed that did not before
	became := func(key fibKey, err error) {
		before, failed := i.failed[key]
		if err == nil {
			delete(i.failed, key)
			changed[key.prefix] = true
		} else {
			i.failed[key], news = err, news || !failed
		}
		if err == nil || !failed || err.Error() != before.Error() {
			i.countSoon(now)
		}
	}
	stale := func(key fibKey) bool { return i.want[key] == nil && i.have[key] != nil && !i.earlier[key] }
	for key := range keys {
		hops, wanted := i.want[key]
		have, ours := i.have[key]
		if wanted {
			delete(i.earlier, key)
		}
		if !wanted || ours && slices.Equal(have, hops) {
			if i.failed[key] != nil && !stale(key) {
				became(key, nil)
			}
			continue
		}
		err := i.fib.put(key, hops, ours)
		if err == nil {
			i.have[key] = hops
		}
		became(key, err)
	}
	for key := range keys {
		if !stale(key) {
			continue
		}
		err := i.fib.remove(key)
		if err == nil {
			delete(i.have, key)
		}
		became(key, err)
	}
	i.fail()
	i.tryAgain(now, news)
	if i.look.IsZero() && i.covers(changed) {
		i.look = now.Add(installSettle)
	}
}

// tryAgain sets when to try again what failed: soon, and less and less often while nothing new fails.
func (i *installer) tryAgain(now time.Time, news bool) {
	switch {
	case len(i.failed) == 0:
		i.retry, i.wait = time.Time{}, 0
	case news:
		i.wait = installRetry
		i.retry = now.Add(i.wait)
	case i.retry.IsZero():
		i.wait = min(2*i.wait, installPause)
		i.retry = now.Add(i.wait)
	}
}

// stuck is why the lowest of the routes that have to go did not.
func (i *installer) stuck() (why error) {
	var first fibKey
	for key, err := range i.failed {
		if i.want[key] == nil && (why == nil || compareKeys(key, first) < 0) {
			first, why = key, err
		}
	}
	return why
}

func compareKeys(a, b fibKey) int {
	return cmp.Or(comparePrefix(a.prefix, b.prefix), cmp.Compare(a.table, b.table), cmp.Compare(a.metric, b.metric))
}

// covers tells whether a next hop is inside of one of the prefixes: how the kernel reaches it may have changed with their routes.
func (i *installer) covers(prefixes map[netip.Prefix]bool) bool {
	lengths := map[int]bool{}
	for p := range prefixes {
		lengths[p.Bits()] = true
	}
	for key := range i.ways {
		for bits := range lengths {
			if p, err := key.nextHop.Prefix(bits); err == nil && prefixes[p] {
				return true
			}
		}
	}
	return false
}

// planAll makes want what is wanted of all prefixes, and returns what may have to change.
func (i *installer) planAll() map[fibKey]bool {
	i.targets = nil
	for _, p := range i.peers {
		if t := (fibKey{table: p.table, metric: p.metric}); p.Wanted() && p.table != 0 && !slices.Contains(i.targets, t) {
			i.targets = append(i.targets, t)
		}
	}
	keys := map[fibKey]bool{}
	for key := range i.have {
		keys[key] = true
	}
	for key := range i.failed {
		keys[key] = true
	}
	i.want = make(map[fibKey][]hop, len(i.want))
	for p := range i.paths {
		i.plan(p, keys)
	}
	return keys
}

// planSome makes want what is wanted of some prefixes, and returns what may have to change.
func (i *installer) planSome(dirty map[netip.Prefix]bool) map[fibKey]bool {
	keys := map[fibKey]bool{}
	for p := range dirty {
		for _, t := range i.targets {
			key := fibKey{p, t.table, t.metric}
			delete(i.want, key)
			keys[key] = true
		}
		i.plan(p, keys)
	}
	for key := range i.failed {
		if dirty[key.prefix] {
			keys[key] = true
		}
	}
	return keys
}

func (i *installer) plan(p netip.Prefix, keys map[fibKey]bool) {
	for key, hops := range kernelRoutes(place(p, i.paths[p], i.peers, i.wayTo)) {
		i.want[key] = hops
		keys[key] = true
	}
}
