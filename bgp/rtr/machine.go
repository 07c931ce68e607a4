package rtr

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Timers are how long a router waits and trusts (RFC 8210, 6).
type Timers struct {
	Refresh time.Duration // between two questions for news
	Retry   time.Duration // after one that failed
	Expire  time.Duration // that what was learned is trusted after it was last confirmed
}

// DefaultTimers are those of RFC 8210, 6.
var DefaultTimers = Timers{time.Hour, 10 * time.Minute, 2 * time.Hour}

const (
	answerBound = 60 * time.Second // from a question to the next PDU of its answer
	maxVRPs     = 4 << 20          // of one cache: ten times what there is in the world
)

// machine is a router's side of the protocol with one cache (RFC 8210, 8). It has no clock and no connection: it is told what comes and when,
// and says what is to be sent.
type machine struct {
	fixed   Timers // those that are set are not the cache's to say
	timers  Timers
	version uint8 // that is spoken; the connection ends when the cache wants another

	session uint16
	serial  uint32
	known   bool // session and serial are of the data
	vrps    map[VRP]struct{}
	updated time.Time // of the last EndOfData; zero: there was none, or its data have expired

	asking    bool // an answer is expected or under way
	answering bool // it has begun
	reset     bool // it is the answer to a ResetQuery
	more      map[VRP]struct{}
	less      map[VRP]struct{}
	due       time.Time // of the next question, or of the next PDU of an answer
}

func newMachine(fixed Timers) *machine {
	m := &machine{fixed: fixed, version: 1, vrps: map[VRP]struct{}{}}
	m.setTimers(Timers{})
	return m
}

// setTimers takes over what the cache says, where nothing else was given.
func (m *machine) setTimers(t Timers) {
	m.timers = Timers{
		cmp.Or(m.fixed.Refresh, t.Refresh, DefaultTimers.Refresh), cmp.Or(m.fixed.Retry, t.Retry, DefaultTimers.Retry), cmp.Or(m.fixed.Expire, t.Expire, DefaultTimers.Expire),
	}
}

// Connected begins a connection.
func (m *machine) Connected(now time.Time) PDU { return m.ask(now, m.known) }

// ask asks for what is new, or for all.
func (m *machine) ask(now time.Time, news bool) PDU {
	m.asking, m.answering, m.reset, m.more, m.less = true, false, !news, nil, nil
	m.due = now.Add(answerBound)
	if news {
		return PDU{Version: m.version, Type: SerialQuery, Session: m.session, Serial: m.serial}
	}
	return PDU{Version: m.version, Type: ResetQuery}
}

// Disconnected ends a connection. What was learned is kept until it expires.
func (m *machine) Disconnected() {
	m.asking, m.answering, m.more, m.less, m.due = false, false, nil, nil, time.Time{}
}

// Deadline is when Expire is due; ok is false when it never is.
func (m *machine) Deadline() (at time.Time, ok bool) {
	at = m.due
	if !m.updated.IsZero() {
		if e := m.updated.Add(m.timers.Expire); at.IsZero() || e.Before(at) {
			at = e
		}
	}
	return at, !at.IsZero()
}

// Expire does what is due: an error ends the connection.
func (m *machine) Expire(now time.Time) (send []PDU, changed bool, err error) {
	if !m.updated.IsZero() && !now.Before(m.updated.Add(m.timers.Expire)) {
		changed = len(m.vrps) > 0
		m.vrps, m.known, m.updated = map[VRP]struct{}{}, false, time.Time{}
	}
	if m.due.IsZero() || now.Before(m.due) {
		return nil, changed, nil
	}
	if m.asking {
		return nil, changed, fmt.Errorf("no answer within %s", answerBound)
	}
	return []PDU{m.ask(now, m.known)}, changed, nil
}

// errVersion tells that the connection is to be made again with another version.
var errVersion = errors.New("the cache speaks another version")

