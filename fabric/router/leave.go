package router

import (
	"slices"
	"time"

	"netfabric/fabric"
)

// leave is the machine by which a member leaves its peers without a loss, and comes back (RFC 8326, 4.1):
//
//	serving -- wanted --> shutting -- peers have been told, and the grace is over --> drained
//	   ^                      |                                                          |
//	   +----------------- not wanted <----------------------------------------------------+
//
// While it is shutting, everything that is announced carries the community GRACEFUL_SHUTDOWN: peers prefer other ways, and use this one only as
// long as they have no other. Once drained, nothing is announced. Kernel routes stay all the while.
type leave struct {
	phase fabric.DrainPhase
	grace time.Duration
	since time.Time // of the phase
	told  time.Time // when peers had been told; zero: not yet
}

// tellPoll is how often it is looked whether peers have been told.
const tellPoll = 10 * time.Millisecond

// tellBound is how long peers may take to be told: one that does not read must not keep the member from leaving.
const tellBound = 5 * time.Second

func newLeave() *leave { return &leave{phase: fabric.DrainServing} }

// Set takes what is wanted. announced tells whether peers may use ways through this member: without, there is nothing to shut down gracefully.
func (l *leave) Set(want *fabric.MemberDrain, announced bool, now time.Time) {
	switch {
	case want == nil:
		l.enter(fabric.DrainServing, now)
		return
	case l.phase != fabric.DrainServing:
	case announced:
		l.enter(fabric.DrainShutting, now)
	default:
		l.enter(fabric.DrainDrained, now)
	}
	l.grace = time.Duration(want.Grace) * time.Millisecond
}

// attributes are, by peer, what is told of an announcement beyond its prefix: while the member shuts down, also that it does.
func (l *leave) attributes(peers []string, told map[string]fabric.PolicySet) map[string]fabric.PolicySet {
	if l.phase != fabric.DrainShutting {
		return told
	}
	all := map[string]fabric.PolicySet{}
	for _, peer := range peers {
		set := told[peer]
		set.AddCommunities = append(slices.Clone(set.AddCommunities), fabric.GracefulShutdown)
		all[peer] = set
	}
	return all
}

func (l *leave) enter(p fabric.DrainPhase, now time.Time) {
	if p != l.phase {
		*l = leave{phase: p, since: now}
	}
}

// Told notes that every peer with a session has been told that the member shuts down.
func (l *leave) Told(now time.Time) {
	if l.phase == fabric.DrainShutting && l.told.IsZero() {
		l.told = now
	}
}

// Waits tells whether peers have yet to be told that the member shuts down.
func (l *leave) Waits() bool { return l.phase == fabric.DrainShutting && l.told.IsZero() }

// Deadline is when Expire is due; ok is false when it never is.
func (l *leave) Deadline() (at time.Time, ok bool) {
	switch {
	case l.phase != fabric.DrainShutting:
		return time.Time{}, false
	case l.told.IsZero():
		return l.since.Add(tellBound + l.grace), true
	}
	return l.told.Add(l.grace), true
}

// Expire goes on to the next phase if that is due. It tells whether it did.
func (l *leave) Expire(now time.Time) bool {
	at, ok := l.Deadline()
	if !ok || now.Before(at) {
		return false
	}
	l.enter(fabric.DrainDrained, now)
	return true
}
