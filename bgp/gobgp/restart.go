package gobgp

import (
	"net/netip"
	"sync"
	"time"
)

// phases follow how far GoBGP is with each session, by its log lines: what it tells of by events is long over then. Lines are written by the
// goroutine that has just done what they say, or is about to.
type phases struct {
	mu     sync.Mutex
	synced time.Time // when GoBGP last took the restart state bit from all sessions
	peers  map[netip.Addr]phase
	fresh  chan struct{} // signalled when it did
}

// phase is how far a session is.
type phase struct {
	state  string
	opened time.Time // when it was about to send its OPEN
}

func newPhases() *phases {
	return &phases{peers: map[netip.Addr]phase{}, fresh: make(chan struct{}, 1)}
}

// entered notes that a session is in a state now.
func (p *phases) entered(peer netip.Addr, state string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.peers[peer]
	if x.state = state; state == "opensent" {
		x.opened = now
	}
	p.peers[peer] = x
}

// begun notes that a session is set up anew.
func (p *phases) begun(peer netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, peer)
}

// synchronised notes that GoBGP has taken the restart state bit from all sessions.
func (p *phases) synchronised(now time.Time) {
	p.mu.Lock()
	p.synced = now
	p.mu.Unlock()
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

// lacksBit tells whether the OPEN of a session that is not established is, or was, sent without the restart state bit.
func (p *phases) lacksBit(peer netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch x := p.peers[peer]; x.state {
	case established:
		return false
	case "opensent", "openconfirm":
		return !x.opened.Before(p.synced)
	}
	return true
}
