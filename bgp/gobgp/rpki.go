package gobgp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netfabric/bgp/rtr"
	"netfabric/fabric"
)

// validator keeps what caches say, and GoBGP told of it. It belongs to the goroutine of Run; clients only signal.
type validator struct {
	clients map[string]*rtrClient // by name
	feed    *rtr.Feed             // nil: there are no caches, or GoBGP does not know of it
	data    chan struct{}         // VRPs changed
	state   chan struct{}         // something else did
	heard   chan uint32           // GoBGP has the VRPs of a serial number of the feed
	serial  uint32                // of what the feed said last
	said    map[rtr.VRP]struct{}  // that
	judged  map[rtr.VRP]struct{}  // by which everything was judged last
	keeper  VRPKeeper             // nil: nothing is kept
}

type rtrClient struct {
	*rtr.Client
	config fabric.RoutingRPKI
	stop   context.CancelFunc
	news   chan struct{} // there may be something to keep
}

func newValidator() *validator {
	return &validator{clients: map[string]*rtrClient{}, data: make(chan struct{}, 1), state: make(chan struct{}, 1), heard: make(chan uint32, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// setCaches has the caches of a config be asked, and no others.
func (s *Speaker) setCaches(ctx context.Context, c *Config) error {
	v := s.validator
	want := map[string]fabric.RoutingRPKI{}
	for _, r := range c.RPKI {
		want[r.Name] = r
	}
	for name, x := range v.clients {
		if want[name] != x.config {
			x.stop()
			delete(v.clients, name)
			s.forgetVRPs(name)
			signal(v.data)
		}
	}
	recalled := false
	for name, r := range want {
		if v.clients[name] != nil {
			continue
		}
		news := make(chan struct{}, 1)
		seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
		client := rtr.NewClient(r.Endpoint, rtr.Timers{Refresh: seconds(r.Refresh), Retry: seconds(r.Retry), Expire: seconds(r.Expire)}, func(data bool) {
			if data {
				signal(v.data)
			}
			signal(v.state)
			signal(news)
		})
		recalled = s.recallVRPs(name, client) || recalled
		running, stop := context.WithCancel(ctx)
		x := &rtrClient{client, r, stop, news}
		v.clients[name] = x
		go s.keepVRPs(running, name, x, client.State().Updated)
		go client.Run(running)
		signal(v.state)
	}
	if len(want) > 0 && v.feed == nil { // a feed without data does no harm
		if err := s.openFeed(ctx); err != nil {
			return err
		}
	}
	if recalled {
		s.feedData(ctx)
		if slices.ContainsFunc(c.Imports, func(i fabric.Import) bool { return validates(i.Rules) }) {
			s.awaitFed(ctx, v.serial, recallBound) // before there are sessions
		}
	}
	return nil
}

// openFeed has GoBGP ask the feed.
func (s *Speaker) openFeed(ctx context.Context) error {
	feed, err := rtr.NewFeed()
	if err != nil {
		return fmt.Errorf("feed origin validation: %w", err)
	}
	at := feed.Address()
	// The feed is there as long as this process: what it said last is never too old.
	err = s.server.AddRpki(ctx, &api.AddRpkiRequest{Address: at.Addr().String(), Port: uint32(at.Port()), Lifetime: 1 << 31})
	if err != nil {
		feed.Close()
		return fmt.Errorf("feed origin validation: %w", err)
	}
	s.validator.feed = feed
	return nil
}

// feedData tells GoBGP what all caches together say.
func (s *Speaker) feedData(ctx context.Context) {
	v := s.validator
	if v.feed == nil {
		return
	}
	all := map[rtr.VRP]struct{}{}
	for _, c := range v.clients {
		maps.Copy(all, c.VRPs())
	}
	v.serial, v.said = v.feed.Set(all), all
	go s.awaitSerial(ctx, v.serial)
}

// Times of awaitSerial: to ask costs GoBGP a walk over all VRPs.
const (
	askSoon  = 20 * time.Millisecond
	askLate  = 2 * time.Second
	askBound = 2 * time.Minute
)

// awaitSerial waits until GoBGP has what the feed said with a serial number, or more, and has everything judged by it then.
func (s *Speaker) awaitSerial(ctx context.Context, serial uint32) {
	s.awaitFed(ctx, serial, askBound)
	select {
	case s.validator.heard <- serial:
	case <-ctx.Done():
	}
}

// awaitFed waits until GoBGP has what the feed said with a serial number, or more, but no longer than bound.
func (s *Speaker) awaitFed(ctx context.Context, serial uint32, bound time.Duration) {
	pause := askSoon
	for end := time.Now().Add(bound); time.Now().Before(end) && ctx.Err() == nil; pause = min(2*pause, askLate) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		has := false
		err := s.server.ListRpki(ctx, &api.ListRpkiRequest{}, func(r *api.Rpki) { has = int32(r.GetState().GetSerial()-serial) >= 0 })
		if err == nil && has {
			return
		}
	}
}

// validates tells whether rules look at origin validation.
func validates(rules []fabric.PolicyRule) bool {
	return slices.ContainsFunc(rules, func(r fabric.PolicyRule) bool { return len(r.Match.Validation) > 0 })
}

// revalidate has what peers told judged anew where their import rules look at origin validation: GoBGP has the VRPs of a serial number.
func (s *Speaker) revalidate(ctx context.Context, serial uint32) {
	s.mu.Lock()
	c := s.desired
	s.mu.Unlock()
	if c == nil {
		return
	}
	for _, i := range c.Imports {
		if !validates(i.Rules) {
			continue
		}
		if x := s.sessions[i.Peer]; x != nil {
			if err := s.reimportFrom(ctx, x); err != nil {
				s.log.Warn("cannot apply origin validation", "error", err)
			}
			x.counted = ""
			s.revalidateKept(x, i.Rules)
		}
	}
	if v := s.validator; v.serial == serial {
		v.judged = v.said
	}
	s.stale = true
}

// revalidateKept drops what is kept of a peer that may be restarting where its rules tell the state that it has now from the one that it was taken with:
// GoBGP has none of it any more that it could judge.
func (s *Speaker) revalidateKept(x *session, rules []fabric.PolicyRule) {
	v, peer, me := s.validator, x.peer.Address.WithZone(""), cmp.Or(x.peer.LocalASN, s.running.ASN)
	originOf := func(p netip.Prefix, l Learned) rtr.Origin { return rtr.Origin{Prefix: p, ASN: cmp.Or(l.source, me)} }
	var origins []rtr.Origin
	for p, l := range s.learned.keptOf(peer) {
		if l.source != sourceSet { // always not-found
			origins = append(origins, originOf(p, l))
		}
	}
	if len(origins) == 0 {
		return
	}
	turns := rtr.Turns(v.judged, v.said, origins)
	s.learned.dropWhere(peer, func(p netip.Prefix, l Learned) bool {
		turn, ok := turns[originOf(p, l)]
		return ok && slices.ContainsFunc(rules, func(r fabric.PolicyRule) bool {
			of := r.Match.Validation
			return len(of) > 0 && slices.Contains(of, turn.From) != slices.Contains(of, turn.To)
		})
	})
}

// caches are the states of the caches, by name.
func (v *validator) caches() []fabric.RPKIState {
	var all []fabric.RPKIState
	for _, name := range slices.Sorted(maps.Keys(v.clients)) {
		s := v.clients[name].State()
		all = append(all, fabric.RPKIState{
			Name: name, Connected: s.Connected, Since: s.Since, Serial: s.Serial, IPv4: s.IPv4, IPv6: s.IPv6, Updated: s.Updated, Expires: s.Expires, LastError: s.LastError,
		})
	}
	return all
}

// validationResults are the states of RFC 6811 as GoBGP numbers them.
var validationResults = map[string]int32{fabric.ValidationNotFound: 1, fabric.ValidationValid: 2, fabric.ValidationInvalid: 3}
