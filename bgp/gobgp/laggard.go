package gobgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netfabric/fabric"
)

// laggard is a peer that GoBGP waits for in vain: one in this process, whose session never gets further than its OPEN.
//
// A speaker that restarts says so in its OPEN (the R bit), and peers then keep the routes they have until it has told them all it has (RFC 4724, 4.1
// and 4.2). GoBGP takes the bit from all sessions as soon as all peers that have sent an OPEN have also sent their End-of-RIB, thus when the quickest
// one has; the others would drop our routes, and would have to be set up anew, a second or two for each. While one peer lags behind, GoBGP takes the
// bit from each session by itself, DeferralTime after it is established.
//
// It has several addresses, of which one is enough: GoBGP waits for a random time of 1 to 2 s before it connects.
type laggard struct {
	listeners []net.Listener
	reached   atomic.Bool // GoBGP waits for an End-of-RIB
	until     time.Time   // when other sessions cease to wait for that; they may not be set up before
}

// laggardNet is where its addresses are: on the loopback interface, where nobody else is likely to be. The kernel chooses the ports.
var laggardNet = netip.MustParsePrefix("127.179.0.0/30")

// laggardHold is the hold time of its sessions in seconds: GoBGP sets them up anew after so long without the KEEPALIVE that it waits for.
const laggardHold = 3600

// laggardWait is for how long other sessions wait until GoBGP waits for it. GoBGP connects after 2 s at most.
const laggardWait = 3 * time.Second

// releaseLaggard ends the laggard once all sessions are back whose peers may have kept our routes: others need not be told 1 s late.
func (s *Speaker) releaseLaggard(ctx context.Context) {
	if now := time.Now(); s.laggard != nil && now.After(s.laggard.until) && s.awaited(now) == 0 {
		s.endLaggard(ctx)
	}
}

// awaited counts sessions that are to be established and whose peers may have kept our routes until then.
func (s *Speaker) awaited(now time.Time) (n int) {
	for _, x := range s.sessions {
		if x.state != established && x.held.IsZero() && now.Before(x.kept) {
			n++
		}
	}
	return n
}

func (s *Speaker) startLaggard(ctx context.Context) {
	s.laggard = &laggard{until: time.Now().Add(laggardWait)}
	time.AfterFunc(laggardWait, s.nudge)
	var err error
	for a := laggardNet.Addr(); laggardNet.Contains(a); a = a.Next() {
		err = errors.Join(err, s.laggard.listen(ctx, s, a))
	}
	if err != nil {
		s.log.Warn("BGP sessions may come back one after the other: cannot set up sessions with this host", "error", err)
	}
}

// listen begins to lag behind at one address.
func (l *laggard) listen(ctx context.Context, s *Speaker, a netip.Addr) error {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return err
	}
	peer := apiPeer(fabric.RoutingPeer{
		Address: a, Port: uint16(listener.Addr().(*net.TCPAddr).Port), ASN: s.running.ASN, HoldTime: laggardHold, GracefulRestart: 1,
	}, true, false)
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: peer}); err != nil {
		return errors.Join(fmt.Errorf("add %s: %w", a, err), listener.Close())
	}
	l.listeners = append(l.listeners, listener)
	go l.run(listener, s.running.ASN, s.nudge)
	return nil
}

// late tells whether GoBGP is not to dial a peer yet: the first session could be established, and take the bit from the others, before GoBGP waits
// for the laggard. A peer that dials itself is not kept waiting: one that is refused may try again only after minutes.
func (l *laggard) late(x *session, now time.Time) bool {
	return l != nil && x.restarting && !x.peer.Passive && !l.reached.Load() && now.Before(l.until)
}

func (s *Speaker) endLaggard(ctx context.Context) {
	if s.laggard == nil {
		return
	}
	for _, listener := range s.laggard.listeners {
		a := listener.Addr().(*net.TCPAddr).AddrPort().Addr()
		if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: a.String()}); err != nil {
			s.log.Warn("cannot end a session with this host", "address", a, "error", err)
		}
		listener.Close()
	}
	s.laggard = nil
}

// run tells whoever connects that an End-of-RIB will come, and nothing more, until the listener is closed. reached is called when that is known.
func (l *laggard) run(listener net.Listener, asn uint32, reached func()) {
	open, err := laggardOpen(asn).Serialize()
	if err != nil {
		return
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := conn.Write(open); err == nil {
			l.listenTo(conn, reached) // until GoBGP closes it
		}
		conn.Close()
	}
}

// listenTo hears out GoBGP. It sends its first KEEPALIVE when it has read the OPEN.
func (l *laggard) listenTo(conn net.Conn, reached func()) {
	head := make([]byte, bgp.BGP_HEADER_LENGTH)
	for {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if head[bgp.BGP_HEADER_LENGTH-1] == bgp.BGP_MSG_KEEPALIVE && !l.reached.Swap(true) {
			reached()
		}
		length := int64(binary.BigEndian.Uint16(head[bgp.BGP_HEADER_LENGTH-3:]))
		if _, err := io.CopyN(io.Discard, conn, length-bgp.BGP_HEADER_LENGTH); err != nil {
			return
		}
	}
}

func laggardOpen(asn uint32) *bgp.BGPMessage {
	short := uint16(bgp.AS_TRANS)
	if asn < 1<<16 {
		short = uint16(asn)
	}
	return bgp.NewBGPOpenMessage(short, laggardHold, laggardNet.Addr().String(), []bgp.OptionParameterInterface{
		bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{
			bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapFourOctetASNumber(asn),
			bgp.NewCapGracefulRestart(false, false, 1, []*bgp.CapGracefulRestartTuple{bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, false)}),
		}),
	})
}
