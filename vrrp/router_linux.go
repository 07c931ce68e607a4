package vrrp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"netfabric/fabric"
)

// holdback is how long a new Active waits for its addresses before it advertises: hosts turn to it when they hear it.
// Longer than the kernel needs, unless something holds its lock; shorter than another Backup's patience. While the old
// Active is there and forwards, there is more time.
const (
	holdback        = 5 * time.Millisecond
	patientHoldback = 200 * time.Millisecond
)

// router is one virtual router of this host. Only the loop of the Manager touches it.
type router struct {
	key       routerKey
	gateway   Gateway
	addresses []netip.Prefix
	parent    parent
	machine   *Machine
	peers     peerList
	m         *Manager

	want   hostWant
	serial uint64
	done   uint64 // serial of the last wish that was tried
	// adopted: an earlier run of ours left the interface up. It goes on forwarding until the election has an outcome.
	adopted     bool
	hold        time.Time // advertise and announce not before the addresses are there, or then
	heldAdvert  bool
	heldGarp    bool
	garpWhenUp  bool // the addresses were late: announce when they are there
	linger      time.Time
	retiring    bool // no longer wanted, and there until it has been handed over
	claims      claimList
	defended    time.Time // last announcement in answer to a claim
	defendAt    time.Time // when the next is due; zero: none is
	ra          advertiser
	unfit       string           // gateway of the same sync set that can't be Active here
	stray       stray            // Active here, apart from the rest of the sync set
	succeeded   bool             // the handover that ends this Active has a successor
	frames      map[uint8][]byte // advertisements to the group, by priority
	transitions []TransitionRecord
	changes     uint64        // transitions ever
	tookFrom    time.Time     // since when hosts have been without an Active, until this one has its addresses
	takeover    time.Duration // how long the last takeover took
	handovers   []chan HandoverEnded

	in, out, sendErrors   uint64
	advertised, solicited uint64 // router advertisements and solicitations
	discarded             map[string]uint64
	differs               bool
	old                   netip.Addr // router that speaks version 2 with our VRID
	oldAt                 time.Time
	far                   netip.Addr // peer whose packets have another TTL than 255
	farAt                 time.Time
	hostErr, sendErr      error
	raErr                 error // why hosts are not told of the router
	retrying              bool  // hostErr may be over: the wish under way will tell
}

func newRouter(m *Manager, k routerKey, g Gateway, now time.Time) *router {
	return &router{
		key: k, gateway: g, addresses: g.addresses(k.Family), m: m, machine: New(g.config(k.Family, netip.Addr{}), now),
		discarded: map[string]uint64{}, frames: map[uint8][]byte{}, ra: advertiser{random: rand.Float64},
	}
}

// configure takes a new gateway or a new state of the interface. It starts or stops the machine accordingly.
func (r *router) configure(g Gateway, p parent, now time.Time) {
	moved, told, was := p.Index != r.parent.Index, r.gateway.RA, r.addresses
	changed := r.want.gateway != g.Name || !slices.Equal(r.addresses, g.addresses(r.key.Family))
	r.gateway, r.addresses, r.parent = g, g.addresses(r.key.Family), p
	r.peers.configure(ofFamily(g.Peers, r.key.Family), ofFamily(g.Foreign, r.key.Family), g.OtherMembers, r.neighbour)
	r.frames = map[uint8][]byte{}
	primary := p.primary(r.key.Family, r.addresses)
	if moved {
		r.hostErr, r.retrying = nil, false
	}
	if moved || r.fault() != nil {
		r.do(r.machine.Shutdown(now), now)
		if r.adopted {
			r.release(0, now)
		}
	}
	if g.Sync == "" {
		r.unfit, r.stray = "", stray{}
	}
	c := g.config(r.key.Family, primary)
	c.Priority = r.priority()
	r.do(r.machine.SetConfig(now, c), now)
	if moved && !r.adopted || changed {
		r.wish(r.want.hosting)
	}
	if r.fault() == nil {
		r.do(r.machine.Startup(now), now)
	}
	r.configureRouter(told, was, now)
}

