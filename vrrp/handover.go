package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// offer is a handover under way.
type offer struct {
	priority uint8        // offered: 0 is a farewell
	target   netip.Addr   // who alone is to take over; zero: whoever does
	ask      []netip.Addr // still to be asked
	farewell bool         // in the end say farewell to everybody
	leave    bool         // in the end leave whether anybody answered or not: a fault
	resort   bool         // made by itself, again and again: a handover that is asked for takes its place
	asked    bool         // somebody has been
	waiting  bool         // everybody has been asked: next is the end
	told     time.Time    // with target: when the others last heard that we are there
	next     time.Time
}

// meant tells whether a router that advertises is one that may end the handover.
func (o *offer) meant(source netip.Addr) bool { return !o.target.IsValid() || o.target == source }

// HandingOver tells whether a planned handover is under way.
func (m *Machine) HandingOver() bool { return m.offer != nil && m.offer.priority == PriorityFarewell }

// Handover asks another router to take over while this one goes on forwarding: the one at the address to, or with the
// zero address the first of the successors that answers, else the best that hears a farewell. It does nothing unless
// this router is Active. HandoverEnded tells the result after at most Active_Down_Interval plus 10 ms per successor. A router of
// higher priority may take over in place of the one at the address to: HandoverEnded has it.
func (m *Machine) Handover(now time.Time, to netip.Addr) []Action {
	if m.state != Active || m.HandingOver() && !m.offer.resort {
		return nil
	}
	if !to.IsValid() {
		return m.startOffer(now, offer{ask: m.askable(), farewell: true})
	}
	to = to.WithZone("")
	// Asked more than once: a frame may get lost. Everybody hears first that we are there: at short intervals others would time out meanwhile.
	hear := SendAdvertisement{Priority: m.cfg.Priority}
	return append([]Action{hear}, m.startOffer(now, offer{target: to, ask: []netip.Addr{to, to, to}, told: now})...)
}

// askable are the successors that know, when they are asked, that nobody else is.
func (m *Machine) askable() []netip.Addr {
	if m.cfg.Unicast {
		return nil
	}
	return slices.Clone(m.cfg.Successors)
}

// setOfferAgain has the successors of a last resort asked: those that preempt come by themselves, after their delay.
func (m *Machine) setOfferAgain(now time.Time) {
	m.offerAgain = time.Time{}
	if m.cfg.LastResort && !m.cfg.Preempt && len(m.cfg.Successors) > 0 {
		m.offerAgain = now.Add(lastResortStep)
	}
}

// askAgain asks the successors of a last resort, or the next of them where it waits for its Skew_Time before it takes over: two would take over
// at once.
func (m *Machine) askAgain(now time.Time) []Action {
	ask := slices.Clone(m.cfg.Successors)
	if m.cfg.Unicast {
		next := m.asks % len(ask)
		m.asks++
		ask = ask[next : next+1]
	}
	return m.startOffer(now, offer{ask: ask, resort: true})
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
		return append(m.tellOthers(now), SendAdvertisement{Priority: o.priority, To: to})
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
		return m.tellOthers(now)
	}
	m.offer = nil
	return []Action{SendAdvertisement{Priority: m.cfg.Priority}, HandoverEnded{}}
}

// tellOthers has those that are not to take over hear an advertisement, when they have heard none for an interval. Each has one of its own: the one
// that is asked is not to hear that we stay.
func (m *Machine) tellOthers(now time.Time) (out []Action) {
	o := m.offer
	if !o.target.IsValid() || now.Sub(o.told) < m.cfg.Interval {
		return nil
	}
	o.told = now
	for _, to := range m.cfg.Successors {
		if to != o.target {
			out = append(out, SendAdvertisement{Priority: m.cfg.Priority, To: to})
		}
	}
	return out
}
