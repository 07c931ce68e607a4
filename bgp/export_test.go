package bgp

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// told says in lines what a peer is told, and what not.
func told(p Plan, peer string) string {
	var all []string
	for _, a := range p.Announcements {
		for _, name := range a.Peers {
			if name == peer {
				line := "yes " + a.Prefix.String()
				if set, ok := a.Attributes[peer]; ok {
					if set.MED != nil {
						line += fmt.Sprintf(" med %d", *set.MED)
					}
					if set.LocalPref != nil {
						line += fmt.Sprintf(" local-pref %d", *set.LocalPref)
					}
					if set.LinkBandwidth != nil {
						line += fmt.Sprintf(" bandwidth %d", *set.LinkBandwidth)
					}
					for _, c := range set.AddCommunities {
						line += " " + c.String()
					}
				}
				if w, ok := a.Weighted[peer]; ok {
					line += fmt.Sprintf(" weight as %s", w)
				}
				all = append(all, line)
			}
		}
		for _, w := range a.Withheld {
			if w.Peer == peer {
				all = append(all, fmt.Sprintf("no %s %s: %s", a.Prefix, w.Reason, w.Message))
			}
		}
	}
	return strings.Join(all, "\n")
}

func number(n uint32) *uint32 { return &n }

func TestExport(t *testing.T) {
	dns := &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}}
	c1 := instance("c1", "m1", "br0", fabric.Config{"anycast": "dns", "user.tier": "gold"}, nil, "10.50.0.2")
	c2 := instance("c2", "m1", "br0", nil, nil, "10.50.0.3")
	accept := func(m fabric.PolicyMatch, set fabric.PolicySet) fabric.PolicyRule {
		return fabric.PolicyRule{Match: m, Action: fabric.PolicyAccept, Set: set}
	}
	policy := func(rules ...fabric.PolicyRule) *fabric.Policy {
		return &fabric.Policy{Header: fabric.Header{Name: "ix"}, Rules: rules}
	}
	ix := func(asn fabric.PeerASN, export string) *fabric.Peer {
		return &fabric.Peer{Header: fabric.Header{Name: "ix"}, Address: addr("192.0.2.7"), ASN: asn, Export: export}
	}
	tor := "yes 10.50.0.0/24\nyes 10.50.0.2/32\nyes 10.50.0.3/32\nyes 203.0.113.53/32"
	for _, c := range []struct {
		name    string
		objects []fabric.Object
		want    string
		tor     string
	}{
		{"only anycast to the IX, everything to the ToR", []fabric.Object{ix(64500, "ix"),
			policy(accept(fabric.PolicyMatch{Kinds: []fabric.AnnouncementKind{fabric.AnnounceAnycast}}, fabric.PolicySet{MED: number(50)}))},
			`no 10.50.0.0/24 policy: policy "ix" has no rule that accepts 10.50.0.0/24` + "\n" +
				`no 10.50.0.2/32 policy: policy "ix" has no rule that accepts 10.50.0.2/32` + "\n" +
				`no 10.50.0.3/32 policy: policy "ix" has no rule that accepts 10.50.0.3/32` + "\nyes 203.0.113.53/32 med 50", tor},
		{"no policy", []fabric.Object{ix(64500, "")},
			"no 10.50.0.0/24 no-export-policy: the peer has no export policy: fabricctl bgp peer set ix --export own\n" +
				"no 10.50.0.2/32 no-export-policy: the peer has no export policy: fabricctl bgp peer set ix --export own\n" +
				"no 10.50.0.3/32 no-export-policy: the peer has no export policy: fabricctl bgp peer set ix --export own\n" +
				"no 203.0.113.53/32 no-export-policy: the peer has no export policy: fabricctl bgp peer set ix --export own", tor},
		{"labels of the owner, a rule that rejects, a community", []fabric.Object{ix(64500, "ix"), policy(
			fabric.PolicyRule{Match: fabric.PolicyMatch{Labels: []string{"user.tier=gold"}}, Action: fabric.PolicyReject},
			accept(fabric.PolicyMatch{Owners: []string{"instance/c2", "instance/c1"}}, fabric.PolicySet{LocalPref: number(50), AddCommunities: []fabric.Community{{Numbers: [3]uint32{65535, 65281}}}}))},
			`no 10.50.0.0/24 policy: policy "ix" has no rule that accepts 10.50.0.0/24` + "\n" +
				`no 10.50.0.2/32 policy: policy "ix" rule 1 rejects 10.50.0.2/32` + "\nyes 10.50.0.3/32 no-export\n" +
				`no 203.0.113.53/32 policy: policy "ix" has no rule that accepts 203.0.113.53/32`, tor},
		{"a preference for an internal peer", []fabric.Object{ix(65010, "ix"), policy(accept(fabric.PolicyMatch{}, fabric.PolicySet{LocalPref: number(50)}))},
			"yes 10.50.0.0/24 local-pref 50\nyes 10.50.0.2/32 local-pref 50\nyes 10.50.0.3/32 local-pref 50\nyes 203.0.113.53/32 local-pref 50", tor},
		{"outside of the address space", []fabric.Object{ix(64500, "own"),
			&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010", "bgp.prefixes": "203.0.113.0/24, 10.50.0.2"}}},
			"no 10.50.0.0/24 outside-bgp-prefixes: 10.50.0.0/24 is in none of the cluster's bgp.prefixes\nyes 10.50.0.2/32\n" +
				"no 10.50.0.3/32 outside-bgp-prefixes: 10.50.0.3/32 is in none of the cluster's bgp.prefixes\nyes 203.0.113.53/32",
			"no 10.50.0.0/24 outside-bgp-prefixes: 10.50.0.0/24 is in none of the cluster's bgp.prefixes\nyes 10.50.0.2/32\n" +
				"no 10.50.0.3/32 outside-bgp-prefixes: 10.50.0.3/32 is in none of the cluster's bgp.prefixes\nyes 203.0.113.53/32"},
	} {
		v := view(t, append([]fabric.Object{dns, c1, c2}, c.objects...)...)
		run(v, c1, 100)
		run(v, c2, 101)
		plan, _ := Make(v)
		if got := told(plan, "ix"); got != c.want {
			t.Errorf("%s: ix:\n%s\nwant:\n%s", c.name, got, c.want)
		}
		if got := told(plan, "tor4"); got != c.tor {
			t.Errorf("%s: tor4:\n%s\nwant:\n%s", c.name, got, c.tor)
		}
	}
}

