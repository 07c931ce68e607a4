package fabric

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func members(names ...string) []Object {
	var all []Object
	for _, n := range names {
		all = append(all, &Member{Header: Header{Name: n}})
	}
	return all
}

// Each gateway of a spread set begins with another member, those of a sync set with the same; what fails is spread over who is left.
func TestGatewaySpread(t *testing.T) {
	set := func(change ...func(*Gateway)) (all []Object) {
		for i, name := range []string{"a", "b", "c", "d"} {
			g := testGateway(name, uint8(i+1))
			g.Spread = "lan"
			for _, f := range change {
				f(g)
			}
			all = append(all, g)
		}
		return all
	}
	for name, c := range map[string]struct {
		objects []Object
		want    string // the members of each gateway by name, best first
	}{
		"alone":    {append(members("n1", "n2"), set()[0]), "a:n1,n2"},
		"in turns": {append(members("n1", "n2", "n3"), set()...), "a:n1,n2,n3 b:n2,n3,n1 c:n3,n1,n2 d:n1,n2,n3"},
		"in order": {append(members("n1", "n2", "n3"), set(func(g *Gateway) { g.Members = []string{"n3", "n1"} })...), "a:n3,n1 b:n1,n3 c:n3,n1 d:n1,n3"},
		"pairs": {append(members("n1", "n2"), set(func(g *Gateway) { g.Sync = map[string]string{"a": "x", "b": "y", "c": "x", "d": "y"}[g.Name] })...),
			"a:n1,n2 b:n2,n1 c:n1,n2 d:n2,n1"},
		"one moved": {append(members("n1", "n2"), set(func(g *Gateway) {
			if g.Name == "a" {
				g.Preferred = "n2"
			}
		})...), "a:n2,n1 b:n2,n1 c:n1,n2 d:n2,n1"},
		"another set": {append(members("n1", "n2"), set(func(g *Gateway) {
			if g.Name == "a" {
				g.Spread = "other"
			}
		})...), "a:n1,n2 b:n1,n2 c:n2,n1 d:n1,n2"},
	} {
		s := snapshotWith(t, c.objects...)
		var got []string
		for _, g := range s.Gateways() {
			var names []string
			for _, r := range g.Ranking(s) {
				names = append(names, r.Member)
			}
			got = append(got, g.Name+":"+strings.Join(names, ","))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}

func TestGatewaySync(t *testing.T) {
	pair := func(change func(*Gateway)) error {
		a, b := testGateway("a", 1), testGateway("b", 2)
		a.Sync, b.Sync, b.Addresses = "edge", "edge", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
		change(b)
		tx := NewTx(snapshotWith(t, members("n1", "n2")...))
		for _, g := range []*Gateway{a, b} {
			if err := tx.Put(g); err != nil {
				return err
			}
		}
		_, _, err := tx.Finish(2)
		return err
	}
	for name, c := range map[string]struct {
		change func(*Gateway)
		reason string
	}{
		"the same":            {func(*Gateway) {}, ""},
		"another interval":    {func(g *Gateway) { g.Interval = 1000 }, ""},
		"another set":         {func(g *Gateway) { g.Sync, g.Members = "other", []string{"n2"} }, ""},
		"other members":       {func(g *Gateway) { g.Members = []string{"n2", "n1"} }, "sync-differs"},
		"other priorities":    {func(g *Gateway) { g.Priorities = map[string]int{"n1": 9} }, "sync-differs"},
		"another preferred":   {func(g *Gateway) { g.Preferred = "n2" }, "sync-differs"},
		"another delay":       {func(g *Gateway) { g.PreemptDelay = 5 }, "sync-differs"},
		"no preemption":       {func(g *Gateway) { g.NoPreempt = true }, "sync-differs"},
		"one of them spread":  {func(g *Gateway) { g.Spread = "lan" }, "sync-differs"},
		"a name that is none": {func(g *Gateway) { g.Sync = "%" }, "bad-name"},
		"spread priorities":   {func(g *Gateway) { g.Sync, g.Spread, g.Priorities = "", "lan", map[string]int{"n1": 9} }, "bad-set"},
	} {
		if err := pair(c.change); ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
		}
	}
	a, b := testGateway("a", 1), testGateway("b", 2)
	a.Members, a.Priorities, a.Preferred, a.PreemptDelay = []string{"n2", "n1"}, map[string]int{"n1": 9}, "n1", 7
	if !b.Free() || a.Free() {
		t.Error("what is free is not")
	}
	if b.Join(a); a.Differs(b) != "" {
		t.Errorf("joined, it differs in %s", a.Differs(b))
	}
}

func TestGatewaySetWarnings(t *testing.T) {
	a, b := testGateway("a", 1), testGateway("b", 2)
	a.Sync, a.Spread = "edge", "lan"
	s := snapshotWith(t, append(members("n1", "n2"), a, b)...)
	if text := fmt.Sprint(a.Warnings(s)); !strings.Contains(text, "nothing moves along") || !strings.Contains(text, "nothing is shared") {
		t.Errorf("alone: %s", text)
	}
	b.Spread, b.NoPreempt = "lan", true
	if text := fmt.Sprint(b.Warnings(s)); !strings.Contains(text, "stays on one member") {
		t.Errorf("without preemption: %s", text)
	}
}
