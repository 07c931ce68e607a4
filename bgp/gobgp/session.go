package gobgp

import (
	"cmp"
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
	failures   int       // attempts in a row that ended between connection and establishment
	loss       string    // why the session was lost last
	restarting bool      // it was set up with the restart state bit, and has not been established since
	late       bool      // GoBGP has not heard of it yet, see laggard
	kept       time.Time // until when the peer may keep our routes of before a restart; zero once it is established
	settles    time.Time // when its counts are read once more; zero where that is not due
	received   int
	most       int           // received of one family
	restart    time.Duration // that the peer says it may take to restart; 0: it says nothing
	accepted   int
	in, out    counter   // UPDATE messages
	remote     uint32    // AS number that the peer says it has
	hold       string    // slug of why it is held down
	held       time.Time // until when a session that ended for good reason is not tried again; zero where it is
	counted    string    // what accepted was counted of, see countAccepted
	lacks      string    // family that the session was to carry and does not, see fabric.PeerState
	grip       grip      // of its connection, from just before it is established
	plain      bool      // the peer takes no IPv6 next hops for IPv4: the session is set up without
}

// counter is a count of GoBGP's that goes on when GoBGP begins anew, as it does when a session is set up again.
type counter struct{ before, now uint64 }

func (c *counter) saw(n uint64) {
	if n < c.now {
		c.before += c.now
	}
	c.now = n
}

func (c counter) total() uint64 { return c.before + c.now }

func newSession(p fabric.RoutingPeer) *session {
	return &session{peer: p, state: "idle", since: time.Now().UTC().Truncate(time.Millisecond)}
}

func (x *session) public(e *peerErrors) fabric.PeerState {
	p := fabric.PeerState{
		Name: x.peer.Name, Address: x.peer.Address, Interface: x.peer.Interface, ASN: cmp.Or(x.peer.ASN, x.remote),
		State: x.state, Hold: x.hold, Since: x.since, LastError: x.loss, Received: x.received, Accepted: x.accepted, Flaps: x.flaps,
		UpdatesIn: x.in.total(), UpdatesOut: x.out.total(), OverLimit: x.hold == fabric.ReasonMaxPrefix,
	}
	if x.state != established {
		if last := e.last(x.peer.Address); last != "" {
			p.LastError = last
		}
		return p
	}
	p.Lacks = x.lacks
	if m := x.peer.MaxPrefix; m.Action == fabric.MaxPrefixWarn && x.most > m.Limit {
		p.OverLimit, p.Warning = true, fmt.Sprintf("%d prefixes of one family received: max_prefix.limit is %d", x.most, m.Limit)
	} else if x.plain {
		p.Warning = "the peer takes no IPv6 next hops for IPv4 (RFC 8950): the session carries IPv6 only"
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
		if p, ok := want[name]; ok && p.Address == x.peer.Address {
			s.learned.hold(p.Address.WithZone(""), restartTime(p)) // it is set up again at once
		}
		if e := s.deletePeer(ctx, x); e != nil {
			err = errors.Join(err, fmt.Errorf("end session with BGP peer %q: %w", name, e))
			continue
		}
		x.grip.release()
		delete(s.sessions, name)
		s.book.session(x.peer, false)
	}
	return err
}

// leave keeps nothing any more of peers that c leaves out: nobody waits for them to come back, and they may be known to be dead.
func (s *Speaker) leave(c *Config) {
	there := map[netip.Addr]bool{}
	for _, p := range c.Peers {
		there[p.Address.WithZone("")] = c.Speaker != nil
	}
	s.learned.only(there)
}

// holdPaths keeps what was taken of the peers of c, over an end of all sessions.
func (s *Speaker) holdPaths(c *Config) {
	if c.Speaker == nil {
		return
	}
	for _, p := range c.Peers {
		if x, ok := s.sessions[p.Name]; ok && x.peer.Address == p.Address {
			s.learned.hold(p.Address.WithZone(""), restartTime(p))
		}
	}
}

