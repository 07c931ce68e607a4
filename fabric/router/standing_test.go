package router

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// TestStanding drives the machine by words: active, taking (over), backup, fault and silence are heard, down is the interface, and a number of
// milliseconds passes. After each word it says whether the subnet is announced, or why not.
func TestStanding(t *testing.T) {
	words := map[string]heard{
		"active": {known: true, active: true, ready: true}, "taking": {known: true, active: true}, "silence": {message: "nothing is heard"}, "down": {},
		"backup": {known: true, reason: fabric.ReasonGatewayBackup, message: "n2 is Active"}, "fault": {known: true, reason: fabric.ReasonGatewayFault, message: "track"},
	}
	for _, c := range []struct {
		name   string
		stood  bool // an earlier run announced it
		linger time.Duration
		story  string
		want   string
	}{
		{"takes over with its addresses", false, gatewayLinger, "silence backup taking active", "unknown backup backup up"},
		{"moved away", false, gatewayLinger, "active backup 999 1", "up up up backup"},
		{"moved away, with no way of its own", false, shortLinger, "active backup 199 1", "up up up backup"},
		{"moved away and back", false, gatewayLinger, "active backup 900 active 5000 backup 999 taking 5000", "up up up up up up up up up"},
		{"a fault lingers as well", false, gatewayLinger, "active fault 999 1", "up up up fault"},
		{"the interface does not", false, gatewayLinger, "active down", "up fault"},
		{"the interface during a linger", false, gatewayLinger, "active backup 10 down", "up up up fault"},
		{"the interface comes back", false, gatewayLinger, "active down active", "up fault up"},
		{"fault becomes backup", false, gatewayLinger, "fault backup fault", "fault backup fault"},
		{"the process is started again", false, gatewayLinger, "active silence 4999 active 4000 silence 4999", "up up up up up up up"},
		{"the process stays away", false, gatewayLinger, "active silence 4999 1", "up up up unknown"},
		{"it comes back as Backup", false, gatewayLinger, "active silence 3000 backup 999 1", "up up up up up backup"},
		{"it goes away during a linger", false, gatewayLinger, "active backup 900 silence 99 1", "up up up up up unknown"},
		{"nothing was known, and nothing is", false, gatewayLinger, "silence 5000 active", "unknown unknown up"},
		{"the worker is started again", true, gatewayLinger, "silence 100 active", "up up up"},
		{"and another took over meanwhile", true, gatewayLinger, "silence 100 backup 999 1", "up up up up backup"},
		{"and nothing is heard", true, gatewayLinger, "silence 4999 1", "up up unknown"},
	} {
		s, now, last := &standing{up: c.stood}, time.Unix(1e9, 0), heard{}
		down := ""
		var got []string
		for word := range strings.FieldsSeq(c.story) {
			if h, ok := words[word]; ok {
				last, down = h, ""
				if word == "down" {
					down = "interface eth1 is down"
				}
			} else {
				ms, err := time.ParseDuration(word + "ms")
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(ms)
				if at, ok := s.Deadline(); ok && now.Equal(at) == (s.up && now.Before(at)) {
					t.Fatalf("%s: the deadline is %v at %v", c.name, at, now)
				}
			}
			before := *s
			changed := s.Judge(last, down, func() time.Duration { return c.linger }, now)
			if changed != (before.up != s.up || before.reason != s.reason || before.message != s.message) {
				t.Errorf("%s: %s: changed is %v", c.name, word, changed)
			}
			if s.up == (s.reason != "") || s.up == (s.message != "") {
				t.Errorf("%s: %s: %+v", c.name, word, s)
			}
			if s.Judge(last, down, func() time.Duration { return c.linger }, now) {
				t.Errorf("%s: %s: a repeat changes something", c.name, word)
			}
			if s.up {
				got = append(got, "up")
			} else {
				got = append(got, strings.TrimPrefix(s.reason, "gateway-"))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, strings.Join(got, " "), c.want)
		}
	}
}

const hosts4, hosts6 = "198.51.100.0/24", "2001:db8:51::/64"

// behind has the members be the gateway of a segment, and announce it. In IPv6 they have no address of their own there but the link-local one.
func behind(s *site) {
	hosts := bgptest.NewNode(s.t, "hosts")
	hosts.IP("link add lan type bridge")
	hosts.IP("link set lan up")
	for _, m := range s.members {
		hosts.Link(fmt.Sprintf("port%d", m.number), m.node, "hosts0")
		hosts.IP("link set port%d master lan", m.number)
		m.node.Address("hosts0", fmt.Sprintf("198.51.100.1%d/24", m.number))
		owner := fabric.Key{Kind: fabric.KindGateway, Name: "lan"}
		m.value.Announcements = []fabric.Announcement{
			{Prefix: netip.MustParsePrefix(hosts4), Kind: fabric.AnnounceGateway, Owner: owner, Peers: []string{"up4"}, Gateway: "lan"},
			{Prefix: netip.MustParsePrefix(hosts6), Kind: fabric.AnnounceGateway, Owner: owner, Peers: []string{"up6"}, Gateway: "lan"},
		}
		m.value.Gateways = []fabric.RoutingGateway{{Name: "lan", Interface: "hosts0", VRID: 51, Interval: 100, Priority: 200 - m.number, NoPreempt: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("2001:db8:51::1/64")}}}
		s.t.Cleanup(m.endGateways) // after the worker, which would start it again
		m.start()
	}
}

