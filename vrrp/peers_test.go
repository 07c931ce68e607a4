package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// oneOwner has a test fail when two are Active for longer than a frame is on its way.
func (s *sim) oneOwner() {
	since := time.Duration(-1)
	s.owners = func(at time.Duration, active []string) {
		switch {
		case len(active) < 2:
			since = -1
		case since < 0:
			since = at
		case at > since+linkDelay:
			s.t.Fatalf("%s are Active since %s\n%s", active, since, s.log.String())
		}
	}
}

// TestNewAddress: a member whose address the others do not know is no second Active, whatever its priority is, and takes its part later.
func TestNewAddress(t *testing.T) {
	a, b := addrs("192.0.2.1")[0], addrs("192.0.2.2")[0]
	for _, p := range []uint8{100, 250} {
		t.Run(fmt.Sprintf("priority %d", p), func(t *testing.T) {
			s := newSim(t)
			s.unicast("a", 2, []netip.Addr{b}, priority(200))
			s.unicast("b", 2, []netip.Addr{a}, priority(150))
			s.unicast("c", 2, []netip.Addr{a, b}, priority(p))
			for _, n := range []string{"a", "b"} {
				s.do(n, s.nodes[n].Startup(s.now))
			}
			s.run(9500 * time.Millisecond)
			s.expectActive("a")
			s.oneOwner()
			s.changes = nil
			s.do("c", s.nodes["c"].Startup(s.now))
			s.run(30 * time.Second)
			if p < 200 {
				s.expect("c backup startup")
			} else {
				s.expect("c backup startup", "c active preempt", "a backup better-active")
			}
			best := s.active()[0]
			s.changes = nil
			s.dead[best] = true
			s.run(60 * time.Second)
			if len(s.active()) != 1 || len(s.changes) != 1 {
				t.Errorf("active %s, transitions %s", s.active(), s.changes)
			}
		})
	}
}

// TestChangedAddress: whoever's address changes, and whatever the others still believe it to be, nothing moves.
func TestChangedAddress(t *testing.T) {
	for _, who := range []string{"a", "b"} {
		t.Run(who, func(t *testing.T) {
			s := newSim(t)
			s.quiet = true
			known := addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")
			s.unicast("a", 2, []netip.Addr{known[1], known[2]}, priority(200))
			s.unicast("b", 2, []netip.Addr{known[0], known[2]}, priority(150))
			s.unicast("c", 2, known[:2], nil)
			s.start()
			s.run(9500 * time.Millisecond)
			s.expectActive("a")
			s.changes = nil
			for i := range 5 {
				c := s.nodes[who].Config()
				c.Primary = netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
				s.do(who, s.nodes[who].SetConfig(s.now, c))
				s.run(s.elapsed() + 10*time.Second)
			}
			s.expect()
			if n := len(s.peers["c"].learned); n > 2 {
				t.Errorf("%d addresses were learned of two members", n)
			}
			before := s.packets
			s.run(s.elapsed() + 10*time.Second)
			if sent := s.packets - before; sent != 20 {
				t.Errorf("%d packets in 10 s at rest", sent)
			}
		})
	}
}

// TestHello: it is said at the start and while nobody is heard, and not in a quiet life. An Active answers it.
func TestHello(t *testing.T) {
	m := newBackup(func(c *Config) { c.Hello = true })
	want(t, m.Expire(at(time.Second)), SendHello{})
	want(t, m.Recv(at(1100*time.Millisecond), advert(200, time.Second), lower))
	for i := range 10 {
		now := at(1100*time.Millisecond + time.Duration(i)*time.Second)
		want(t, m.Expire(now))
		m.Recv(now, advert(200, time.Second), lower)
	}
	silent := m.Heard().At
	want(t, m.Expire(silent.Add(1500*time.Millisecond)), SendHello{})
	want(t, m.Expire(silent.Add(2500*time.Millisecond)), SendHello{})
	want(t, m.Hello(silent.Add(2600*time.Millisecond), higher))
	if m.Deadline() != silent.Add(3500*time.Millisecond) {
		t.Errorf("next at %s", m.Deadline().Sub(silent))
	}
	m = newBackup(func(c *Config) { c.Hello = true })
	m.Recv(epoch, advert(200, time.Second), lower)
	c := m.Config()
	c.Primary = higher
	want(t, m.SetConfig(at(100*time.Millisecond), c), SendHello{})
	want(t, m.Startup(at(200*time.Millisecond)))

	if got := fmt.Sprint(New(c, epoch).Startup(epoch)); got != "[initialize -> backup (startup) hello]" {
		t.Error(got)
	}
	active := newActive(nil)
	want(t, active.Hello(at(100*time.Millisecond), lower), SendAdvertisement{Priority: 100, To: lower})
	want(t, active.Hello(at(101*time.Millisecond), lower))
}

