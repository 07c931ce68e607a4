package router

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"netfabric/bgp"
	"netfabric/fabric"
	"netfabric/vrrp"
)

// Module tells the routing worker of this member what to do, and reports what has become of it.
type Module struct {
	client   *Client
	wake     chan struct{}
	observer Observer

	mu    sync.Mutex
	moved bool // the worker's state is not the one that is known

	// Of Reconcile.
	done     done
	sent     *message // that the worker took last
	planned  uint64   // revision of the view of the last Reconcile
	worker   fabric.WorkerState
	state    *fabric.RoutingState
	lost     time.Time // since when the worker has not answered; zero while it does
	counters map[string]fabric.PeerState
	gateways map[string]fabric.GatewayState // as last told
	counted  time.Time
}

// NewModule makes the module of the worker that a client talks to. It learns of the worker's events while Run runs.
func NewModule(c *Client) *Module {
	return &Module{client: c, wake: make(chan struct{}, 1), moved: true}
}

// Name implements fabric.Module.
func (*Module) Name() string { return "routing" }

// Wake implements fabric.Module: it signals when the worker's state changed, or the worker came or went.
func (m *Module) Wake() <-chan struct{} { return m.wake }

// Times of the module.
const (
	reconnectAfter = 100 * time.Millisecond
	patience       = 3 * time.Second  // a worker that is away for less is only restarting: nothing is said of it
	countEvery     = 30 * time.Second // how often numbers that move all the time go into conditions
	countYoung     = time.Second      // the same while a session is young: its first numbers are what people look for
	young          = 10 * time.Second
	callBound      = 10 * time.Second
)

// Run follows the events of the worker until ctx ends.
func (m *Module) Run(ctx context.Context) {
	for ctx.Err() == nil {
		reached := false
		_ = m.client.Events(ctx, func() { // that the worker is away is seen, and told, by Reconcile
			reached = true
			m.signal()
		})
		if reached {
			m.signal()
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectAfter):
		}
	}
}

func (m *Module) signal() {
	m.mu.Lock()
	m.moved = true
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Reconcile implements fabric.Module. While it is not known yet what runs on the member, the worker goes on with what it has.
func (m *Module) Reconcile(ctx context.Context, v fabric.View) (fabric.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	if m.done.holds(m, v) {
		return m.done.report, nil
	}
	began := time.Now()
	if v.Desired.Revision != m.planned && !v.Since.IsZero() {
		began = v.Since
	}
	m.planned = v.Desired.Revision
	plan, ready := bgp.Make(v)
	err := m.act(ctx, v, plan, ready, began)
	switch {
	case fabric.ReasonOf(err) != fabric.ReasonWorkerDown:
		m.lost = time.Time{}
	case m.lost.IsZero():
		m.lost = time.Now()
	}
	report := fabric.Report{Facts: fabric.Facts{Routing: m.state}}
	down := ""
	if !m.lost.IsZero() {
		report.Again = patience
		if time.Since(m.lost) >= patience {
			down = err.Error()
		}
	}
	if down == "" && (!ready || m.state == nil) {
		report.Conditions = before(v)
	} else {
		state, again := m.steady(time.Now())
		report.Conditions = conditions(v, plan, state, down)
		if again > 0 && report.Again == 0 {
			report.Again = again
		}
	}
	m.done = outcomeOf(v, m.state, report, err == nil && ready)
	return report, err
}

// done is what came of a view, with nothing left to do. Plans are made of the view alone: the same view, with the same state of the worker, has
// the same outcome, which costs nothing to give again when there are ten thousand announcements.
type done struct {
	view   fabric.View // without what this module itself set; zero: none
	state  *fabric.RoutingState
	report fabric.Report
}

func outcomeOf(v fabric.View, state *fabric.RoutingState, report fabric.Report, complete bool) done {
	if !complete || state == nil || report.Again > 0 {
		return done{}
	}
	v.Facts.Routing = nil
	return done{v, state, report}
}

// holds tells whether a view is the same, and the worker has said nothing since.
func (d done) holds(m *Module, v fabric.View) bool {
	m.mu.Lock()
	moved := m.moved
	m.mu.Unlock()
	v.Facts.Routing = nil
	return d.state != nil && d.state == m.state && !moved && v.Desired == d.view.Desired && v.Reports == d.view.Reports &&
		slices.Equal(v.Offline, d.view.Offline) && reflect.DeepEqual(v.Facts, d.view.Facts)
}

// act has the worker do what is planned, and learns its state. What is new is sent first: the answer is the state.
func (m *Module) act(ctx context.Context, v fabric.View, plan bgp.Plan, ready bool, began time.Time) error {
	send := func() (sent bool, err error) {
		if !ready {
			return false, nil
		}
		known := v
		known.Facts.Routing = m.state // of a worker that was there before this program, it tells more than reports that are yet to be read
		return m.send(ctx, fabric.Routing{
			Member: v.Member, Revision: v.Desired.Revision,
			Speaker: plan.Speaker, Peers: plan.Peers, Announcements: plan.Announcements, Imports: plan.Imports, RPKI: plan.RPKI, Own: plan.Own, Drain: plan.Drain,
			Gateways: vrrp.Plan(known),
		}, began)
	}
	if m.state != nil {
		if sent, err := send(); sent || err != nil {
			return err
		}
	}
	if !m.unknown() {
		return nil
	}
	if err := m.learn(ctx); err != nil {
		return err
	}
	_, err := send() // of another worker, or because of what this one said
	return err
}

// unknown tells whether the worker's state is not known, and takes it for known.
func (m *Module) unknown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	moved := m.moved
	m.moved = false
	return moved || m.state == nil
}