// endGateways ends the process of the gateways that the worker has left behind, as it does.
func (m *member) endGateways() {
	process := NewClient(filepath.Join(m.state(), "vrrp", "socket"))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := process.call(ctx, http.MethodPost, "/leave", nil, nil); err != nil {
		return // there is none
	}
	bgptest.Eventually(m.t, 5*time.Second, func() string {
		if process.Healthy(ctx) == nil {
			return "the process of the gateways goes on"
		}
		return ""
	})
}

// TestSubnetFollowsTheGateway: FRR has the subnet behind a gateway by the Active alone, and never by nobody while it is moved or a worker dies.
func TestSubnetFollowsTheGateway(t *testing.T) {
	s := newSite(t, 2)
	behind(s)
	m1, m2 := s.members[0], s.members[1]
	m1.set()
	s.gateways(hosts4, "10.98.0.11")
	m2.set()
	for _, prefix := range []string{hosts4, hosts6} {
		m1.says(prefix, "", "")
		m2.says(prefix, fabric.ReasonGatewayBackup, "is Active for gateway lan")
	}
	six := func(want string) string {
		t.Helper()
		var got []string
		bgptest.Eventually(t, 10*time.Second, func() string {
			if got, _ = s.frr.Node.Gateways(hosts6); len(got) != 1 || got[0] == want {
				return fmt.Sprintf("%s goes to %q, want one that is not %q", hosts6, got, want)
			}
			return ""
		})
		return got[0]
	}
	first := six("")
	watch := s.frr.Node.Watch()
	kept := func(what string) {
		t.Helper()
		if n := watch.Gone(hosts4); n > 0 {
			t.Errorf("%s: FRR was without %s %d times", what, hosts4, n)
		}
	}

	// A worker that is killed comes back to a gateway that it knows nothing of yet.
	m1.end(syscall.SIGKILL)
	m1.start()
	if r := m1.route(hosts4); !r.Up || r.Reason == fabric.ReasonGatewayUnknown {
		t.Errorf("after the restart: %+v", r)
	}
	m1.says(hosts4, "", "")
	kept("worker killed")

	knows := func(m, other *member) {
		t.Helper()
		state, err := other.client.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var own []netip.Addr
		for _, r := range state.Gateways[0].Routers {
			own = append(own, r.Primary)
		}
		m.value.Gateways[0].Successors = []fabric.GatewaySuccessor{{Member: "to", Addresses: own}}
		m.set()
	}
	hand := func(from, to *member) {
		t.Helper()
		knows(from, to)
		if err := from.client.Handover(t.Context(), "lan", "to"); err != nil {
			t.Fatal(err)
		}
	}
	hand(m1, m2)
	s.gateways(hosts4, "10.98.0.12")
	second := six(first)
	m1.says(hosts4, fabric.ReasonGatewayBackup, "198.51.100.12 is Active for gateway lan")
	kept("moved")

	// A member is taken out while it is Active: it hands over, and is heard of until somebody else is.
	hand(m2, m1)
	s.gateways(hosts4, "10.98.0.11")
	if got := six(second); got != first {
		t.Errorf("%s goes to %s, and went to %s before", hosts6, got, first)
	}
	knows(m1, m2)
	gateways, announcements := m1.value.Gateways, m1.value.Announcements
	m1.value.Gateways, m1.value.Announcements = nil, nil
	m1.set()
	s.gateways(hosts4, "10.98.0.12")
	kept("taken out")
	m1.value.Gateways, m1.value.Announcements = gateways, announcements
	m1.set()
	m1.says(hosts4, fabric.ReasonGatewayBackup, "198.51.100.12 is Active for gateway lan")

	// The interface goes: no linger, and the other takes over.
	began := time.Now()
	m2.node.IP("link set hosts0 down")
	m2.says(hosts4, fabric.ReasonGatewayFault, "hosts0 is down")
	s.gateways(hosts4, "10.98.0.11")
	t.Logf("%s goes to the other member %s after the interface went down", hosts4, time.Since(began).Round(time.Millisecond))
}

// TestAnnouncementNeedsItsGateway: a value in which the gateway of an announcement is missing is refused.
func TestAnnouncementNeedsItsGateway(t *testing.T) {
	a := fabric.Announcement{Prefix: netip.MustParsePrefix(hosts4), Kind: fabric.AnnounceGateway, Gateway: "lan"}
	if err := validate(fabric.Routing{Announcements: []fabric.Announcement{a}}); fabric.ReasonOf(err) != "bad-gateway" {
		t.Error(err)
	}
}
