package vrrp

import (
	"maps"
	"testing"
	"time"
)

func TestStrays(t *testing.T) {
	a4, a6, b4, c4 := routerKey{"eth0", IPv4, 1}, routerKey{"eth0", IPv6, 1}, routerKey{"eth1", IPv4, 2}, routerKey{"eth2", IPv4, 3}
	at := func(k routerKey, member string) seat {
		name := map[routerKey]string{a4: "a", a6: "a", b4: "b", c4: "c"}[k]
		if member == "here" {
			return seat{set: "edge", gateway: name, key: k, here: true}
		}
		return seat{set: "edge", gateway: name, key: k, member: member}
	}
	other := at(c4, "here")
	other.set = "other"
	for _, tc := range []struct {
		name  string
		seats []seat
		want  map[routerKey]string
	}{
		{"none", nil, nil},
		{"all here", []seat{at(a4, "here"), at(b4, "here")}, nil},
		{"all elsewhere", []seat{at(a4, "n2"), at(b4, "n2")}, nil},
		{"the first is elsewhere", []seat{at(b4, "here"), at(a4, "n2")}, map[routerKey]string{b4: "n2"}},
		{"the first is here", []seat{at(b4, "n2"), at(a4, "here")}, nil},
		{"where the first is is not known", []seat{at(a4, ""), at(b4, "here"), at(c4, "n2")}, nil},
		{"one of three", []seat{at(a4, "n2"), at(b4, "n3"), at(c4, "here")}, map[routerKey]string{c4: "n2"}},
		{"a family of the first", []seat{at(a6, "here"), at(a4, "n2")}, map[routerKey]string{a6: "n2"}},
		{"another set", []seat{at(a4, "n2"), at(b4, "n2"), other}, nil},
	} {
		if got := strays(tc.seats); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestStraysConverge: whatever members hold a set, all that move go to one place, and nobody moves once all are there.
func TestStraysConverge(t *testing.T) {
	members := []string{"n1", "n2", "n3"}
	keys := []routerKey{{"eth0", IPv4, 1}, {"eth1", IPv4, 2}, {"eth2", IPv4, 3}}
	for n := range 27 {
		active := map[routerKey]string{keys[0]: members[n%3], keys[1]: members[n/3%3], keys[2]: members[n/9]}
		first := active[keys[0]]
		moves := func() (all map[routerKey]string) {
			all = map[routerKey]string{}
			for _, m := range members {
				var seats []seat
				for i, k := range keys {
					s := seat{set: "edge", gateway: string(rune('a' + i)), key: k, here: active[k] == m}
					if !s.here {
						s.member = active[k]
					}
					seats = append(seats, s)
				}
				maps.Copy(all, strays(seats))
			}
			return all
		}
		maps.Copy(active, moves())
		for k, m := range active {
			if m != first {
				t.Errorf("%d: %s is Active on %s, the first on %s", n, k, m, first)
			}
		}
		if again := moves(); len(again) > 0 {
			t.Errorf("%d: moves on: %v", n, again)
		}
	}
}

func TestStraySettles(t *testing.T) {
	var s stray
	now := time.Unix(0, 0)
	wait := settle([]time.Duration{100 * time.Millisecond, 300 * time.Millisecond})
	if wait != splitSettle+1200*time.Millisecond {
		t.Fatalf("settles in %s", wait)
	}
	for _, step := range []struct {
		after  time.Duration
		member string
		move   bool
		lasts  bool
	}{
		{0, "", false, false},
		{time.Second, "n2", false, false},
		{time.Second, "n2", false, false},
		{time.Second, "n3", false, false}, // begins anew
		{wait - time.Millisecond, "n3", false, false},
		{time.Millisecond, "n3", true, true},
		{wait, "n3", false, true}, // it has been offered
		{wait, "n3", true, true},
		{3 * wait, "n3", false, true},
		{wait, "n3", true, true},
		{time.Second, "", false, false},
		{time.Second, "n3", false, false},
	} {
		now = now.Add(step.after)
		if move := s.look(now, step.member, wait); move != step.move || s.lasts != step.lasts {
			t.Fatalf("at %s, %q: move %t, lasts %t", now.Sub(time.Unix(0, 0)), step.member, move, s.lasts)
		}
	}
}