// learn reads the worker's state.
func (m *Module) learn(ctx context.Context) error {
	state, err := m.client.State(ctx)
	if err != nil {
		m.mu.Lock()
		m.moved = true
		m.mu.Unlock()
		return err
	}
	m.know(state)
	return nil
}

func (m *Module) know(state fabric.RoutingState) {
	if state.Worker.PID != m.worker.PID || !state.Worker.Started.Equal(m.worker.Started) {
		if m.worker.PID != 0 {
			m.observer.restarted()
		}
		m.sent = nil // another worker: whether its value from disk is ours is not known
	}
	m.worker, m.state = state.Worker, &state
}

// send gives the worker a value that it does not have. It tells whether it did.
func (m *Module) send(ctx context.Context, r fabric.Routing, planned time.Time) (sent bool, err error) {
	value, err := encode(r)
	if err != nil {
		return false, err
	}
	if value.same(m.sent) {
		return false, nil
	}
	m.unknown() // what moved so far is in the answer
	state, err := m.client.set(ctx, value)
	if err != nil {
		m.mu.Lock()
		m.moved = true
		m.mu.Unlock()
		return false, err
	}
	m.observer.applied(planned)
	m.know(state)
	m.sent = value
	return true, nil
}

// steady is the worker's state with sessions told in a way that changes only when something happened to them: a session that is down goes
// through several states over and over, and counters move all the time. again is when counters that are held back can be told; 0 where there are
// none.
func (m *Module) steady(now time.Time) (state *fabric.RoutingState, again time.Duration) {
	if m.state == nil {
		return nil, 0
	}
	s := *m.state
	s.Peers = slices.Clone(s.Peers)
	every := countEvery
	if slices.ContainsFunc(s.Peers, func(p fabric.PeerState) bool { return p.Established() && now.Sub(p.Since) < young }) {
		every = countYoung
	}
	count := now.Sub(m.counted) >= every
	next := map[string]fabric.PeerState{}
	for i := range s.Peers {
		p := &s.Peers[i]
		if !p.Established() && p.Hold == "" {
			p.State = "active"
		}
		old, ok := m.counters[p.Name]
		if ok && !count && old.State == p.State && old.Since.Equal(p.Since) && old.Flaps == p.Flaps {
			if p.Sent != old.Sent || p.Received != old.Received || p.Accepted != old.Accepted || p.Installed != old.Installed || p.UpdatesIn != old.UpdatesIn || p.UpdatesOut != old.UpdatesOut {
				again = every - now.Sub(m.counted)
			}
			p.Installed = old.Installed
			p.Sent, p.Received, p.Accepted, p.LastError = old.Sent, old.Received, old.Accepted, cmp.Or(old.LastError, p.LastError)
			p.UpdatesIn, p.UpdatesOut = old.UpdatesIn, old.UpdatesOut
		}
		next[p.Name] = *p
	}
	s.Gateways, m.gateways = steadyGateways(s.Gateways, m.gateways, count)
	if count {
		m.counted = now
	}
	m.counters = next
	return &s, again
}

// conditions says of each peer how its session is, and of each owner what is announced for it. down tells why the worker does not answer.
func conditions(v fabric.View, plan bgp.Plan, state *fabric.RoutingState, down string) []fabric.Condition {
	var all []fabric.Condition
	sessions := map[string]fabric.PeerState{}
	routes := map[fabric.Key][]fabric.RouteState{}
	worker := fabric.WorkerState{}
	if state != nil {
		worker = state.Worker
		for _, p := range state.Peers {
			sessions[p.Name] = p
		}
		for _, r := range state.Routes {
			routes[r.Owner] = append(routes[r.Owner], r)
		}
	}
	for _, r := range plan.Refused {
		routes[r.Owner] = append(routes[r.Owner], r)
	}
	for _, p := range v.Desired.Peers() {
		if p.On(v.Desired, v.Member) {
			all = append(all, sessionCondition(v, p, sessions, worker, down))
		}
	}
	for _, p := range plan.Peers {
		if p.Mesh {
			all = append(all, sessionCondition(v, &fabric.Peer{Header: fabric.Header{Name: p.Name}}, sessions, worker, down))
		}
	}
	for _, r := range v.Desired.RPKIs() {
		all = append(all, rpkiCondition(r, state, v.Desired.ASN(v.Member) != 0, down))
	}
	all = append(all, gatewayConditions(v, state, down)...)
	owners := slices.SortedFunc(maps.Keys(routes), func(a, b fabric.Key) int { return cmp.Compare(a.String(), b.String()) })
	for _, owner := range owners {
		if c, ok := routesCondition(v, owner, routes[owner], down); ok {
			all = append(all, c)
		}
	}
	return all
}

