package chassis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/rpc2"
)

const (
	lookAgain = 250 * time.Millisecond // after a daemon that is not there
	askAgain  = time.Second            // whether a daemon that is there still answers
)

// Watcher follows the health of the chassis of this host. That a daemon ends is seen at once, that it hangs within askAgain and answerBound.
type Watcher struct {
	changed func() // what State says may have changed; must not block
	ovs     string // directory of the PID file and the sockets of Open vSwitch
	ovn     string // the same of OVN

	mu     sync.Mutex
	health health
	timer  *time.Timer // for what time alone changes
}

// New returns a watcher that calls changed, which must not block, when what State says may be another. It looks in the directories that the daemons use: OVS_RUNDIR
// and OVN_RUNDIR of the environment, or those of Debian's packages.
func New(changed func()) *Watcher {
	return &Watcher{
		changed: changed,
		ovs:     cmp.Or(os.Getenv("OVS_RUNDIR"), "/var/run/openvswitch"),
		ovn:     cmp.Or(os.Getenv("OVN_RUNDIR"), "/var/run/ovn"),
	}
}

// State tells whether the chassis forwards, and if not why. known is false until both daemons have been looked at.
func (w *Watcher) State() (up bool, why string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	up, why, _ = w.health.verdict(time.Now())
	return up, why, w.health.known()
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() {
		w.follow(ctx, w.ovs, "ovs-vswitchd", func(h *health) *daemon { return &h.vswitchd }, w.lookForFlows)
	})
	both.Go(func() {
		w.follow(ctx, w.ovn, "ovn-controller", func(h *health) *daemon { return &h.controller }, func(context.Context, *control) error { return nil })
	})
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// follow keeps a connection to a daemon for as long as there is one. look is called each time it has answered.
func (w *Watcher) follow(ctx context.Context, dir, name string, of func(*health) *daemon, look func(context.Context, *control) error) {
	for ctx.Err() == nil {
		err := w.attend(ctx, dir, name, of, look)
		if ctx.Err() != nil {
			return
		}
		w.note(func(h *health) {
			*of(h) = daemon{seen: true, why: reason(err), since: sinceDown(*of(h), time.Now())}
		})
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
		}
	}
}

// sinceDown is since when a daemon that is down now has been so.
func sinceDown(d daemon, now time.Time) time.Time {
	if d.seen && !d.up {
		return d.since
	}
	return now
}

// attend is one connection to a daemon, from its first answer to its end.
func (w *Watcher) attend(ctx context.Context, dir, name string, of func(*health) *daemon, look func(context.Context, *control) error) error {
	c, err := dialDaemon(ctx, dir, name)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		if err := errors.Join(c.call(ctx, "version", nil), look(ctx, c)); err != nil {
			return err
		}
		w.note(func(h *health) {
			if d := of(h); !d.up {
				*d = daemon{seen: true, up: true, since: time.Now(), flows: d.flows}
			}
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.gone():
			return errNotRunning
		case <-time.After(askAgain):
		}
	}
}

// lookForFlows notes when the integration bridge has its first flows. After that, it is not looked at again: the answer is long.
func (w *Watcher) lookForFlows(ctx context.Context, c *control) error {
	w.mu.Lock()
	done := w.health.vswitchd.flows
	w.mu.Unlock()
	if done {
		return nil
	}
	bridge := integrationBridge(ctx, w.ovs)
	there, err := c.programmed(ctx, bridge)
	var refused rpc2.ServerError
	if err != nil && !errors.As(err, &refused) { // if refused, there is no such bridge yet
		return err
	}
	w.note(func(h *health) { h.vswitchd.flows, h.bridge = there, bridge })
	return nil
}

// note changes what is known, and says so where the verdict may be another.
func (w *Watcher) note(change func(*health)) {
	w.mu.Lock()
	before := w.health
	change(&w.health)
	now := time.Now()
	was, whyWas, _ := before.verdict(now)
	is, why, next := w.health.verdict(now)
	news := w.health.known() && (was != is || whyWas != why || !before.known())
	if w.timer != nil {
		w.timer.Stop()
	}
	if !next.IsZero() {
		w.timer = time.AfterFunc(time.Until(next), w.changed)
	}
	w.mu.Unlock()
	if news {
		w.changed()
	}
}

// reason says in words why a daemon is not up.
func reason(err error) string {
	switch {
	case errors.Is(err, errNotRunning), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return errNotRunning.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("has not answered for %v", answerBound)
	}
	return fmt.Sprintf("can't be asked: %v", err)
}
