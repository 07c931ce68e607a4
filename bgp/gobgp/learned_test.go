package gobgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// told is a learned with a clock of its own.
type told struct {
	*learned
	at time.Time
}

func newTold() *told {
	l := &told{newLearned(func() {}), time.Unix(1000, 0)}
	l.now = func() time.Time { return l.at }
	return l
}

var (
	peerA = netip.MustParseAddr("10.0.0.1")
	peerB = netip.MustParseAddr("10.0.0.2")
	four  = netip.MustParsePrefix("0.0.0.0/0")
	six   = netip.MustParsePrefix("::/0")
)

func from(peer netip.Addr, length int) Learned {
	return Learned{Peer: peer, NextHop: peer, rank: rank{pref: defaultPreference, length: length}}
}

// changes are those since the last call, as text.
func (l *told) changes() string {
	var all []string
	for p, paths := range l.take().Paths {
		var peers []string
		for _, x := range paths {
			peers = append(peers, x.Peer.String())
		}
		all = append(all, fmt.Sprintf("%s %v", p, peers))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestLearnedPathsOverTheEndOfSessions(t *testing.T) {
	const restart = 30 * time.Second
	begin := func() *told {
		l := newTold()
		l.session(peerA, true, restart)
		l.session(peerB, true, restart)
		l.set(four, []Learned{from(peerA, 1), from(peerB, 1)})
		l.set(six, []Learned{from(peerA, 1)})
		if got := l.changes(); got != "0.0.0.0/0 [10.0.0.1 10.0.0.2], ::/0 [10.0.0.1]" {
			t.Fatal(got)
		}
		return l
	}
	// lose is what GoBGP says when a session ends that is then set up anew: of a peer that may be restarting, first the end, then what went.
	lose := func(l *told) {
		l.session(peerA, false, restart)
		l.set(four, []Learned{from(peerB, 1)})
		l.set(six, nil)
	}
	for _, c := range []struct {
		name string
		do   func(l *told)
		want string
	}{
		{"a peer that may be restarting keeps its paths", lose, "0.0.0.0/0 [10.0.0.1 10.0.0.2], ::/0 [10.0.0.1]"},
		{"not for longer than that", func(l *told) { lose(l); l.changes(); l.at = l.at.Add(restart) }, "0.0.0.0/0 [10.0.0.2], ::/0 []"},
		{"what went before the end is gone", func(l *told) {
			l.set(four, []Learned{from(peerB, 1)})
			l.set(six, nil)
			l.session(peerA, false, restart)
		}, "0.0.0.0/0 [10.0.0.2], ::/0 []"},
		{"nor does one that was silent for its hold time", func(l *told) { l.silence(peerA); lose(l) }, "0.0.0.0/0 [10.0.0.2], ::/0 []"},
		{"nor what was kept before", func(l *told) {
			lose(l)
			l.changes()
			l.session(peerA, true, restart)
			l.silence(peerA)
			l.session(peerA, false, restart)
		}, "0.0.0.0/0 [10.0.0.2], ::/0 []"},
		{"silence before the session is none of it", func(l *told) {
			l.session(peerA, false, 0)
			l.silence(peerA)
			l.session(peerA, true, restart)
			lose(l)
		}, "0.0.0.0/0 [10.0.0.1 10.0.0.2], ::/0 [10.0.0.1]"},
		{"a dead peer keeps nothing", func(l *told) { lose(l); l.changes(); l.drop(peerA) }, "0.0.0.0/0 [10.0.0.2], ::/0 []"},
		{"what it does not tell again goes with its End-of-RIB, by family", func(l *told) {
			lose(l)
			l.session(peerA, true, restart)
			l.set(four, []Learned{from(peerA, 1), from(peerB, 1)})
			l.endOfRIB(PeerFamily{peerA, false})
			l.at = l.at.Add(afterword)
			l.changes()
			l.endOfRIB(PeerFamily{peerA, true})
			l.at = l.at.Add(afterword)
		}, "::/0 []"},
		{"it has an afterword to its End-of-RIB", func(l *told) {
			lose(l)
			l.changes()
			l.session(peerA, true, restart)
			l.endOfRIB(PeerFamily{peerA, true})
			l.at = l.at.Add(afterword - 1)
		}, ""},
		{"and tells everything anew when it ends before that", func(l *told) {
			lose(l)
			l.changes()
			l.session(peerA, true, restart)
			l.endOfRIB(PeerFamily{peerA, true})
			l.session(peerA, false, restart)
			l.at = l.at.Add(afterword)
		}, ""},
		{"what it tells again is new", func(l *told) {
			lose(l)
			l.session(peerA, true, restart)
			l.set(six, []Learned{from(peerA, 2)})
			l.set(six, nil)
		}, "0.0.0.0/0 [10.0.0.1 10.0.0.2], ::/0 []"},
		{"a session that is set up anew from here keeps its paths", func(l *told) {
			l.hold(peerA, restart)
			l.set(four, []Learned{from(peerB, 1)})
			l.set(six, nil)
		}, "0.0.0.0/0 [10.0.0.1 10.0.0.2], ::/0 [10.0.0.1]"},
		{"what is kept is no better than it is", func(l *told) { lose(l); l.set(four, []Learned{from(peerB, 0)}) }, "0.0.0.0/0 [10.0.0.2], ::/0 [10.0.0.1]"},
		{"and no worse", func(l *told) { lose(l); l.set(four, []Learned{from(peerB, 2)}) }, "0.0.0.0/0 [10.0.0.1], ::/0 [10.0.0.1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := begin()
			c.do(l)
			if got := l.changes(); got != c.want {
				t.Errorf("changed: %s\nwant:    %s", got, c.want)
			}
			if got := l.changes(); got != "" {
				t.Errorf("changed without reason: %s", got)
			}
		})
	}
}

func TestRankOfPaths(t *testing.T) {
	base := rank{pref: 100, length: 2, med: 5}
	worse := []rank{
		{internal: true, pref: 200, length: 2, med: 5}, {pref: 99, length: 2, med: 5}, {pref: 100, length: 3, med: 5},
		{pref: 100, length: 2, origin: 2, med: 5}, {pref: 100, length: 2, med: 6},
	}
	for _, r := range worse {
		if base.compare(r) >= 0 || r.compare(base) <= 0 {
			t.Errorf("%+v is not worse than %+v", r, base)
		}
	}
	if base.compare(base) != 0 {
		t.Error("a rank is not its own equal")
	}
}
