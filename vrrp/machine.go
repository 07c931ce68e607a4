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
	Refresh      time.Duration // announce the addresses again this often while Active, and say hello; 0: never
	LastResort   bool          // hand over to whoever is there, with preemption or without, and stay Active only where nobody is
	Unicast      bool          // who is asked to take over can't tell that from a farewell to everybody
	Hello        bool          // others may not know Primary, nor all of each other: tell them of it when it matters
}

// Constants of this implementation, not of the protocol.
const (
	// Linger is how long a router goes on forwarding, silently, after it has heard the router that took over from it:
	// frames that are on their way, or that a switch still sends here, are not lost.
	Linger = 250 * time.Millisecond
	// offerStep is the time a successor has to answer before the next one is asked. It is a few round trips of a LAN.
	offerStep = 10 * time.Millisecond
	// helloStep is the intervals of silence after which a Backup says hello: one may be late, and of the three until it takes over two are left.
	helloStep = 1.5
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
//
// # Hello
//
// Who advertises to single routers has to know their addresses. A Backup that hears no Active tells the others of its own, when it starts and
// while it waits: the Active may be there and not know it. Only then does it take over. An Active does so when it has become Active, and at each
// Refresh: who answers tells it of others that it may not know.
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
	asks       int       // that it has made
	helloAt    time.Time // when a Backup that hears no Active says hello
}

// Heard is the last advertisement heard from a router.
type Heard struct {
	Source   netip.Addr
	Priority uint8
	Interval time.Duration
	At       time.Time
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
	m.helloLater(now, a.Interval)
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
	case m.HandingOver() && (higher || m.offer.meant(m.heard.Source)):
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
	out = append(append(out, m.announce(now)...), entered)
	if m.cfg.Hello { // who hears an Active says none: to those that it does not know, we make ourselves known
		out = append(out, SendHello{})
	}
	return out
}

// becomeBackup arms the Active_Down_Timer.
func (m *Machine) becomeBackup(now time.Time, reason Reason) []Action {
	entered := m.enter(now, Backup, reason)
	m.preemptFrom = now.Add(m.cfg.PreemptDelay)
	m.cause = ReasonNoActive
	m.timer = now.Add(m.downInterval())
	if reason == ReasonStartup {
		return append([]Action{entered}, m.sayHello(now)...)
	}
	m.helloLater(now, m.activeInterval)
	return []Action{entered}
}

// sayHello tells others of our address, and again after an interval in which no Active is heard.
func (m *Machine) sayHello(now time.Time) []Action {
	if !m.cfg.Hello {
		return nil
	}
	m.helloAt = now.Add(m.activeInterval)
	return []Action{SendHello{}}
}

func (m *Machine) helloLater(now time.Time, interval time.Duration) {
	if m.cfg.Hello {
		m.helloAt = now.Add(time.Duration(helloStep * float64(interval)))
	}
}

// Hello is that a router says hello: if this one is Active, the other may not have heard it. It need not wait for the next advertisement.
func (m *Machine) Hello(now time.Time, source netip.Addr) []Action {
	if m.state != Active || m.HandingOver() && !m.offer.resort || !m.mayAssert(now) {
		return nil
	}
	return []Action{SendAdvertisement{Priority: m.cfg.Priority, To: source.WithZone("")}}
}

// enter changes the state and forgets what belongs to the old one.
func (m *Machine) enter(now time.Time, to State, reason Reason) Action {
	t := Transition{From: m.state, To: to, Reason: reason}
	m.state, m.since = to, now
	m.offer, m.conflict = nil, nil
	m.announced, m.announceNo, m.refresh, m.asserted, m.offerAgain = time.Time{}, 0, time.Time{}, time.Time{}, time.Time{}
	m.helloAt = time.Time{}
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
	if m.state == Backup && !m.helloAt.IsZero() && m.helloAt.Before(d) {
		return m.helloAt
	}
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
		switch {
		case m.state == Backup && due(m.timer):
			return m.becomeActive(now, m.cause)
		case m.state == Backup && due(m.helloAt):
			return m.sayHello(now)
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
			out = append(out, m.askAgain(now)...)
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
		if m.cfg.Hello {
			out = append(out, SendHello{})
		}
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
		switch {
		case !c.Hello:
			m.helloAt = time.Time{}
		case !old.Hello || c.Primary != old.Primary: // what the Active sends may go to the old address
			return m.sayHello(now)
		}
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
	if c.Hello && c.Primary != old.Primary {
		out = append(out, SendHello{})
	}
	m.setOfferAgain(now)
	switch {
	case c.Priority == 0 && m.offer != nil && m.offer.leave:
		return out
	case c.Priority == 0:
		return append(out, m.startOffer(now, offer{ask: m.askable(), farewell: true, leave: true})...)
	case m.offer != nil && m.offer.leave: // the fault has gone while the place was being offered
		m.offer = nil
	}
	if c.Priority != old.Priority || c.Interval != old.Interval || c.Primary != old.Primary || len(out) > 0 {
		out = append(out, SendAdvertisement{Priority: c.Priority})
		m.timer = now.Add(c.Interval)
	}
	switch {
	case c.LastResort && !old.LastResort:
		out = append(out, m.startOffer(now, offer{ask: m.askable(), farewell: true})...)
	case c.Priority < old.Priority:
		out = append(out, m.startOffer(now, offer{priority: c.Priority, ask: m.askable()})...)
	}
	return out
}
