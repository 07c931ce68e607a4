package gobgp

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Learned is a path that was taken of a peer, and to whose prefix there is none that is better.
type Learned struct {
	Peer    netip.Addr // address, without zone
	NextHop netip.Addr // may be link-local, and of the other IP version than the prefix (RFC 8950)
	source  uint32     // AS that announces it (RFC 6811, 2); 0: the one that the session has here; sourceSet: one of several
	rank    rank
}

// sourceSet is an AS number that nobody has (RFC 7300).
const sourceSet = math.MaxUint32

// rank is what makes paths better or worse (RFC 4271, 9.1.2.2). Where it is the same, all are used.
type rank struct {
	internal bool
	pref     uint32
	length   int // of the AS path
	origin   uint32
	med      uint32
}

// compare is negative when r is better.
func (r rank) compare(o rank) int {
	return cmp.Or(boolFirst(!r.internal, !o.internal), cmp.Compare(o.pref, r.pref), cmp.Compare(r.length, o.length), cmp.Compare(r.origin, o.origin), cmp.Compare(r.med, o.med))
}

// PeerFamily is one family of the session with a peer.
type PeerFamily struct {
	Peer netip.Addr // without zone
	IPv6 bool
}

// learned is what is best of what peers told. Of a peer whose session broke, but that may only be restarting (RFC 4724), or that is set up anew by us,
// paths are kept: GoBGP itself drops them, because a session is set up anew (see recycle).
type learned struct {
	mu     sync.Mutex
	now    func() time.Time
	wake   func() // there is something to take; must not block
	live   map[netip.Prefix][]Learned
	up     map[netip.Addr]bool // peers whose session is established
	silent map[netip.Addr]bool // peers that have said nothing for their hold time
	kept   map[netip.Addr]keep
	ended  map[PeerFamily]bool      // whose End-of-RIB has come in this run
	ending map[PeerFamily]time.Time // whose End-of-RIB has come just now, and when all of them has come that belongs before it
	moved  map[netip.Prefix]bool
}

// keep are paths of a peer that has no session, or has not told everything again.
type keep struct {
	until time.Time
	paths map[netip.Prefix]Learned
}

func newLearned(wake func()) *learned {
	return &learned{
		now: time.Now, wake: wake,
		live: map[netip.Prefix][]Learned{}, up: map[netip.Addr]bool{}, silent: map[netip.Addr]bool{}, kept: map[netip.Addr]keep{}, ended: map[PeerFamily]bool{}, ending: map[PeerFamily]time.Time{}, moved: map[netip.Prefix]bool{},
	}
}

// set takes note of the best paths to a prefix; none: there are none.
func (l *learned) set(p netip.Prefix, paths []Learned) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(paths) == 0 && len(l.live[p]) == 0 {
		return // of our own paths there may be many
	}
	if len(paths) == 0 {
		delete(l.live, p)
	} else {
		l.live[p] = paths
	}
	for _, x := range paths {
		delete(l.kept[x.Peer].paths, p)
	}
	l.moved[p] = true
}

// session takes note of whether the session with a peer is established. What its end has left in the table is what the peer restarts with, for as long as
// restart; a peer that was silent for its hold time is not taken to be restarting (RFC 4724, 4.2: a session that ends with a NOTIFICATION).
func (l *learned) session(peer netip.Addr, up bool, restart time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up[peer] && !up {
		if l.silent[peer] {
			l.release(peer)
			l.wake()
		} else {
			l.keep(peer, restart)
		}
		delete(l.ending, PeerFamily{peer, false})
		delete(l.ending, PeerFamily{peer, true})
	}
	l.up[peer] = up
	delete(l.silent, peer)
}

// silence takes note that a peer has said nothing for its hold time: its session is about to end.
func (l *learned) silence(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent[peer] = true
}

// hold keeps the paths of a peer over the end of its session, which is to come from this side.
func (l *learned) hold(peer netip.Addr, restart time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(peer, restart)
}

func (l *learned) keep(peer netip.Addr, restart time.Duration) {
	k := l.kept[peer]
	if k.paths == nil {
		k.paths = map[netip.Prefix]Learned{}
	}
	for p, paths := range l.live {
		for _, x := range paths {
			if x.Peer == peer {
				k.paths[p] = x
			}
		}
	}
	if len(k.paths) == 0 {
		return
	}
	k.until = l.now().Add(restart)
	l.kept[peer] = k
	l.wake() // there is a deadline
}