// Recv takes a PDU. An error ends the connection; one to be told to the cache is in send.
func (m *machine) Recv(now time.Time, p PDU) (send []PDU, changed bool, err error) {
	if p.Version != m.version {
		if m.version == 1 && p.Version == 0 && !m.answering {
			m.version = 0 // RFC 8210, 7
			return nil, false, errVersion
		}
		return nil, false, fmt.Errorf("a PDU of version %d in a session of version %d", p.Version, m.version)
	}
	if m.asking {
		m.due = now.Add(answerBound)
	}
	bad := func(code uint16, format string, args ...any) ([]PDU, bool, error) {
		err := fmt.Errorf(format, args...)
		m.known = false
		return []PDU{{Version: m.version, Type: ErrorReport, Session: code, Text: err.Error()}}, false, err
	}
	switch p.Type {
	case SerialNotify:
		if !m.asking && (!m.known || p.Session != m.session || p.Serial != m.serial) {
			return []PDU{m.ask(now, m.known && p.Session == m.session)}, false, nil
		}
	case CacheResponse:
		if !m.asking || m.answering {
			return bad(CorruptData, "an answer that nobody asked for")
		}
		if !m.reset && p.Session != m.session {
			return bad(CorruptData, "an answer of session %d to a question of session %d", p.Session, m.session)
		}
		m.answering, m.session, m.more, m.less = true, p.Session, map[VRP]struct{}{}, map[VRP]struct{}{}
	case PrefixIPv4, PrefixIPv6:
		if !m.answering {
			return bad(CorruptData, "a prefix outside of an answer")
		}
		if code, why := m.take(p); why != "" {
			return bad(code, "%s", why)
		}
	case RouterKey: // of BGPsec, which is not spoken here
	case EndOfData:
		if !m.answering || p.Session != m.session {
			return bad(CorruptData, "an end of data outside of an answer")
		}
		return nil, m.end(now, p), nil
	case CacheReset:
		m.known = false
		return []PDU{m.ask(now, false)}, false, nil
	case ErrorReport:
		return m.failed(p)
	default:
		return bad(CorruptData, "a PDU of type %d, which is not for routers", p.Type)
	}
	return nil, false, nil
}

// take notes what a prefix of an answer changes (RFC 8210, 5.6).
func (m *machine) take(p PDU) (code uint16, why string) {
	_, has := m.vrps[p.VRP]
	if m.reset {
		has = false
	}
	_, added := m.more[p.VRP]
	_, removed := m.less[p.VRP]
	has = has && !removed || added
	switch {
	case p.Withdraw && !has:
		return UnknownWithdrawal, fmt.Sprintf("it withdraws %s of AS %d, which it has not announced", p.VRP.Prefix, p.VRP.ASN)
	case !p.Withdraw && has:
		return Duplicate, fmt.Sprintf("it announces %s of AS %d twice", p.VRP.Prefix, p.VRP.ASN)
	case p.Withdraw && added:
		delete(m.more, p.VRP)
	case p.Withdraw:
		m.less[p.VRP] = struct{}{}
	case removed:
		delete(m.less, p.VRP)
	default:
		m.more[p.VRP] = struct{}{}
	}
	if len(m.vrps)+len(m.more) > 2*maxVRPs || len(m.more) > maxVRPs {
		return CorruptData, fmt.Sprintf("it announces more than %d", maxVRPs)
	}
	return 0, ""
}

// end makes an answer that is complete what is known.
func (m *machine) end(now time.Time, p PDU) (changed bool) {
	before := m.vrps
	if m.reset {
		m.vrps = m.more
	} else {
		m.vrps = maps.Clone(m.vrps)
		for v := range m.less {
			delete(m.vrps, v)
		}
		maps.Copy(m.vrps, m.more)
	}
	m.serial, m.known, m.updated = p.Serial, true, now
	seconds := func(n uint32, low, high time.Duration) time.Duration {
		if n == 0 {
			return 0
		}
		return min(max(time.Duration(n)*time.Second, low), high)
	}
	// The bounds are those of RFC 8210, 6.
	m.setTimers(Timers{seconds(p.Refresh, time.Second, 24*time.Hour), seconds(p.Retry, time.Second, 2*time.Hour), seconds(p.Expire, 10*time.Minute, 48*time.Hour)})
	m.asking, m.answering, m.more, m.less, m.due = false, false, nil, nil, now.Add(m.timers.Refresh)
	return !maps.Equal(before, m.vrps)
}

// failed reads an error report.
func (m *machine) failed(p PDU) ([]PDU, bool, error) {
	switch p.Session {
	case UnsupportedVersion:
		if m.version == 1 {
			m.version = 0
			return nil, false, errVersion
		}
	case NoData:
		return nil, false, errors.New("the cache has no data yet")
	}
	m.known = false
	return nil, false, fmt.Errorf("the cache reports error %d: %q", p.Session, p.Text)
}
