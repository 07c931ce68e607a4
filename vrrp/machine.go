package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// State is a state of RFC 9568, 6.4.
type State string

// The states.
//
//	             Startup, priority 255
//	Initialize ───────────────────────────▶ Active
//	    │ ▲                                  ▲ │
//	    │ └── Shutdown, priority 0 ──────────┼─┤
//	    ▼           (from both)              │ ▼ higher priority, or equal with higher address, or successor answered
//	  Backup ────────────────────────────────┘
//	           Active_Down_Timer, or asked by the Active
const (
	Initialize State = "initialize"
	Backup     State = "backup"
	Active     State = "active"
)

// Config is what a virtual router is configured with (RFC 9568, 6.1). The zero value is not valid.
type Config struct {
	Priority     uint8         // 1 to 254, 255 for the owner of the addresses; 0: may not be Active now and stays in Initialize
	Interval     time.Duration // Advertisement_Interval
	Preempt      bool          // Preempt_Mode: take over from an Active of lower priority
	PreemptDelay time.Duration // do not, for this long after becoming Backup
	Primary      netip.Addr    // own address that advertisements come from; higher wins between equal priorities
	Addresses    []netip.Addr  // of the virtual router; a change is announced
	Successors   []netip.Addr  // Primary addresses of other members, best first, that can be asked to take over; may be empty
	Refresh      time.Duration // announce the addresses again this often while Active; 0: never
	LastResort   bool          // hand over to whoever is there, with preemption or without, and stay Active only where nobody is
}

// Constants of this implementation, not of the protocol.
const (
	// Linger is how long a router goes on forwarding, silently, after it has heard the router that took over from it:
	// frames that are on their way, or that a switch still sends here, are not lost.
	Linger = 250 * time.Millisecond
	// offerStep is the time a successor has to answer before the next one is asked. It is a few round trips of a LAN.
	offerStep = 10 * time.Millisecond
	// lastResortStep is how often an Active that is the last resort asks its successors, where they do not preempt.
	lastResortStep = time.Second
	// assertStep bounds how often others can make an Active send out of turn.
	assertStep = IntervalUnit
)

// announceAt is when the addresses are announced after taking over: frames get lost, and an old Active may have sent
// one last frame that turned a switch back. Two announcements come just before and after it ceases to
// forward.
var announceAt = []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, Linger - 10*time.Millisecond, Linger + 50*time.Millisecond, 2 * time.Second}

// Machine is one virtual router (RFC 9568, 6): VRID and family on one interface. It does no I/O and has no clock.
// Calls take the time, must not go back in it, and return what is to be done, in order. It is not safe for concurrent use.
//
// # Planned handover
//
// The protocol's own way to leave is a farewell: an advertisement of priority 0, after which the best Backup waits for
// its Skew_Time. Two things are added, neither of which another router can tell from plain VRRP:
//
//  1. Who leaves on purpose goes on forwarding until it hears the successor's advertisement, and for Linger after it
//     (in silence: it does not advertise nor answer ARP). The successor has the addresses and the virtual
//     MAC up before it advertises. So at any moment somebody forwards.
//  2. A farewell, or an advertisement of a priority that has just been lowered, can be sent to one successor's own
//     address instead of the group: an offer. Being alone with it, a successor of ours needs no Skew_Time to avoid a
//     race and takes over at once: a tracked fault moves a gateway in milliseconds whatever the interval is. Routers
//     that ignore offers, or are not there, cost offerStep each; then comes the plain farewell.
//
// If nobody answers, the router stays Active: a handover never leaves the address without an owner.
type Machine struct {
	cfg     Config
	state   State
	since   time.Time
	running bool // between Startup and Shutdown; in Initialize all the same while the priority is 0

	activeInterval time.Duration // Active_Adver_Interval (6.1)
	timer          time.Time     // Active_Down_Timer in Backup, Adver_Timer in Active (6.2)
	cause          Reason        // why the Active_Down_Timer would fire
	heard          Heard
	preemptFrom    time.Time
	yieldedTo      netip.Addr // successor of a handover: not preempted while it is Active

	offer      *offer
	asserted   time.Time // last advertisement out of turn
	announced  time.Time // start of the schedule announceAt
	announceNo int       // entries of announceAt done
	refresh    time.Time
	conflict   *Heard    // other router that also claims to be Active
	offerAgain time.Time // when a last resort asks its successors again
}

