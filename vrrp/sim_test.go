package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// sim runs machines on one virtual clock and one link with a delay, a loss schedule and partitions.
type sim struct {
	t       *testing.T
	now     time.Time
	names   []string
	nodes   map[string]*Machine
	dead    map[string]bool
	lose    func(at time.Duration, from, to string) bool
	queue   []frame
	log     strings.Builder
	quiet   bool // leave out the adverts that only repeat
	owners  func(at time.Duration, active []string)
	changes []string
	peers   map[string]*peerList // of those that advertise to single routers
	packets int                  // sent, one for each receiver
}

type frame struct {
	at       time.Time
	from, to string
	source   netip.Addr
	a        Advertisement
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const linkDelay = time.Millisecond

func newSim(t *testing.T) *sim {
	return &sim{t: t, now: epoch, nodes: map[string]*Machine{}, dead: map[string]bool{}, peers: map[string]*peerList{}}
}

// unicast makes a machine that advertises to single routers. It knows other members at those addresses.
func (s *sim) unicast(name string, members int, known []netip.Addr, change func(*Config)) *Machine {
	s.peers[name] = &peerList{}
	s.peers[name].configure(known, nil, members, func(netip.Addr) bool { return true })
	return s.add(name, func(c *Config) {
		c.Unicast, c.Hello = true, members > 0
		if change != nil {
			change(c)
		}
	})
}

// add makes a machine; its address is 192.0.2.x for the x-th one.
func (s *sim) add(name string, change func(*Config)) *Machine {
	c := baseConfig()
	s.names = append(s.names, name)
	c.Primary = netip.AddrFrom4([4]byte{192, 0, 2, byte(len(s.names))})
	if change != nil {
		change(&c)
	}
	s.nodes[name] = New(c, s.now)
	return s.nodes[name]
}

func baseConfig() Config {
	return Config{Priority: 100, Interval: time.Second, Preempt: true, Addresses: addrs("192.0.2.254"), Primary: netip.MustParseAddr("192.0.2.10")}
}

func (s *sim) elapsed() time.Duration { return s.now.Sub(epoch) }

// do carries out the actions of a machine.
func (s *sim) do(name string, actions []Action) {
	m := s.nodes[name]
	for _, action := range actions {
		send, isSend := action.(SendAdvertisement)
		if !isSend || !s.quiet {
			line := fmt.Sprintf("%8s %s: %s", s.elapsed().Truncate(time.Millisecond), name, action)
			fmt.Fprintln(&s.log, line)
		}
		if tr, ok := action.(Transition); ok {
			s.changes = append(s.changes, fmt.Sprintf("%s %s %s", name, tr.To, tr.Reason))
		}
		if _, hello := action.(SendHello); hello {
			s.aside(name, MessageHello, m.cfg.Addresses, s.peers[name].greet())
		}
		if !isSend {
			continue
		}
		for _, to := range s.names {
			if to == name || send.To.IsValid() && s.nodes[to].cfg.Primary != send.To || !send.To.IsValid() && !s.reaches(name, to) {
				continue
			}
			a := Advertisement{VRID: 1, Priority: send.Priority, Interval: m.cfg.Interval, Addresses: m.cfg.Addresses, Directed: send.To.IsValid()}
			s.queue = append(s.queue, frame{s.now.Add(linkDelay), name, to, m.cfg.Primary, a})
			s.packets++
		}
	}
}

// aside sends a message that is no advertisement.
func (s *sim) aside(from string, message Message, addresses, to []netip.Addr) {
	if len(addresses) == 0 {
		return
	}
	c := s.nodes[from].cfg
	for _, n := range s.names {
		if slices.Contains(to, s.nodes[n].cfg.Primary) {
			a := Advertisement{Message: message, VRID: 1, Priority: c.Priority, Interval: c.Interval, Addresses: addresses, Directed: true}
			s.queue = append(s.queue, frame{s.now.Add(linkDelay), from, n, c.Primary, a})
		}
	}
	s.packets += len(to)
}

// reaches tells whether what one sends to everybody is sent to another.
func (s *sim) reaches(from, to string) bool {
	return s.peers[from] == nil || slices.Contains(s.peers[from].all(), s.nodes[to].cfg.Primary)
}

// receive is what the driver does with an advertisement.
func (s *sim) receive(f frame) {
	m, peers := s.nodes[f.to], s.peers[f.to]
	if peers != nil {
		if !peers.hear(f.a, f.source, m.cfg.Addresses, func(netip.Addr) bool { return true }, s.now) {
			return
		}
		f.a.Directed = false
	}
	switch f.a.Message {
	case MessageHello:
		s.do(f.to, m.Hello(s.now, f.source))
		s.aside(f.to, MessageIntroduction, peers.introduce(f.source, s.now), []netip.Addr{f.source})
		return
	case MessageIntroduction:
		s.aside(f.to, MessageHello, m.cfg.Addresses, peers.introduced(f.a.Addresses, func(a netip.Addr) bool { return a != m.cfg.Primary }))
		return
	}
	s.do(f.to, m.Recv(s.now, f.a, f.source))
}

// run advances the clock to at after the epoch.
func (s *sim) run(at time.Duration) {
	s.t.Helper()
	end := epoch.Add(at)
	for steps := 0; ; steps++ {
		if steps > 200000 {
			s.t.Fatalf("machines do not come to rest:\n%s", s.log.String())
		}
		next := end.Add(1)
		for _, f := range s.queue {
			if f.at.Before(next) {
				next = f.at
			}
		}
		for _, n := range s.names {
			if d := s.nodes[n].Deadline(); !s.dead[n] && !d.IsZero() && d.Before(next) {
				next = d
			}
		}
		if next.After(end) {
			s.now = end
			return
		}
		if next.After(s.now) {
			s.now = next
		}
		s.step()
	}
}

func (s *sim) step() {
	var due, later []frame
	for _, f := range s.queue {
		if f.at.After(s.now) {
			later = append(later, f)
		} else {
			due = append(due, f)
		}
	}
	s.queue = later
	for _, f := range due {
		if s.dead[f.to] || s.lose != nil && s.lose(s.elapsed(), f.from, f.to) {
			continue
		}
		s.receive(f)
	}
	for _, n := range s.names {
		if d := s.nodes[n].Deadline(); !s.dead[n] && !d.IsZero() && !d.After(s.now) {
			s.do(n, s.nodes[n].Expire(s.now))
		}
	}
	if s.owners != nil {
		s.owners(s.elapsed(), s.active())
	}
}

func (s *sim) active() []string {
	var out []string
	for _, n := range s.names {
		if s.nodes[n].state == Active && !s.dead[n] {
			out = append(out, n)
		}
	}
	return out
}

func (s *sim) start() {
	for _, n := range s.names {
		s.do(n, s.nodes[n].Startup(s.now))
	}
}

func (s *sim) expectActive(want ...string) {
	s.t.Helper()
	if got := fmt.Sprint(s.active()); got != fmt.Sprint(want) {
		s.t.Fatalf("at %s active: %s, want %v\n%s", s.elapsed(), got, want, s.log.String())
	}
}

// expect compares the transitions since changes was emptied.
func (s *sim) expect(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.changes, want) {
		s.t.Fatalf("at %s transitions %q, want %q\n%s", s.elapsed(), s.changes, want, s.log.String())
	}
}
