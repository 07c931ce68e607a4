package router

import (
	"slices"
	"time"

	"netfabric/fabric"
)

// leave is the machine by which a member leaves its peers without a loss, and comes back (RFC 8326, 4.1):
//
//	serving -- wanted --> shutting -- peers have been told, the grace is over, nothing arrives any more --> drained
//	   ^                      |                                                                                |
//	   +----------------- not wanted <--------------------------------------------------------------------------+
//
// While it is shutting, everything that is announced says so, by the community GRACEFUL_SHUTDOWN or by a longer path: peers prefer other ways, and
// use this one only as long as they have no other. Once drained, nothing is announced. Kernel routes stay all the while.
type leave struct {
	phase   fabric.DrainPhase
	want    fabric.MemberDrain
	since   time.Time         // of the phase
	known   int               // times in a row that peers were seen to have been told
	told    time.Time         // when peers had been told; zero: not yet
	packets map[string]uint64 // brought to copies so far, by interface
	counted time.Time         // when that was; zero: not yet
	quiet   time.Time         // since when there have been none; zero: there are
}

// tellPoll is how often it is looked whether peers have been told. That they have must be seen tellTimes in a row: words may be on their way to the
// socket whose acknowledgement is looked at.
const (
	tellPoll  = 10 * time.Millisecond
	tellTimes = 3
)

// tellBound is how long peers may take to be told: one that does not read must not keep the member from leaving.
const tellBound = 5 * time.Second

// Packets are counted every sampleEvery. An interface is quiet with at most quietPackets in between, which neighbour discovery and the like need;
// nothing arrives any more when all have been for quietFor.
const (
	sampleEvery  = 250 * time.Millisecond
	quietPackets = 2
	quietFor     = 500 * time.Millisecond
)

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
	l.want = *want
}

// drainPrepend is how much longer paths get with DrainPrepend: than those of other members by far, and mostly than those of other ways.
const drainPrepend = 5

// maxPrepend is how often GoBGP puts an AS number in front at most, see fabric.PolicySet.
const maxPrepend = 32

// attributes are, by peer, what is told of an announcement beyond its prefix: while the member shuts down, also that it does. Peers with our own
// AS number, to whom neither a longer path nor, without a policy, the community says anything, are told of the lowest preference (RFC 8326, 4.1).
func (l *leave) attributes(peers []string, internal map[string]bool, told map[string]fabric.PolicySet) map[string]fabric.PolicySet {
	if l.phase != fabric.DrainShutting {
		return told
	}
	all := map[string]fabric.PolicySet{}
	for _, peer := range peers {
		set := told[peer]
		switch {
		case internal[peer]:
			set.LocalPref = new(uint32)
			fallthrough
		case l.want.Mode != fabric.DrainPrepend:
			set.AddCommunities = append(slices.Clone(set.AddCommunities), fabric.GracefulShutdown)
		default:
			set.Prepend = min(set.Prepend+drainPrepend, maxPrepend)
		}
		all[peer] = set
	}
	return all
}

func (l *leave) enter(p fabric.DrainPhase, now time.Time) {
	if p != l.phase {
		*l = leave{phase: p, since: now}
	}
}

// Asked notes whether every peer with a session has been seen to have been told that the member shuts down.
func (l *leave) Asked(known bool, now time.Time) {
	if !l.Waits() {
		return
	}
	if l.known++; !known {
		l.known = 0
	}
	if l.known >= tellTimes {
		l.told = now
	}
}

// Waits tells whether peers have yet to be told that the member shuts down.
func (l *leave) Waits() bool { return l.phase == fabric.DrainShutting && l.told.IsZero() }

// Count is when packets are to be counted next; ok is false when they are not.
func (l *leave) Count() (at time.Time, ok bool) {
	if l.phase != fabric.DrainShutting {
		return time.Time{}, false
	}
	return l.counted.Add(sampleEvery), true
}

// Counted takes how many packets have been brought to copies, by interface.
func (l *leave) Counted(packets map[string]uint64, now time.Time) {
	busy := false
	for name, n := range packets {
		if before, ok := l.packets[name]; ok && n > before+quietPackets {
			busy = true
		}
	}
	switch {
	case busy:
		l.quiet = time.Time{}
	case l.quiet.IsZero():
		l.quiet = now
		if !l.counted.IsZero() {
			l.quiet = l.counted
		}
	}
	l.packets, l.counted = packets, now
}

// Deadline is when Expire is due if nothing else happens; ok is false when it never is.
func (l *leave) Deadline() (at time.Time, ok bool) {
	if l.phase != fabric.DrainShutting {
		return time.Time{}, false
	}
	told := l.told
	if told.IsZero() {
		told = l.since.Add(tellBound)
	}
	first := told.Add(time.Duration(l.want.Grace) * time.Millisecond)
	last := told.Add(time.Duration(max(l.want.Grace, l.want.Timeout)) * time.Millisecond)
	if l.quiet.IsZero() {
		return last, true
	}
	if at = l.quiet.Add(quietFor); at.Before(first) {
		at = first
	}
	if at.After(last) {
		at = last
	}
	return at, true
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