// Heard is the last advertisement heard from a router.
type Heard struct {
	Source   netip.Addr
	Priority uint8
	Interval time.Duration
	At       time.Time
}

// offer is a handover under way.
type offer struct {
	priority uint8        // offered: 0 is a farewell
	ask      []netip.Addr // still to be asked
	farewell bool         // in the end say farewell to everybody
	leave    bool         // in the end leave whether anybody answered or not: a fault
	asked    bool         // somebody has been
	waiting  bool         // everybody has been asked: next is the end
	next     time.Time
}

// New gives a machine in Initialize.
func New(c Config, now time.Time) *Machine {
	return &Machine{cfg: c, state: Initialize, since: now, activeInterval: c.Interval}
}

// State is the present state and when it was entered.
func (m *Machine) State() (State, time.Time) { return m.state, m.since }

// Config is the configuration in force.
func (m *Machine) Config() Config { return m.cfg }

// Heard is the last advertisement heard from another router; zero before the first.
func (m *Machine) Heard() Heard { return m.heard }

// Conflict is the other router that claims to be Active while this one is, nil when there is none.
func (m *Machine) Conflict() *Heard { return m.conflict }

// HandingOver tells whether a planned handover is under way.
func (m *Machine) HandingOver() bool { return m.offer != nil && m.offer.priority == PriorityFarewell }

// skew is Skew_Time (6.1).
func (m *Machine) skew() time.Duration {
	return time.Duration(256-int(m.cfg.Priority)) * m.activeInterval / 256
}

// downInterval is Active_Down_Interval (6.1), with the interval of the Active, not our own.
func (m *Machine) downInterval() time.Duration { return 3*m.activeInterval + m.skew() }

// Startup is the Startup event (6.4.1): the interface is usable.
func (m *Machine) Startup(now time.Time) []Action {
	m.running = true
	if m.state != Initialize || m.cfg.Priority == 0 {
		return nil
	}
	m.activeInterval = m.cfg.Interval
	m.heard = Heard{}
	if m.cfg.Priority == PriorityOwner {
		return m.becomeActive(now, ReasonOwner)
	}
	return m.becomeBackup(now, ReasonStartup)
}

// Shutdown is the Shutdown event (6.4.2, 6.4.3): leave at once. Handover is the way to leave without loss.
func (m *Machine) Shutdown(now time.Time) []Action {
	m.running = false
	return m.leave(now, ReasonShutdown)
}

// leave goes to Initialize from any state, with a farewell from Active.
func (m *Machine) leave(now time.Time, reason Reason) []Action {
	var out []Action
	if m.state == Active {
		out = append(out, SendAdvertisement{Priority: PriorityFarewell}, ReleaseAddresses{})
	}
	if m.state != Initialize {
		out = append(out, m.enter(now, Initialize, reason))
	}
	return out
}

// Recv is an advertisement for this virtual router that Parse accepted. One with our own address as its source is an
// echo and is ignored.
func (m *Machine) Recv(now time.Time, a Advertisement, source netip.Addr) []Action {
	source = source.WithZone("")
	if m.state == Initialize || source == m.cfg.Primary {
		return nil
	}
	was := m.heard
	m.heard = Heard{Source: source, Priority: a.Priority, Interval: a.Interval, At: now}
	if m.state == Active {
		return m.recvActive(now, a)
	}
	return m.recvBackup(now, a, was)
}

// recvBackup is 6.4.2, "If an ADVERTISEMENT is received".
func (m *Machine) recvBackup(now time.Time, a Advertisement, was Heard) []Action {
	if a.Directed && was.Source == m.heard.Source {
		if a.Priority == PriorityFarewell || a.Priority < m.cfg.Priority && m.preempts(now) {
			return m.becomeActive(now, ReasonOffered)
		}
	}
	switch {
	case a.Priority == PriorityFarewell:
		m.yieldedTo = netip.Addr{}
		m.cause = ReasonFarewell
		m.timer = now.Add(m.skew())
	case a.Priority >= m.cfg.Priority || !m.preempts(now):
		m.activeInterval = a.Interval
		m.cause = ReasonNoActive
		m.timer = now.Add(m.downInterval())
	default: // discard: the timer runs on
		m.cause = ReasonPreempt
	}
	return nil
}