func TestWeightIsToldAsTheServiceSays(t *testing.T) {
	anycast := func(m fabric.PolicySet) fabric.PolicyRule {
		return fabric.PolicyRule{Match: fabric.PolicyMatch{Kinds: []fabric.AnnouncementKind{fabric.AnnounceAnycast}}, Action: fabric.PolicyAccept, Set: m}
	}
	for _, c := range []struct {
		weight fabric.Weighting
		asn    fabric.PeerASN
		set    fabric.PolicySet
		want   string
	}{
		{"", 64500, fabric.PolicySet{}, "yes 203.0.113.53/32"},
		{fabric.WeightNone, 64500, fabric.PolicySet{}, "yes 203.0.113.53/32"},
		{fabric.WeightMED, 64500, fabric.PolicySet{}, "yes 203.0.113.53/32 weight as med"},
		{fabric.WeightMED, 65010, fabric.PolicySet{}, "yes 203.0.113.53/32 weight as med"},
		{fabric.WeightMED, 64500, fabric.PolicySet{MED: number(50)}, "yes 203.0.113.53/32 med 50"},
		{fabric.WeightMED, 64500, fabric.PolicySet{LinkBandwidth: number(50)}, "yes 203.0.113.53/32 bandwidth 50 weight as med"},
		{fabric.WeightLocalPref, 64500, fabric.PolicySet{}, "yes 203.0.113.53/32"},
		{fabric.WeightLocalPref, 65010, fabric.PolicySet{}, "yes 203.0.113.53/32 weight as local-pref"},
		{fabric.WeightLocalPref, 65010, fabric.PolicySet{LocalPref: number(50)}, "yes 203.0.113.53/32 local-pref 50"},
		{fabric.WeightLinkBandwidth, 64500, fabric.PolicySet{}, "yes 203.0.113.53/32 weight as link-bandwidth"},
		{fabric.WeightLinkBandwidth, 64500, fabric.PolicySet{LinkBandwidth: number(50)}, "yes 203.0.113.53/32 bandwidth 50"},
	} {
		c1 := instance("c1", "m1", "br0", fabric.Config{"anycast": "dns", "anycast.weight": "7"}, nil, "10.50.0.2")
		v := view(t, &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}, Weight: c.weight}, c1,
			&fabric.Peer{Header: fabric.Header{Name: "ix"}, Address: addr("192.0.2.7"), ASN: c.asn, Export: "ix"},
			&fabric.Policy{Header: fabric.Header{Name: "ix"}, Rules: []fabric.PolicyRule{anycast(c.set)}})
		run(v, c1, 100)
		plan, _ := Make(v)
		got := strings.Split(told(plan, "ix"), "\n")
		if last := got[len(got)-1]; last != c.want {
			t.Errorf("%s to AS %s with %+v: %s, want %s", c.weight, c.asn, c.set, last, c.want)
		}
		for _, a := range plan.Announcements {
			if a.Kind == fabric.AnnounceAnycast && a.Copies[0].Weight != 7 {
				t.Errorf("the copy has weight %d", a.Copies[0].Weight)
			}
		}
	}
}