// addPeers sets up the sessions of c that are not there yet.
func (s *Speaker) addPeers(ctx context.Context, c *Config) (err error) {
	for _, p := range c.Peers {
		x, ok := s.sessions[p.Name]
		if ok && !x.late {
			continue
		}
		if !ok {
			x = newSession(p)
			if until := s.began.Add(restartTime(p)); (c.Restarting || s.resumes) && time.Now().Before(until) {
				x.restarting, x.kept = true, until
			}
		}
		if x.late = s.laggard.late(x, time.Now()); x.late {
			s.sessions[p.Name] = x
			continue
		}
		if e := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: apiPeer(p, x.restarting, false)}); e != nil {
			err = errors.Join(err, fmt.Errorf("set up session with BGP peer %q: %w", p.Name, e))
			continue
		}
		s.errors.forget(p.Address)
		s.sessions[p.Name] = x
	}
	return err
}

func (s *Speaker) deletePeer(ctx context.Context, x *session) error {
	p := x.peer
	if x.late {
		return nil
	}
	if p.Password != "" && s.running.Accepts() {
		// Only an update takes the key from the listening socket; it also resets the session, which goes anyway.
		open := apiPeer(p, false, false)
		open.Conf.AuthPassword = ""
		if _, err := s.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: open}); err != nil {
			return err
		}
	}
	return s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: keyOf(p)})
}

// recycle sets a session that is not established up anew, with the restart state bit. GoBGP then connects at once instead of after 5 seconds,
// and says that forwarding went on, which it can say only of a restart (RFC 4724, 3: the F bit). That is so: routes in the kernel do not
// depend on the session.
func (s *Speaker) recycle(ctx context.Context, x *session) {
	if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: keyOf(x.peer)}); err != nil {
		s.log.Warn("cannot reconnect", "peer", x.peer.Name, "error", err)
		return
	}
	s.phases.begun(x.peer.Address.WithZone(""))
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: apiPeer(x.peer, true, x.plain)}); err != nil {
		s.log.Warn("cannot reconnect", "peer", x.peer.Name, "error", err)
		delete(s.sessions, x.peer.Name)
		s.nudge()
		return
	}
	x.restarting, x.state = true, "idle"
}

// notExternalFor is how long a peer that is not external is left alone before it is asked again.
const notExternalFor = 10 * time.Second

// hold ends a session for a time; for 0, until it is changed.
func (s *Speaker) hold(ctx context.Context, x *session, d time.Duration, slug, why string) {
	x.hold = slug
	if d == 0 {
		x.held = time.Unix(1<<40, 0)
		why += "; it stays down until the peer is changed"
	} else {
		x.held = time.Now().Add(d)
		time.AfterFunc(d, s.nudge)
		why += fmt.Sprintf("; it is tried again after %s", d)
	}
	x.state = "idle"
	s.book.session(x.peer, false)
	s.errors.set(x.peer.Address, why)
	if err := s.server.DisablePeer(ctx, &api.DisablePeerRequest{Address: keyOf(x.peer)}); err != nil {
		s.log.Warn("cannot hold a session down", "peer", x.peer.Name, "error", err)
	}
}

// release tries sessions again that have been held down for long enough.
func (s *Speaker) release(ctx context.Context) {
	for _, x := range s.sessions {
		if !x.held.IsZero() && !time.Now().Before(x.held) {
			x.hold, x.held = "", time.Time{}
			s.recycle(ctx, x)
		}
	}
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
	x.state, x.remote = state, cmp.Or(p.GetState().GetPeerAsn(), x.remote)
	s.stale, s.moved = true, s.moved || before == established || state == established
	s.told = s.told || s.moved
	if state != established {
		s.book.session(x.peer, false)
	}
	// By now it may be established: policies see to it that nothing has come in or gone out.
	if x.peer.ASN == 0 && x.remote == cmp.Or(x.peer.LocalASN, s.running.ASN) && (state == "openconfirm" || state == established) {
		s.hold(ctx, x, notExternalFor, fabric.ReasonNotExternal, fmt.Sprintf("the peer has our own AS number %d: it is not external", x.remote))
		return
	}
	if before != established && state != established {
		if state == "idle" || state == "active" {
			x.grip.release()
		}
		if !x.held.IsZero() {
			return
		}
		if state == "opensent" {
			// Otherwise a connection whose other end is gone, or whose segments are dropped, would keep all others out for four minutes.
			s.setUserTimeout(x.peer, time.Duration(x.peer.HoldTime)*time.Second)
		}
		if state == "openconfirm" { // a peer may announce too much as soon as it is established
			x.grip.take(s, x.peer, p.GetTransport())
		}
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
		if m := x.peer.MaxPrefix; p.GetState().GetAdminState() == api.PeerState_PFX_CT {
			x.loss = fmt.Sprintf("the peer announced more than %d prefixes (max_prefix.limit)", m.Limit)
			s.log.Warn("session ended", "peer", x.peer.Name, "address", x.peer.Address, "error", x.loss)
			x.grip.drain()
			s.hold(ctx, x, time.Duration(m.Restart)*time.Second, fabric.ReasonMaxPrefix, x.loss)
			return
		}
		x.grip.release()
		s.log.Warn("session lost", "peer", x.peer.Name, "address", x.peer.Address, "error", x.loss)
		s.recycle(ctx, x)
		return
	}
	if s.negotiated(ctx, x) {
		s.recycle(ctx, x)
		return
	}
	s.log.Info("session established", "peer", x.peer.Name, "address", x.peer.Address)
	s.book.session(x.carried(), true)
	x.failures, x.restarting, x.kept = 0, false, time.Time{}
	s.errors.forget(x.peer.Address)
	s.setUserTimeout(x.peer, time.Duration(x.peer.HoldTime)*time.Second)
	x.grip.take(s, x.peer, p.GetTransport())
}

