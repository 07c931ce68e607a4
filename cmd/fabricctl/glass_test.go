package main

import (
	"net/netip"
	"strings"
	"testing"

	"netfabric/fabric"
)

func TestBGPRoutes(t *testing.T) {
	f := newFake(t)
	med := uint32(70)
	f.on("GET /1.0/bgp/routes?limit=1000&peer=tor1&prefix=198.51.100.0%2F24&table=in&target=n2", answer{metadata: fabric.BGPRoutes{Member: "n2", More: 3, Routes: []fabric.BGPRoute{
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Peer: "tor1", NextHop: netip.MustParseAddr("192.0.2.1"), ASPath: "65001 65002", MED: &med, Communities: []string{"65001:7"}, Best: true},
		{Prefix: netip.MustParsePrefix("198.51.100.0/25"), Peer: "tor1", NextHop: netip.MustParseAddr("192.0.2.1"), ASPath: "65001", Stale: true, Reason: "import-rejected"},
	}}})
	f.on("GET /1.0/bgp/routes?limit=1000&table=best", answer{metadata: fabric.BGPRoutes{Member: "n1", Routes: []fabric.BGPRoute{
		{Prefix: netip.MustParsePrefix("203.0.113.53/32"), Best: true, Owner: "anycast/dns"},
	}}})
	for line, want := range map[string]result{
		"bgp routes --in tor1 198.51.100.0/24 --member n2 -f compact": {0, `PREFIX              NEXT HOP   PEER  AS PATH      MED  COMMUNITIES  WHY NOT
198.51.100.0/24  >  192.0.2.1  tor1  65001 65002  70   65001:7
198.51.100.0/25  S  192.0.2.1  tor1  65001                          import-rejected
`, "3 more: give a PREFIX, or a higher --limit\n"},
		"bgp routes --best -f compact": {0, `PREFIX              NEXT HOP  PEER  AS PATH  OWNER
203.0.113.53/32  >  self                     anycast/dns
`, ""},
	} {
		if got := f.run(t, strings.Fields(line)...); got != want {
			t.Errorf("%s: %d %q\n%s\nwant\n%s", line, got.status, got.err, got.out, want.out)
		}
	}
	for _, line := range []string{"bgp routes --best --in tor1", "bgp routes 10.0.0.1/8", "bgp routes x", "bgp routes --limit many"} {
		if got := f.run(t, strings.Fields(line)...); got.status == 0 || got.out != "" || strings.Count(got.err, "\n") == 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
