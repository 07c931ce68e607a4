package gobgp_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// set reads attributes as the API has them.
func set(t *testing.T, text string) (s fabric.PolicySet) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// seen waits until a router has one path for a prefix, with the given attributes.
func seen(t *testing.T, r *bgptest.FRR, prefix, want string) {
	t.Helper()
	bgptest.Eventually(t, 5*time.Second, func() string {
		got := "nothing"
		if paths := r.Paths(prefix); len(paths) == 1 {
			p := paths[0]
			got = fmt.Sprintf("path %s med %d communities %q large %q", p.ASPath.String, p.MED, p.Community.String, p.LargeCommunity.String)
		}
		if got != want {
			return fmt.Sprintf("%s at %s: %s, want %s", prefix, r.Node.Name, got, want)
		}
		return ""
	})
}

const plain = `path 65010 med 0 communities "" large ""`

func TestAttributesGoToTheirPeerOnly(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1"), peer("six", "fd99:1::1")}
	rich := set(t, `{"med":70,"prepend":2,"add_communities":["65010:1","no-export","65010:1:2"]}`)
	a, b, c := path("203.0.113.1/32", "one", "two"), path("203.0.113.2/32", "one", "two"), path("2001:db8::1/128", "six")
	a.Attributes = map[string]fabric.PolicySet{"one": rich}
	b.Attributes = map[string]fabric.PolicySet{"two": set(t, `{"med":5}`)}
	c.Attributes = map[string]fabric.PolicySet{"six": set(t, `{"add_communities":["graceful-shutdown"],"next_hop":"fd99:1::77"}`)}
	s.config.Paths = []gobgp.Path{a, b, c}
	s.apply()
	s.established("one", "two", "six")
	const decorated = `path 65010 65010 65010 med 70 communities "65010:1 no-export" large "65010:1:2"`
	seen(t, one, "203.0.113.1/32", decorated)
	seen(t, two, "203.0.113.1/32", plain)
	seen(t, one, "203.0.113.2/32", plain)
	seen(t, two, "203.0.113.2/32", `path 65010 med 5 communities "" large ""`)
	seen(t, one, "2001:db8::1/128", `path 65010 med 0 communities "graceful-shutdown" large ""`)
	gateway(t, one.Node, "2001:db8::1/128", "fd99:1::77")

	// The attributes change, the session stays.
	a.Attributes = map[string]fabric.PolicySet{"two": rich}
	s.config.Paths = []gobgp.Path{a, b, c}
	s.apply()
	seen(t, one, "203.0.113.1/32", plain)
	seen(t, two, "203.0.113.1/32", decorated)
	seen(t, two, "203.0.113.2/32", `path 65010 med 5 communities "" large ""`)
	if n := one.Neighbor("10.99.1.2"); n.Dropped != 0 {
		t.Errorf("the session was reset: %+v", n)
	}
}

// accepted waits until a number of what a peer announces is accepted.
func (s *speaker) accepted(name string, received, accepted int) {
	s.t.Helper()
	bgptest.Eventually(s.t, 12*time.Second, func() string {
		if p := s.peer(name); p.Received != received || p.Accepted != accepted {
			return fmt.Sprintf("%d accepted of %d received, want %d of %d", p.Accepted, p.Received, accepted, received)
		}
		return ""
	})
}

// A peer's path that is preferred to ours is what the others would have to be told of, and they are not: ours is no longer announced, and that is said.
func TestBeatenPathIsNotTold(t *testing.T) {
	one, two := router(t, "r1", "10.99.1", "fd99:1"), router(t, "r2", "10.99.2", "fd99:2")
	two.Vtysh("configure terminal", "router bgp 65001", "neighbor 10.99.2.2 local-as 65002 no-prepend replace-as")
	prefix := netip.MustParsePrefix("198.51.100.0/24")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	s.config.Peers[1].ASN = 65002 // to a peer of the AS that it is from, GoBGP neither tells the other path nor takes ours back
	s.config.Imports = []fabric.Import{{Peer: "one", Rules: []fabric.PolicyRule{{Action: fabric.PolicyAccept, Set: set(t, `{"local_pref":200}`)}}}}
	s.config.Paths = []gobgp.Path{path(prefix.String(), "two"), path("203.0.113.1/32", "two")}
	s.apply()
	s.established("one", "two")
	told := func(want bool, sent int) {
		t.Helper()
		gateway(t, two.Node, prefix.String(), map[bool]string{true: "10.99.2.2"}[want])
		bgptest.Eventually(t, 12*time.Second, func() string {
			var got bool
			s.Told(func(told func(string, netip.Prefix) bool) { got = told("two", prefix) })
			if n := s.peer("two").Sent; got != want || n != sent {
				return fmt.Sprintf("told: %t, and %d in all", got, n)
			}
			return ""
		})
	}
	told(true, 2)
	one.Vtysh("configure terminal", "router bgp 65001", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.0/24")
	told(false, 1)
	// Announced anew while the other is there: not for a moment is it said to have been told.
	s.config.Paths = s.config.Paths[1:]
	s.apply()
	told(false, 1)
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "two"), path(prefix.String(), "two")}
	s.apply()
	told(false, 1)
	one.Vtysh("configure terminal", "router bgp 65001", "address-family ipv4 unicast", "no network 198.51.100.0/24")
	told(true, 2)
}

