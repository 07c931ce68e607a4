package gobgp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// rows asks for paths, and tells them in lines.
func (s *speaker) rows(q fabric.BGPQuery) []string {
	s.t.Helper()
	answer, err := s.Routes(s.t.Context(), q.Default())
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, r := range answer.Routes {
		line := fmt.Sprintf("%s from %q via %s path %q %s", r.Prefix, r.Peer, r.NextHop, r.ASPath, r.Origin)
		if r.Best {
			line += " best"
		}
		if r.MED != nil {
			line += fmt.Sprintf(" med %d", *r.MED)
		}
		if len(r.Communities)+len(r.LargeCommunities) > 0 {
			line += fmt.Sprintf(" %v %v", r.Communities, r.LargeCommunities)
		}
		if r.Reason != "" {
			line += " " + r.Reason
		}
		all = append(all, line)
	}
	if answer.More > 0 {
		all = append(all, fmt.Sprintf("and %d more", answer.More))
	}
	return all
}

func TestLookingGlass(t *testing.T) {
	node := bgptest.NewNode(t, "lg")
	bgptest.Self(t).Link("lg", node, "eth0")
	bgptest.Self(t).Address("lg", "10.99.1.2/24")
	node.Address("eth0", "10.99.1.1/24")
	bgptest.StartFRR(t, node, `
router bgp 65001
 bgp router-id 10.99.1.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.99.1.2 remote-as 65010
 neighbor 10.99.1.2 passive
 address-family ipv4 unicast
  network 198.51.100.0/24 route-map colour
  network 198.51.100.0/25
  network 192.0.2.0/24 route-map loop
  neighbor 10.99.1.2 activate
  neighbor 10.99.1.2 send-community all
 exit-address-family
route-map colour permit 10
 set metric 70
 set community 65001:7 graceful-shutdown
 set large-community 65001:1:2
route-map loop permit 10
 set as-path prepend 65010 65003
`)
	s := newSpeaker(t)
	if _, err := s.Routes(t.Context(), fabric.BGPQuery{}.Default()); fabric.ReasonOf(err) != fabric.ReasonNoASN {
		t.Errorf("before there is a speaker: %v", err)
	}
	s.config.Peers = []fabric.RoutingPeer{peer("r1", "10.99.1.1"), peer("nobody", "10.99.1.9")}
	s.config.Paths = append(s.config.Paths, path("203.0.113.1/32", "r1"), path("203.0.113.2/32", "nobody"), path("2001:db8::1/128", "r1"))
	s.apply()
	s.established("r1")

	colour := `198.51.100.0/24 from "r1" via 10.99.1.1 path "65001" igp med 70 [65001:7 graceful-shutdown] [65001:1:2] import-rejected`
	half := `198.51.100.0/25 from "r1" via 10.99.1.1 path "65001" igp med 0 import-rejected`
	loop := `192.0.2.0/24 from "r1" via 10.99.1.1 path "65001 65010 65003" igp med 0 as-loop`
	back := `203.0.113.1/32 from "r1" via 10.99.1.1 path "65001 65010" igp as-loop`
	first := `203.0.113.1/32 from "" via invalid IP path "" igp best`
	second := `203.0.113.2/32 from "" via invalid IP path "" igp best`
	other := `2001:db8::1/128 from "" via invalid IP path "" igp best`
	for _, c := range []struct {
		name  string
		query fabric.BGPQuery
		want  []string
	}{
		{"all", fabric.BGPQuery{}, []string{first, second, other}},
		{"best of a prefix", fabric.BGPQuery{Table: fabric.BGPBest, Prefix: netip.MustParsePrefix("203.0.113.0/30")}, []string{first, second}},
		{"limited", fabric.BGPQuery{Limit: 2}, []string{first, second, "and 1 more"}},
		{"in", fabric.BGPQuery{Table: fabric.BGPIn, Peer: "r1"}, []string{loop, colour, half, back}},
		{"in, of an address", fabric.BGPQuery{Table: fabric.BGPIn, Peer: "r1", Prefix: netip.MustParsePrefix("198.51.100.200/32")}, []string{colour}},
		{"in, of a prefix", fabric.BGPQuery{Table: fabric.BGPIn, Peer: "r1", Prefix: netip.MustParsePrefix("198.51.100.0/25")}, []string{colour, half}},
		{"out", fabric.BGPQuery{Table: fabric.BGPOut, Peer: "r1"}, []string{
			`203.0.113.1/32 from "r1" via 10.99.1.2 path "65010" igp`,
			`203.0.113.2/32 from "r1" via invalid IP path "" igp best export-rejected`,
		}},
		{"out, no session", fabric.BGPQuery{Table: fabric.BGPOut, Peer: "nobody"}, nil},
	} {
		bgptest.Eventually(t, 5*time.Second, func() string {
			if got := s.rows(c.query); !slices.Equal(got, c.want) {
				return fmt.Sprintf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			return ""
		})
	}
	if _, err := s.Routes(t.Context(), fabric.BGPQuery{Table: fabric.BGPIn, Peer: "r9"}.Default()); fabric.CodeOf(err) != fabric.CodeNotFound {
		t.Errorf("of a peer that is not there: %v", err)
	}
}
