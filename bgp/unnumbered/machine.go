// Package unnumbered finds the BGP neighbour on a link that has no addresses but link-local ones: it is the router whose advertisements are heard
// there (RFC 4861), and it is advertised to, so that it finds this host in the same way.
package unnumbered

import (
	"net/netip"
	"time"
)

// Kind is what a message is.
type Kind int

// The messages that are looked at.
const (
	Advertisement Kind = iota // of a router (RFC 4861, 4.2)
	Solicitation              // asks routers for one (RFC 4861, 4.1)
)

// Times of a Machine. RFC 4861 means them for routers on a link with many hosts; here are two, and each waits for the other.
const (
	burst         = 10               // advertisements and solicitations in short order, at first
	burstInterval = time.Second      // between them
	advertEvery   = 10 * time.Second // from then on, as FRR does
	solicitEvery  = 4 * time.Second  // while nobody has been heard (RFC 4861, 10: RTR_SOLICITATION_INTERVAL)
	answerEvery   = time.Second      // at most one answer to solicitations
	silence       = 35 * time.Second // without a sign of life: ask whether it is there
	probes        = 6                // solicitations without an answer, a second apart: it is gone. Routers may wait 3 s between answers (RFC 4861, 6.2.6)
	rivalAfter    = 3 * time.Second  // of silence: a second router may be the successor, ask whether the first is there
)

// Machine decides for one link who the neighbour is. It has no clock and does no I/O. The first router that is heard is the neighbour until it does
// not answer any more; while BGP with it is established it is taken to be there. Others are rivals until then.
type Machine struct {
	up        bool // the link is
	alive     bool // BGP with the neighbour is established
	neighbour netip.Addr
	since     time.Time // when it was found
	heard     time.Time // its last sign of life
	rival     netip.Addr
	rivalAt   time.Time // when it was heard last
	asked     int       // solicitations that the neighbour has not answered
	sent      int       // advertisements of the burst
	begged    int       // solicitations of the burst
	answered  time.Time // when a solicitation was answered last
	advertise time.Time // when the next one is due
	solicit   time.Time // the same; zero: none is
}

// Neighbour is the address of the neighbour, the zero value while there is none, and that of a second router on the link.
func (m *Machine) Neighbour() (neighbour, rival netip.Addr) { return m.neighbour, m.rival }

// Up begins anew because the link has come up. remembered is the neighbour of an earlier run, which has to answer to stay it; the zero value for none.
func (m *Machine) Up(now time.Time, remembered netip.Addr) {
	*m = Machine{up: true, neighbour: remembered, since: now, heard: now, advertise: now, solicit: now}
}

// Down forgets everything because the link is gone.
func (m *Machine) Down() { *m = Machine{} }

// Alive tells whether BGP with the neighbour is established. When it is not any more, the neighbour is asked for.
func (m *Machine) Alive(now time.Time, alive bool) {
	if !m.up || alive == m.alive {
		return
	}
	m.alive, m.heard, m.asked = alive, now, 0
	switch {
	case !alive:
		m.solicit = now
		m.sent, m.advertise = 0, now // it may begin anew as well
	case m.neighbour.IsValid():
		m.solicit = time.Time{}
	}
}

// Recv takes a message from a link-local address.
func (m *Machine) Recv(now time.Time, from netip.Addr, kind Kind) {
	if !m.up || !from.IsLinkLocalUnicast() {
		return
	}
	if kind == Solicitation {
		if now.Sub(m.answered) >= answerEvery {
			m.answered, m.advertise = now, now
		}
		return
	}
	switch m.neighbour {
	case netip.Addr{}:
		m.neighbour, m.since, m.heard, m.asked, m.solicit = from, now, now, 0, time.Time{}
		m.sent, m.advertise = 0, now // it need not have heard of this host yet
		if m.rival == from {
			m.rival = netip.Addr{}
		}
	case from:
		m.heard, m.asked, m.solicit = now, 0, time.Time{}
	default:
		m.rival, m.rivalAt = from, now
		if !m.alive && m.solicit.IsZero() && now.Sub(m.heard) >= rivalAfter {
			m.asked, m.solicit = 0, now
		}
	}
}

// Expire does what is due: it tells what to send.
func (m *Machine) Expire(now time.Time) (advertise, solicit bool) {
	if !m.up {
		return false, false
	}
	if m.rival.IsValid() && now.Sub(m.rivalAt) >= silence {
		m.rival = netip.Addr{}
	}
	if m.neighbour.IsValid() && !m.alive && m.solicit.IsZero() && now.Sub(m.heard) >= silence {
		m.asked, m.solicit = 0, now
	}
	if !m.solicit.IsZero() && !now.Before(m.solicit) {
		solicit = m.beg(now)
	}
	if !now.Before(m.advertise) {
		advertise = true
		m.advertise = now.Add(advertEvery)
		if m.sent < burst {
			m.sent++
			m.advertise = now.Add(burstInterval)
		}
	}
	return advertise, solicit
}

// beg asks for the neighbour, or for any; it gives up a neighbour that has not answered often enough.
func (m *Machine) beg(now time.Time) bool {
	if m.neighbour.IsValid() && m.asked >= probes {
		m.neighbour, m.rival, m.begged = netip.Addr{}, netip.Addr{}, 0
	}
	if m.neighbour.IsValid() {
		m.asked++
		m.solicit = now.Add(burstInterval)
		return true
	}
	m.solicit = now.Add(solicitEvery)
	if m.begged < burst {
		m.begged++
		m.solicit = now.Add(burstInterval)
	}
	return true
}

// Deadline is when to call Expire next; false while the link is down.
func (m *Machine) Deadline() (time.Time, bool) {
	if !m.up {
		return time.Time{}, false
	}
	at := m.advertise
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if !m.solicit.IsZero() {
		earlier(m.solicit)
	} else if m.neighbour.IsValid() && !m.alive {
		earlier(m.heard.Add(silence))
	}
	if m.rival.IsValid() {
		earlier(m.rivalAt.Add(silence))
	}
	return at, true
}
