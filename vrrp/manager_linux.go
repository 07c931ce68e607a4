package vrrp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netfabric/fabric"
)

// Manager runs the gateways of the network namespace that the process is in. One goroutine,
// on a thread of its own that is real-time where that is allowed, owns all of their state and does nothing that may
// take long: others open and close sockets, and have interfaces and addresses follow.
type Manager struct {
	wake    func()
	poll    *poller
	frames  *frameSocket
	nl      *netlink.Handle
	host    *host
	watch   *watcher
	witness *witness

	mu     sync.Mutex
	calls  []func(now time.Time) // to be made by the loop
	closed bool
	ended  chan struct{}

	// All below belongs to the loop.
	routers     map[routerKey]*router
	parents     map[string]parent
	desired     map[routerKey]Gateway
	foreign     map[foreignKey]HeardVRID
	advertisers advertisers
	listening   listening
	syncs       bool       // there are sync sets
	follows     []follower // of sync sets
	splitLooked time.Time  // when sync sets that are split were looked for
	received    bool       // the first Set has come
	looked      bool       // the interfaces of the first Set are known
	changed     bool
	stopping    bool
	closing     bool // what is left goes at once
	abrupt      bool // and is not handed over before
	schedErr    error
	hostError   error // from what no router stands for
	witnessErr  error // why not all claims to addresses are heard of
	// setupError is why the host is not as the gateways need it.
	setupError error
}

type socketKey struct {
	ifindex int
	family  Family
}

type foreignKey struct {
	routerKey
	source  netip.Addr
	version int
}

// foreignMemory is how long a foreign virtual router is remembered, maxForeign how many: a flood must not fill memory.
const (
	foreignMemory = 5 * time.Minute
	maxForeign    = 1024
)

