package api

import (
	"context"
	"net/netip"
	"testing"

	"netfabric/fabric"
)

func TestBGPRoutes(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	for name, m := range f.members {
		m.server.Glass = func(_ context.Context, q fabric.BGPQuery) (fabric.BGPRoutes, error) {
			if q.Peer == "nobody" {
				return fabric.BGPRoutes{}, fabric.NotFoundf("no peer %q", q.Peer)
			}
			return fabric.BGPRoutes{Member: name, Routes: []fabric.BGPRoute{{Prefix: q.Prefix, Peer: q.Peer, ASPath: "65001"}}, More: q.Limit}, nil
		}
	}
	c := f.members["n1"].unix
	q := fabric.BGPQuery{Table: fabric.BGPIn, Peer: "tor1", Prefix: netip.MustParsePrefix("2001:db8::/32"), Limit: 7}
	for target, member := range map[string]string{"": "n1", "n1": "n1", "n2": "n2"} {
		got, err := c.Target(target).GetBGPRoutes(t.Context(), q)
		must(t, err)
		if got.Member != member || len(got.Routes) != 1 || got.Routes[0].Prefix != q.Prefix || got.Routes[0].Peer != "tor1" || got.More != 7 {
			t.Errorf("of %q: %+v", target, got)
		}
	}
	got, err := c.GetBGPRoutes(t.Context(), fabric.BGPQuery{})
	must(t, err)
	if got.More != fabric.DefaultBGPLimit {
		t.Errorf("without a limit: %+v", got)
	}
	_, err = c.GetBGPRoutes(t.Context(), fabric.BGPQuery{Table: fabric.BGPOut})
	refused(t, err, fabric.CodeInvalid, "bad-table")
	_, err = c.Target("n2").GetBGPRoutes(t.Context(), fabric.BGPQuery{Table: fabric.BGPOut, Peer: "nobody"})
	refused(t, err, fabric.CodeNotFound, "not-found")
	_, err = c.Target("n9").GetBGPRoutes(t.Context(), fabric.BGPQuery{})
	refused(t, err, fabric.CodeNotFound, "not-found")
	f.members["n1"].setOffline("n2", true)
	_, err = c.Target("n2").GetBGPRoutes(t.Context(), fabric.BGPQuery{})
	refused(t, err, fabric.CodeUnavailable, fabric.ReasonMemberOffline)
	f.members["n1"].server.Glass = nil
	_, err = c.GetBGPRoutes(t.Context(), fabric.BGPQuery{})
	refused(t, err, fabric.CodeUnavailable, fabric.ReasonWorkerDown)
}
