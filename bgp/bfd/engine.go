package bfd

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"
)

// reopenInterval is how long a session without socket waits until it tries again: interfaces and addresses come and go.
const reopenInterval = 250 * time.Millisecond

// path is the way of a session's packets to the neighbour.
type path interface {
	send(b []byte) *pathError
	close()
}

// opener opens paths. ifindex is of the interface that packets have to come in on, 0 for any.
type opener interface {
	open(Key) (p path, ifindex int, err *pathError)
}

// pathError is why packets can't be sent.
type pathError struct {
	reason string
	gone   bool // the path has to be opened anew
	err    error
}

// datagram is a received UDP datagram.
type datagram struct {
	source, destination netip.Addr // without zone
	ifindex             int
	ttl                 int
	multihop            bool // by its destination port
	payload             []byte
}

// engine has the sessions, finds the one of each packet, and does their actions. It has no clock and is not for concurrent use.
type engine struct {
	opener   opener
	emit     func(Event)
	sessions map[Key]*session
	byDiscr  map[uint32]*session
	bySource map[source][]*session
	queue    queue
	discards [discards]uint64
	random   *rand.Rand
}

// source is what a packet without Your Discriminator is told apart by first.
type source struct {
	address  netip.Addr
	multihop bool
}

// session is a Session with its peer, its path and what was counted.
type session struct {
	*Session
	peer    Peer
	leaving bool // not desired any more: goes when the neighbour knows

	path    path // nil: can't be opened
	ifindex int
	reopen  time.Time // zero while there is a path
	fault   *pathError
	wire    [PacketSize]byte

	since       time.Time
	last        Change
	flaps       uint64
	lastFailure time.Time
	failure     string
	in, out     uint64
	sendErrors  uint64
	discards    [discards]uint64

	deadline time.Time // zero is never
	index    int       // in the queue
}

func newEngine(o opener, random *rand.Rand, emit func(Event)) *engine {
	return &engine{
		opener: o, emit: emit, random: random,
		sessions: map[Key]*session{}, byDiscr: map[uint32]*session{}, bySource: map[source][]*session{},
	}
}

// set makes peers, all valid and different, the ones to have sessions with.
func (e *engine) set(now time.Time, peers []Peer) {
	desired := map[Key]bool{}
	for _, p := range peers {
		desired[p.Key] = true
		s, ok := e.sessions[p.Key]
		if !ok {
			s = e.add(now, p)
		}
		s.peer, s.leaving = p, false
		e.act(now, s, s.Reconfigure(now, p.Config))
		if p.AdminDown {
			e.act(now, s, s.AdminDown(now))
		} else {
			e.act(now, s, s.Enable(now))
		}
		e.settle(s)
	}
	for k, s := range e.sessions {
		if !desired[k] {
			e.leave(now, s)
		}
	}
}

// add makes a session. One that is to be administratively down never was anything else.
func (e *engine) add(now time.Time, p Peer) *session {
	discr := e.random.Uint32()
	for discr == 0 || e.byDiscr[discr] != nil {
		discr = e.random.Uint32()
	}
	s := &session{Session: New(p.Config, discr, e.random.Float64, now), peer: p, since: now, index: -1}
	e.sessions[p.Key], e.byDiscr[discr] = s, s
	from := source{p.Address.WithZone(""), p.Multihop}
	e.bySource[from] = append(e.bySource[from], s)
	heap.Push(&e.queue, s)
	e.open(now, s)
	return s
}

// leave takes a session down for the operator's reason; it goes as soon as the neighbour can know.
func (e *engine) leave(now time.Time, s *session) {
	s.leaving = true
	e.act(now, s, s.AdminDown(now))
	e.settle(s)
}