// NewManager starts without gateways. What has to outlive the process is kept in the directory state; empty keeps nothing. wake, which may be nil,
// is called after something in State changed; it must not block.
func NewManager(state string, wake func()) (*Manager, error) {
	if wake == nil {
		wake = func() {}
	}
	m := &Manager{
		wake: wake, ended: make(chan struct{}), routers: map[routerKey]*router{}, parents: map[string]parent{},
		desired: map[routerKey]Gateway{}, foreign: map[foreignKey]HeardVRID{},
		advertisers: advertisers{},
	}
	var err error
	if m.poll, err = openPoller(); err != nil {
		return nil, err
	}
	if m.frames, err = openFrameSocket(); err != nil {
		m.poll.close()
		return nil, err
	}
	if m.nl, err = netlink.NewHandle(); err != nil {
		m.poll.close()
		m.frames.close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	file := ""
	if state != "" {
		file = filepath.Join(state, "sysctls.json")
	}
	keeper, err := openKeeper(sysctlRoot, file)
	m.setupError = err
	m.host = newHost(m.nl, keeper, func(d hostDone) { m.call(func(now time.Time) { m.hostDone(d, now) }) })
	m.watch = newWatcher(m.nl, func(f found) { m.call(func(now time.Time) { m.setParents(f, now) }) })
	m.witness = newWitness(
		func(c witnessed) { m.call(func(now time.Time) { m.claimed(c, now) }) },
		func(err error) {
			m.call(func(time.Time) {
				m.changed = m.changed || (err == nil) != (m.witnessErr == nil)
				m.witnessErr = err
			})
		},
	)
	if err := m.watch.subscribe(); err != nil {
		m.poll.close()
		m.frames.close()
		m.nl.Close()
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	go m.host.run()
	go m.watch.run()
	go m.witness.run()
	go m.loop()
	return m, nil
}

// call has the loop make a call.
func (m *Manager) call(f func(now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.calls = append(m.calls, f)
	m.poll.poke()
}

// ask has the loop make a call and waits for it. It fails after Close.
func (m *Manager) ask(f func(now time.Time)) error {
	done := make(chan struct{})
	m.call(func(now time.Time) { f(now); close(done) })
	select {
	case <-done:
		return nil
	case <-m.ended:
		return fabric.Errorf(fabric.CodeUnavailable, "closed", "the VRRP manager is closed")
	}
}

// Set makes these the gateways of this host. It changes only what differs, repeats are free; an invalid or colliding
// gateway is an error and changes nothing. What an earlier run left behind is taken over, or removed once the first Set
// has been carried out.
func (m *Manager) Set(gateways []Gateway) error {
	desired, err := routersOf(gateways)
	if err != nil {
		return err
	}
	return m.ask(func(now time.Time) { m.set(desired, now) })
}

// State is everything that is known now; zero after Close.
func (m *Manager) State() ManagerState {
	var s ManagerState
	_ = m.ask(func(now time.Time) { s = m.state(now) })
	return s
}

// loop is the real-time thread.
func (m *Manager) loop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	m.schedErr = realTime()
	defer close(m.ended)
	defer m.frames.close()
	for !m.stopping {
		m.poll.wait(m.untilDeadline())
		now := time.Now()
		// Before any timer: what came in while this process did not run is younger than the silence it believes in.
		m.receive(now)
		m.mu.Lock()
		calls := m.calls
		m.calls = nil
		m.mu.Unlock()
		for _, f := range calls {
			f(now)
		}
		m.syncSets(now)
		for _, r := range m.routers {
			r.expire(now)
		}
		m.followAll(now)
		m.dropRetired(now)
		if m.changed {
			m.changed = false
			m.wake()
		}
	}
	m.listening.close()
	m.mu.Lock()
	m.closed = true
	m.poll.close()
	m.mu.Unlock()
}

// untilDeadline is in nanoseconds; negative for ever.
func (m *Manager) untilDeadline() int64 {
	var next time.Time
	for _, r := range m.routers {
		if d := r.deadline(); !d.IsZero() && (next.IsZero() || d.Before(next)) {
			next = d
		}
	}
	if next.IsZero() {
		return -1
	}
	return max(0, int64(time.Until(next)))
}

func (m *Manager) receive(now time.Time) {
	for key, s := range m.listening.routers {
		if s.socket == nil {
			continue
		}
		for range 4096 { // a flood must not keep us from advertising
			p, ok := s.socket.read()
			if !ok {
				break
			}
			m.packet(key, p, now)
		}
	}
	for index, s := range m.listening.hosts {
		for range 256 {
			if s.socket == nil {
				break
			}
			p, ok := s.socket.read()
			if !ok {
				break
			}
			m.routerPacket(index, p, now)
		}
	}
}

func (m *Manager) packet(at socketKey, p Packet, now time.Time) {
	vrid := uint8(0)
	if len(p.Payload) > 1 {
		vrid = p.Payload[1]
	}
	r := m.routerAt(at, vrid)
	a, err := Parse(p)
	if r == nil {
		m.heardForeign(at, vrid, p, a, err, now)
		return
	}
	if err != nil {
		if r.discarded[Slug(err)]++; r.discarded[Slug(err)] == 1 {
			m.changed = true
		}
		if err == ErrVersion2 {
			r.hearOld(p.Source.WithZone(""), now)
		}
		if errors.Is(err, ErrTTL) {
			r.hearFar(p.Source.WithZone(""), now)
		}
		return
	}
	r.recv(a, p.Source.WithZone(""), now)
}

func (m *Manager) routerAt(at socketKey, vrid uint8) *router {
	for name, p := range m.parents {
		if p.Index == at.ifindex {
			return m.routers[routerKey{name, at.family, vrid}]
		}
	}
	return nil
}

// heardForeign notes a virtual router that is not ours (RFC 9568, 7.1: the VRID must be configured on the interface).
func (m *Manager) heardForeign(at socketKey, vrid uint8, p Packet, a Advertisement, err error, now time.Time) {
	v2 := err == ErrVersion2
	if err != nil && !v2 {
		return
	}
	for name, parent := range m.parents {
		if parent.Index != at.ifindex {
			continue
		}
		h := HeardVRID{Interface: name, Family: at.family, VRID: vrid, Source: p.Source.WithZone(""), Priority: a.Priority, Version: 3, Last: now}
		if v2 {
			h.Version = 2
		}
		k := foreignKey{routerKey{name, at.family, vrid}, h.Source, h.Version}
		_, known := m.foreign[k]
		if !known && len(m.foreign) >= maxForeign {
			return
		}
		m.foreign[k] = h
		m.changed = m.changed || !known
		return
	}
}

// set takes a new desired set: what comes is added before what goes is removed. What goes while it is Active is handed over first.
func (m *Manager) set(desired map[routerKey]Gateway, now time.Time) {
	m.desired, m.syncs = desired, false
	for _, g := range desired {
		m.syncs = m.syncs || g.Sync != ""
	}
	m.received = true
	m.prepare(false, now)
	for k, g := range desired {
		if r := m.routers[k]; r != nil {
			r.retiring = false
			r.configure(g, m.parents[k.Interface], now)
		} else if p, known := m.parent(k); known {
			m.addRouter(k, g, p, now)
		}
	}
	for k, r := range m.routers {
		if _, wanted := desired[k]; !wanted && !r.retiring {
			r.retire(m.closing, now)
		}
	}
	m.changed = true
	if !m.dropRetired(now) {
		m.look()
	}
}

// dropRetired removes what is no longer wanted and has been handed over. It tells whether there was anything.
func (m *Manager) dropRetired(now time.Time) (dropped bool) {
	for k, r := range m.routers {
		if state, _ := r.machine.State(); !r.retiring || !m.closing && (state == Active || !r.linger.IsZero()) {
			continue
		}
		r.do(r.machine.Shutdown(now), now)
		r.endHandover(HandoverEnded{})
		delete(m.routers, k)
		m.host.set(k, nil)
		dropped, m.changed = true, true
	}
	if dropped {
		m.prepare(false, now)
		m.look()
	}
	return dropped
}

// prepare has the host be as the routers need it that there are or are to be; interfaces tells that some are new.
func (m *Manager) prepare(interfaces bool, now time.Time) {
	all := map[routerKey]Gateway{}
	maps.Copy(all, m.desired)
	for k, r := range m.routers {
		if _, wanted := all[k]; !wanted {
			all[k] = r.gateway
		}
	}
	m.host.prepare(setupOf(all), interfaces, now)
}

func (m *Manager) addRouter(k routerKey, g Gateway, p parent, now time.Time) {
	r := newRouter(m, k, g, now)
	m.routers[k], m.changed = r, true
	if m.adoptable(k, p) {
		r.parent.Index, r.adopted = p.Index, true
		r.wish(hostUp)
	}
	r.configure(g, p, now)
}

// adoptable tells whether an earlier run left this router forwarding. Then it goes on until the election says who is
// to: a crash of this process alone costs hosts nothing.
func (m *Manager) adoptable(k routerKey, p parent) bool {
	if m.looked || p.Index == 0 || !p.Running {
		return false
	}
	link, err := m.nl.LinkByName(linkName(k, p.Index))
	if err != nil {
		return false
	}
	key, ours := parseAlias(link.Attrs().Alias)
	return ours && key == k && link.Attrs().Flags&net.FlagUp != 0
}

// setParents takes what interfaces are like, and their sockets.
func (m *Manager) setParents(f found, now time.Time) {
	old, outdated := m.parents, m.watch.outdated(f)
	m.parents = f.parents
	if outdated { // what has become of interest since may need a socket that the watcher has left out: the next report is under way
		f.listening = f.listening.and(m.listening)
	}
	opened := m.read(f.listening)
	m.forgetAdvertisers(now)
	appeared := false
	for name, p := range m.parents {
		appeared = appeared || p.Index != old[name].Index
	}
	m.prepare(appeared, now) // again, for what others have changed
	for k, g := range m.desired {
		p, known := m.parent(k)
		switch r := m.routers[k]; {
		case !known:
		case r == nil:
			m.addRouter(k, g, p, now)
		case !p.equal(old[k.Interface]), opened[socketKey{p.Index, k.Family}]:
			r.configure(g, p, now)
		case r.hostErr != nil && !r.retrying:
			r.retry()
		}
	}
	m.listen()
	for _, r := range m.routers {
		r.forgetOld(now)
	}
	for k, h := range m.foreign {
		if now.Sub(h.Last) > foreignMemory {
			delete(m.foreign, k)
		}
	}
	if m.received && !m.looked && !outdated {
		m.looked = true
		m.host.purgeOthers()
	}
}

// claimed takes what the witness heard.
func (m *Manager) claimed(c witnessed, now time.Time) {
	for k, r := range m.routers {
		if k.Family == c.at.family && r.parent.Index == c.at.ifindex && slices.ContainsFunc(r.addresses, func(p netip.Prefix) bool { return p.Addr() == c.address }) {
			r.claimed(c, now)
		}
	}
}

func (m *Manager) hostDone(d hostDone, now time.Time) {
	if d.setup {
		m.changed = m.changed || (d.err == nil) != (m.setupError == nil)
		m.setupError = d.err
		return
	}
	if r := m.routers[d.key]; r != nil {
		r.hostDone(d, now)
		return
	}
	if d.err != nil {
		m.hostError, m.changed = d.err, true
	}
}

func (m *Manager) state(now time.Time) ManagerState {
	s := ManagerState{RealTime: m.schedErr == nil}
	if m.schedErr != nil {
		s.RealTimeError = m.schedErr.Error()
	}
	if err := cmp.Or(m.hostError, m.witnessErr); err != nil {
		s.Error = err.Error()
	}
	if m.setupError != nil {
		s.SetupError = m.setupError.Error()
	}
	for _, r := range m.routers {
		s.Routers = append(s.Routers, r.state())
	}
	slices.SortFunc(s.Routers, func(a, b RouterState) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Family, b.Family))
	})
	for _, h := range m.foreign {
		if now.Sub(h.Last) <= foreignMemory {
			s.Foreign = append(s.Foreign, h)
		}
	}
	slices.SortFunc(s.Foreign, func(a, b HeardVRID) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.VRID, b.VRID), a.Source.Compare(b.Source))
	})
	return s
}
