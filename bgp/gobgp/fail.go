package gobgp

import (
	"context"
	"time"

	api "github.com/osrg/gobgp/v3/api"
)

// failureTimeout is how long the kernel tries to tell a peer that its session has failed. Should the path heal later, a new session says more.
const failureTimeout = 200 * time.Millisecond

// Fail ends the session with a peer at once because the path to it is known to be dead: with a Cease, so that neither side keeps the routes of the
// other as it does for a graceful restart. It returns at once. A session that is not established goes on trying.
func (s *Speaker) Fail(name, why string) {
	s.mu.Lock()
	s.failed[name] = why
	s.mu.Unlock()
	select {
	case s.fail <- struct{}{}:
	default:
	}
}

// endFailed ends the sessions that Fail was called for.
func (s *Speaker) endFailed(ctx context.Context) {
	s.mu.Lock()
	failed := s.failed
	s.failed = map[string]string{}
	s.mu.Unlock()
	for name, why := range failed {
		x := s.sessions[name]
		if x == nil {
			continue
		}
		if x.state != established {
			s.learned.drop(x.peer.Address.WithZone("")) // no graceful restart either
			continue
		}
		s.errors.set(x.peer.Address, why)
		// The Cease may have to wait behind updates that nobody acknowledges; GoBGP would wait with it.
		s.setUserTimeout(x.peer, failureTimeout)
		err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: keyOf(x.peer), Communication: why})
		if err != nil {
			s.log.Warn("cannot end a failed session", "peer", name, "error", err)
		}
	}
}