// drop keeps nothing of a peer any more: it is known to be dead.
func (l *learned) drop(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(peer)
	l.wake()
}

// dropWhere keeps those paths of a peer no more that are.
func (l *learned) dropWhere(peer netip.Addr, are func(netip.Prefix, Learned) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, x := range l.kept[peer].paths {
		if are(p, x) {
			l.moved[p] = true
			delete(l.kept[peer].paths, p)
		}
	}
	l.wake()
}

// only keeps nothing any more of peers but these.
func (l *learned) only(peers map[netip.Addr]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for peer := range l.kept {
		if !peers[peer] {
			l.release(peer)
		}
	}
	l.wake()
}

// keptOf are the paths that are kept of a peer.
func (l *learned) keptOf(peer netip.Addr) map[netip.Prefix]Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.kept[peer].paths)
}

func (l *learned) release(peer netip.Addr) {
	for p := range l.kept[peer].paths {
		l.moved[p] = true
	}
	delete(l.kept, peer)
}

// afterword is how long after its End-of-RIB a peer may tell what belongs before it: FRR tells the default route that it originates by itself last.
const afterword = 2 * time.Second

// endOfRIB takes note that a peer has told everything of a family, save what it says in afterword: what is kept of it beside that is stale then.
func (l *learned) endOfRIB(f PeerFamily) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending[f] = l.now().Add(afterword)
	l.wake() // there is a deadline
}

// end drops what is kept of a family of a peer that has told everything of it.
func (l *learned) end(f PeerFamily) {
	delete(l.ending, f)
	l.ended[f] = true
	k := l.kept[f.Peer]
	for p := range k.paths {
		if p.Addr().Is6() == f.IPv6 {
			l.moved[p] = true
			delete(k.paths, p)
		}
	}
	if len(k.paths) == 0 {
		delete(l.kept, f.Peer)
	}
}

// Changes is what Speaker.Learned has to say.
type Changes struct {
	Paths map[netip.Prefix][]Learned // of the prefixes that changed, all paths that are best, by peer; none: there are none
	Ended map[PeerFamily]bool        // whose End-of-RIB has come in this run
	Next  time.Time                  // when to ask again though nothing happens; zero: never
}

// Learned is what is best of what the import policies took of peers, as far as it changed since the last call; own announcements are none. One caller.
func (s *Speaker) Learned() Changes { return s.learned.take() }

// OnLearned has f called when Learned has something to say. Only before Run. f must not block.
func (s *Speaker) OnLearned(f func()) { s.learned.wake = f }

func (l *learned) take() Changes {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	var next time.Time
	later := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for f, at := range l.ending {
		if now.Before(at) {
			later(at)
		} else {
			l.end(f)
		}
	}
	for peer, k := range l.kept {
		if now.Before(k.until) {
			later(k.until)
		} else {
			l.release(peer)
		}
	}
	c := Changes{Paths: make(map[netip.Prefix][]Learned, len(l.moved)), Ended: maps.Clone(l.ended), Next: next}
	for p := range l.moved {
		c.Paths[p] = l.best(p)
	}
	l.moved = map[netip.Prefix]bool{}
	return c
}

// best are the paths to a prefix that are as good as any, with those that are kept.
func (l *learned) best(p netip.Prefix) []Learned {
	all := slices.Clone(l.live[p])
	for peer, k := range l.kept {
		if x, ok := k.paths[p]; ok && !slices.ContainsFunc(all, func(o Learned) bool { return o.Peer == peer }) {
			all = append(all, x)
		}
	}
	if len(all) > 1 {
		top := slices.MinFunc(all, func(a, b Learned) int { return a.rank.compare(b.rank) }).rank
		all = slices.DeleteFunc(all, func(x Learned) bool { return x.rank.compare(top) != 0 })
	}
	slices.SortFunc(all, func(a, b Learned) int { return cmp.Or(a.Peer.Compare(b.Peer), a.NextHop.Compare(b.NextHop)) })
	return all
}
