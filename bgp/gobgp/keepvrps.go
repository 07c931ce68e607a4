package gobgp

import (
	"context"
	"time"

	"netfabric/bgp/rtr"
)

// VRPKeeper keeps what RPKI caches have said, by the name of the cache, for the next run. It is called by several goroutines.
type VRPKeeper interface {
	Keep(cache string, data []byte) error
	Kept(cache string) ([]byte, error) // nil: there is nothing
	Forget(cache string) error
}

// KeepVRPs has what caches say be kept, and what was kept in an earlier run be used until it expires. Only before Run.
func (s *Speaker) KeepVRPs(k VRPKeeper) { s.validator.keeper = k }

const (
	keepEvery   = time.Minute     // at most, of one cache: it may be tens of megabytes
	recallBound = 5 * time.Second // that GoBGP may take to learn what was kept, before there are sessions
)

// recallVRPs has a client begin with what its cache said in an earlier run. It tells whether there was anything.
func (s *Speaker) recallVRPs(name string, client *rtr.Client) bool {
	if s.validator.keeper == nil {
		return false
	}
	data, err := s.validator.keeper.Kept(name)
	if err == nil && data != nil {
		err = client.Import(data, time.Now())
	}
	if err != nil {
		s.log.Warn("the RPKI cache has to be heard anew", "cache", name, "error", err)
	}
	return len(client.VRPs()) > 0
}

// keepVRPs keeps what a cache says until ctx ends. What it said at a time is kept already.
func (s *Speaker) keepVRPs(ctx context.Context, name string, x *rtrClient, kept time.Time) {
	if s.validator.keeper == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.news:
		}
		now := x.State().Updated
		if now.Equal(kept) {
			continue
		}
		kept = now
		if data := x.Export(); data == nil {
			s.forgetVRPs(name)
		} else if err := s.validator.keeper.Keep(name, data); err != nil {
			s.log.Warn("what an RPKI cache says is not kept for the next run", "cache", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepEvery):
		}
	}
}

func (s *Speaker) forgetVRPs(name string) {
	if s.validator.keeper == nil {
		return
	}
	if err := s.validator.keeper.Forget(name); err != nil {
		s.log.Warn("what an RPKI cache has said is still kept", "cache", name, "error", err)
	}
}
