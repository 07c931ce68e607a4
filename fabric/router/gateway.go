package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"netfabric/fabric"
	"netfabric/vrrp"
)

// gateways has the gateways of a Routing value run by a process of their own, with the priorities that the tracks leave them.
type gateways struct {
	log     *slog.Logger
	state   string // directory of the process
	program string // that it is started with
	client  *Client
	changed func() // the state changed; must not block
	kick    chan struct{}

	uplinks []string // interfaces of default routes; of run

	mu      sync.Mutex
	known   bool // set was called
	wanted  []fabric.RoutingGateway
	routes  map[netip.Prefix]bool // that are tracked: whether the kernel has them
	tracks  map[string][]fabric.TrackState
	stale   bool // default routes have changed since uplinks was found
	told    vrrp.ManagerState
	live    bool // told is what the process says now
	anew    bool // the process has just been reached: what it has is not known
	failure error
	left    chan struct{} // closed when the process has ended, where somebody waits for that
}

// Times of the gateways.
const (
	gatewayRetry = 100 * time.Millisecond // what the process did not take is tried again, and its socket
	// sessionGrace is how long a worker that comes back to gateways that run waits for its BGP sessions before their absence is a fault: peers
	// keep the routes meanwhile, and the kernel does.
	sessionGrace = 10 * time.Second
)

// newGateways makes the keeper of the process whose files are below the directory of the worker. changed must not block.
func newGateways(log *slog.Logger, state string, changed func()) *gateways {
	dir := filepath.Join(state, "vrrp")
	g := &gateways{log: log, state: dir, client: NewClient(filepath.Join(dir, "socket")), changed: changed, stale: true, kick: make(chan struct{}, 1)}
	g.client.what = "process of the gateways"
	var err error
	if g.program, err = os.Executable(); err != nil {
		log.Error("the program of the gateways is not known", "error", err)
	}
	return g
}

// set makes these the gateways.
func (g *gateways) set(wanted []fabric.RoutingGateway) {
	g.mu.Lock()
	g.known, g.wanted = true, wanted
	g.mu.Unlock()
	g.poke()
}

// poke has the tracks looked at.
func (g *gateways) poke() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// routeChanged has the tracks looked at when a change of a route concerns one.
func (g *gateways) routeChanged(p netip.Prefix) {
	g.mu.Lock()
	_, tracks := g.routes[p]
	g.stale = g.stale || p.Bits() == 0
	known := g.known
	g.mu.Unlock()
	if tracks || p.Bits() == 0 && known {
		g.poke()
	}
}

// run keeps the process doing what is wanted until ctx ends. Then the process goes on by itself.
func (g *gateways) run(ctx context.Context, t tracked) {
	var sent []byte
	var stop func()
	ended := false
	retry := time.NewTimer(time.Hour)
	t.checks, t.chassis = newTrackChecks(g.poke), newTrackChassis(g.poke)
	resumed := g.client.Healthy(ctx) == nil
	if resumed {
		t.grace = time.Now().Add(sessionGrace)
		time.AfterFunc(sessionGrace, g.poke)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.kick:
		case <-retry.C:
		}
		g.mu.Lock()
		known, wanted, anew := g.known, g.wanted, g.anew
		g.anew = false
		g.mu.Unlock()
		if !known {
			continue
		}
		if len(wanted) == 0 && ended {
			continue
		}
		if len(wanted) == 0 {
			if err := g.end(ctx, stop); err != nil {
				retry.Reset(time.Second)
				g.log.Warn("the process of the gateways does not end", "error", err)
				continue
			}
			stop, sent, ended, resumed = nil, nil, true, false
			t.checks.set(ctx, nil, false)
			t.chassis.set(ctx, nil, false)
			continue
		}
		ended = false
		if stop == nil {
			stop = g.start(ctx)
		}
		if anew {
			sent = nil
		}
		trusted := resumed || sent != nil
		t.checks.set(ctx, wanted, trusted)
		t.chassis.set(ctx, wanted, trusted)
		value, err := json.Marshal(g.configured(wanted, t))
		if err == nil && !bytes.Equal(value, sent) {
			bound, cancel := context.WithTimeout(ctx, callBound)
			err = g.client.call(bound, http.MethodPut, "/gateways", value, nil)
			cancel()
			if err == nil {
				sent = value
			} else {
				retry.Reset(gatewayRetry)
			}
		}
		g.fail(err)
	}
}

