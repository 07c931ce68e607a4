package gobgp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// keeper is a peer that has kept our routes over a restart: it notes whether each session says that there was one, and whether it was told all there is.
type keeper struct {
	t     *testing.T
	opens chan bool // of each session, whether it has the restart state bit
	ended chan struct{}
}

// newKeeper listens at an address of this host.
func newKeeper(t *testing.T, at netip.AddrPort) *keeper {
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	k := &keeper{t: t, opens: make(chan bool, 100), ended: make(chan struct{}, 100)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go k.serve(conn)
		}
	}()
	return k
}

func (k *keeper) serve(conn net.Conn) {
	defer conn.Close()
	say := func(m *bgp.BGPMessage) {
		if b, err := m.Serialize(); err == nil {
			conn.Write(b)
		}
	}
	for {
		m, err := readMessage(conn)
		if err != nil {
			return
		}
		switch body := m.Body.(type) {
		case *bgp.BGPOpen:
			k.opens <- restarts(body)
			say(laggardOpen(65001))
			say(bgp.NewBGPKeepAliveMessage())
		case *bgp.BGPKeepAlive:
			say(bgp.NewEndOfRib(bgp.RF_IPv4_UC))
			say(bgp.NewBGPKeepAliveMessage())
		case *bgp.BGPNotification:
			return
		case *bgp.BGPUpdate:
			if eor, _ := body.IsEndOfRib(); eor {
				k.ended <- struct{}{}
			}
		}
	}
}

// restarts tells whether an OPEN has the restart state bit (RFC 4724, 3).
func restarts(open *bgp.BGPOpen) bool {
	for _, o := range open.OptParams {
		c, ok := o.(*bgp.OptionParameterCapability)
		if ok && slices.ContainsFunc(c.Capability, func(c bgp.ParameterCapabilityInterface) bool {
			g, ok := c.(*bgp.CapGracefulRestart)
			return ok && g.Flags&0x08 != 0
		}) {
			return true
		}
	}
	return false
}

func readMessage(conn net.Conn) (*bgp.BGPMessage, error) {
	head := make([]byte, bgp.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	h := &bgp.BGPHeader{}
	if err := h.DecodeFromBytes(head); err != nil {
		return nil, err
	}
	body := make([]byte, h.Len-bgp.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	return bgp.ParseBGPBody(h, body)
}

// Each of many peers keeps what we announced before a restart only if its first session after it comes in time, and says that there was one. When
// sessions waited for each other, each took a second or two.
func TestManySessionsComeBackWithinTheirRestartTime(t *testing.T) {
	const peers, restartTime = 16, 8
	c := loopConfig()
	c.Restarting = true
	var keepers []*keeper
	for n := range peers {
		p := fabric.RoutingPeer{
			Name: fmt.Sprint("p", n), Address: netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + n)}), Port: 11790, ASN: 65001, HoldTime: 90, GracefulRestart: restartTime,
		}
		keepers = append(keepers, newKeeper(t, netip.AddrPortFrom(p.Address, p.Port)))
		c.Peers = append(c.Peers, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := New(slog.New(slog.DiscardHandler), func() {})
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		bound, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		s.Stop(bound)
		cancel()
		<-done
	})
	s.Apply(*c)
	began := time.Now()
	for n, k := range keepers {
		select {
		case <-k.ended:
		case <-time.After(time.Until(began.Add(restartTime * time.Second))):
			t.Fatalf("peer %d was not told all there is within its restart time", n)
		}
		if !<-k.opens {
			t.Errorf("peer %d was not told of a restart", n)
		}
		if n := len(k.opens); n > 0 {
			t.Errorf("peer %d had %d sessions more than one", n, n)
		}
	}
	// Once all are back, nobody holds up any more what sessions are told.
	bgptest.Eventually(t, 5*time.Second, func() (why string) {
		err := s.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
			if a := p.GetConf().GetNeighborAddress(); laggardNet.Contains(netip.MustParseAddr(a)) {
				why = "there is still a session with " + a
			}
		})
		if err != nil {
			return err.Error()
		}
		return why
	})
}
