package router

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// TestAddPath has a router tell of two ways to one prefix, and then of the better one only.
func TestAddPath(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	s.frr.Vtysh("configure terminal", "router bgp 65001", "neighbor 10.98.0.2 remote-as 65002", "neighbor 10.98.0.3 remote-as 65002",
		"address-family ipv4 unicast", "neighbor 10.98.0.2 activate", "neighbor 10.98.0.3 activate", "neighbor 10.98.0.11 addpath-tx-all-paths")
	for _, n := range []int{2, 3} {
		node := bgptest.NewNode(t, fmt.Sprintf("far%d", n))
		s.frr.Node.Link(fmt.Sprintf("far%d", n), node, "eth0")
		s.frr.Node.IP("link set dev far%d master lan", n)
		node.Address("eth0", fmt.Sprintf("10.98.0.%d/24", n))
		bgptest.StartFRR(t, node, fmt.Sprintf(`
router bgp 65002
 bgp router-id 10.98.0.%d
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers connect 1
 neighbor 10.98.0.1 remote-as 65001
 address-family ipv4 unicast
  network 198.51.100.0/24
 exit-address-family
`, n))
	}
	m.value.Peers = []fabric.RoutingPeer{{Name: "up4", Address: m.value.Peers[0].Address, ASN: 65001, HoldTime: 3, GracefulRestart: 30, AddPath: true}}
	m.value.Announcements = nil
	m.value.Imports = []fabric.Import{{Peer: "up4", Rules: []fabric.PolicyRule{{Action: fabric.PolicyAccept}}}}
	m.start()
	m.set()
	m.ways(2, "10.98.0.2", "10.98.0.3")
	m.value.Peers[0].AddPath = false
	m.set()
	m.ways(1)
}

// ways waits until the peer has told of so many paths, all of which are used, with these next hops.
func (m *member) ways(count int, nextHops ...string) {
	m.t.Helper()
	bgptest.Eventually(m.t, 20*time.Second, func() string {
		p := m.peer("up4")
		q := fabric.BGPQuery{Table: fabric.BGPIn, Peer: "up4", Limit: 100}
		routes, err := m.client.Routes(m.t.Context(), q)
		if err != nil {
			return err.Error()
		}
		var have []string
		ids := map[uint32]bool{}
		for _, r := range routes.Routes {
			if r.Reason == "" {
				have = append(have, r.NextHop.String())
				ids[r.PathID] = true
			}
		}
		slices.Sort(have)
		if p.Received != count || p.Accepted != count || len(have) != count || len(ids) != count || len(nextHops) > 0 && !slices.Equal(have, nextHops) {
			return fmt.Sprintf("%+v: %+v", p, routes.Routes)
		}
		return ""
	})
}
