package bgp

import (
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// Settings of sessions between members. A member that is gone is to be known before anybody notices, and no member is to be believed gone that is only busy.
const (
	meshBFDInterval   = 300 // milliseconds
	meshBFDMultiplier = 3
	meshTTL           = 255 // BFD over any number of routers (RFC 5883): members need not be on one link
	meshReflectors    = 3
)

// meshPeers are the sessions of the member with other members: with all of them, or where reflectors are wanted, with those, which have them with all. Addresses
// of peers that somebody configured are left to those.
//
// The member with the lower name dials. Sessions carry both IP versions, whatever they run over.
func meshPeers(v fabric.View, own uint32, peers []fabric.RoutingPeer) []fabric.RoutingPeer {
	mode := v.Desired.Cluster().Mesh()
	asn := v.Desired.Cluster().ASN()
	me, ok := v.Desired.Member(v.Member)
	if mode == fabric.MeshOff || asn == 0 || !ok || !meshable(me) {
		return nil
	}
	reflectors := reflectorsOf(v.Desired)
	var all []fabric.RoutingPeer
	for _, m := range v.Desired.Members() {
		a := m.IP().Unmap()
		if m.Name == v.Member || !meshable(m) || a.Is4() != me.IP().Unmap().Is4() || slices.ContainsFunc(peers, func(p fabric.RoutingPeer) bool { return p.Address == a }) {
			continue
		}
		mine, its := slices.Contains(reflectors, v.Member), slices.Contains(reflectors, m.Name)
		if mode == fabric.MeshReflector && !mine && !its {
			continue
		}
		p := fabric.RoutingPeer{
			Name: fabric.MeshPeerName(m.Name), Address: a, Local: me.IP().Unmap(), Port: bgpPort(m), ASN: asn,
			Mesh: true, Passive: m.Name < v.Member, IPv4: true, IPv6: true,
			HoldTime: fabric.DefaultHoldTime, GracefulRestart: fabric.DefaultGracefulRestart, MultihopTTL: meshTTL,
			BFD:         fabric.PeerBFD{Interval: meshBFDInterval, Multiplier: meshBFDMultiplier},
			PeerInstall: fabric.PeerInstall{Install: fabric.InstallAll}.Full(),
		}
		if own != asn {
			p.LocalASN = asn
		}
		if mode == fabric.MeshReflector && mine && !its {
			p.ReflectorID = hashID("mesh") // one for all reflectors (RFC 4456, 7): every client has a session with each
			p.AddPathSend = true           // a client that is told the best copy of an anycast service only can't use several
		}
		p.AddPath = mode == fabric.MeshReflector && its && !mine
		all = append(all, p)
	}
	return all
}

// meshable tells whether other members can reach a member by its address.
func meshable(m *fabric.Member) bool {
	a := m.IP().Unmap()
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// reflectorsOf are the members that reflect routes: voters of the database, of which there are three wherever as many members run; by name, where it is not known who votes. Up
// to three members have sessions with each other anyway; then there are two reflectors, and three of six members or more.
func reflectorsOf(s *fabric.Snapshot) []string {
	var names, voters []string
	for _, m := range s.Members() {
		if !meshable(m) {
			continue
		}
		names = append(names, m.Name)
		if m.Voter {
			voters = append(voters, m.Name)
		}
	}
	if len(names) <= meshReflectors {
		return names
	}
	want := min(len(names)/2, meshReflectors)
	slices.Sort(names)
	slices.Sort(voters)
	for _, name := range names {
		if len(voters) < want && !slices.Contains(voters, name) {
			voters = append(voters, name)
		}
	}
	return voters[:want]
}

// bgpPort is the TCP port on which a member accepts sessions.
func bgpPort(m *fabric.Member) uint16 {
	if at := listen(fabric.MemberKeys.Get(m.Config, "core.bgp_address")); at.IsValid() {
		return at.Port()
	}
	return Port
}

// meshListen is the address on which a member accepts the sessions of other members; the zero value where there are none.
func meshListen(peers []fabric.RoutingPeer) netip.Addr {
	for _, p := range peers {
		if p.Mesh {
			return p.Local
		}
	}
	return netip.Addr{}
}