// preempts tells whether an Active of lower priority is taken over from at this moment.
func (m *Machine) preempts(now time.Time) bool {
	return m.cfg.Preempt && !now.Before(m.preemptFrom) && (!m.yieldedTo.IsValid() || m.yieldedTo != m.heard.Source)
}

// recvActive is 6.4.3, "If an ADVERTISEMENT is received".
func (m *Machine) recvActive(now time.Time, a Advertisement) []Action {
	if a.Priority == PriorityFarewell {
		if m.HandingOver() || !m.mayAssert(now) {
			return nil
		}
		m.timer = now.Add(m.cfg.Interval)
		// Who leaves has claimed the addresses: hosts may have believed it.
		return append([]Action{SendAdvertisement{Priority: m.cfg.Priority}}, m.announce(now)...)
	}
	// An owner discards what others advertise (7.1), save that of the successor it asked for.
	higher := a.Priority > m.cfg.Priority || a.Priority == m.cfg.Priority && m.heard.Source.Compare(m.cfg.Primary) > 0
	switch {
	case m.HandingOver():
		m.activeInterval = a.Interval
		if !higher { // it would be preempted as soon as we are Backup
			m.yieldedTo = m.heard.Source
		}
		out := []Action{HandoverEnded{To: m.heard.Source, Done: true}, ReleaseAddresses{Linger: Linger}}
		if m.offer.leave {
			return append(out, m.enter(now, Initialize, ReasonFault))
		}
		return append(out, m.becomeBackup(now, ReasonHandedOver)...)
	case higher && m.cfg.Priority != PriorityOwner:
		m.activeInterval = a.Interval
		return append([]Action{ReleaseAddresses{Linger: Linger}}, m.becomeBackup(now, ReasonBetterActive)...)
	}
	return m.assert(now)
}

// assert answers a router that also believes to be Active, and should not (6.4.3: the advertisement tells it, and
// bridges that have learned the virtual MAC from it). Hosts and bridges are told again as well.
func (m *Machine) assert(now time.Time) []Action {
	var out []Action
	// Just after a takeover, the old Active's last advertisement may still have been on its way.
	if now.Sub(m.since) >= m.heard.Interval {
		if m.conflict == nil || m.conflict.Source != m.heard.Source {
			out = append(out, Conflict{Source: m.heard.Source, Priority: m.heard.Priority})
		}
		h := m.heard
		m.conflict = &h
	}
	if m.cfg.Priority != PriorityOwner && m.mayAssert(now) {
		out = append(out, SendAdvertisement{Priority: m.cfg.Priority})
	}
	if m.announceNo == len(announceAt) {
		out = append(out, m.announce(now)...)
	}
	return out
}

func (m *Machine) mayAssert(now time.Time) bool {
	if !m.asserted.IsZero() && now.Sub(m.asserted) < assertStep {
		return false
	}
	m.asserted = now
	return true
}

// announce starts the schedule of announcements.
func (m *Machine) announce(now time.Time) []Action {
	m.announced, m.announceNo = now, 1
	if m.cfg.Refresh > 0 {
		m.refresh = now.Add(m.cfg.Refresh)
	}
	return []Action{SendGratuitous{}}
}

// becomeActive is what 6.4.1 (owner) and 6.4.2 (Active_Down_Timer) do on the way to Active.
func (m *Machine) becomeActive(now time.Time, reason Reason) []Action {
	out := []Action{AcceptAddresses{}, SendAdvertisement{Priority: m.cfg.Priority}}
	entered := m.enter(now, Active, reason)
	m.timer = now.Add(m.cfg.Interval)
	m.asserted = now
	m.setOfferAgain(now)
	return append(append(out, m.announce(now)...), entered)
}

// becomeBackup arms the Active_Down_Timer.
func (m *Machine) becomeBackup(now time.Time, reason Reason) []Action {
	entered := m.enter(now, Backup, reason)
	m.preemptFrom = now.Add(m.cfg.PreemptDelay)
	m.cause = ReasonNoActive
	m.timer = now.Add(m.downInterval())
	return []Action{entered}
}

