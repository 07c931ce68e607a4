package router

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"

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

// writeState writes the JSON of what State gives, in pieces: with 100,000 routes, the whole takes tens of megabytes.
func (w *Worker) writeState(ctx context.Context, out *bufio.Writer) error {
	var state fabric.RoutingState
	var o outcome
	failure := w.do(ctx, func() { state, o = w.report() })
	if failure != nil {
		return failure
	}
	err := writeState(out, state, func(yield func(*fabric.RouteState) bool) {
		for part := range slices.Chunk(o.routing.Announcements, chunk) {
			var states []fabric.RouteState
			failure = w.do(ctx, func() {
				w.speaker.Told(func(told func(string, netip.Prefix) bool) { states = o.routeStates(part, told) })
			})
			if failure != nil {
				return
			}
			for i := range states {
				if !yield(&states[i]) {
					return
				}
			}
		}
	})
	return errors.Join(failure, err)
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
