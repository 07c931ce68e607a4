// Package agent feeds the reconcilers of a member the newest view, stores what they report, and keeps the last good snapshot on disk.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"netfabric/fabric"
)

// Options is what an agent works with. All fields are needed save Saved, Offline and Period.
type Options struct {
	Member  string
	Store   fabric.Store
	Modules []fabric.Module
	Saved   string          // file that holds the last good snapshot; empty keeps none
	Offline func() []string // members that show no sign of life, sorted; nil: never any
	Period  time.Duration   // between two calls of a module when nothing happens; 0 is 30 s
	Log     *slog.Logger
}

// Agent runs the modules of one member.
type Agent struct {
	o       Options
	runners []*runner
	report  chan struct{} // one slot: conditions or releases changed

	mu       sync.Mutex
	facts    fabric.Facts
	latest   map[*runner][]fabric.Condition
	releases map[*runner][]fabric.Key
	own      []fabric.Condition // all modules', once each has reported
	complete bool
	heard    chan struct{}    // closed and replaced when own changes
	seen     *fabric.Snapshot // newest
	since    time.Time        // when that was seen
	overlaid overlay
}

// overlay is the last answer of Reports, with what it was made from.
type overlay struct {
	stored, result *fabric.Reports
	own            []fabric.Condition
}

// runner is one module with what wakes it.
type runner struct {
	module fabric.Module
	wake   chan struct{} // one slot
}

// New makes an agent; Run sets it to work.
func New(o Options) *Agent {
	if o.Period == 0 {
		o.Period = 30 * time.Second
	}
	a := &Agent{
		o:        o,
		report:   make(chan struct{}, 1),
		latest:   map[*runner][]fabric.Condition{},
		releases: map[*runner][]fabric.Key{},
		heard:    make(chan struct{}),
	}
	for _, m := range o.Modules {
		a.runners = append(a.runners, &runner{module: m, wake: make(chan struct{}, 1)})
	}
	return a
}

// Run calls the modules until ctx ends, each in a goroutine of its own, and returns when all have returned.
func (a *Agent) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, r := range a.runners {
		group.Go(func() { a.reconcile(ctx, r) })
	}
	group.Go(func() { a.publish(ctx) })
	group.Go(func() { a.follow(ctx) })
	if a.o.Saved != "" {
		group.Go(func() { a.save(ctx) })
	}
	group.Wait()
}

// Facts is what the modules have found so far.
func (a *Agent) Facts() fabric.Facts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.facts
}

// Reports is what the store has, with this member's own newest word in place of the stored one: without quorum nothing newer is stored. As
// long as nothing changes it gives the same value.
func (a *Agent) Reports() *fabric.Reports {
	stored := a.o.Store.Reports()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.complete {
		return stored
	}
	o := &a.overlaid
	if o.stored != stored || &o.own[0] != &a.own[0] {
		*o = overlay{stored: stored, result: stored.Replace(a.o.Member, a.own), own: a.own}
	}
	return o.result
}

// Changed is closed when this member's own word changes.
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}

// offlineEvery is how often it is looked which members are offline.
const offlineEvery = time.Second

// follow wakes the modules when the store changes, or a member comes or goes.
func (a *Agent) follow(ctx context.Context) {
	signal, stop := a.o.Store.Subscribe()
	defer stop()
	tick := time.NewTicker(offlineEvery)
	defer tick.Stop()
	a.wakeAll(nil)
	offline := a.offline()
	for {
		select {
		case <-ctx.Done():
			return
		case <-signal:
			a.snapshot()
			a.wakeAll(nil)
		case <-tick.C:
			if now := a.offline(); !slices.Equal(now, offline) {
				offline = now
				a.wakeAll(nil)
			}
		}
	}
}

func (a *Agent) offline() []string {
	if a.o.Offline == nil {
		return nil
	}
	return a.o.Offline()
}

func (a *Agent) wakeAll(except *runner) {
	for _, r := range a.runners {
		if r != except {
			poke(r.wake)
		}
	}
}

func poke(slot chan<- struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// reconcile calls one module again and again: when the view changed, the module asked for it, or some time has passed.
func (a *Agent) reconcile(ctx context.Context, r *runner) {
	var again backoff
	wait := a.o.Period
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		waited := false
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-r.module.Wake():
		case <-timer.C:
			waited = true
		}
		view, ready := a.view()
		if !ready {
			continue // nothing is known to be desired: this is no reason to remove anything
		}
		report, err := call(ctx, r.module, view)
		if ctx.Err() != nil {
			return
		}
		wait = a.o.Period
		if report.Again > 0 {
			wait = min(wait, report.Again)
		}
		if err != nil {
			next := again.failed(waited, lastWait)
			a.o.Log.Warn("reconcile failed", "module", r.module.Name(), "error", err, "again_in", next)
			wait = min(wait, next)
		} else {
			again.succeeded()
		}
		timer.Reset(wait)
		a.take(r, report, err)
	}
}

// call runs one reconcile; a module that panics fails alone.
func call(ctx context.Context, m fabric.Module, v fabric.View) (report fabric.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("module %s panicked: %v", m.Name(), p)
		}
	}()
	return m.Reconcile(ctx, v)
}

