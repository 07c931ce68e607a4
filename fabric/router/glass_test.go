package router

import (
	"fmt"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

func TestRoutesOverTheSocket(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	c := NewClient(m.socket())
	if _, err := c.Routes(t.Context(), fabric.BGPQuery{}); fabric.CodeOf(err) != fabric.CodeConflict || fabric.ReasonOf(err) != fabric.ReasonNoASN {
		t.Errorf("before there is anything to do: %v", err)
	}
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	bgptest.Eventually(t, 5*time.Second, func() string {
		got, err := c.Routes(t.Context(), fabric.BGPQuery{Table: fabric.BGPOut, Peer: m.value.Peers[0].Name})
		if err != nil {
			return err.Error()
		}
		if len(got.Routes) != 1 || got.Member != m.value.Member {
			return "not one route of the member yet"
		}
		if r := got.Routes[0]; r.Prefix.String() != anycast4 || r.Kind != fabric.AnnounceAnycast || r.Owner != m.value.Announcements[0].Owner.String() || r.ASPath == "" || !r.NextHop.IsValid() {
			t.Fatalf("got %+v", r)
		}
		return ""
	})
	m.value.Announcements[0].Peers = []string{m.value.Peers[1].Name} // what nobody is told is in no table
	m.value.Announcements[0].Withheld = []fabric.RoutePeer{{Peer: m.value.Peers[0].Name, Reason: fabric.ReasonNoExportPolicy}}
	m.set()
	bgptest.Eventually(t, 5*time.Second, func() string {
		got, err := c.Routes(t.Context(), fabric.BGPQuery{Table: fabric.BGPOut, Peer: m.value.Peers[0].Name})
		if err != nil || len(got.Routes) != 1 || got.Routes[0].Reason != fabric.ReasonNoExportPolicy {
			return fmt.Sprintf("%+v, %v", got, err)
		}
		return ""
	})
	if _, err := c.Routes(t.Context(), fabric.BGPQuery{Table: fabric.BGPIn, Peer: "nobody"}); fabric.CodeOf(err) != fabric.CodeNotFound {
		t.Errorf("of a peer that is not there: %v", err)
	}
	if _, err := c.Routes(t.Context(), fabric.BGPQuery{Table: "x"}); fabric.CodeOf(err) != fabric.CodeInvalid {
		t.Errorf("of a table that is not there: %v", err)
	}
}
