package gobgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"netfabric/fabric"
)

// negotiated learns what a session that has just been established carries. It tells whether the session has to be set up anew: GoBGP would
// send IPv6 next hops for IPv4 to a peer that does not take them (RFC 8950, 4), so such a session is to be without IPv4.
func (s *Speaker) negotiated(ctx context.Context, x *session) (again bool) {
	var offered capabilities
	err := s.server.ListPeer(ctx, &api.ListPeerRequest{Address: keyOf(x.peer)}, func(p *api.Peer) { offered = capabilitiesOf(p) })
	if err != nil {
		s.log.Warn("cannot see what a peer is capable of", "peer", x.peer.Name, "error", err)
		return false
	}
	x.lacks, x.settles = "", time.Time{}
	if !offered.endOfRIB {
		x.settles = time.Now().Add(settleTime)
	}
	for _, f := range familiesOf(x.peer) {
		name := fabric.FamilyIPv6
		if f.Afi == api.Family_AFI_IP {
			name = fabric.FamilyIPv4
		}
		if !offered.families[f.Afi] || x.plain && !offered.nextHop6 && name == fabric.FamilyIPv4 {
			x.lacks = name
		}
	}
	if x.peer.Interface == "" || !offered.families[api.Family_AFI_IP] {
		return false
	}
	before := x.plain
	x.plain = !offered.nextHop6
	return x.plain != before
}

// carried is the peer with the families that its session really carries.
func (x *session) carried() fabric.RoutingPeer {
	p := x.peer
	p.IPv4 = x.peer.Carries(netip.IPv4Unspecified()) && x.lacks != fabric.FamilyIPv4
	p.IPv6 = x.peer.Carries(netip.IPv6Unspecified()) && x.lacks != fabric.FamilyIPv6
	return p
}

// capabilities are those of a peer that matter here.
type capabilities struct {
	families map[api.Family_Afi]bool // of which it takes unicast prefixes
	nextHop6 bool                    // it takes IPv6 next hops for IPv4
	endOfRIB bool                    // it says when it has told everything (RFC 4724, 3)
}

func capabilitiesOf(p *api.Peer) capabilities {
	c := capabilities{families: map[api.Family_Afi]bool{}}
	multiprotocol := false
	for _, packed := range p.GetState().GetRemoteCap() {
		m, err := packed.UnmarshalNew()
		if err != nil {
			continue // one that this program does not know
		}
		switch m := m.(type) {
		case *api.MultiProtocolCapability:
			multiprotocol = true
			if m.Family.GetSafi() == api.Family_SAFI_UNICAST {
				c.families[m.Family.GetAfi()] = true
			}
		case *api.GracefulRestartCapability:
			c.endOfRIB = true
		case *api.ExtendedNexthopCapability:
			for _, t := range m.Tuples {
				if t.NlriFamily.GetAfi() == api.Family_AFI_IP && t.NlriFamily.GetSafi() == api.Family_SAFI_UNICAST && t.NexthopFamily.GetAfi() == api.Family_AFI_IP6 {
					c.nextHop6 = true
				}
			}
		}
	}
	if !multiprotocol {
		c.families[api.Family_AFI_IP] = true // RFC 4760, 8: without the capability a session carries IPv4
	}
	return c
}