// claimed takes that somebody says an address is at a MAC. While this router is Active, hosts that believed it are told better.
func (r *router) claimed(c witnessed, now time.Time) {
	if expectedMAC(c.mac, r.key.VRID) {
		return
	}
	if r.claims.note(c.address, c.mac.String(), c.port, now) {
		r.m.changed = true
	}
	if r.defendAt.IsZero() {
		r.defendAt = r.defended.Add(defendStep)
		r.defend(now)
	}
}

// defend announces the addresses in answer to claims: at once, and no more often than each defendStep, the last word being ours.
func (r *router) defend(now time.Time) {
	if r.defendAt.IsZero() || now.Before(r.defendAt) {
		return
	}
	r.defendAt = time.Time{}
	if state, _ := r.machine.State(); state == Active && r.hold.IsZero() {
		r.defended = now
		r.announce()
	}
}

// retire hands over what is Active here for good; at once means with no more than a farewell.
func (r *router) retire(atOnce bool, now time.Time) {
	r.retiring = true
	if !atOnce {
		r.do(r.machine.SetPriority(now, 0), now)
	}
}

// fault is why the machine cannot run.
func (r *router) fault() error {
	switch {
	case r.parent.Index == 0:
		return fabric.Errorf(fabric.CodeUnavailable, "interface-missing", "there is no interface %s", r.key.Interface)
	case !r.parent.Running:
		return fabric.Errorf(fabric.CodeUnavailable, "interface-down", "interface %s is down or has no carrier", r.key.Interface)
	case !r.parent.primary(r.key.Family, r.addresses).IsValid():
		kind := "IPv4"
		if r.key.Family == IPv6 {
			kind = "IPv6 link-local"
		}
		return fabric.Errorf(fabric.CodeUnavailable, "no-address", "interface %s has no %s address to advertise from", r.key.Interface, kind).
			WithFix("give it one of its own, beside the gateway's")
	case r.gateway.Priority != PriorityOwner && r.parent.owned(r.addresses).IsValid():
		return fabric.Conflictf("address-owned", "interface %s has %s itself, and would answer for it whoever is Active", r.key.Interface, r.parent.owned(r.addresses)).
			WithFix("remove the address from the interface: whoever is Active has it")
	case r.unmet():
		return fabric.Errorf(fabric.CodeUnavailable, "no-peers", "no %s address of another router is known to advertise to", r.key.Family).
			WithFix("other members tell theirs when their interface has one; name routers that are no members as peers of the gateway")
	case r.hostErr != nil:
		return wrapf("host", r.hostErr, "set up %s", r.key)
	}
	return r.m.listening.routers[socketKey{r.parent.Index, r.key.Family}].failure()
}

// wish tells the host what to have.
func (r *router) wish(h hosting) {
	r.serial++
	r.want = hostWant{r.gateway.Name, r.key.Interface, r.parent.Index, h, r.addresses, r.serial}
	if r.parent.Index == 0 { // the interface has gone, and ours with it
		r.m.host.set(r.key, nil)
		return
	}
	w := r.want
	r.m.host.set(r.key, &w)
}

// recv is an advertisement for this router.
func (r *router) recv(a Advertisement, source netip.Addr, now time.Time) {
	if source == r.machine.Config().Primary {
		r.discarded["own"]++ // an echo: a loop below us, or two routers with one address
		return
	}
	switch {
	case !r.gateway.Unicast && a.Message != MessageAdvertisement: // it is no more to us than any unknown type
		r.discarded[ErrType.Slug]++
		return
	case r.gateway.Unicast && !r.hear(a, source, now):
		r.discarded["peer"]++
		return
	case r.gateway.Unicast:
		a.Directed = false
	}
	if a.Message != MessageAdvertisement {
		r.aside(a, source, now)
		return
	}
	r.in++
	if a.Priority != PriorityFarewell {
		// RFC 9568, 7.1: other addresses are worth a word, not a discard.
		r.differs = !sameAddresses(a.Addresses, r.machine.Config().Addresses)
	}
	was := r.machine.Heard().Source
	r.do(r.machine.Recv(now, a, source), now)
	r.m.changed = r.m.changed || r.machine.Heard().Source != was // who is Active is told also by those that stay Backup
	if state, _ := r.machine.State(); state == Backup && r.adopted && a.Priority != PriorityFarewell {
		r.release(Linger, now)
	}
}