// before is what was said before this program was started: it stands until there is something better to say.
func before(v fabric.View) []fabric.Condition {
	return slices.DeleteFunc(slices.Concat(v.Reports.All(fabric.ConditionSession), v.Reports.All(fabric.ConditionRoutes), v.Reports.All(fabric.ConditionGateway), v.Reports.All(fabric.ConditionRPKI)),
		func(c fabric.Condition) bool { return c.Member != v.Member })
}

func sessionCondition(v fabric.View, p *fabric.Peer, sessions map[string]fabric.PeerState, worker fabric.WorkerState, down string) fabric.Condition {
	c := fabric.Condition{Object: fabric.KeyOf(p), Type: fabric.ConditionSession, Observed: p.Revision}
	session, known := sessions[p.Name]
	var many []fabric.PeerState
	if p.Dynamic.IsValid() {
		session, known, many = dynamicSessions(p, sessions)
	}
	switch {
	case down != "":
		c.Reason, c.Message = fabric.ReasonWorkerDown, down
	case v.Desired.ASN(v.Member) == 0:
		c.Reason, c.Message = fabric.ReasonNoASN, "the cluster has no AS number: set core.bgp_asn"
	case !known && worker.Reason == fabric.ReasonListenFailed:
		c.Reason, c.Message = worker.Reason, worker.Error
	case !known:
		c.Reason, c.Message = fabric.ReasonSessionDown, "the session is not set up yet"
	case session.Established():
		c.OK, c.Message = true, session.Warning
	case p.Passive && !accepts(v):
		c.Reason = fabric.ReasonNoListener
		c.Message = fmt.Sprintf("the peer is to connect, but the member accepts no sessions: fabricctl cluster set %s core.bgp_address=ADDRESS", v.Member)
	default:
		c.Reason, c.Message = cmp.Or(session.Hold, fabric.ReasonSessionDown), cmp.Or(session.LastError, "no connection yet")
	}
	if known && worker.Reason == fabric.ReasonListenFailed {
		c.Message = joinWords(c.Message, worker.Error) // another address than the one in use
	}
	if b := session.BFD; b != nil && !b.Up() && down == "" {
		c.Message = joinWords(c.Message, fmt.Sprintf("BFD is %s: %s", b.State, b.Message))
	}
	switch {
	case down != "" || !known:
	case p.Dynamic.IsValid():
		c = c.WithData(fabric.DynamicState{PeerState: session, Sessions: many})
	default:
		c = c.WithData(session)
	}
	return c
}

// dynamicSessions are those that a dynamic peer stands for, and of them the one that says how the peer is: one that is down, if there is any.
func dynamicSessions(p *fabric.Peer, sessions map[string]fabric.PeerState) (says fabric.PeerState, known bool, many []fabric.PeerState) {
	for _, name := range slices.Sorted(maps.Keys(sessions)) {
		s := sessions[name]
		if fabric.PeerOfSession(name) != p.Name {
			continue
		}
		if !known || says.Established() && !s.Established() {
			says, known = s, true
		}
		if name != p.Name {
			many = append(many, s)
		}
	}
	return says, known, many
}

// accepts tells whether peers can connect to the member.
func accepts(v fabric.View) bool {
	m, ok := v.Desired.Member(v.Member)
	return ok && fabric.MemberKeys.Get(m.Config, "core.bgp_address") != "none"
}

// routesCondition is OK when everything that can be announced for an owner is.
func routesCondition(v fabric.View, owner fabric.Key, routes []fabric.RouteState, down string) (fabric.Condition, bool) {
	o, ok := v.Desired.Get(owner)
	if !ok {
		return fabric.Condition{}, false // the worker is about to be told
	}
	c := fabric.Condition{Object: owner, Type: fabric.ConditionRoutes, Observed: o.Head().Revision, OK: true}
	slices.SortFunc(routes, func(a, b fabric.RouteState) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	var messages []string
	for _, r := range routes {
		if r.Reason != "" {
			c.OK, c.Reason = false, cmp.Or(c.Reason, r.Reason)
			messages = append(messages, fmt.Sprintf("%s: %s", r.Prefix, r.Message))
		}
	}
	c.Message = strings.Join(messages, "; ")
	if down != "" {
		c.OK, c.Reason, c.Message = false, fabric.ReasonWorkerDown, down
	}
	return c.WithData(routes), true
}

// joinWords puts what there is to say into one line.
func joinWords(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