// TestFirstStart: members of which only one knows the other's address make one Active.
func TestFirstStart(t *testing.T) {
	for _, p := range []uint8{100, 250} {
		s := newSim(t)
		s.unicast("a", 1, nil, priority(200))
		s.unicast("b", 1, addrs("192.0.2.1"), priority(p))
		s.oneOwner()
		s.start()
		s.run(20 * time.Second)
		if len(s.active()) != 1 {
			t.Errorf("active %s\n%s", s.active(), s.log.String())
		}
	}
}

// TestIntroductions: of three members only one is known to the others, and not known to be Active. They meet by it, whoever is best, and nothing goes round.
func TestIntroductions(t *testing.T) {
	for best := range 3 {
		s := newSim(t)
		s.quiet = true
		for i, name := range []string{"a", "b", "c"} {
			known := addrs("192.0.2.2", "192.0.2.99", "192.0.2.98") // and two that are nobody's
			if name == "b" {
				known = known[1:]
			}
			s.unicast(name, 2, known, func(c *Config) {
				c.Priority = uint8(100 + i)
				if i == best {
					c.Priority = 200
				}
			})
		}
		s.oneOwner()
		s.start()
		s.run(2 * time.Second)
		if s.packets > 200 {
			t.Errorf("%d packets", s.packets)
		}
		s.run(20 * time.Second)
		s.expectActive(s.names[best])
		s.changes = nil
		s.dead[s.names[best]] = true
		s.run(40 * time.Second)
		if len(s.active()) != 1 || len(s.changes) != 1 {
			t.Errorf("active %s, transitions %s", s.active(), s.changes)
		}
	}
}

// TestLossWithNewAddresses: whatever is lost, once the link is good there is one Active, the best.
func TestLossWithNewAddresses(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		loss := r.Float64()
		s := newSim(t)
		s.quiet = true
		s.lose = func(at time.Duration, _, _ string) bool { return at < time.Minute && r.Float64() < loss }
		known := addrs("192.0.2.101", "192.0.2.102", "192.0.2.103")
		for i, name := range []string{"a", "b", "c"} {
			next := (i + 1) % 3
			s.unicast(name, 2, known[next:next+1], func(c *Config) { // each knows one other
				c.Priority, c.Refresh = uint8(100+20*i), 5*time.Second
				c.Interval = time.Duration(1+r.IntN(100)) * IntervalUnit
				c.Primary = known[i]
			})
		}
		s.start()
		s.run(30 * time.Second)
		who := string(rune('a' + r.IntN(3)))
		c := s.nodes[who].Config()
		c.Primary = netip.MustParseAddr("192.0.2.77")
		s.do(who, s.nodes[who].SetConfig(s.now, c))
		s.run(75 * time.Second)
		if active := s.active(); len(active) != 1 || active[0] != "c" {
			t.Fatalf("seed %d: active %v", seed, active)
		}
		before := len(s.changes)
		s.run(100 * time.Second)
		if len(s.changes) != before {
			t.Fatalf("seed %d: changes on a good link: %v", seed, s.changes[before:])
		}
	}
}