func (e *engine) remove(s *session) {
	delete(e.sessions, s.peer.Key)
	delete(e.byDiscr, s.localDiscr)
	from := source{s.peer.Address.WithZone(""), s.peer.Multihop}
	others := e.bySource[from]
	for i, o := range others {
		if o == s {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	if e.bySource[from] = others; len(others) == 0 {
		delete(e.bySource, from)
	}
	heap.Remove(&e.queue, s.index)
	if s.path != nil {
		s.path.close()
	}
}

func (e *engine) open(now time.Time, s *session) {
	p, ifindex, err := e.opener.open(s.peer.Key)
	if err != nil {
		s.fault, s.reopen = err, now.Add(reopenInterval)
		return
	}
	s.path, s.ifindex, s.fault, s.reopen = p, ifindex, nil, time.Time{}
}

// receive gives a datagram to its session (RFC 5880, 6.8.6; RFC 5881, 5).
func (e *engine) receive(now time.Time, d datagram) {
	if !d.multihop && d.ttl != 255 {
		e.discard(DiscardTTL, e.bySender(d))
		return
	}
	p, err := Parse(d.payload)
	if err != nil {
		e.discard(err.(Discard), e.bySender(d))
		return
	}
	var s *session
	if p.YourDiscr == 0 {
		s = e.bySender(d)
	} else if s = e.byDiscr[p.YourDiscr]; s != nil && !s.admits(d) {
		s = nil
	}
	switch {
	case s == nil:
		e.discard(DiscardUnknown, e.bySender(d))
		return
	case d.ttl < int(s.peer.MinTTL):
		e.discard(DiscardTTL, s)
		return
	case s.state == AdminDown:
		e.discard(DiscardAdminDown, s)
	default:
		s.in++
	}
	e.act(now, s, s.Recv(now, p))
	e.settle(s)
}

// admits tells whether a packet with the session's discriminator may be of it. On a shared link the neighbour's address may change (RFC 5880,
// 6.3), but not the interface; a multihop session is one of two addresses (RFC 5883, 3).
func (s *session) admits(d datagram) bool {
	if s.peer.Multihop != d.multihop || s.ifindex != 0 && s.ifindex != d.ifindex {
		return false
	}
	return !d.multihop || s.peer.Address == d.source
}

// bySender finds the session of a packet that doesn't name it (RFC 5881, 3; RFC 5883, 3); nil when there is none.
func (e *engine) bySender(d datagram) *session {
	for _, s := range e.bySource[source{d.source, d.multihop}] {
		if (s.ifindex == 0 || s.ifindex == d.ifindex) && (!s.peer.Local.IsValid() || s.peer.Local == d.destination) {
			return s
		}
	}
	return nil
}

func (e *engine) discard(why Discard, s *session) {
	e.discards[why]++
	if s != nil {
		s.discards[why]++
	}
}

// next is when expire has to be called; zero is never.
func (e *engine) next() time.Time {
	if len(e.queue) == 0 {
		return time.Time{}
	}
	return e.queue[0].deadline
}

// expire does what is due. What has been received has to be given to receive before: a late caller must not take the neighbour for dead.
func (e *engine) expire(now time.Time) {
	for len(e.queue) > 0 {
		s := e.queue[0]
		if s.deadline.IsZero() || now.Before(s.deadline) {
			return
		}
		if !s.reopen.IsZero() && !now.Before(s.reopen) {
			e.open(now, s)
		}
		e.act(now, s, s.Expire(now))
		e.settle(s)
	}
}

// settle puts a session to its place in the queue, or removes it when it has left.
func (e *engine) settle(s *session) {
	if s.leaving && s.Released() {
		e.remove(s)
		return
	}
	s.deadline = s.Deadline()
	if !s.reopen.IsZero() && (s.deadline.IsZero() || s.reopen.Before(s.deadline)) {
		s.deadline = s.reopen
	}
	heap.Fix(&e.queue, s.index)
}

// act does the actions of a session.
func (e *engine) act(now time.Time, s *session, actions []Action) {
	for i := range actions {
		switch a := &actions[i]; a.Kind {
		case ActionSend:
			e.send(now, s, a.Packet)
		case ActionChange:
			s.since, s.last = now, a.Change
			if a.Change.Failure() {
				s.flaps++
				s.lastFailure, s.failure = now, explain(Status{State: Down, Remote: Packet{State: a.Change.RemoteState}}, true, a.Change)
			}
			e.emit(Event{Key: s.peer.Key, Change: a.Change, At: now})
		}
	}
}

func (e *engine) send(now time.Time, s *session, p Packet) {
	if s.path == nil {
		return
	}
	err := s.path.send(p.Append(s.wire[:0]))
	if err == nil {
		s.out++
		s.fault = nil
		return
	}
	s.sendErrors++
	if s.fault = err; err.gone {
		s.path.close()
		s.path, s.reopen = nil, now.Add(reopenInterval)
	}
}

// states is what can be seen of all sessions, in no order.
func (e *engine) states() []PeerState {
	states := make([]PeerState, 0, len(e.sessions))
	for _, s := range e.sessions {
		st := PeerState{
			Peer: s.peer, Status: s.Status(), Since: s.since, Flaps: s.flaps, LastFailure: s.lastFailure, Failure: s.failure,
			In: s.in, Out: s.out, SendErrors: s.sendErrors, Discards: slugs(&s.discards),
		}
		st.Message = explain(st.Status, s.in > 0, s.last)
		if s.fault != nil {
			st.Reason, st.Error = s.fault.reason, s.fault.err.Error()
			if st.Status.State != Up {
				st.Message = st.Error
			}
		}
		states = append(states, st)
	}
	return states
}

func slugs(counts *[discards]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for d, n := range counts {
		if n > 0 {
			m[Discard(d).Slug()] = n
		}
	}
	return m
}

// close drops all sessions without a word to the neighbours.
func (e *engine) close() {
	for _, s := range e.sessions {
		if s.path != nil {
			s.path.close()
		}
	}
	clear(e.sessions)
	e.queue = nil
}

// queue is a heap of sessions by deadline; those without one are last.
type queue []*session

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].deadline.IsZero() || q[j].deadline.IsZero() {
		return !q[i].deadline.IsZero()
	}
	return q[i].deadline.Before(q[j].deadline)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	s := x.(*session)
	s.index = len(*q)
	*q = append(*q, s)
}

func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}