// keepRestarting gives the restart state bit back to sessions still to come: GoBGP takes it from all as soon as those that are established are
// synchronised, and the peers of the others would then drop the routes they kept.
func (s *Speaker) keepRestarting(ctx context.Context) {
	for _, x := range s.sessions {
		if x.restarting && !x.late && x.held.IsZero() && x.state != established && s.phases.lacksBit(x.peer.Address.WithZone("")) {
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
		if x.peer.Address.WithZone("") == a.WithZone("") {
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
		x.in.saw(p.GetState().GetMessages().GetReceived().GetUpdate())
		x.out.saw(p.GetState().GetMessages().GetSent().GetUpdate())
		x.received, x.most = 0, 0
		if n := p.GetGracefulRestart().GetPeerRestartTime(); x.state == established {
			s.setRestart(x, time.Duration(n)*time.Second)
		}
		stale = s.countStale(x, p) || stale
		for _, f := range p.AfiSafis {
			x.received += int(f.GetState().GetReceived())
			x.most = max(x.most, int(f.GetState().GetReceived()))
		}
	})
	if err != nil {
		s.log.Warn("cannot list sessions", "error", err)
	}
	if stale || s.unranked {
		s.countAccepted(ctx)
	}
}

// contested tells whether peers announce anything that is used: only then can a path of ours be other than the best.
func (s *Speaker) contested() bool {
	for _, x := range s.sessions {
		if x.accepted > 0 {
			return true
		}
	}
	return false
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

// countAccepted learns how much of what peers announce the import policies accept, and which of our paths are not the best of their prefix.
// GoBGP's own count is that before policies.
func (s *Speaker) countAccepted(ctx context.Context) {
	counts, beaten := map[string]int{}, map[netip.Prefix]bool{}
	s.unranked = false
	if s.imports != "" {
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			err := s.server.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: familyOf(a)}, func(d *api.Destination) {
				for _, p := range d.Paths {
					counts[p.NeighborIp]++
					if own(p) && !p.Best {
						beaten[netip.MustParsePrefix(d.Prefix)] = true // only we have put paths of our own there
					}
				}
			})
			if err != nil {
				s.log.Warn("cannot count accepted prefixes", "error", err)
				s.unranked = true
			}
		}
	}
	for _, x := range s.sessions {
		x.accepted = counts[x.peer.Address.WithZone("").String()]
	}
	if !s.unranked {
		s.told = s.book.rank(beaten) || s.told
	}
}

// own tells whether a path is one that we announce.
func own(p *api.Path) bool { return p.NeighborIp == "" || p.NeighborIp == "<nil>" }

