package gobgp

import (
	"net/netip"
	"slices"
	"testing"

	"netfabric/fabric"
)

func TestBook(t *testing.T) {
	one, two := netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("203.0.113.2/32")
	six := netip.MustParsePrefix("2001:db8::1/128")
	both := &class{id: 1, told: map[string]fabric.PolicySet{"r1": {}, "r2": {}}}
	first := &class{id: 2, told: map[string]fabric.PolicySet{"r1": {}}}
	r1 := fabric.RoutingPeer{Name: "r1", Address: netip.MustParseAddr("192.0.2.1")}
	r2 := fabric.RoutingPeer{Name: "r2", Address: netip.MustParseAddr("192.0.2.2"), IPv4: true, IPv6: true}
	k := newBook()
	for _, step := range []struct {
		what string
		do   func()
		want []string // "peer prefix" of everything that has been told
	}{
		{"a path without a session", func() { k.put(one, both, false, 1) }, nil},
		{"the session comes", func() { k.session(r1, true) }, []string{"r1 " + one.String()}},
		{"another session", func() { k.session(r2, true) }, []string{"r1 " + one.String(), "r2 " + one.String()}},
		{"a family that only one carries", func() { k.put(six, both, false, 1) }, []string{"r1 " + one.String(), "r2 " + one.String(), "r2 " + six.String()}},
		{"there is no next hop for it", func() { k.speak(newClasses(), map[string]bool{"r2": true}) }, []string{"r1 " + one.String(), "r2 " + one.String()}},
		{"there is", func() { k.speak(newClasses(), nil) }, []string{"r1 " + one.String(), "r2 " + one.String(), "r2 " + six.String()}},
		{"a path that waits for a word", func() { k.put(two, both, true, 1) }, []string{"r1 " + one.String(), "r2 " + one.String(), "r2 " + six.String()}},
		{"it is the best, another is not", func() { k.rank(map[netip.Prefix]bool{one: true}) }, []string{"r1 " + two.String(), "r2 " + two.String(), "r2 " + six.String()}},
		{"all are", func() { k.rank(nil) }, []string{"r1 " + one.String(), "r1 " + two.String(), "r2 " + one.String(), "r2 " + two.String(), "r2 " + six.String()}},
		{"in another class", func() { k.put(one, first, false, 2) }, []string{"r1 " + one.String(), "r1 " + two.String(), "r2 " + two.String(), "r2 " + six.String()}},
		{"the same again", func() { k.put(one, first, false, 3) }, []string{"r1 " + one.String(), "r1 " + two.String(), "r2 " + two.String(), "r2 " + six.String()}},
		{"a session goes", func() { k.session(r1, false) }, []string{"r2 " + two.String(), "r2 " + six.String()}},
		{"a path goes", func() { k.remove(two); k.remove(two) }, []string{"r2 " + six.String()}},
		{"all is over", func() { k.clear(); k.session(r2, true) }, nil},
	} {
		step.do()
		var got []string
		for _, peer := range []string{"r1", "r2"} {
			n := 0
			for _, p := range []netip.Prefix{one, two, six} {
				if k.told(peer, p) {
					got = append(got, peer+" "+p.String())
					n++
				}
			}
			if sent := k.sent(peer); sent != n {
				t.Errorf("%s: %s has been told of %d, and counted are %d", step.what, peer, n, sent)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: told %q, want %q", step.what, got, step.want)
		}
	}
	if len(k.counts) != 0 {
		t.Errorf("counts of what is gone: %v", k.counts)
	}
}

func TestClassesAreTheSameForTheSamePeers(t *testing.T) {
	c := newClasses()
	med := uint32(7)
	a, fresh := c.of(Path{Peers: []string{"r1", "r2"}})
	if !fresh {
		t.Error("the first is not new")
	}
	for _, same := range []Path{{Peers: []string{"r2", "r1"}}, {Peers: []string{"r1", "r1", "r2"}}, {Peers: []string{"r1", "r2"}, Attributes: map[string]fabric.PolicySet{"r3": {MED: &med}}}} {
		if x, fresh := c.of(same); x != a || fresh {
			t.Errorf("%+v: another class", same)
		}
	}
	for _, other := range []Path{{Peers: []string{"r1"}}, {Peers: []string{"r1", "r2"}, Attributes: map[string]fabric.PolicySet{"r2": {MED: &med}}}} {
		if x, fresh := c.of(other); x == a || !fresh || x.id == a.id {
			t.Errorf("%+v: the same class", other)
		}
	}
	if x, fresh := c.of(Path{}); x != nil || fresh {
		t.Error("a path for nobody has a class")
	}
	c.keep(map[*class]bool{a: true})
	if len(c.known) != 1 {
		t.Errorf("%d classes kept", len(c.known))
	}
}

func TestMembersWithoutAnIPv6NextHop(t *testing.T) {
	member := func(name, address string) fabric.RoutingPeer {
		return fabric.RoutingPeer{Name: name, Address: netip.MustParseAddr(address), Mesh: true, IPv4: true, IPv6: true}
	}
	c := &Config{
		Peers:    []fabric.RoutingPeer{member("mesh:m2", "10.0.0.2"), member("mesh:m3", "10.0.0.3"), member("mesh:m4", "fd00::4"), {Name: "r1", Address: netip.MustParseAddr("10.0.0.9")}},
		NextHops: map[string]netip.Addr{"mesh:m2": netip.MustParseAddr("fd00::1")},
	}
	if got := hopless(c); len(got) != 1 || !got["mesh:m3"] {
		t.Errorf("%v", got)
	}
}
