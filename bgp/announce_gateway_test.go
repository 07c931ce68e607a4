package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// TestAnnounceGateways: members of a gateway offer the subnets behind it on the condition that they are Active, others nothing.
func TestAnnounceGateways(t *testing.T) {
	gateway := func(name string, announce bool, members string, addresses ...string) *fabric.Gateway {
		g := &fabric.Gateway{Header: fabric.Header{Name: name}, Interface: "eth-" + name, VRID: 7, Interval: 100, Announce: announce}
		for _, a := range addresses {
			g.Addresses = append(g.Addresses, netip.MustParsePrefix(a))
		}
		if members != "" {
			g.Members = strings.Split(members, ",")
		}
		return g
	}
	member := func(name string, groups ...string) *fabric.Member {
		return &fabric.Member{Header: fabric.Header{Name: name}, Groups: groups}
	}
	both := []string{"198.51.100.1/24", "2001:db8:51::1/64"}
	policy := func(action fabric.PolicyAction, m fabric.PolicyMatch) []fabric.Object {
		return []fabric.Object{
			&fabric.Policy{Header: fabric.Header{Name: "p"}, Rules: []fabric.PolicyRule{{Match: m, Action: action}, {Action: fabric.PolicyAccept}}},
			&fabric.Peer{Header: fabric.Header{Name: "tor4"}, Address: addr("192.0.2.1"), ASN: 65001, Export: "p"},
		}
	}
	none := &fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "none", "ipv6.address": "none"}}
	for _, c := range []struct {
		name    string
		objects []fabric.Object
		want    string
	}{
		{"of both families", []fabric.Object{gateway("lan", true, "", both...)},
			"yes 198.51.100.0/24 gateway/lan to tor4 while Active for lan\nyes 2001:db8:51::/64 gateway/lan to tor6 while Active for lan"},
		{"not to be announced", []fabric.Object{gateway("lan", false, "", both...)}, ""},
		{"of other members", []fabric.Object{member("m2"), gateway("lan", true, "m2", both...)}, ""},
		{"of a group that this member is in", []fabric.Object{member("m1", "edge"), gateway("lan", true, "group:edge", both[0])},
			"yes 198.51.100.0/24 gateway/lan to tor4 while Active for lan"},
		{"of a group that it is not in", []fabric.Object{member("m1", "core"), gateway("lan", true, "group:edge", both[0])}, ""},
		{"several addresses of a subnet", []fabric.Object{gateway("lan", true, "", "198.51.100.1/24", "198.51.100.2/24", "fe80::1/64")},
			"yes 198.51.100.0/24 gateway/lan to tor4 while Active for lan"},
		{"two gateways of one subnet", []fabric.Object{gateway("b", true, "", "198.51.100.2/24"), gateway("a", true, "", "198.51.100.1/24")},
			"yes 198.51.100.0/24 gateway/a to tor4 while Active for a\nno 198.51.100.0/24 gateway/b prefix-owned-by-other: 198.51.100.0/24 is announced on this member for gateway/a"},
		{"outside the address space", []fabric.Object{gateway("lan", true, "", both...), &fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{
			"core.bgp_asn": "65010", "bgp.prefixes": "2001:db8::/32"}}},
			"yes 198.51.100.0/24 gateway/lan to  while Active for lan\nwithheld 198.51.100.0/24 tor4 outside-bgp-prefixes\nyes 2001:db8:51::/64 gateway/lan to tor6 while Active for lan"},
		{"kind that a policy rejects", append(policy(fabric.PolicyReject, fabric.PolicyMatch{Kinds: []fabric.AnnouncementKind{fabric.AnnounceGateway}}), gateway("lan", true, "", both[0])),
			"yes 198.51.100.0/24 gateway/lan to  while Active for lan\nwithheld 198.51.100.0/24 tor4 policy"},
		{"owner that a policy rejects", append(policy(fabric.PolicyReject, fabric.PolicyMatch{Owners: []string{"gateway/other"}}), gateway("lan", true, "", both[0])),
			"yes 198.51.100.0/24 gateway/lan to tor4 while Active for lan"},
	} {
		objects := append([]fabric.Object{member("m1"), none}, c.objects...)
		plan, ready := Make(view(t, objects...))
		if !ready {
			t.Fatalf("%s: not ready", c.name)
		}
		var got []string
		for _, a := range plan.Announcements {
			line := "yes " + a.Prefix.String() + " " + a.Owner.String() + " to " + strings.Join(a.Peers, ",")
			if a.Gateway != "" {
				line += " while Active for " + a.Gateway
			}
			got = append(got, line)
			for _, w := range a.Withheld {
				got = append(got, "withheld "+a.Prefix.String()+" "+w.Peer+" "+w.Reason)
			}
		}
		for _, r := range plan.Refused {
			if r.Kind == fabric.AnnounceGateway {
				got = append(got, "no "+r.Prefix.String()+" "+r.Owner.String()+" "+r.Reason+": "+r.Message)
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), c.want)
		}
	}
}

// TestOwnSubnetsOfGateways: what is announced for a gateway is not learned from outside.
func TestOwnSubnetsOfGateways(t *testing.T) {
	g := &fabric.Gateway{Header: fabric.Header{Name: "lan"}, Interface: "eth1", VRID: 7, Interval: 100, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}}
	for _, g.Announce = range []bool{true, false} {
		if got := slices.Contains(own(view(t, g)), netip.MustParsePrefix("198.51.100.0/24")); got != g.Announce {
			t.Errorf("announced: %v, our own: %v", g.Announce, got)
		}
	}
}