// enter changes the state and forgets what belongs to the old one.
func (m *Machine) enter(now time.Time, to State, reason Reason) Action {
	t := Transition{From: m.state, To: to, Reason: reason}
	m.state, m.since = to, now
	m.offer, m.conflict = nil, nil
	m.announced, m.announceNo, m.refresh, m.asserted, m.offerAgain = time.Time{}, 0, time.Time{}, time.Time{}, time.Time{}
	if to != Backup {
		m.yieldedTo = netip.Addr{}
	}
	if to == Initialize {
		m.timer = time.Time{}
	}
	return t
}

// Deadline is when Expire has to be called, zero for never.
func (m *Machine) Deadline() time.Time {
	d := m.timer
	if m.state != Active {
		return d
	}
	for _, t := range []time.Time{m.announceDue(), m.refresh, m.offerDue(), m.offerAgain, m.conflictEnd()} {
		if !t.IsZero() && t.Before(d) {
			d = t
		}
	}
	return d
}

// DownDeadline is when this Backup will take over unless it hears an Active; zero in other states.
func (m *Machine) DownDeadline() time.Time {
	if m.state != Backup {
		return time.Time{}
	}
	return m.timer
}

func (m *Machine) announceDue() time.Time {
	if m.announceNo == 0 || m.announceNo == len(announceAt) {
		return time.Time{}
	}
	return m.announced.Add(announceAt[m.announceNo])
}

func (m *Machine) offerDue() time.Time {
	if m.offer == nil {
		return time.Time{}
	}
	return m.offer.next
}

func (m *Machine) conflictEnd() time.Time {
	if m.conflict == nil {
		return time.Time{}
	}
	return m.conflict.At.Add(3*m.conflict.Interval + m.conflict.Interval/2)
}

// Expire does what is due. What has been received before must be given to Recv first: a process that was stopped must
// not believe in silence it has not listened to.
func (m *Machine) Expire(now time.Time) []Action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if m.state != Active {
		if m.state == Backup && due(m.timer) {
			return m.becomeActive(now, m.cause)
		}
		return nil
	}
	var out []Action
	if due(m.timer) { // Adver_Timer (6.4.3)
		out = append(out, SendAdvertisement{Priority: m.cfg.Priority})
		if m.timer = m.timer.Add(m.cfg.Interval); !now.Before(m.timer) {
			m.timer = now.Add(m.cfg.Interval)
		}
	}
	if due(m.offerDue()) {
		if out = append(out, m.stepOffer(now)...); m.state != Active {
			return out
		}
	}
	if due(m.offerAgain) {
		m.setOfferAgain(now)
		if m.offer == nil {
			out = append(out, m.startOffer(now, offer{ask: slices.Clone(m.cfg.Successors)})...)
		}
	}
	if due(m.conflictEnd()) {
		out = append(out, Conflict{Source: m.conflict.Source, Priority: m.conflict.Priority, Ended: true})
		out = append(out, m.announce(now)...)
		m.conflict = nil
	}
	if due(m.announceDue()) {
		for due(m.announceDue()) {
			m.announceNo++
		}
		out = append(out, SendGratuitous{})
	}
	if due(m.refresh) {
		m.refresh = now.Add(m.cfg.Refresh)
		out = append(out, SendGratuitous{})
	}
	return out
}

// SetPriority changes the priority, as tracking does. An Active whose priority falls offers its place to the
// successors; with 0 it leaves in any case. Coming back from 0 is a Startup.
func (m *Machine) SetPriority(now time.Time, priority uint8) []Action {
	c := m.cfg
	c.Priority = priority
	return m.SetConfig(now, c)
}

