package api

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"netfabric/fabric"
)

// TestGatewaySyncSet: what a sync set shares is changed for all of it, and a gateway that joins takes it over.
func TestGatewaySyncSet(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	post := func(name string, change func(*GatewaysPost)) error {
		p := GatewaysPost{Name: name, GatewayPut: GatewayPut{Interface: "eth-" + name, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Sync: "edge"}}
		change(&p)
		return m.unix.CreateGateway(t.Context(), p)
	}
	must(t, post("a", func(p *GatewaysPost) { p.Members, p.PreemptDelay = []string{"n2", "n1"}, 5000 }))
	must(t, post("b", func(*GatewaysPost) {}))
	refused(t, post("c", func(p *GatewaysPost) { p.Members = []string{"n1"} }), fabric.CodeConflict, "sync-differs")
	b, etag, err := m.unix.GetGateway(t.Context(), "b")
	must(t, err)
	if !slices.Equal(b.Members, []string{"n2", "n1"}) || b.PreemptDelay != 5000 || b.States[0].Member != "n2" {
		t.Fatalf("joined as %+v", b)
	}
	b.Members, b.Preferred, b.Interval = []string{"n1", "n2"}, "n2", 1000
	must(t, m.unix.UpdateGateway(t.Context(), "b", b.GatewayPut, etag))
	a, etag, err := m.unix.GetGateway(t.Context(), "a")
	must(t, err)
	if !slices.Equal(a.Members, []string{"n1", "n2"}) || a.Preferred != "n2" || a.Interval != fabric.DefaultGatewayInterval {
		t.Fatalf("the other of the set is %+v", a)
	}
	a.Sync, a.Members = "other", []string{"n2"} // leaves the set, and is free
	must(t, m.unix.UpdateGateway(t.Context(), "a", a.GatewayPut, etag))
	a.Sync, a.Spread, a.Priorities = "", "lan", map[string]int{"n2": 7}
	refused(t, m.unix.UpdateGateway(t.Context(), "a", a.GatewayPut, ""), fabric.CodeInvalid, "bad-set")
}

// TestGatewayRouterAdvertisements: what hosts are told is shown with its defaults, and can be written back as it is shown.
func TestGatewayRouterAdvertisements(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	for name, address := range map[string]string{"v6": "2001:db8::1/64", "v4": "192.0.2.1/24"} {
		must(t, m.unix.CreateGateway(t.Context(), GatewaysPost{Name: name, GatewayPut: GatewayPut{Interface: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}}))
		g, etag, err := m.unix.GetGateway(t.Context(), name)
		must(t, err)
		if want := map[string]int{"v6": 1800, "v4": 0}[name]; g.RA.Lifetime != want {
			t.Errorf("%s has the lifetime %d, want %d", name, g.RA.Lifetime, want)
		}
		must(t, m.unix.UpdateGateway(t.Context(), name, g.GatewayPut, etag))
	}
	// What was only shown is no setting: without IPv6 there is none left over.
	for what, body := range map[string]string{
		"PATCH": `{"description":"for hosts","addresses":["192.0.2.9/24"]}`,
		"PUT":   `{"interface":"eth1","vrid":9,"addresses":["192.0.2.9/24"],"ra":{"lifetime":1800,"interval":600,"preference":"medium"}}`,
	} {
		if resp, e := m.raw(t, what, "/1.0/gateways/v6", body); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", what, resp.Status, e.Error)
		}
	}
}

// TestGatewayOfGroup: a gateway follows a group, its name too, and the group stays as long as the gateway needs it.
func TestGatewayOfGroup(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	must(t, m.unix.CreateClusterGroup(t.Context(), ClusterGroup{Name: "edge", ClusterGroupPut: ClusterGroupPut{Members: []string{"n2"}}}))
	post := GatewaysPost{Name: "lan", GatewayPut: GatewayPut{Interface: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
		Members: []string{"group:edge"}, Announce: true}}
	must(t, m.unix.CreateGateway(t.Context(), post))
	ranked := func() (names []string) {
		g, _, err := m.unix.GetGateway(t.Context(), "lan")
		must(t, err)
		for _, s := range g.States {
			names = append(names, s.Member)
		}
		return names
	}
	if got := ranked(); !slices.Equal(got, []string{"n2"}) {
		t.Errorf("it is with %v", got)
	}
	_, err := m.unix.MoveGateway(t.Context(), "lan", "n1")
	refused(t, err, fabric.CodeInvalid, "bad-member")
	must(t, m.unix.RenameClusterGroup(t.Context(), "edge", "border"))
	must(t, m.unix.UpdateClusterGroup(t.Context(), "border", ClusterGroupPut{Members: []string{"n1", "n2"}}, ""))
	g, etag, err := m.unix.GetGateway(t.Context(), "lan")
	must(t, err)
	if got := ranked(); !slices.Equal(got, []string{"n1", "n2"}) || !slices.Equal(g.Members, []string{"group:border"}) || !g.Announce {
		t.Errorf("it is with %v: %+v", got, g.GatewayPut)
	}
	must(t, m.unix.UpdateClusterGroup(t.Context(), "border", ClusterGroupPut{}, ""))
	if got := ranked(); len(got) > 0 {
		t.Errorf("without a member in the group it is with %v", got)
	}
	refused(t, m.unix.DeleteClusterGroup(t.Context(), "border"), fabric.CodeConflict, "in-use")
	g.Members, g.Announce = nil, false
	must(t, m.unix.UpdateGateway(t.Context(), "lan", g.GatewayPut, etag))
	must(t, m.unix.DeleteClusterGroup(t.Context(), "border"))
	if g, _, err = m.unix.GetGateway(t.Context(), "lan"); err != nil || g.Announce {
		t.Errorf("still to be announced: %+v, %v", g, err)
	}
}

// TestGatewayMissed: a move that ends elsewhere is not told as done, also where its target is Active for the other family, and nothing is noted.
func TestGatewayMissed(t *testing.T) {
	f := bootstrapped(t, "n1", "n2", "n3")
	m := f.members["n1"]
	must(t, m.unix.CreateGateway(t.Context(), GatewaysPost{Name: "gw", GatewayPut: GatewayPut{Interface: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}}))
	active := fabric.Condition{Object: fabric.Key{Kind: fabric.KindGateway, Name: "gw"}, Member: "n2", Type: fabric.ConditionGateway}.WithData(
		fabric.GatewayState{Routers: []fabric.VirtualRouterState{{Family: "ipv6", State: fabric.GatewayActive}}})
	must(t, f.store.Report(t.Context(), "n2", []fabric.Condition{active}))
	for _, reason := range []string{"other-successor", "no-successor"} {
		f.members["n3"].hand = fabric.Conflictf(reason, "it went elsewhere")
		_, err := m.unix.MoveGateway(t.Context(), "gw", "n2")
		refused(t, err, fabric.CodeConflict, reason)
	}
	if g, _, err := m.unix.GetGateway(t.Context(), "gw"); err != nil || g.Preferred != "" {
		t.Errorf("preferred is %q, %v", g.Preferred, err)
	}
}
