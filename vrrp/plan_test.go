package vrrp

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"netfabric/fabric"
)

func planOf(t *testing.T, member string, reports *fabric.Reports, objects ...fabric.Object) []fabric.RoutingGateway {
	t.Helper()
	return Plan(fabric.View{Member: member, Desired: snapshotOf(t, objects...), Reports: reports})
}

func snapshotOf(t *testing.T, objects ...fabric.Object) *fabric.Snapshot {
	t.Helper()
	var rows []fabric.Row
	for _, o := range objects {
		row, err := fabric.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	snap, err := fabric.EmptySnapshot().Advance(1, rows)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// TestPlanSiblings: members know from where other gateways of the cluster advertise themselves on the segment.
func TestPlanSiblings(t *testing.T) {
	gateway := func(name, iface string, vrid uint8, addresses ...string) *fabric.Gateway {
		g := &fabric.Gateway{Header: fabric.Header{Name: name}, Interface: iface, VRID: vrid, Interval: 100}
		for _, a := range addresses {
			g.Addresses = append(g.Addresses, netip.MustParsePrefix(a))
		}
		return g
	}
	others := gateway("others", "eth1", 8, "2001:db8::8/64")
	others.Members = []string{"n2"}
	silent := gateway("silent", "eth1", 11, "2001:db8::11/64")
	silent.RA.Off = true
	plan := planOf(t, "n1", fabric.EmptyReports(), &fabric.Member{Header: fabric.Header{Name: "n1"}}, &fabric.Member{Header: fabric.Header{Name: "n2"}},
		gateway("gw", "eth1", 7, "192.0.2.1/24", "2001:db8::7/64"), others, silent, gateway("named", "eth1", 9, "fe80::9/64", "2001:db8::9/64"),
		gateway("four", "eth1", 10, "192.0.2.10/24"), gateway("far", "eth2", 12, "2001:db8:1::1/64"))
	want := map[string][]netip.Addr{
		"gw": addrs("fe80::9", "fe80::5e00:208"), "named": addrs("fe80::5e00:207", "fe80::5e00:208"), "silent": nil, "four": nil, "far": nil,
	}
	for _, g := range plan {
		if !reflect.DeepEqual(g.Siblings, want[g.Name]) || !reflect.DeepEqual(Configured(g, 100).Siblings, want[g.Name]) {
			t.Errorf("beside %s: %v, want %v", g.Name, g.Siblings, want[g.Name])
		}
	}
	if len(plan) != len(want) {
		t.Errorf("planned %+v", plan)
	}
}

// TestUnmet: among unicast peers a gateway waits for the address of another member, as long as one may be Active. A member that can't be is not
// waited for: the gateway has to come up.
func TestUnmet(t *testing.T) {
	g := &fabric.Gateway{Header: fabric.Header{Name: "gw"}, Interface: "eth1", VRID: 7, Interval: 100, Unicast: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
	member := func(name string) fabric.Key { return fabric.Key{Kind: fabric.KindMember, Name: name} }
	says := func(name string, routers ...fabric.VirtualRouterState) fabric.Condition {
		return fabric.Condition{Object: fabric.KeyOf(g), Member: name, Type: fabric.ConditionGateway}.WithData(fabric.GatewayState{Gateway: "gw", Routers: routers})
	}
	module := func(name string) fabric.Condition {
		return fabric.Condition{Object: member(name), Member: name, Type: fabric.ConditionModule, Detail: "routing", OK: true}
	}
	address := fabric.VirtualRouterState{Family: "ipv4", Primary: netip.MustParseAddr("192.0.2.12")}
	for name, tc := range map[string]struct {
		members []string
		peers   []netip.Addr
		offline []string
		reports []fabric.Condition
		others  int
		unmet   bool
	}{
		"first start":                       {members: []string{"n1", "n2", "n3"}, others: 2, unmet: true},
		"alone":                             {members: []string{"n1"}},
		"a foreign peer":                    {members: []string{"n1", "n2"}, peers: addrs("192.0.2.99"), others: 1},
		"an address is known":               {members: []string{"n1", "n2", "n3"}, reports: []fabric.Condition{says("n2", address)}, others: 2},
		"says nothing of itself yet":        {members: []string{"n1", "n2"}, reports: []fabric.Condition{says("n2")}, others: 1, unmet: true},
		"has no interface":                  {members: []string{"n1", "n2"}, reports: []fabric.Condition{says("n2", fabric.VirtualRouterState{Family: "ipv4", Reason: "interface-missing"})}, others: 1},
		"one has none, the other may":       {members: []string{"n1", "n2", "n3"}, reports: []fabric.Condition{says("n2", fabric.VirtualRouterState{Family: "ipv4"})}, others: 2, unmet: true},
		"gone before the gateway was":       {members: []string{"n1", "n2"}, offline: []string{"n2"}, reports: []fabric.Condition{module("n2")}, others: 1},
		"seems gone to one that has waked":  {members: []string{"n1", "n2"}, offline: []string{"n2"}, reports: []fabric.Condition{module("n1")}, others: 1, unmet: true},
		"there, and has not come to it yet": {members: []string{"n1", "n2"}, reports: []fabric.Condition{module("n2")}, others: 1, unmet: true},
	} {
		own := *g
		own.Peers, own.Members = tc.peers, tc.members
		objects := []fabric.Object{&own}
		for _, m := range []string{"n1", "n2", "n3"} {
			objects = append(objects, &fabric.Member{Header: fabric.Header{Name: m}})
		}
		plan := Plan(fabric.View{Member: "n1", Desired: snapshotOf(t, objects...), Reports: fabric.EmptyReports().With(1, tc.reports, nil), Offline: tc.offline})
		c := Configured(plan[0], 100)
		if c.Unmet != tc.unmet || c.OtherMembers != tc.others || len(c.Foreign) != len(tc.peers) || c.config(IPv4, netip.Addr{}).Hello != (tc.others > 0) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestPlan(t *testing.T) {
	g := &fabric.Gateway{
		Header: fabric.Header{Name: "gw"}, Interface: "eth1", VRID: 7, Interval: 100, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
		Tracks: []fabric.Track{{Type: fabric.TrackBGP}}, Preferred: "n3",
	}
	other := &fabric.Gateway{Header: fabric.Header{Name: "other"}, Interface: "eth1", VRID: 8, Interval: 100, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")},
		Members: []string{"n2"}}
	objects := []fabric.Object{g, other, &fabric.Member{Header: fabric.Header{Name: "n1"}}, &fabric.Member{Header: fabric.Header{Name: "n2"}}, &fabric.Member{Header: fabric.Header{Name: "n3"}}}
	own := netip.MustParseAddr("192.0.2.13")
	reports := fabric.EmptyReports().With(1, []fabric.Condition{
		fabric.Condition{Object: fabric.KeyOf(g), Member: "n3", Type: fabric.ConditionGateway}.WithData(
			fabric.GatewayState{Gateway: "gw", Routers: []fabric.VirtualRouterState{{Family: "ipv4", Primary: own}, {Family: "ipv6"}}}),
		{Object: fabric.KeyOf(g), Member: "n2", Type: fabric.ConditionGateway}, // says nothing
	}, nil)
	plan := planOf(t, "n1", reports, objects...)
	want := []fabric.RoutingGateway{{
		Name: "gw", Interface: "eth1", VRID: 7, Addresses: g.Addresses, Priority: 200, Interval: 100, Tracks: g.Tracks,
		Successors: []fabric.GatewaySuccessor{{Member: "n3", Addresses: []netip.Addr{own}}},
	}}
	if !reflect.DeepEqual(plan, want) {
		t.Errorf("planned\n%+v, want\n%+v", plan, want)
	}
	if left := planOf(t, "n9", reports, objects...); left != nil {
		t.Errorf("a member that was removed has %+v", left)
	}
	// A daemon that has just started has not read reports; its worker knows the addresses.
	known := fabric.Facts{Routing: &fabric.RoutingState{Gateways: []fabric.GatewayState{{Gateway: "gw", Others: want[0].Successors}}}}
	if plan := Plan(fabric.View{Member: "n1", Desired: snapshotOf(t, objects...), Reports: fabric.EmptyReports(), Facts: known}); !reflect.DeepEqual(plan, want) {
		t.Errorf("without reports\n%+v, want\n%+v", plan, want)
	}
	// A drained member asks whoever is not.
	drained := planOf(t, "n1", reports, g, &fabric.Member{Header: fabric.Header{Name: "n1"}, Config: fabric.Config{"bgp.drained": "true"}}, &fabric.Member{Header: fabric.Header{Name: "n2"}}, &fabric.Member{Header: fabric.Header{Name: "n3"}})[0]
	if !drained.Drained || drained.Priority != 1 || len(drained.Successors) != 1 || !Configured(drained, 1).LastResort {
		t.Errorf("a drained member has %+v", drained)
	}
	both := planOf(t, "n1", reports, g, &fabric.Member{Header: fabric.Header{Name: "n1"}, Config: fabric.Config{"bgp.drained": "true"}}, &fabric.Member{Header: fabric.Header{Name: "n2"}},
		&fabric.Member{Header: fabric.Header{Name: "n3"}, Config: fabric.Config{"bgp.drained": "true"}})[0]
	if c := Configured(both, 1); len(c.Successors) != 0 {
		t.Errorf("a drained member asks a drained one: %+v", c.Successors)
	}
	c := Configured(plan[0], 50)
	if c.Priority != 50 || c.Interval != 100*time.Millisecond || !reflect.DeepEqual(c.Successors, []netip.Addr{own}) || c.Refresh != DefaultRefresh {
		t.Errorf("configured %+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	unicast := plan[0]
	unicast.Unicast, unicast.Peers = true, []netip.Addr{netip.MustParseAddr("192.0.2.99")}
	if c := Configured(unicast, 50); !c.Unicast || !reflect.DeepEqual(c.Peers, []netip.Addr{own, unicast.Peers[0]}) {
		t.Errorf("configured %+v", c)
	}
	// What the database takes, and what the driver computes, must agree.
	if got := g.WorstOutage(190); got != WorstOutage(c.Interval, 190) {
		t.Errorf("worst outage %v, want %v", got, WorstOutage(c.Interval, 190))
	}
}
