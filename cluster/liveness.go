package cluster

import "time"

// liveness tells from the beats of members who is alive. Only how a beat moves on the observer's own clock counts: no two clocks are compared.
type liveness struct {
	members map[string]sign
}

type sign struct {
	beat  uint64
	moved time.Time // when the beat was last seen to move; zero: it never was
}

// observe takes in the beats as they are now, and tells whether somebody is seen to live who was not before. The beats that are found at first
// say nothing: they may be as old as they like.
func (l *liveness) observe(now time.Time, beats map[string]uint64) (arrived bool) {
	next := make(map[string]sign, len(beats))
	for name, beat := range beats {
		s, known := l.members[name]
		if beat != s.beat && (known || l.members != nil) {
			arrived = arrived || s.moved.IsZero()
			s.moved = now
		}
		s.beat = beat
		next[name] = s
	}
	l.members = next
	return arrived
}

// lastSeen is how long ago a member showed a sign of life; ok is false when it never did since this member has been looking.
func (l *liveness) lastSeen(now time.Time, name string) (ago time.Duration, ok bool) {
	s := l.members[name]
	return now.Sub(s.moved), !s.moved.IsZero()
}

// online tells whether a member showed a sign of life within the threshold.
func (l *liveness) online(now time.Time, name string, threshold time.Duration) bool {
	ago, ok := l.lastSeen(now, name)
	return ok && ago <= threshold
}