// snapshot is the newest one, and when it was first seen.
func (a *Agent) snapshot() (*fabric.Snapshot, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.o.Store.Snapshot(); s != a.seen {
		a.seen, a.since = s, time.Now()
	}
	return a.seen, a.since
}

func (a *Agent) view() (fabric.View, bool) {
	desired, since := a.snapshot()
	v := fabric.View{Member: a.o.Member, Desired: desired, Since: since, Reports: a.Reports(), Offline: a.offline(), Facts: a.Facts()}
	return v, v.Desired.Revision > 0
}

// take keeps what a module reported and wakes whoever may care.
func (a *Agent) take(r *runner, report fabric.Report, err error) {
	health := fabric.Condition{
		Object: fabric.Key{Kind: fabric.KindMember, Name: a.o.Member},
		Type:   fabric.ConditionModule, Detail: r.module.Name(), OK: err == nil,
	}
	if err != nil {
		health.Reason, health.Message = fabric.ReasonOf(err), err.Error()
	}
	conditions := append(report.Conditions[:len(report.Conditions):len(report.Conditions)], health)

	a.mu.Lock()
	facts := a.facts.Merge(report.Facts)
	news := !reflect.DeepEqual(facts, a.facts)
	a.facts = facts
	a.latest[r] = a.stamp(a.latest[r], conditions)
	a.releases[r] = report.Released
	changed := a.gather()
	pending := len(report.Released) > 0
	a.mu.Unlock()

	if news {
		a.wakeAll(r)
	}
	if changed || pending {
		poke(a.report)
	}
}

// stamp fills in who speaks, and since when it has been so: a condition that goes on saying the same keeps its time.
func (a *Agent) stamp(before, now []fabric.Condition) []fabric.Condition {
	old := map[fabric.ConditionKey]fabric.Condition{}
	for _, c := range before {
		old[c.Key()] = c
	}
	if len(before) == 0 { // after a restart of the daemon the store remembers
		for _, c := range now {
			for _, stored := range a.o.Store.Reports().Of(c.Object) {
				old[stored.Key()] = stored
			}
		}
	}
	for i := range now {
		c := &now[i]
		c.Member = a.o.Member
		if was, ok := old[c.Key()]; ok && was.OK == c.OK && was.Reason == c.Reason && c.Since.IsZero() {
			c.Since = was.Since
		}
		if c.Since.IsZero() {
			c.Since = time.Now().UTC().Truncate(time.Millisecond)
		}
	}
	return now
}

// gather puts the words of all modules together, once each has spoken: before, a missing word would read as "gone". It tells whether
// anything changed.
func (a *Agent) gather() bool {
	if len(a.latest) < len(a.runners) {
		return false
	}
	var all []fabric.Condition
	for _, r := range a.runners {
		all = append(all, a.latest[r]...)
	}
	set, gone := fabric.EmptyReports().With(0, a.own, nil).Diff(a.o.Member, all)
	if a.complete && len(set)+len(gone) == 0 {
		return false
	}
	a.own, a.complete = all, true
	close(a.heard)
	a.heard = make(chan struct{})
	return true
}

// How long words are held back for those that are about to follow: a change wakes all modules, and each commit has the next change wait. Where
// changes come all the time, so do words.
const (
	gatherFor  = 10 * time.Millisecond
	storeEvery = 50 * time.Millisecond // at most
)

// publish stores what the modules said, and removes the objects that they let go of. A failure is tried again: the newest word counts.
func (a *Agent) publish(ctx context.Context) {
	var again backoff
	var retry <-chan time.Time
	var stored time.Time
	for {
		waited := false
		select {
		case <-ctx.Done():
			return
		case <-a.report:
		case <-retry:
			waited = true
		}
		retry = nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(gatherFor, time.Until(stored.Add(storeEvery)))):
		}
		select {
		case <-a.report: // heard by now
		default:
		}
		a.mu.Lock()
		own, complete := a.own, a.complete
		var released []fabric.Key
		for _, keys := range a.releases {
			released = append(released, keys...)
		}
		a.mu.Unlock()
		var failures []error
		if len(released) > 0 {
			failures = append(failures, a.release(ctx, released))
		}
		if complete {
			failures = append(failures, a.o.Store.Report(ctx, a.o.Member, own))
		}
		if err := errors.Join(failures...); err != nil && ctx.Err() == nil {
			next := again.failed(waited, lastPublishWait)
			a.o.Log.Warn("cannot store what this member reports", "error", err, "again_in", next)
			retry = time.After(next)
			continue
		}
		again.succeeded()
		stored = time.Now()
	}
}

// release removes objects that are marked for deletion and of which nothing is left here.
func (a *Agent) release(ctx context.Context, keys []fabric.Key) error {
	marked := func(s *fabric.Snapshot, k fabric.Key) bool {
		o, ok := s.Get(k)
		instance, is := o.(*fabric.Instance)
		return ok && is && instance.Deleting && instance.Member == a.o.Member
	}
	todo := false
	for _, k := range keys {
		todo = todo || marked(a.o.Store.Snapshot(), k)
	}
	if !todo {
		return nil
	}
	_, err := a.o.Store.Apply(ctx, func(tx *fabric.Tx) error {
		for _, k := range keys {
			if marked(tx.Snapshot(), k) {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove what is gone from the database: %w", err)
	}
	return nil
}
