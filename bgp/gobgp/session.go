package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netfabric/bgp"
	"netfabric/fabric"
)

// established is the state of a session in which routes are exchanged, see fabric.PeerState.
const established = "established"

// session is what is known of the session with a peer.
type session struct {
	peer       fabric.RoutingPeer
	state      string
	since      time.Time
	flaps      int
	failures   int    // attempts in a row that ended between connection and establishment
	loss       string // why the session was lost last
	restarting bool   // it was set up with the restart state bit, and has not been established since
	received   int
	accepted   int
	counted    string // what accepted was counted of, see countAccepted
}

func newSession(p fabric.RoutingPeer) *session {
	return &session{peer: p, state: "idle", since: time.Now().UTC().Truncate(time.Millisecond)}
}

func (x *session) public(e *peerErrors) fabric.PeerState {
	p := fabric.PeerState{
		Name: x.peer.Name, Address: x.peer.Address, ASN: x.peer.ASN,
		State: x.state, Since: x.since, LastError: x.loss, Received: x.received, Accepted: x.accepted, Flaps: x.flaps,
	}
	if x.state != established {
		if last := e.last(x.peer.Address); last != "" {
			p.LastError = last
		}
	}
	return p
}

// dropPeers ends the sessions that are not in c, or are there in another way.
func (s *Speaker) dropPeers(ctx context.Context, c *Config) (err error) {
	want := map[string]fabric.RoutingPeer{}
	for _, p := range c.Peers {
		want[p.Name] = p
	}
	for name, x := range s.sessions {
		if p, ok := want[name]; ok && p == x.peer {
			continue
		}
		if e := s.deletePeer(ctx, x.peer); e != nil {
			err = errors.Join(err, fmt.Errorf("end session with BGP peer %q: %w", name, e))
			continue
		}
		delete(s.sessions, name)
	}
	return err
}

// addPeers sets up the sessions of c that are not there yet.
func (s *Speaker) addPeers(ctx context.Context, c *Config) (err error) {
	for _, p := range c.Peers {
		if _, ok := s.sessions[p.Name]; ok {
			continue
		}
		x := newSession(p)
		x.restarting = c.Restarting && time.Since(s.began) < time.Duration(p.GracefulRestart)*time.Second
		if e := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: apiPeer(p, x.restarting)}); e != nil {
			err = errors.Join(err, fmt.Errorf("set up session with BGP peer %q: %w", p.Name, e))
			continue
		}
		s.errors.forget(p.Address)
		s.sessions[p.Name] = x
	}
	return err
}

func (s *Speaker) deletePeer(ctx context.Context, p fabric.RoutingPeer) error {
	if p.Password != "" && s.running.Listen.IsValid() {
		// Only an update takes the key from the listening socket; it also resets the session, which goes anyway.
		open := p
		open.Password = ""
		if _, err := s.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: apiPeer(open, false)}); err != nil {
			return err
		}
	}
	return s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.Address.String()})
}

// recycle sets a session that is not established up anew, with the restart state bit. GoBGP then connects at once instead of after 5 seconds,
// and says that forwarding went on, which it can say only of a restart (RFC 4724, 3: the F bit). That is so: routes in the kernel do not
// depend on the session.
func (s *Speaker) recycle(ctx context.Context, x *session) {
	if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: x.peer.Address.String()}); err != nil {
		s.log.Warn("cannot reconnect", "peer", x.peer.Name, "error", err)
		return
	}
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: apiPeer(x.peer, true)}); err != nil {
		s.log.Warn("cannot reconnect", "peer", x.peer.Name, "error", err)
		delete(s.sessions, x.peer.Name)
		s.nudge()
		return
	}
	x.restarting, x.state = true, "idle"
}

// quickRetries is how often in a row a peer that ends a connection before it is established is tried again without a pause.
const quickRetries = 3

// event follows a session.
func (s *Speaker) event(ctx context.Context, p *api.Peer) {
	x := s.byAddress(p.GetConf().GetNeighborAddress())
	if x == nil {
		return
	}
	state := strings.ToLower(p.GetState().GetSessionState().String())
	if state == x.state {
		return
	}
	before := x.state
	x.state = state
	s.stale, s.told = true, s.told || before == established || state == established
	if before != established && state != established {
		if state == "idle" && before != "active" {
			if x.failures++; x.failures <= quickRetries {
				s.recycle(ctx, x)
			}
		}
		return
	}
	x.since = time.Now().UTC().Truncate(time.Millisecond)
	if state != established {
		x.flaps++
		x.loss = s.errors.last(x.peer.Address)
		s.log.Warn("session lost", "peer", x.peer.Name, "address", x.peer.Address, "error", x.loss)
		s.recycle(ctx, x)
		return
	}
	s.log.Info("session established", "peer", x.peer.Name, "address", x.peer.Address)
	x.failures, x.restarting = 0, false
	s.errors.forget(x.peer.Address)
	setUserTimeout(x.peer.Address, time.Duration(x.peer.HoldTime)*time.Second, s.log)
	s.keepRestarting(ctx)
}

