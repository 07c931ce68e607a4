package gobgp

import (
	"context"
	"net/netip"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/types/known/anypb"

	"netfabric/fabric"
)

// event is something that happened to a session.
type event struct {
	session  *api.Peer // is in another state
	endOfRIB string    // or the address of a peer that has told everything of a family
}

// watch follows sessions. Both sorts of events come in one stream, in their order.
func (s *Speaker) watch(ctx context.Context) {
	happened := func(e event) {
		select {
		case s.events <- e:
		case <-ctx.Done():
		}
	}
	r := &api.WatchEventRequest{
		Peer:  &api.WatchEventRequest_Peer{},
		Table: &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{{Type: api.WatchEventRequest_Table_Filter_EOR}}},
	}
	s.subscribe(ctx, r, func(r *api.WatchEventResponse) {
		for _, p := range r.GetTable().GetPaths() {
			happened(event{endOfRIB: p.NeighborIp})
		}
		if p := r.GetPeer(); p != nil && p.Type == api.WatchEventResponse_PeerEvent_STATE {
			happened(event{session: p.Peer})
		}
	})
}

// followPaths follows best paths and what ends them. All comes in one stream: what the end of a session takes from the table is known before that end is.
// Without imports it would tell of our own paths only, and that takes a third of the time that it takes to announce them: it begins with the first config
// that takes anything of peers, and goes on.
func (s *Speaker) followPaths(ctx context.Context) {
	if s.following {
		return
	}
	s.following = true
	r := &api.WatchEventRequest{
		Peer: &api.WatchEventRequest_Peer{},
		Table: &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{
			{Type: api.WatchEventRequest_Table_Filter_BEST}, {Type: api.WatchEventRequest_Table_Filter_EOR, Init: true},
		}},
	}
	s.subscribe(ctx, r, func(r *api.WatchEventResponse) {
		if t := r.GetTable(); t != nil {
			s.tableChanged(t.Paths)
		}
		// Sessions that are there already are told of first.
		if p := r.GetPeer(); p != nil && (p.Type == api.WatchEventResponse_PeerEvent_INIT || p.Type == api.WatchEventResponse_PeerEvent_STATE) {
			s.sessionChanged(p.Peer)
		}
	})
}

func (s *Speaker) subscribe(ctx context.Context, r *api.WatchEventRequest, f func(*api.WatchEventResponse)) {
	if err := s.server.WatchEvent(ctx, r, f); err != nil {
		panic(err) // only for a request that watches nothing
	}
}

func (s *Speaker) sessionChanged(p *api.Peer) {
	peer, err := netip.ParseAddr(p.GetConf().GetNeighborAddress())
	if err != nil {
		return
	}
	s.mu.Lock()
	restart := s.restarts[peer.WithZone("")]
	s.mu.Unlock()
	s.learned.session(peer.WithZone(""), strings.EqualFold(p.GetState().GetSessionState().String(), established), restart)
}

// tableChanged takes note of paths of one event: those of a prefix follow each other, and are all that are best now.
func (s *Speaker) tableChanged(paths []*api.Path) {
	s.mu.Lock()
	internal := s.internal
	s.mu.Unlock()
	for len(paths) > 0 {
		if paths[0].Nlri == nil { // an End-of-RIB has none
			if peer, err := netip.ParseAddr(paths[0].NeighborIp); err == nil {
				s.learned.endOfRIB(PeerFamily{peer, paths[0].Family.GetAfi() == api.Family_AFI_IP6})
			}
			paths = paths[1:]
			continue
		}
		prefix, ok := prefixOf(paths[0])
		var best []Learned
		for len(paths) > 0 {
			if p, same := prefixOf(paths[0]); same != ok || p != prefix {
				break
			}
			if x, ok := learnedOf(paths[0]); ok && !paths[0].IsWithdraw {
				x.rank.internal = internal[x.Peer]
				best = append(best, x)
			}
			paths = paths[1:]
		}
		if ok {
			s.learned.set(prefix, best)
		}
	}
	s.learned.wake()
}