// oldMemory is how long it is told that a router was heard that speaks version 2, or from afar.
const oldMemory = time.Minute

func (r *router) hearOld(source netip.Addr, now time.Time) {
	r.m.changed = r.m.changed || r.old != source
	r.old, r.oldAt = source, now
}

func (r *router) forgetOld(now time.Time) {
	if r.old.IsValid() && now.Sub(r.oldAt) > oldMemory {
		r.old, r.m.changed = netip.Addr{}, true
	}
	if r.far.IsValid() && now.Sub(r.farAt) > oldMemory {
		r.far, r.m.changed = netip.Addr{}, true
	}
	if r.claims.forget(now) {
		r.m.changed = true
	}
	r.peers.forget(now)
}

// do carries out what the machine wants.
func (r *router) do(actions []Action, now time.Time) {
	for _, action := range actions {
		switch a := action.(type) {
		case SendAdvertisement:
			if r.hold.IsZero() || a.Priority == PriorityFarewell {
				r.advertise(a.Priority, a.To)
			} else {
				r.heldAdvert = true
			}
		case SendHello:
			r.sayHello(r.peers.greet())
		case SendGratuitous:
			if r.hold.IsZero() {
				r.announce()
			} else {
				r.heldGarp = true
			}
		case AcceptAddresses:
			r.adopted, r.linger = false, time.Time{}
			r.hold = now.Add(holdback)
			r.wish(hostUp)
		case ReleaseAddresses:
			r.release(a.Linger, now)
		case Transition:
			r.record(a, now)
			// Among unicast peers a farewell is how one is asked to take over.
			if !r.hold.IsZero() && (a.Reason == ReasonOffered || a.Reason == ReasonPreempt || a.Reason == ReasonFarewell && r.gateway.Unicast) {
				r.hold = now.Add(patientHoldback)
			}
		case HandoverEnded:
			r.succeeded = a.Done
			r.endHandover(a)
		case Conflict: // State shows it
		}
		r.m.changed = true
	}
}

func (r *router) release(linger time.Duration, now time.Time) {
	r.adopted = false
	r.hold, r.heldAdvert, r.heldGarp, r.garpWhenUp = time.Time{}, false, false, false
	if linger > 0 {
		r.linger = now.Add(linger)
		r.wish(hostQuiet)
		return
	}
	r.linger = time.Time{}
	r.wish(hostDown)
}

func (r *router) record(t Transition, now time.Time) {
	record := TransitionRecord{From: t.From, To: t.To, Reason: t.Reason, At: now}
	if h := r.machine.Heard(); t.Reason == ReasonNoActive && !h.At.IsZero() {
		record.Silence = now.Sub(h.At)
	}
	if r.changes++; t.To == Active {
		r.tookFrom = now.Add(-record.Silence)
	}
	r.transitions = append(r.transitions, record)
	if n := len(r.transitions) - maxTransitions; n > 0 {
		r.transitions = slices.Delete(r.transitions, 0, n)
	}
	r.turnRouter(t, now)
	r.follow(t)
	if t.From == Active {
		r.stray = stray{}
		e := HandoverEnded{Done: t.To == Backup}
		if e.Done {
			e.To = r.machine.Heard().Source
		}
		r.endHandover(e)
	}
}

func (r *router) endHandover(e HandoverEnded) {
	for _, c := range r.handovers {
		c <- e // buffered: one value is enough
	}
	r.handovers = nil
}

// retry tries again what failed on the host.
func (r *router) retry() {
	r.retrying = true
	r.wish(hostDown)
}