func TestImportPolicies(t *testing.T) {
	frr := router(t, "r1", "10.99.1", "fd99:1")
	two := router(t, "r2", "10.99.2", "fd99:2")
	frr.Vtysh("configure terminal",
		"bgp community-list standard none permit internet",
		"route-map tag permit 10", "set community 65001:7 0:1", "set as-path prepend 3320", "exit",
		"route-map loop permit 10", "set as-path prepend 65010", "exit",
		"router bgp 65001", "no bgp network import-check", "address-family ipv4 unicast",
		"network 0.0.0.0/0", "network 198.51.100.0/24 route-map tag", "network 198.51.100.128/25", "network 192.0.2.0/24 route-map loop",
		"network 127.1.0.0/16", "network 10.50.0.0/24", "network 10.50.0.7/32", "network 172.16.0.0/12")
	s := newSpeaker(t)
	s.config.Peers = []fabric.RoutingPeer{peer("one", "10.99.1.1"), peer("two", "10.99.2.1")}
	// A path of ours is of the class that the neighbour's community names.
	s.config.Paths = []gobgp.Path{path("203.0.113.1/32", "two"), path("10.50.0.0/24", "two")}
	s.config.Own = []netip.Prefix{netip.MustParsePrefix("10.50.0.0/24")}
	s.apply()
	s.established("one", "two")
	s.accepted("one", 8, 0)
	for _, c := range []struct {
		name, rules string
		want        int
	}{
		// Never: the path with our AS number, the martian, and two in our own address space.
		{"all", `[{"action":"accept"}]`, 4},
		{"default only", `[{"match":{"prefixes":["0.0.0.0/0","::/0"]},"action":"accept"}]`, 1},
		{"ge and le", `[{"match":{"prefixes":["0.0.0.0/0 ge 12 le 24"]},"action":"accept"}]`, 2},
		{"le of one prefix", `[{"match":{"prefixes":["198.51.100.0/24 le 32"]},"action":"accept"}]`, 2},
		{"first decides", `[{"match":{"prefixes":["198.51.100.0/24 le 32"]},"action":"reject"},{"action":"accept"}]`, 2},
		{"community", `[{"match":{"communities":["65001:7","1:2:3"]},"action":"accept"}]`, 1},
		{"AS path", `[{"match":{"as_path":"_3320_"},"action":"accept","set":{"add_communities":["65010:9","65010:1:9"],"remove_communities":["65001:7","1:2:3"],"local_pref":200,"med":7,"prepend":2}}]`, 1},
		{"AS path that is not there", `[{"match":{"as_path":"^3320_"},"action":"accept"}]`, 0},
		{"AS path of one", `[{"match":{"as_path":"^65001$"},"action":"accept"}]`, 3},
		{"next hop", `[{"match":{"next_hops":["10.99.1.0/24"]},"action":"accept"}]`, 4},
		{"another next hop", `[{"match":{"next_hops":["10.99.2.0/24"]},"action":"accept"}]`, 0},
		{"other family", `[{"match":{"family":"ipv6"},"action":"accept"}]`, 0},
		{"family", `[{"match":{"family":"ipv4"},"action":"accept"}]`, 4},
	} {
		var rules []fabric.PolicyRule
		if err := json.Unmarshal([]byte(c.rules), &rules); err != nil {
			t.Fatal(err)
		}
		s.config.Imports = []fabric.Import{{Peer: "one", Rules: rules}}
		s.apply()
		t.Log(c.name)
		s.accepted("one", 8, c.want)
	}
	// What has come in goes out to nobody, and what we announce ourselves still does.
	gateway(t, two.Node, "203.0.113.1/32", "10.99.2.2")
	gateway(t, two.Node, "10.50.0.0/24", "10.99.2.2")
	for _, prefix := range []string{"198.51.100.0/24", "172.16.0.0/12"} {
		if paths := two.Paths(prefix); len(paths) != 0 {
			t.Errorf("what one peer announced went to the other: %+v", paths)
		}
	}
	s.config.Imports = nil
	s.apply()
	s.accepted("one", 8, 0)
	if n := frr.Neighbor("10.99.1.2"); n.Dropped != 0 {
		t.Errorf("the session was reset: %+v", n)
	}
}