// keepRestarting gives the restart state bit back to sessions still to come: GoBGP takes it from all as soon as one is synchronised, and the
// peers of the others would then drop the routes they kept.
func (s *Speaker) keepRestarting(ctx context.Context) {
	for _, x := range s.sessions {
		if x.restarting && (x.state == "idle" || x.state == "active") {
			s.recycle(ctx, x)
		}
	}
}

func (s *Speaker) byAddress(address string) *session {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return nil
	}
	for _, x := range s.sessions {
		if x.peer.Address == a {
			return x
		}
	}
	return nil
}

// readSessions learns how many prefixes peers announce.
func (s *Speaker) readSessions(ctx context.Context) {
	if s.running == nil {
		return
	}
	stale := false
	err := s.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		x := s.byAddress(p.GetConf().GetNeighborAddress())
		if x == nil {
			return
		}
		x.received = 0
		stale = s.countStale(x, p) || stale
		for _, f := range p.AfiSafis {
			x.received += int(f.GetState().GetReceived())
		}
	})
	if err != nil {
		s.log.Warn("cannot list sessions", "error", err)
	}
	if stale {
		s.countAccepted(ctx)
	}
}

// countStale tells whether a peer or the import policies have said something since accepted prefixes were counted.
func (s *Speaker) countStale(x *session, p *api.Peer) bool {
	now := fmt.Sprint(x.state, p.GetState().GetMessages().GetReceived().GetUpdate(), s.imports)
	if now == x.counted {
		return false
	}
	x.counted = now
	return true
}

// countAccepted learns how much of what peers announce the import policies accept. GoBGP's own count is that before policies.
func (s *Speaker) countAccepted(ctx context.Context) {
	counts := map[string]int{}
	if s.imports != "" {
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			err := s.server.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: familyOf(a)}, func(d *api.Destination) {
				for _, p := range d.Paths {
					counts[p.NeighborIp]++
				}
			})
			if err != nil {
				s.log.Warn("cannot count accepted prefixes", "error", err)
			}
		}
	}
	for _, x := range s.sessions {
		x.accepted = counts[x.peer.Address.String()]
	}
}

// start begins to speak, without peers and paths.
func (s *Speaker) start(ctx context.Context, me fabric.Speaker) error {
	g := &api.Global{Asn: me.ASN, RouterId: me.RouterID.String(), ListenPort: -1}
	if me.Listen.IsValid() {
		g.ListenPort, g.ListenAddresses = int32(me.Listen.Port()), []string{me.Listen.Addr().String()}
	}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: g}); err != nil {
		if me.Listen.IsValid() {
			return fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonListenFailed, "accept BGP sessions on %s: %w", me.Listen, err).
				WithFix("give the member that address, or set its core.bgp_address to none")
		}
		return fmt.Errorf("start BGP: %w", err)
	}
	s.running, s.began = &me, time.Now()
	return s.assignPolicies(ctx)
}

// shutdown ends all sessions with a Cease.
func (s *Speaker) shutdown(ctx context.Context) {
	if s.running == nil {
		return
	}
	if err := s.server.StopBgp(ctx, &api.StopBgpRequest{}); err != nil {
		s.log.Warn("cannot end all sessions", "error", err)
	}
	s.running = nil
	s.forget()
}

func apiPeer(p fabric.RoutingPeer, restarting bool) *api.Peer {
	family := familyOf(p.Address)
	peer := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, AuthPassword: p.Password, Description: p.Name},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: uint64(p.HoldTime), KeepaliveInterval: max(1, uint64(p.HoldTime)/3),
			ConnectRetry: 1, IdleHoldTimeAfterReset: 1,
		}},
		Transport: &api.Transport{RemotePort: bgp.Port},
		GracefulRestart: &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(p.GracefulRestart), LocalRestarting: restarting,
			DeferralTime: 1, // seconds: what we announce does not depend on what peers say, so there is nothing to wait for
		},
		AfiSafis: []*api.AfiSafi{{
			Config:            &api.AfiSafiConfig{Family: family, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		}},
	}
	if p.GTSM {
		peer.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.MultihopTTL > 0 {
		peer.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.MultihopTTL)}
	}
	return peer
}

func familyOf(a netip.Addr) *api.Family {
	if a.Is4() {
		return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	}
	return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
}