// hostDone tells that a wish was tried.
func (r *router) hostDone(d hostDone, now time.Time) {
	if d.serial != r.serial {
		return // of an older wish
	}
	r.done, r.m.changed = d.serial, true
	switch {
	case d.err != nil: // without the addresses nobody is to turn to us
		r.hostErr, r.retrying = d.err, false
		r.do(r.machine.Shutdown(now), now)
		return
	case r.retrying:
		r.hostErr, r.retrying = nil, false
		r.configure(r.gateway, r.parent, now)
		return
	}
	if r.want.hosting == hostUp {
		r.letGo(now)
		if r.garpWhenUp {
			r.garpWhenUp = false
			r.announce()
		}
	}
}

// letGo sends what was held back.
func (r *router) letGo(now time.Time) {
	if !r.tookFrom.IsZero() {
		r.takeover, r.tookFrom = now.Sub(r.tookFrom), time.Time{}
	}
	advert, garp := r.heldAdvert, r.heldGarp
	r.hold, r.heldAdvert, r.heldGarp = time.Time{}, false, false
	if advert {
		r.advertise(r.machine.Config().Priority, netip.Addr{})
	}
	if garp {
		r.announce()
	}
}

// deadline is when expire has to be called, zero for never.
func (r *router) deadline() time.Time {
	d := r.machine.Deadline()
	for _, t := range [...]time.Time{r.hold, r.linger, r.raDeadline(), r.defendAt} {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	return d
}

func (r *router) expire(now time.Time) {
	r.defend(now)
	if !r.hold.IsZero() && !now.Before(r.hold) {
		r.garpWhenUp = true
		r.letGo(now)
	}
	if !r.linger.IsZero() && !now.Before(r.linger) {
		r.linger = time.Time{}
		r.wish(hostDown)
	}
	if d := r.machine.Deadline(); !d.IsZero() && !now.Before(d) {
		r.do(r.machine.Expire(now), now)
	}
	if r.hold.IsZero() && r.ra.due(now) {
		r.advertiseRouter(r.gateway.RA, false)
	}
}

// advertise sends an advertisement to everybody, or to one router.
func (r *router) advertise(priority uint8, to netip.Addr) {
	switch {
	case to.IsValid():
		r.sent(r.sendTo(priority, to))
	case r.gateway.Unicast:
		for _, peer := range r.peers.all() {
			r.sent(r.sendTo(priority, peer))
		}
	default:
		frame, err := r.frame(priority)
		if err == nil {
			err = r.m.frames.send(r.parent.Index, frame)
		}
		r.sent(err)
	}
}

func (r *router) advertisement(priority uint8) Advertisement {
	c := r.machine.Config()
	return Advertisement{VRID: r.key.VRID, Priority: priority, Interval: c.Interval, Addresses: c.Addresses, Checksum: r.gateway.Checksum}
}

// frame is an advertisement to the group, ready to send.
func (r *router) frame(priority uint8) ([]byte, error) {
	if f, ok := r.frames[priority]; ok {
		return f, nil
	}
	primary := r.machine.Config().Primary
	payload, err := r.advertisement(priority).Marshal(primary, r.key.Family.Group())
	if err != nil {
		return nil, err
	}
	r.frames[priority] = advertFrame(r.key.VRID, primary, payload)
	return r.frames[priority], nil
}

func (r *router) sendTo(priority uint8, to netip.Addr) error {
	return r.sendMessage(r.advertisement(priority), to)
}

func (r *router) sendMessage(a Advertisement, to netip.Addr) error {
	primary := r.machine.Config().Primary
	s := r.m.listening.routers[socketKey{r.parent.Index, r.key.Family}]
	if err := s.failure(); err != nil {
		return err
	}
	payload, err := a.Marshal(primary, to)
	if err != nil {
		return err
	}
	return s.socket.send(primary, to, payload)
}

func (r *router) sent(err error) {
	if (err == nil) != (r.sendErr == nil) {
		r.m.changed = true
	}
	if r.sendErr = err; err != nil {
		r.sendErrors++
		return
	}
	r.out++
}

func (r *router) announce() {
	for _, p := range r.addresses {
		if err := r.m.frames.send(r.parent.Index, announceFrame(r.key.VRID, p.Addr())); err != nil {
			r.sendErr = err
			r.sendErrors++
		}
	}
}

// state is what is so with this router.
func (r *router) state() RouterState {
	c, heard := r.machine.Config(), r.machine.Heard()
	s := RouterState{
		Gateway: r.gateway.Name, Interface: r.key.Interface, Link: linkName(r.key, r.parent.Index), Family: r.key.Family, VRID: r.key.VRID,
		Addresses: r.addresses, Transitions: slices.Clone(r.transitions), Changes: r.changes, Takeover: r.takeover, HandingOver: r.machine.HandingOver(),
		Accepting: r.want.hosting == hostUp && r.done == r.serial && r.hostErr == nil,
		Primary:   c.Primary, Priority: c.Priority, Active: heard.Source, ActivePriority: heard.Priority,
		DownDeadline: r.machine.DownDeadline(), Differs: r.differs, Version2: r.old, Claims: slices.Clone(r.claims),
		RAOut: r.advertised, RSIn: r.solicited, Rogues: r.rogues(), In: r.in, Out: r.out, SendErrors: r.sendErrors, Discarded: map[string]uint64{},
	}
	for slug, n := range r.discarded {
		s.Discarded[slug] = n
	}
	s.State, s.Since = r.machine.State()
	if n := len(r.transitions); n > 0 {
		s.Reason = r.transitions[n-1].Reason
	}
	if s.State == Active {
		s.Active, s.ActivePriority = c.Primary, c.Priority
	}
	if other := r.machine.Conflict(); other != nil {
		s.Conflict = other.Source
	}
	interval := c.Interval
	if s.State == Backup && heard.Interval > 0 {
		interval = heard.Interval
	}
	s.WorstOutage = WorstOutage(interval, c.Priority)
	s.Error, s.ErrorReason = r.problem(c)
	return s
}

// problem is what keeps the gateway from working as it should, most basic first.
func (r *router) problem(c Config) (message, reason string) {
	err := r.fault()
	switch {
	case err != nil:
	case r.sendErr != nil:
		err = wrapf("send", r.sendErr, "advertise %s", r.key)
	case r.raErr != nil:
		err = wrapf("send", r.raErr, "advertise %s to hosts", r.key)
	case r.far.IsValid():
		err = fabric.Errorf(fabric.CodeUnavailable, "peer-ttl", "what %s sends is discarded: its TTL or hop limit is not 255 (RFC 9568, 7.1), and it may be Active as well", r.far).
			WithFix("set it there; of keepalived that is unicast_ttl 255")
	case r.unfit != "" && r.gateway.Priority > 0 && r.unfit != r.gateway.Name:
		err = fabric.Errorf(fabric.CodeUnavailable, "sync-fault", "gateway %q of sync set %q can't be Active on this member", r.unfit, r.gateway.Sync)
	case r.stray.lasts:
		err = fabric.Errorf(fabric.CodeUnavailable, "sync-split", "this member is Active, and member %q is for the first gateway of sync set %q: it is offered to that one", r.stray.member, r.gateway.Sync)
	case c.Priority == 0:
		err = fabric.Errorf(fabric.CodeUnavailable, "priority-0", "this member may not be Active: its priority is 0")
	default:
		return "", ""
	}
	return err.Error(), fabric.ReasonOf(err)
}

// wrapf says what was being done; a reason that the cause has stays.
func wrapf(reason string, cause error, format string, args ...any) error {
	if e := (*fabric.Error)(nil); errors.As(cause, &e) {
		reason = e.Reason
	}
	return fabric.Errorf(fabric.CodeUnavailable, reason, "%s: %w", fmt.Sprintf(format, args...), cause)
}

func sameAddresses(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
