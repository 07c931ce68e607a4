// Package bgp plans what a member announces and to whom, with a reason for every yes and no.
package bgp

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// Port is the TCP port of BGP (RFC 4271, 8.2.1).
const Port = fabric.BGPPort

// Plan is what a member does as a BGP speaker.
type Plan struct {
	Speaker       *fabric.Speaker // nil: the cluster has no AS number
	Peers         []fabric.RoutingPeer
	Announcements []fabric.Announcement // by prefix
	Refused       []fabric.RouteState   // what could be announced and is not, by owner and prefix
	Imports       []fabric.Import
	RPKI          []fabric.RoutingRPKI
	Own           []netip.Prefix      // address space of the cluster; only where something is imported
	Drain         *fabric.MemberDrain // nil: the member announces
}

// Make plans for the member of a view. It is not ready while the networks or the instances of the member are not known: to act on what is
// known so far would withdraw what only has not been found yet.
func Make(v fabric.View) (plan Plan, ready bool) {
	if v.Facts.Networks == nil || v.Facts.Instances == nil {
		return Plan{}, false
	}
	if m, ok := v.Desired.Member(v.Member); ok {
		plan.Drain = m.Drain()
	}
	plan.Speaker = speaker(v)
	if plan.Speaker != nil {
		plan.Peers = peers(v, plan.Speaker.ASN)
		plan.Peers = append(plan.Peers, meshPeers(v, plan.Speaker.ASN, plan.Peers)...)
		plan.Speaker.Mesh = meshListen(plan.Peers)
	}
	plan.Announcements, plan.Refused = announce(v)
	if plan.Speaker == nil {
		return plan, true
	}
	for _, r := range v.Desired.RPKIs() {
		plan.RPKI = append(plan.RPKI, fabric.RoutingRPKI{Name: r.Name, Endpoint: r.Endpoint(), Refresh: r.Refresh, Retry: r.Retry, Expire: r.Expire})
	}
	out := newExporter(v, plan.Speaker, plan.Peers)
	for i := range plan.Announcements {
		out.decide(&plan.Announcements[i])
	}
	if plan.Imports = imports(v, plan.Peers); len(plan.Imports) > 0 {
		plan.Own = own(v)
	}
	return plan, true
}

func speaker(v fabric.View) *fabric.Speaker {
	asn := v.Desired.ASN(v.Member)
	if asn == 0 {
		return nil
	}
	s := &fabric.Speaker{ASN: asn, RouterID: hashID(v.Member)}
	m, ok := v.Desired.Member(v.Member)
	if !ok {
		return s
	}
	s.Listen = listen(fabric.MemberKeys.Get(m.Config, "core.bgp_address"))
	if id, err := netip.ParseAddr(fabric.MemberKeys.Get(m.Config, "core.bgp_routerid")); err == nil && id.Is4() && !id.IsUnspecified() {
		s.RouterID = id
	} else if ip := m.IP().Unmap(); ip.Is4() && !ip.IsUnspecified() {
		s.RouterID = ip
	}
	return s
}

// listen is where a member with this core.bgp_address accepts sessions.
func listen(value string) netip.AddrPort {
	at, _ := fabric.ParseListen(value) // validated with the member
	return at
}

// hashID makes a BGP identifier of a name: any value but 0 will do that no other speaker has (RFC 6286).
func hashID(name string) netip.Addr {
	sum := sha256.Sum256([]byte(name))
	sum[0] |= 1
	return netip.AddrFrom4([4]byte(sum[:4]))
}

// peers are those of the member, which has AS number own.
func peers(v fabric.View, own uint32) []fabric.RoutingPeer {
	var all []fabric.RoutingPeer
	for _, p := range v.Desired.Peers() {
		if !p.On(v.Desired, v.Member) {
			continue
		}
		all = append(all, fabric.RoutingPeer{
			Name:            p.Name,
			Address:         p.Address,
			Interface:       p.Interface,
			Dynamic:         p.Dynamic,
			MaxSessions:     maxSessions(p),
			AddPath:         p.AddPath == fabric.AddPathReceive,
			ASN:             p.ASN.Of(cmp.Or(p.LocalASN, own)),
			LocalASN:        p.LocalASN,
			Keepalive:       p.Keepalive,
			Passive:         p.Passive,
			IPv4:            slices.Contains(p.Families, fabric.FamilyIPv4),
			IPv6:            slices.Contains(p.Families, fabric.FamilyIPv6),
			MaxPrefix:       p.MaxPrefix,
			HoldTime:        cmp.Or(p.HoldTime, fabric.DefaultHoldTime),
			GracefulRestart: cmp.Or(p.GracefulRestart, fabric.DefaultGracefulRestart),
			MultihopTTL:     p.MultihopTTL,
			GTSM:            p.GTSM,
			BFD:             v.Desired.BFDOf(p),
			Password:        p.Password,
			PeerInstall:     p.PeerInstall.Full(),
		})
	}
	return all
}

// maxSessions is how many neighbours a dynamic peer stands for at most.
func maxSessions(p *fabric.Peer) int {
	if !p.Dynamic.IsValid() {
		return 0
	}
	return cmp.Or(p.MaxSessions, fabric.DefaultMaxSessions)
}

// family is the IP version of an address, as people say it.
func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func sortRefused(refused []fabric.RouteState) {
	slices.SortFunc(refused, func(a, b fabric.RouteState) int {
		return cmp.Or(cmp.Compare(a.Owner.String(), b.Owner.String()), comparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.Reason, b.Reason))
	})
}