// prefixOf is the prefix that a path leads to; false for what is none.
func prefixOf(p *api.Path) (netip.Prefix, bool) {
	var n api.IPAddressPrefix
	if p.Nlri == nil || p.Nlri.UnmarshalTo(&n) != nil {
		return netip.Prefix{}, false
	}
	a, err := netip.ParseAddr(n.Prefix)
	return netip.PrefixFrom(a, int(n.PrefixLen)), err == nil
}

// learnedOf is a path that comes from a peer; false for one of our own.
func learnedOf(p *api.Path) (x Learned, ok bool) {
	var err error
	if x.Peer, err = netip.ParseAddr(p.NeighborIp); err != nil || x.Peer.IsUnspecified() {
		return x, false
	}
	x.rank.pref = defaultPreference
	for _, a := range p.Pattrs {
		x.attribute(a)
	}
	return x, x.NextHop.IsValid()
}

// defaultPreference is the local preference of a path without one, for GoBGP.
const defaultPreference = 100

// attribute takes over what makes a difference.
func (x *Learned) attribute(a *anypb.Any) {
	m, err := a.UnmarshalNew()
	if err != nil {
		return // of a kind that makes none
	}
	switch m := m.(type) {
	case *api.NextHopAttribute:
		x.NextHop = nextHop(m.NextHop)
	case *api.MpReachNLRIAttribute:
		for _, h := range m.NextHops {
			// A second one is link-local (RFC 2545, 3), and good only where the first is none.
			if n := nextHop(h); n.IsValid() && !x.NextHop.IsValid() {
				x.NextHop = n
			}
		}
	case *api.LocalPrefAttribute:
		x.rank.pref = m.LocalPref
	case *api.MultiExitDiscAttribute:
		x.rank.med = m.Med
	case *api.OriginAttribute:
		x.rank.origin = m.Origin
	case *api.AsPathAttribute:
		x.source = source(m.Segments)
		for _, s := range m.Segments {
			switch s.Type {
			case api.AsSegment_AS_SEQUENCE:
				x.rank.length += len(s.Numbers)
			case api.AsSegment_AS_SET:
				x.rank.length++
			}
		}
	}
}

// source is the AS that announces a route, see Learned.
func source(path []*api.AsSegment) uint32 {
	if len(path) == 0 {
		return 0
	}
	switch last := path[len(path)-1]; last.Type {
	case api.AsSegment_AS_SEQUENCE:
		if len(last.Numbers) > 0 {
			return last.Numbers[len(last.Numbers)-1]
		}
	case api.AsSegment_AS_SET:
		return sourceSet
	}
	return 0 // of confederations, we see the inside of our own alone
}

// know has what comes of peers judged by what c says of them.
func (s *Speaker) know(c *Config) {
	internal, restarts, known := map[netip.Addr]bool{}, map[netip.Addr]time.Duration{}, map[netip.Addr]ports{}
	for _, p := range c.Peers {
		a := p.Address.WithZone("")
		internal[a] = c.Speaker != nil && p.Internal(c.Speaker.ASN)
		restarts[a] = restartTime(p)
		known[a] = portsOf(c.Speaker, p)
		if x := s.sessions[p.Name]; x != nil && x.peer.Address == p.Address && x.restart > 0 {
			restarts[a] = x.restart
		}
	}
	s.mu.Lock()
	s.internal, s.restarts, s.ports = internal, restarts, known
	s.mu.Unlock()
}

// setRestart takes note of how long a peer may take to restart, by its own words (RFC 4724, 4.2), but no more than our longest.
func (s *Speaker) setRestart(x *session, d time.Duration) {
	if d = min(d, longestRestart); d == 0 || d == x.restart {
		return
	}
	x.restart = d
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts[x.peer.Address.WithZone("")] = d
}

// longestRestart is the longest time for which routes of a peer are kept that may be restarting, see fabric.Peer.
const longestRestart = 300 * time.Second

// restartTime is for how long routes of a peer are kept that may be restarting.
func restartTime(p fabric.RoutingPeer) time.Duration {
	return time.Duration(p.GracefulRestart) * time.Second
}