func TestWeigh(t *testing.T) {
	for _, c := range []struct {
		w      fabric.Weighting
		weight int
		want   fabric.PolicySet
	}{
		{"", 3, fabric.PolicySet{Prepend: 1}},
		{fabric.WeightMED, 3, fabric.PolicySet{Prepend: 1, MED: number(65532)}},
		{fabric.WeightMED, 70000, fabric.PolicySet{Prepend: 1, MED: number(0)}},
		{fabric.WeightLocalPref, 3, fabric.PolicySet{Prepend: 1, LocalPref: number(103)}},
		{fabric.WeightLinkBandwidth, 3, fabric.PolicySet{Prepend: 1, LinkBandwidth: number(3)}},
		{fabric.WeightLinkBandwidth, 70000, fabric.PolicySet{Prepend: 1, LinkBandwidth: number(fabric.MaxLinkBandwidth)}},
		{fabric.WeightLinkBandwidth, 0, fabric.PolicySet{Prepend: 1, LinkBandwidth: number(1)}}, // drained copies, for as long as they are told of
	} {
		if got := Weigh(fabric.PolicySet{Prepend: 1}, c.w, c.weight); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s of %d: %+v, want %+v", c.w, c.weight, got, c.want)
		}
	}
}

// TestExportOnALink has both IP versions go over one session that has link-local addresses only.
func TestExportOnALink(t *testing.T) {
	dns := &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")}}
	c1 := instance("c1", "m1", "br0", fabric.Config{"anycast": "dns"}, nil, "10.50.0.2", "fd50::2")
	for families, want := range map[string]string{
		"":     "yes 10.50.0.0/24\nyes 10.50.0.2/32\nyes 203.0.113.53/32\nyes 2001:db8:53::53/128\nyes fd50::/64\nyes fd50::2/128",
		"ipv4": "yes 10.50.0.0/24\nyes 10.50.0.2/32\nyes 203.0.113.53/32",
	} {
		v := view(t, dns, c1, &fabric.Peer{Header: fabric.Header{Name: "rack"}, Interface: "eth1", ASN: fabric.ASNExternal, Export: "own", Families: strings.Fields(families)})
		run(v, c1, 100)
		plan, _ := Make(v)
		if got := told(plan, "rack"); got != want {
			t.Errorf("families %q:\n%s\nwant:\n%s", families, got, want)
		}
		if p := plan.Peers[slices.IndexFunc(plan.Peers, func(p fabric.RoutingPeer) bool { return p.Name == "rack" })]; p.Interface != "eth1" || p.Address.IsValid() || p.ASN != 0 {
			t.Errorf("%+v", p)
		}
	}
}

func TestImports(t *testing.T) {
	plan, _ := Make(view(t))
	if len(plan.Imports) != 0 || len(plan.Own) != 0 {
		t.Errorf("without a policy: %+v, %v", plan.Imports, plan.Own)
	}
	v := view(t, &fabric.Peer{Header: fabric.Header{Name: "up"}, Address: addr("192.0.2.7"), ASN: 64500, Import: "default-only"},
		&fabric.Peer{Header: fabric.Header{Name: "no"}, Address: addr("192.0.2.8"), ASN: 64500, Import: "none"},
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010", "bgp.prefixes": "203.0.113.0/24"}},
		&fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")}},
		instance("c1", "m2", "br0", nil, fabric.Config{"ipv4.routes.external": "198.51.100.0/28"}, "10.50.0.2"))
	plan, _ = Make(v)
	if len(plan.Imports) != 1 || plan.Imports[0].Peer != "up" || len(plan.Imports[0].Rules) != 1 {
		t.Errorf("%+v", plan.Imports)
	}
	var own []string
	for _, p := range plan.Own {
		own = append(own, p.String())
	}
	if want := []string{"10.50.0.0/24", "10.60.0.0/24", "198.51.100.0/28", "203.0.113.0/24", "2001:db8:53::53/128", "fd50::/64"}; !slices.Equal(own, want) {
		t.Errorf("own: %v, want %v", own, want)
	}
}

func TestAllMembersAskTheCaches(t *testing.T) {
	plan, _ := Make(view(t, &fabric.RPKI{Header: fabric.Header{Name: "a"}, Address: addr("192.0.2.50"), Expire: 7200},
		&fabric.RPKI{Header: fabric.Header{Name: "b"}, Address: addr("2001:db8::50"), Port: 8282}))
	want := []fabric.RoutingRPKI{
		{Name: "a", Endpoint: netip.MustParseAddrPort("192.0.2.50:323"), Expire: 7200}, {Name: "b", Endpoint: netip.MustParseAddrPort("[2001:db8::50]:8282")},
	}
	if !slices.Equal(plan.RPKI, want) {
		t.Errorf("%+v, want %+v", plan.RPKI, want)
	}
}