// TestStrangers: who can't be a member at a new address is not heard.
func TestStrangers(t *testing.T) {
	ours := parent{All: addrs("192.0.2.2", "192.0.2.9", "fe80::2"), Subnets: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("198.51.100.0/31")}}
	good := advert(100, time.Second)
	other := good
	other.Addresses = addrs("192.0.2.253")
	for name, tc := range map[string]struct {
		a       Advertisement
		from    string
		members int
		heard   bool
	}{
		"a member":              {good, "192.0.2.7", 1, true},
		"on a link of two":      {good, "198.51.100.1", 1, true},
		"configured":            {advert(0, time.Second), "203.0.113.7", 0, true},
		"no other member":       {good, "192.0.2.7", 0, false},
		"of another subnet":     {good, "198.51.100.7", 1, false},
		"ourselves":             {good, "192.0.2.9", 1, false},
		"a network's address":   {good, "192.0.2.0", 1, false},
		"everybody":             {good, "192.0.2.255", 1, false},
		"link-local":            {good, "fe80::7", 1, true},
		"IPv6 from afar":        {good, "2001:db8::7", 1, false},
		"farewell":              {advert(0, time.Second), "192.0.2.7", 1, false},
		"owner":                 {advert(255, time.Second), "192.0.2.7", 1, false},
		"of other addresses":    {other, "192.0.2.7", 1, false},
		"ourselves with IPv6":   {good, "fe80::2", 1, false},
		"IPv6 group as address": {good, "ff02::12", 1, false},
	} {
		var p peerList
		p.configure(addrs("203.0.113.7"), nil, tc.members, ours.neighbour)
		from := netip.MustParseAddr(tc.from)
		if got := p.hear(tc.a, from, good.Addresses, ours.neighbour, epoch); got != tc.heard || slices.Contains(p.all(), from) != tc.heard {
			t.Errorf("%s: heard %t", name, got)
		}
	}

}

// TestPeerListIsBounded: what comes from the wire neither fills memory nor has us send without end.
func TestPeerListIsBounded(t *testing.T) {
	ours := parent{All: addrs("192.0.2.2", "192.0.2.9"), Subnets: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}}
	good := advert(100, time.Second)
	var p peerList
	p.configure(addrs("192.0.2.7", "192.0.2.8"), addrs("192.0.2.8"), 2, ours.neighbour)
	if got := p.introduced(addrs("192.0.2.20"), ours.neighbour); got != nil {
		t.Errorf("who has not said hello greets %s", got)
	}
	if got := fmt.Sprint(p.greet()); got != "[192.0.2.7]" {
		t.Errorf("greets %s", got)
	}
	if got := fmt.Sprint(p.introduced(addrs("192.0.2.7", "192.0.2.8", "192.0.2.9", "198.51.100.9", "192.0.2.20"), ours.neighbour)); got != "[192.0.2.20]" {
		t.Errorf("greets also %s", got)
	}
	if got := p.introduced(addrs("192.0.2.20"), ours.neighbour); got != nil {
		t.Errorf("greets again %s", got)
	}
	for i := range 200 {
		p.introduced([]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(40 + i)})}, ours.neighbour)
	}
	if len(p.greeted) > 8 {
		t.Errorf("%d greeted in a round", len(p.greeted))
	}
	for i, want := range []int{1, 0, 1} { // at 0, 6 and 12 ms
		if got := p.introduce(addrs("192.0.2.33")[0], at(time.Duration(6*i)*time.Millisecond)); len(got) != want {
			t.Errorf("%d: told of %s", i, got)
		}
	}
	if got := p.introduce(addrs("192.0.2.7")[0], epoch); len(got) != 0 {
		t.Errorf("told of itself: %s", got)
	}

	p = peerList{}
	p.configure(nil, nil, 2, ours.neighbour)
	for i := range 100 {
		p.hear(good, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), good.Addresses, ours.neighbour, epoch)
	}
	p.hear(good, addrs("192.0.2.108")[0], good.Addresses, ours.neighbour, at(time.Minute))
	if got := fmt.Sprint(p.all()); got != "[192.0.2.109 192.0.2.108]" {
		t.Errorf("learned %s", got)
	}
	p.forget(at(peerMemory + time.Second))
	if got := fmt.Sprint(p.all()); got != "[192.0.2.108]" {
		t.Errorf("after long %s", got)
	}
	p.configure(addrs("192.0.2.108"), nil, 2, ours.neighbour)
	if got := fmt.Sprint(p.all()); got != "[192.0.2.108]" || len(p.learned) != 0 {
		t.Errorf("configured %s, learned %v", got, p.learned)
	}
}
