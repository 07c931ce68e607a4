package api

import (
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestAddressClaimEvents(t *testing.T) {
	at := [3]string{"n1", "gw", "ipv4"}
	claim := func(mac string) fabric.ForeignClaim {
		return fabric.ForeignClaim{Address: netip.MustParseAddr("192.0.2.1"), MAC: mac, Port: "veth7"}
	}
	since := time.Unix(1, 0)
	backup := fabric.VirtualRouterState{Family: "ipv4", State: fabric.GatewayBackup, Since: since}
	active := fabric.VirtualRouterState{Family: "ipv4", State: fabric.GatewayActive, Since: since.Add(1), Why: "no-active", VirtualMAC: "00:00:5e:00:01:07"}
	active.Claims = []fabric.ForeignClaim{claim("02:00:00:00:00:09")}
	two := active
	two.Claims = append(two.Claims, claim("02:00:00:00:00:0a"))
	for _, c := range []struct {
		name          string
		before, after fabric.VirtualRouterState
		want          []RoutingEvent
	}{
		{"nothing new", active, active, nil},
		{"a claim ends", two, active, nil},
		{"a transition and a claim", backup, active, []RoutingEvent{
			{Action: ActionAddressClaimed, Member: "n1", Gateway: "gw", Family: "ipv4", Reason: "address-claimed",
				Message: "192.0.2.1 is at 00:00:5e:00:01:07, and 02:00:00:00:00:09 claims it on veth7"},
			{Action: "gateway-active", Member: "n1", Gateway: "gw", Family: "ipv4", Reason: "no-active"},
		}},
		{"a second claim", active, two, []RoutingEvent{
			{Action: ActionAddressClaimed, Member: "n1", Gateway: "gw", Family: "ipv4", Reason: "address-claimed",
				Message: "192.0.2.1 is at 00:00:5e:00:01:07, and 02:00:00:00:00:0a claims it on veth7"},
		}},
	} {
		got := gatewayEvents(map[[3]string]fabric.VirtualRouterState{at: c.before}, map[[3]string]fabric.VirtualRouterState{at: c.after})
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %+v, want %+v", c.name, got[i], c.want[i])
			}
		}
	}
}