// start begins to speak, without peers and paths.
func (s *Speaker) start(ctx context.Context, me fabric.Speaker, closed bool) error {
	g := &api.Global{Asn: me.ASN, RouterId: me.RouterID.String(), ListenPort: -1, UseMultiplePaths: true}
	var at []netip.AddrPort
	if me.Listen.IsValid() {
		at = append(at, me.Listen)
	}
	if me.Mesh.IsValid() && !me.ListensAt(me.Mesh) {
		at = append(at, netip.AddrPortFrom(me.Mesh, me.Port()))
	}
	for _, a := range at {
		g.ListenPort, g.ListenAddresses = int32(a.Port()), append(g.ListenAddresses, a.Addr().String())
	}
	if closed {
		g.BindToDevice = loopback
	}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: g}); err != nil {
		if len(at) > 0 {
			return listenFailed(at, err)
		}
		return fmt.Errorf("start BGP: %w", err)
	}
	s.running, s.began, s.closed = &me, time.Now(), closed
	return s.assignPolicies(ctx)
}

// shutdown ends all sessions with a Cease.
func (s *Speaker) shutdown(ctx context.Context) {
	if s.running == nil {
		return
	}
	s.endLaggard(ctx)
	if err := s.server.StopBgp(ctx, &api.StopBgpRequest{}); err != nil {
		s.log.Warn("cannot end all sessions", "error", err)
	}
	for _, x := range s.sessions {
		x.grip.release()
	}
	s.running = nil
	s.forget()
}

// keyOf is the address by which GoBGP knows a peer. It can't make a key for TCP MD5 of an address with a zone: such a session is bound to the
// interface instead, and can only be dialled.
func keyOf(p fabric.RoutingPeer) string {
	if p.Password != "" {
		return p.Address.WithZone("").String()
	}
	return p.Address.String()
}

// sendMax is how many paths for a prefix a peer is told at most that takes several: as many copies of an anycast service.
const sendMax = 32

// apiPeer is a peer for GoBGP; plain leaves out IPv4 of an unnumbered one.
func apiPeer(p fabric.RoutingPeer, restarting, plain bool) *api.Peer {
	peer := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: keyOf(p), PeerAsn: p.ASN, LocalAsn: p.LocalASN, AuthPassword: p.Password, Description: p.Name,
			// The import policy rejects paths with our own AS number. GoBGP itself ignores them, and goes on with what they replace.
			AllowOwnAsn: 255,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: uint64(p.HoldTime), KeepaliveInterval: uint64(cmp.Or(p.Keepalive, max(1, p.HoldTime/3))),
			ConnectRetry: 1, IdleHoldTimeAfterReset: 1,
		}},
		Transport: &api.Transport{RemotePort: uint32(cmp.Or(p.Port, bgp.Port)), PassiveMode: p.Passive},
		GracefulRestart: &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(p.GracefulRestart), LocalRestarting: restarting,
			DeferralTime: 1, // seconds: what we announce does not depend on what peers say, so there is nothing to wait for
		},
	}
	if p.Interface != "" {
		// GoBGP would take the interface's address with its zone, and then not know what next hop to tell.
		peer.Transport.LocalAddress, peer.Transport.BindInterface = "::", p.Interface
	}
	if p.Local.IsValid() {
		peer.Transport.LocalAddress = p.Local.String()
	}
	for _, f := range familiesOf(p) {
		if plain && f.Afi == api.Family_AFI_IP {
			continue
		}
		af := &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		}
		if p.AddPath || p.AddPathSend {
			af.AddPaths = &api.AddPaths{Config: &api.AddPathsConfig{Receive: p.AddPath}}
		}
		if p.AddPathSend {
			af.AddPaths.Config.SendMax = sendMax
		}
		if p.MaxPrefix.Limit > 0 && p.MaxPrefix.Action != fabric.MaxPrefixWarn {
			af.PrefixLimits = &api.PrefixLimit{Family: f, MaxPrefixes: uint32(p.MaxPrefix.Limit)}
		}
		peer.AfiSafis = append(peer.AfiSafis, af)
	}
	if p.ReflectorID.IsValid() {
		peer.RouteReflector = &api.RouteReflector{RouteReflectorClient: true, RouteReflectorClusterId: p.ReflectorID.String()}
	}
	if p.GTSM {
		peer.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.MultihopTTL > 0 && !p.Mesh { // internal peers may be anywhere
		peer.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.MultihopTTL)}
	}
	return peer
}

// familiesOf are the families that the session with a peer carries.
func familiesOf(p fabric.RoutingPeer) []*api.Family {
	var all []*api.Family
	for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if p.Carries(a) {
			all = append(all, familyOf(a))
		}
	}
	return all
}

func familyOf(a netip.Addr) *api.Family {
	if a.Is4() {
		return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	}
	return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
}
