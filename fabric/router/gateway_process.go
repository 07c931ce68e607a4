package router

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/realtime"
	"netfabric/vrrp"
)

// gatewayPriority is the real-time priority of the process of the gateways: the thread with the timers is one above.
const gatewayPriority = 9

// leaveBound is how long the process of the gateways hands over when it is told to end.
const leaveBound = 2 * time.Second

// gatewayProcess is the process that runs the gateways of a host, and nothing else: beside a busy BGP speaker, timers of 10 ms would be late.
// It outlives the worker that tells it what to do.
type gatewayProcess struct {
	manager *vrrp.Manager
	changes changes
	over    chan struct{}
	leave   context.CancelFunc
}

// ServeGateways runs gateways as the worker at the other end of the listener tells it to, until ctx ends or the worker has it leave: then it
// hands over what is Active here. What has to outlive the process is kept in the directory state. The whole process gets real-time priority where that is allowed.
//
//	PUT /gateways   []vrrp.Gateway, see vrrp.Manager.Set
//	GET /state      vrrp.ManagerState
//	GET /events     an Event for each change of the state
//	POST /handover  directedHandover, see vrrp.Manager.Handover
//	POST /leave     hand over, and end
//	GET /healthz
func ServeGateways(ctx context.Context, log *slog.Logger, state string, listener net.Listener) error {
	if err := realtime.Process(gatewayPriority); err != nil {
		log.Warn("gateways may be late with their advertisements", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &gatewayProcess{over: make(chan struct{}), leave: cancel}
	var err error
	if p.manager, err = vrrp.NewManager(state, p.changes.bump); err != nil {
		return err
	}
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	bound, end := context.WithTimeout(context.Background(), leaveBound)
	defer end()
	err = errors.Join(err, p.manager.Close(bound))
	close(p.over)
	return errors.Join(err, server.Shutdown(bound))
}

func (p *gatewayProcess) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /gateways", func(rw http.ResponseWriter, r *http.Request) {
		var wanted []vrrp.Gateway
		if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxValue)).Decode(&wanted); err != nil {
			fail(rw, fabric.Invalidf("bad-json", "the gateways: %w", err))
			return
		}
		if err := p.manager.Set(wanted); err != nil {
			fail(rw, err)
		}
	})
	mux.HandleFunc("GET /state", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(p.manager.State()) // a reader that is gone needs no answer
	})
	mux.HandleFunc("GET /events", func(rw http.ResponseWriter, r *http.Request) { p.changes.serve(rw, r, p.over) })
	mux.HandleFunc("POST /handover", func(rw http.ResponseWriter, r *http.Request) {
		var h directedHandover
		if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
			fail(rw, fabric.Invalidf("bad-json", "the handover: %w", err))
			return
		}
		if err := p.manager.Handover(r.Context(), h.Gateway, h.To...); err != nil {
			fail(rw, err)
		}
	})
	mux.HandleFunc("POST /leave", func(http.ResponseWriter, *http.Request) { p.leave() })
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// directedHandover is the body of POST /handover: to whom, by own addresses; to nobody in particular without any.
type directedHandover struct {
	Gateway string       `json:"gateway"`
	To      []netip.Addr `json:"to,omitempty"`
}