// fail notes why the gateways are not as wanted; nil when they are.
func (g *gateways) fail(err error) {
	g.mu.Lock()
	moved := (err == nil) != (g.failure == nil)
	g.failure = err
	g.mu.Unlock()
	if moved {
		g.changed()
	}
}

// start has the process kept running and its state followed, until the function it returns is called. The process stays then.
func (g *gateways) start(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	s := g.supervisor()
	group.Go(func() {
		if err := s.Run(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("the gateways can't be run", "error", err)
		}
	})
	group.Go(func() { g.follow(ctx) })
	return func() {
		cancel()
		group.Wait()
	}
}

func (g *gateways) supervisor() *Supervisor {
	return &Supervisor{Path: g.program, Args: []string{gatewayWord}, Socket: g.client.socket, State: g.state, Log: g.log.With("process", gatewayWord)}
}

// gatewayWord is the argument that makes the program the process of the gateways.
const gatewayWord = "vrrp"

// follow reads the state of the process whenever it changes.
func (g *gateways) follow(ctx context.Context) {
	for ctx.Err() == nil {
		reached := false
		err := g.client.Events(ctx, func() {
			var told vrrp.ManagerState
			if err := g.client.call(ctx, http.MethodGet, "/state", nil, &told); err != nil {
				return // the next Events tells why
			}
			g.mu.Lock()
			g.told, g.live = told, true
			g.anew = g.anew || !reached
			g.mu.Unlock()
			if !reached {
				g.poke()
			}
			reached = true
			g.changed()
		})
		g.mu.Lock()
		g.live = false
		g.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if reached {
			g.changed()
		}
		if reached {
			g.fail(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(gatewayRetry):
		}
	}
}

// end hands over what is Active here and ends the process. stop is nil where it has not been started by this run. One that has crashed is started
// once more: it puts back what it has changed of the host.
func (g *gateways) end(ctx context.Context, stop func()) error {
	if stop != nil {
		stop()
	}
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	leave := func() error { return g.client.call(ctx, http.MethodPost, "/leave", nil, nil) }
	record := g.supervisor().record() // there from its start until it has been told to end
	err := leave()
	if _, missing := os.Stat(record); fabric.ReasonOf(err) == fabric.ReasonWorkerDown && missing == nil {
		if err = g.revive(ctx); err == nil {
			err = leave()
		}
		if err != nil {
			return err
		}
	}
	for err == nil { // until it is gone
		if err = g.client.Healthy(ctx); err == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if fabric.ReasonOf(err) != fabric.ReasonWorkerDown || ctx.Err() != nil {
		return err
	}
	if err := os.Remove(record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g.mu.Lock()
	g.told, g.failure = vrrp.ManagerState{}, nil
	if g.left != nil {
		close(g.left)
		g.left = nil
	}
	g.mu.Unlock()
	g.changed()
	return nil
}

// revive starts the process and waits for its answer.
func (g *gateways) revive(ctx context.Context) error {
	defer g.start(ctx)()
	for {
		err := g.client.Healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// leave hands over all gateways for good, for as long as ctx lives.
func (g *gateways) leave(ctx context.Context) {
	left := make(chan struct{})
	g.mu.Lock()
	g.left = left
	idle := len(g.wanted) == 0
	g.mu.Unlock()
	if idle {
		return
	}
	g.set(nil)
	select {
	case <-left:
	case <-ctx.Done():
		g.log.Warn("gateways were not handed over in time")
	}
}

// configured is what the process has to do, with what the tracks say now.
func (g *gateways) configured(wanted []fabric.RoutingGateway, t tracked) []vrrp.Gateway {
	g.mu.Lock()
	g.routes = trackedRoutes(wanted)
	g.mu.Unlock()
	routes := t.lookup(g.log, trackedRoutes(wanted)) // noted before looked up: a change in between is not missed
	tracks := map[string][]fabric.TrackState{}
	uplinks := g.lookUp(t)
	var all []vrrp.Gateway
	for _, w := range wanted {
		tracks[w.Name] = t.states(w.Tracks, routes)
	}
	for _, w := range wanted {
		c := vrrp.Configured(w, trackedPriority(w.Priority, tracksOf(w, wanted, tracks)))
		c.Uplinks = uplinks
		all = append(all, c)
	}
	g.mu.Lock()
	same := sameTracks(g.tracks, tracks)
	g.tracks = tracks
	g.mu.Unlock()
	if !same {
		g.changed()
	}
	return all
}

// lookUp gives the interfaces of default routes. They are looked for only when such a route has changed: there may be many others.
func (g *gateways) lookUp(t tracked) []string {
	g.mu.Lock()
	stale := g.stale
	g.stale = false // before: a change in between is not missed
	g.mu.Unlock()
	if !stale {
		return g.uplinks
	}
	found, err := defaultInterfaces(t.links)
	if err != nil {
		g.log.Error("cannot see by which interfaces packets for hosts come in", "error", err)
		g.mu.Lock()
		g.stale = true
		g.mu.Unlock()
		return g.uplinks
	}
	g.uplinks = found
	return found
}

// tracksOf are the tracks that count for a gateway: its own, and those of the others in its sync set.
func tracksOf(w fabric.RoutingGateway, wanted []fabric.RoutingGateway, tracks map[string][]fabric.TrackState) []fabric.TrackState {
	all := tracks[w.Name]
	for _, o := range wanted {
		if o.Sync == "" || o.Sync != w.Sync || o.Name == w.Name {
			continue
		}
		for _, s := range tracks[o.Name] {
			if !slices.ContainsFunc(all, func(t fabric.TrackState) bool { return t.Type == s.Type && t.Target == s.Target }) { // once, for the whole set
				all = append(all[:len(all):len(all)], s)
			}
		}
	}
	return all
}

func sameTracks(a, b map[string][]fabric.TrackState) bool {
	for name, states := range b {
		if !slices.Equal(a[name], states) {
			return false
		}
	}
	return len(a) == len(b)
}

// report is the state of every gateway.
func (g *gateways) report() []fabric.GatewayState {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []fabric.GatewayState
	for _, w := range g.wanted {
		s := g.told.Reported(w)
		s.Tracks = g.tracks[w.Name]
		s.Priority = trackedPriority(w.Priority, tracksOf(w, g.wanted, g.tracks))
		if g.failure != nil {
			s.Reason, s.Message = fabric.ReasonOf(g.failure), g.failure.Error()
		}
		all = append(all, s)
	}
	return all
}

// handover is the body of POST /gateways/NAME/handover.
type handover struct {
	Member string `json:"member"`
}

func (w *Worker) postHandover(rw http.ResponseWriter, r *http.Request) {
	var h handover
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 1<<16)).Decode(&h); err != nil {
		fail(rw, fabric.Invalidf("bad-json", "the handover: %w", err))
		return
	}
	if err := w.gateways.handOver(r.Context(), r.PathValue("name"), h.Member); err != nil {
		fail(rw, err)
	}
}

// handOver moves a gateway that is Active here to another member.
func (g *gateways) handOver(ctx context.Context, name, member string) error {
	g.mu.Lock()
	i := slices.IndexFunc(g.wanted, func(w fabric.RoutingGateway) bool { return w.Name == name })
	var to []netip.Addr
	if i >= 0 {
		for _, s := range g.wanted[i].Successors {
			if s.Member == member {
				to = s.Addresses
			}
		}
	}
	g.mu.Unlock()
	if i < 0 {
		return fabric.Errorf(fabric.CodeNotFound, "no-gateway", "hand over gateway %q: it is not on this member", name)
	}
	if len(to) == 0 {
		return fabric.Conflictf("no-member", "hand over gateway %q: the addresses of member %q are not known here", name, member)
	}
	body, err := json.Marshal(directedHandover{Gateway: name, To: to})
	if err != nil {
		return err
	}
	return g.client.call(ctx, http.MethodPost, "/handover", body, nil)
}

// validateGateways refuses what could only come from a mistake.
func validateGateways(all []fabric.RoutingGateway) error {
	names, vrids := map[string]bool{}, map[string]bool{}
	for _, g := range all {
		if err := vrrp.Configured(g, g.Priority).Validate(); err != nil {
			return err
		}
		vrid := fmt.Sprintf("%s %d", g.Interface, g.VRID)
		if g.Priority < 1 || g.Priority > fabric.MaxPriority || names[g.Name] || vrids[vrid] {
			return fabric.Invalidf("bad-gateway", "gateway %q: needs a priority of 1 to %d, and a name and a VRID on %s of its own", g.Name, fabric.MaxPriority, g.Interface)
		}
		names[g.Name], vrids[vrid] = true, true
	}
	return nil
}
