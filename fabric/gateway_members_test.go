package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestGatewaySelectors: who a selector stands for has the places of its entry, in the order of names.
func TestGatewaySelectors(t *testing.T) {
	member := func(name, domain string, groups ...string) *Member {
		return &Member{Header: Header{Name: name}, FailureDomain: domain, Groups: groups}
	}
	s := snapshotWith(t, member("n4", "rack2"), member("n3", "rack1", "edge"), member("n1", "rack1", "edge"), member("n2", "rack2", "core", "edge"), &Group{Header: Header{Name: "edge"}},
		&Group{Header: Header{Name: "core"}}, &Group{Header: Header{Name: "empty"}})
	for _, c := range []struct {
		members string
		change  func(*Gateway)
		want    string
	}{
		{"", nil, "n1:200 n2:190 n3:180 n4:170"},
		{"group:edge", nil, "n1:200 n2:190 n3:180"},
		{"n3,group:edge", nil, "n3:200 n1:190 n2:180"},
		{"group:core,group:edge,n4", nil, "n2:200 n1:190 n3:180 n4:170"},
		{"failure_domain:rack2,n1", nil, "n2:200 n4:190 n1:180"},
		{"group:default", nil, "n4:200"},
		{"n2,n2,n1", nil, "n2:200 n1:190"},
		{"group:empty", nil, ""},
		{"group:edge", func(g *Gateway) { g.Priorities = map[string]int{"n3": 205, "n4": 220} }, "n3:205 n1:200 n2:190"},
		{"group:edge", func(g *Gateway) { g.Preferred = "n3" }, "n3:240 n1:200 n2:190"},
		{"group:edge", func(g *Gateway) { g.Preferred = "n4" }, "n1:200 n2:190 n3:180"}, // it has left the group
	} {
		g := testGateway("gw", 1)
		if c.members != "" {
			g.Members = strings.Split(c.members, ",")
		}
		if c.change != nil {
			c.change(g)
		}
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", c.members, err)
		}
		var got []string
		for _, r := range g.Ranking(s) {
			got = append(got, fmt.Sprintf("%s:%d", r.Member, r.Priority))
			if !g.On(s, r.Member) {
				t.Errorf("%s: %s is ranked and takes no part", c.members, r.Member)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.members, strings.Join(got, " "), c.want)
		}
		if warnings := strings.Join(g.Warnings(s), "\n"); c.want == "" && !strings.Contains(warnings, "no member of the cluster takes part") ||
			g.Priorities["n4"] > 0 && !strings.Contains(warnings, "n4 has a priority and takes no part") {
			t.Errorf("%s: warned of %q", c.members, warnings)
		}
	}
	g := testGateway("gw", 1)
	g.Members = []string{"n4", "group:edge", "group:default", "failure_domain:rack1"}
	if got := g.Refs(); !slices.Equal(got, []Key{{KindMember, "n4"}, {KindGroup, "edge"}}) {
		t.Errorf("it can't be without %v", got)
	}
	if g.On(s, "n9") {
		t.Error("a member that is none takes part")
	}
}

func TestGatewaySubnets(t *testing.T) {
	g := &Gateway{}
	for _, a := range []string{"192.0.2.1/24", "192.0.2.2/24", "fe80::1/64", "2001:db8::1/64", "192.0.2.129/25"} {
		g.Addresses = append(g.Addresses, netip.MustParsePrefix(a))
	}
	if got := fmt.Sprint(g.Subnets()); got != "[192.0.2.0/24 2001:db8::/64 192.0.2.128/25]" {
		t.Error(got)
	}
}
