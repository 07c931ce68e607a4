package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"netfabric/fabric"
)

// State reports.
func (w *Worker) State(ctx context.Context) (state fabric.RoutingState, err error) {
	err = w.do(ctx, func() {
		var o outcome
		state, o = w.report()
		w.speaker.Told(func(told func(string, netip.Prefix) bool) {
			state.Routes = o.routeStates(o.routing.Announcements, told)
		})
	})
	return state, err
}

// chunk is the number of routes that are told of at once.
const chunk = 1024

// telling remembers the routes of the state that was told last.
type telling struct {
	mu    sync.Mutex
	count uint64
	token string // empty: of none
	marks marks
}

// of is what is remembered of a state; nil where it is not the last one.
func (t *telling) of(token string) marks {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token == "" || token != t.token {
		return nil
	}
	return t.marks
}

// next makes a token for a state that is about to be told.
func (t *telling) next(run time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	return fmt.Sprintf("%d.%d", run.UnixNano(), t.count)
}

func (t *telling) told(token string, m marks) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.marks = token, m
}

// writeState answers with the JSON of what State gives, in pieces: with 100,000 routes, the whole takes tens of megabytes. Where known is the token of
// the state that was told last, routes that are as they were then are left out.
func (w *Worker) writeState(ctx context.Context, rw http.ResponseWriter, known string) error {
	var state fabric.RoutingState
	var o outcome
	if err := w.do(ctx, func() { state, o = w.report() }); err != nil {
		return err
	}
	base, token := w.telling.of(known), w.telling.next(w.started)
	rw.Header().Set(stateHeader, token)
	out := bufio.NewWriter(rw)
	var now marks
	var err error
	if len(base) > 0 {
		now, err = w.writeNews(ctx, rw.Header(), out, state, o, base)
	} else {
		now, err = w.writeRoutes(ctx, out, state, o)
	}
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	w.telling.told(token, now)
	return nil
}

func (w *Worker) writeRoutes(ctx context.Context, out *bufio.Writer, state fabric.RoutingState, o outcome) (now marks, err error) {
	long, err := beginState(out, state)
	if err != nil {
		return nil, err
	}
	err = w.eachRoute(ctx, o, func(r *fabric.RouteState) error {
		text, err := long.add(r)
		now = append(now, markOf(text))
		return err
	})
	return now, errors.Join(err, long.end())
}

// writeNews is writeRoutes without the routes that base has.
func (w *Worker) writeNews(ctx context.Context, header http.Header, out *bufio.Writer, state fabric.RoutingState, o outcome, base marks) (marks, error) {
	var routes encoding
	if err := w.eachRoute(ctx, o, func(r *fabric.RouteState) error { return routes.add(r) }); err != nil {
		return nil, err
	}
	b := differ(base, routes.marks)
	header.Set(betweenHeader, fmt.Sprintf(betweenFormat, b.head, b.tail))
	long, err := beginState(out, state)
	if err != nil {
		return nil, err
	}
	for text := range routes.between(b) {
		long.addText(text)
	}
	return routes.marks, long.end()
}

// eachRoute tells f of all routes. The loop goes on in between.
func (w *Worker) eachRoute(ctx context.Context, o outcome, f func(*fabric.RouteState) error) error {
	for part := range slices.Chunk(o.routing.Announcements, chunk) {
		var states []fabric.RouteState
		err := w.do(ctx, func() {
			w.speaker.Told(func(told func(string, netip.Prefix) bool) { states = o.routeStates(part, told) })
		})
		if err != nil {
			return err
		}
		for i := range states {
			if err := f(&states[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// report tells everything save routes, and what to tell of those.
func (w *Worker) report() (fabric.RoutingState, outcome) {
	bgp := w.speaker.State()
	bfdStates, warning, bfdErr := w.bfd.State()
	state := fabric.RoutingState{
		Worker: fabric.WorkerState{PID: os.Getpid(), Started: w.started, Revision: w.routing.Revision, FromDisk: w.fromDisk, Warning: warning, Drain: w.leave.phase},
		Peers:  w.peerStates(bgp.Peers, bfdStates),

		RPKI:     bgp.RPKI,
		Gateways: w.gateways.report(),
	}
	o := outcome{w.expanded, w.leave.phase, w.trackers, w.standings, w.failed, map[string]fabric.PeerState{}}
	for _, p := range bgp.Peers {
		o.sessions[p.Name] = p
	}
	installs := w.installer.State()
	installs.onto(state.Peers)
	state.Tables = installs.tables
	switch {
	case bgp.Err != nil:
		state.Worker.Error, state.Worker.Reason = bgp.Err.Error(), fabric.ReasonOf(bgp.Err)
	case bfdErr != nil:
		state.Worker.Error, state.Worker.Reason = bfdErr.Error(), fabric.ReasonOf(bfdErr)
	case w.filterErr != nil:
		state.Worker.Error, state.Worker.Reason = w.filterErr.Error(), fabric.ReasonFilterFailed
	case installs.err != nil:
		state.Worker.Error, state.Worker.Reason = installs.err.Error(), fabric.ReasonInstallFailed
	case w.pruneErr != nil:
		state.Worker.Error, state.Worker.Reason = w.pruneErr.Error(), fabric.ReasonRouteFailed
	case w.keepErr != nil:
		state.Worker.Error, state.Worker.Reason = "not kept for the next run: "+w.keepErr.Error(), fabric.ReasonDisk
	}
	return state, o
}