// SetConfig changes the configuration in place: nothing moves unless it has to. Repeats are free.
func (m *Machine) SetConfig(now time.Time, c Config) []Action {
	old, oldSkew := m.cfg, m.skew()
	m.cfg = c
	if c.Priority != old.Priority {
		m.yieldedTo = netip.Addr{}
	}
	switch m.state {
	case Initialize:
		if m.running && old.Priority == 0 {
			return m.Startup(now)
		}
		return nil
	case Backup:
		if c.Priority == 0 {
			return m.leave(now, ReasonFault)
		}
		m.timer = m.timer.Add(m.skew() - oldSkew)
		return nil
	}
	var out []Action
	if !slices.Equal(c.Addresses, old.Addresses) {
		out = append(out, AcceptAddresses{})
		out = append(out, m.announce(now)...)
	}
	if c.Refresh != old.Refresh {
		m.refresh = time.Time{}
		if c.Refresh > 0 {
			m.refresh = now.Add(c.Refresh)
		}
	}
	m.setOfferAgain(now)
	switch {
	case c.Priority == 0 && m.offer != nil && m.offer.leave:
		return out
	case c.Priority == 0:
		return append(out, m.startOffer(now, offer{ask: slices.Clone(c.Successors), farewell: true, leave: true})...)
	case m.offer != nil && m.offer.leave: // the fault has gone while the place was being offered
		m.offer = nil
	}
	if c.Priority != old.Priority || c.Interval != old.Interval || len(out) > 0 {
		out = append(out, SendAdvertisement{Priority: c.Priority})
		m.timer = now.Add(c.Interval)
	}
	switch {
	case c.LastResort && !old.LastResort:
		out = append(out, m.startOffer(now, offer{ask: slices.Clone(c.Successors), farewell: true})...)
	case c.Priority < old.Priority:
		out = append(out, m.startOffer(now, offer{priority: c.Priority, ask: slices.Clone(c.Successors)})...)
	}
	return out
}

// Handover asks another router to take over while this one goes on forwarding: the one at the address to, or with the
// zero address the first of the successors that answers, else the best that hears a farewell. It does nothing unless
// this router is Active. HandoverEnded tells the result after at most Active_Down_Interval plus 10 ms per successor.
func (m *Machine) Handover(now time.Time, to netip.Addr) []Action {
	if m.state != Active || m.HandingOver() {
		return nil
	}
	if to.IsValid() { // more than once: a frame may get lost
		return m.startOffer(now, offer{ask: []netip.Addr{to, to, to}})
	}
	return m.startOffer(now, offer{ask: slices.Clone(m.cfg.Successors), farewell: true})
}

// setOfferAgain has the successors of a last resort asked: those that preempt come by themselves, after their delay.
func (m *Machine) setOfferAgain(now time.Time) {
	m.offerAgain = time.Time{}
	if m.cfg.LastResort && !m.cfg.Preempt && len(m.cfg.Successors) > 0 {
		m.offerAgain = now.Add(lastResortStep)
	}
}

func (m *Machine) startOffer(now time.Time, o offer) []Action {
	m.offer = &o
	return m.stepOffer(now)
}

// stepOffer asks the next successor, or ends the offer.
func (m *Machine) stepOffer(now time.Time) []Action {
	o := m.offer
	if o.priority == PriorityFarewell {
		// A Skew_Time is shorter than the interval: who was asked acts before it hears from us again.
		m.timer = now.Add(m.cfg.Interval)
	}
	switch {
	case len(o.ask) > 0:
		to := o.ask[0]
		o.ask = o.ask[1:]
		o.next, o.asked = now.Add(offerStep), true
		return []Action{SendAdvertisement{Priority: o.priority, To: to}}
	case o.leave && !o.asked && !o.waiting: // nobody is known: whoever hears the farewell acts within an interval, and has us forward until it does
		o.waiting = true
		o.next = now.Add(m.cfg.Interval + Linger)
		m.timer = o.next.Add(m.cfg.Interval)
		return []Action{SendAdvertisement{Priority: PriorityFarewell}}
	case o.leave:
		return m.leave(now, ReasonFault)
	case o.priority != PriorityFarewell: // whoever is better preempts by the protocol's own means
		m.offer = nil
		return nil
	case !o.waiting:
		o.waiting = true
		o.next = now.Add(3*m.cfg.Interval + m.skew())
		if o.farewell { // and then silence, or others would believe that we stay
			m.timer = o.next.Add(m.cfg.Interval)
			return []Action{SendAdvertisement{Priority: PriorityFarewell}}
		}
		// Who knows offers has acted by now. Others, and unicast peers, wait for their Skew_Time: not to be cut short when this process, or theirs, is late.
		m.timer = now.Add(m.cfg.Interval * 3 / 2)
		return nil
	}
	m.offer = nil
	return []Action{SendAdvertisement{Priority: m.cfg.Priority}, HandoverEnded{}}
}
