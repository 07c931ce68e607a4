package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// TestDynamicPeer shows each session of a peer by prefix on its own.
func TestDynamicPeer(t *testing.T) {
	f := bootstrapped(t, "n1")
	c := f.members["n1"].unix
	post := BGPPeersPost{Name: "rack"}
	post.Dynamic, post.ASN, post.MaxSessions = netip.MustParsePrefix("198.51.100.0/24"), fabric.ASNExternal, 5
	must(t, c.CreateBGPPeer(t.Context(), post))
	key := fabric.Key{Kind: fabric.KindPeer, Name: "rack"}
	shown := func() (lines []string) {
		sessions, err := c.GetBGPSessions(t.Context())
		must(t, err)
		for _, s := range sessions {
			if s.Member == "n1" {
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.Name, s.State, s.Reason, s.Message)))
			}
		}
		return lines
	}
	if got := shown(); len(got) != 1 || !strings.HasPrefix(got[0], "rack idle no-report") {
		t.Errorf("%q", got)
	}
	must(t, f.store.Report(t.Context(), "n1", []fabric.Condition{
		fabric.Condition{Object: key, Member: "n1", Type: fabric.ConditionSession, Reason: "session-down", Message: "of one"}.WithData(fabric.DynamicState{Sessions: []fabric.PeerState{
			{Name: "rack@198.51.100.1", State: "established", Sent: 3}, {Name: "rack@198.51.100.2", State: "active", LastError: "no answer"},
		}})}))
	if got := shown(); !slices.Equal(got, []string{"rack@198.51.100.1 established", "rack@198.51.100.2 active session-down no answer"}) {
		t.Errorf("%q", got)
	}
	p, _, err := c.GetBGPPeer(t.Context(), "rack")
	must(t, err)
	n1 := slices.DeleteFunc(p.Sessions, func(s BGPSession) bool { return s.Member != "n1" })
	if p.Dynamic != post.Dynamic || p.MaxSessions != 5 || len(n1) != 2 {
		t.Errorf("%+v", p)
	}
}
