package api

import (
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestGatewayEvents(t *testing.T) {
	at := [3]string{"n1", "gw", "ipv6"}
	states := func(r fabric.VirtualRouterState) map[[3]string]fabric.VirtualRouterState {
		return map[[3]string]fabric.VirtualRouterState{at: r}
	}
	backup := fabric.VirtualRouterState{State: fabric.GatewayBackup, Since: time.Unix(1000, 0), Why: "startup"}
	active := fabric.VirtualRouterState{State: fabric.GatewayActive, Since: time.Unix(2000, 0), Why: "no-active"}
	rogue := active
	rogue.Rogues = []fabric.RogueRouter{{Address: netip.MustParseAddr("fe80::9"), MAC: "02:00:00:00:00:09", Lifetime: 90}}
	for name, c := range map[string]struct {
		before, after map[[3]string]fabric.VirtualRouterState
		want          string
	}{
		"the same":     {states(active), states(active), ""},
		"takes over":   {states(backup), states(active), "gateway-active no-active"},
		"rogue router": {states(active), states(rogue), "gateway-rogue-ra rogue-ra"},
		"it goes on":   {states(rogue), states(rogue), ""},
		"it has gone":  {states(rogue), states(active), ""},
	} {
		got := ""
		for _, e := range gatewayEvents(c.before, c.after) {
			got += e.Action + " " + e.Reason
			if e.Member != "n1" || e.Gateway != "gw" || e.Family != "ipv6" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
