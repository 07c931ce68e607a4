package router

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/bgp/unnumbered"
	"netfabric/fabric"
)

// newUnnumbered is a member whose only uplink, eth9, has no addresses but link-local ones; the router's end is up0. neighbor are settings that the
// router has for it.
func newUnnumbered(t testing.TB, neighbor ...string) *member {
	t.Helper()
	s := &site{t: t}
	up := bgptest.NewNode(t, "up")
	up.IP("link add lan type bridge")
	up.IP("link set dev lan up")
	m := newMember(t, s, up, 1)
	s.members = []*member{m}
	up.Link("up0", m.node, "eth9")
	config := ""
	for _, setting := range neighbor {
		config += " neighbor up0 " + setting + "\n"
	}
	s.frr = bgptest.StartFRR(t, up, `
router bgp 65001
 bgp router-id 10.98.0.1
 no bgp ebgp-requires-policy
 bgp graceful-restart
 timers bgp 1 3
 neighbor up0 interface remote-as external
`+config+`
 address-family ipv6 unicast
  neighbor up0 activate
 exit-address-family
`)
	m.value.Peers = []fabric.RoutingPeer{{Name: "tor", Interface: "eth9", HoldTime: 3, GracefulRestart: 30}}
	for i := range m.value.Announcements {
		m.value.Announcements[i].Peers = []string{"tor"}
	}
	return m
}

// reached waits until the router has routes to both prefixes over the link.
func (m *member) reached() {
	m.t.Helper()
	for flag, prefix := range map[string]string{"-4": anycast4, "-6": anycast6} {
		bgptest.Eventually(m.t, 15*time.Second, func() string {
			if out := m.site.frr.Node.IP("%s route show %s", flag, prefix); !strings.Contains(out, "dev up0") || !m.peer("tor").Established() {
				return fmt.Sprintf("%s: %q; %+v", prefix, out, m.peer("tor"))
			}
			return ""
		})
	}
}

// waits waits until the worker says why it has no session.
func (m *member) waits(reason, text string) {
	m.t.Helper()
	bgptest.Eventually(m.t, 10*time.Second, func() string {
		if p := m.peer("tor"); p.State != "idle" || p.Hold != reason || !strings.Contains(p.LastError, text) {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

func TestUnnumbered(t *testing.T) {
	m := newUnnumbered(t, "timers connect 1")
	m.start()
	m.set()
	m.reached()
	p := m.peer("tor")
	if !p.Established() || p.Address.Zone() != "eth9" || !p.Address.IsLinkLocalUnicast() || p.ASN != 65001 || p.Lacks != "" || p.Warning != "" {
		t.Errorf("%+v", p)
	}

	t.Run("link down", func(t *testing.T) {
		m.node.IP("link set dev eth9 down")
		m.waits(fabric.ReasonNoNeighbor, "eth9 is down")
		m.node.IP("link set dev eth9 up")
		m.reached()
		if p := m.peer("tor"); p.Flaps != 1 {
			t.Errorf("%+v", p)
		}
	})

	t.Run("the worker is killed", func(t *testing.T) {
		watch := m.site.frr.Node.Watch()
		came4, came6 := watch.Until(anycast4, true, 10*time.Second), watch.Until(anycast6, true, 10*time.Second)
		m.end(syscall.SIGKILL)
		m.start()
		bgptest.Eventually(t, 10*time.Second, func() string {
			if p := m.peer("tor"); !p.Established() {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
		m.reached()
		if now4, now6 := watch.Until(anycast4, true, time.Second), watch.Until(anycast6, true, time.Second); now4 != came4 || now6 != came6 {
			t.Errorf("routes were not there all the time: since %s and %s, now since %s and %s", came4, came6, now4, now6)
		}
	})

	t.Run("the router calls", func(t *testing.T) {
		began := time.Now()
		m.value.Speaker.Listen = netip.MustParseAddrPort("[::]:179")
		m.value.Peers[0].Passive = true
		m.set()
		bgptest.Eventually(t, 15*time.Second, func() string {
			if p := m.peer("tor"); !p.Established() || !p.Since.After(began) {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
		m.value.Speaker.Listen, m.value.Peers[0].Passive = netip.AddrPort{}, false
		m.set()
		m.reached()
	})

	t.Run("no IPv6 next hops for IPv4", func(t *testing.T) {
		// FRR does without only where the neighbour is named by its address.
		us := linkLocal(m.node, "eth9")
		m.site.frr.Zebra("configure terminal", "interface up0", "no ipv6 nd suppress-ra")
		m.site.frr.Vtysh("configure terminal", "router bgp 65001", "no neighbor up0", "neighbor "+us+" remote-as external", "neighbor "+us+" interface up0",
			"address-family ipv6 unicast", "neighbor "+us+" activate")
		bgptest.Eventually(t, 10*time.Second, func() string {
			r := m.route(anycast4)
			if p := m.peer("tor"); !p.Established() || p.Lacks != fabric.FamilyIPv4 || !strings.Contains(p.Warning, "RFC 8950") || r.Peers[0].Reason != fabric.ReasonNoFamily {
				return fmt.Sprintf("%+v, %+v", p, r)
			}
			return ""
		})
		if paths := m.site.frr.Paths(anycast4); len(paths) > 0 {
			t.Errorf("the router has %+v", paths)
		}
		bgptest.Eventually(t, 5*time.Second, func() string {
			if len(m.site.frr.Paths(anycast6)) == 0 || !m.route(anycast6).Peers[0].Announced {
				return "no IPv6"
			}
			return ""
		})
		m.site.frr.Vtysh("configure terminal", "router bgp 65001", "neighbor "+us+" capability extended-nexthop", "end", "clear bgp *")
		m.reached()
	})

	t.Run("no neighbour", func(t *testing.T) {
		m.node.IP("link add eth8 type veth peer name eth7")
		m.node.IP("link set dev eth8 up")
		m.node.IP("link set dev eth7 up")
		m.value.Peers[0].Interface = "eth8"
		m.set()
		m.waits(fabric.ReasonNoNeighbor, "no router has been heard on eth8")
		m.value.Peers[0].Interface = "eth6"
		m.set()
		m.waits(fabric.ReasonNoNeighbor, "eth6 does not exist")
	})
}

// TestUnnumberedSecured has all that looks at addresses look at link-local ones.
func TestUnnumberedSecured(t *testing.T) {
	m := newUnnumbered(t, "password secret", "ttl-security hops 1", "bfd", "bfd 3 300 300")
	m.site.frr.StartBFD()
	p := &m.value.Peers[0]
	p.Password, p.GTSM, p.BFD = "secret", true, fabric.PeerBFD{Interval: 300, Multiplier: 3}
	m.value.Speaker.Listen = netip.MustParseAddrPort("[::]:179")
	m.start()
	m.set()
	m.reached()
	m.quickBFD()
	if out := m.node.Run("nft", "list", "table", "inet", filterTable); !strings.Contains(out, `iifname != "eth9"`) || !strings.Contains(out, "@near6") {
		t.Error(out)
	}
	p.Password = "wrong"
	m.set()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if p := m.peer("tor"); p.Established() || p.LastError == "" {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	p.Password = "secret"
	m.set()
	m.reached()
	// The path dies without a word, and BFD says so. The hold time is 3 s.
	m.quickBFD()
	flaps := m.peer("tor").BFD.Flaps
	began := time.Now()
	m.site.frr.Node.Run("nft", "add table netdev t; add chain netdev t c { type filter hook ingress device up0 priority 0; }; add rule netdev t c drop")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if p := m.peer("tor"); p.Established() || p.BFD == nil || p.BFD.Up() || p.BFD.Flaps == flaps {
			return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
		}
		return ""
	})
	t.Logf("session lost %s after the path", m.peer("tor").Since.Sub(began))
	m.site.frr.Node.Run("nft", "delete table netdev t")
	m.reached()
}

// quickBFD waits until BFD with the unnumbered peer has its final timers.
func (m *member) quickBFD() {
	m.t.Helper()
	bgptest.Eventually(m.t, 20*time.Second, func() string {
		if p := m.peer("tor"); !p.Established() || p.BFD == nil || !p.BFD.Up() || p.BFD.Detection != 900 {
			return fmt.Sprintf("%+v, BFD %+v\n%s", p, p.BFD, m.site.frr.BFD("show bfd peers"))
		}
		return ""
	})
}

// TestUnnumberedBIRD has the router be BIRD, which is given the member's address and advertises itself.
func TestUnnumberedBIRD(t *testing.T) {
	up := bgptest.NewNode(t, "up")
	up.IP("link add lan type bridge")
	m := newMember(t, &site{t: t}, up, 1)
	up.Link("eth1", m.node, "eth9")
	dir := t.TempDir()
	config, socket := filepath.Join(dir, "bird.conf"), filepath.Join(dir, "bird.ctl")
	text := fmt.Sprintf(`
router id 192.0.2.2;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
protocol radv { interface "eth1" { default lifetime 0; max ra interval 10; }; }
protocol bgp n1 {
  local as 65002;
  neighbor %s %% 'eth1' external;
  ipv4 { extended next hop on; import all; export none; };
  ipv6 { import all; export none; };
}
`, linkLocal(m.node, "eth9"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	up.Start("bird", "-f", "-c", config, "-s", socket)
	m.value.Peers = []fabric.RoutingPeer{{Name: "tor", Interface: "eth9", ASN: 65002, HoldTime: 3, GracefulRestart: 30}}
	for i := range m.value.Announcements {
		m.value.Announcements[i].Peers = []string{"tor"}
	}
	m.start()
	m.set()
	for flag, prefix := range map[string]string{"-4": anycast4, "-6": anycast6} {
		bgptest.Eventually(t, 20*time.Second, func() string {
			if out := up.IP("%s route show %s", flag, prefix); !strings.Contains(out, "dev eth1") {
				return fmt.Sprintf("%s: %q; %+v", prefix, out, m.peer("tor"))
			}
			return ""
		})
	}
}

// linkLocal is the link-local address of an interface.
func linkLocal(n *bgptest.Node, name string) string {
	return strings.Split(strings.Fields(n.IP("-6 -br address show dev %s scope link", name))[2], "/")[0]
}

func TestResolve(t *testing.T) {
	at := netip.MustParseAddr
	peers := []fabric.RoutingPeer{
		{Name: "far", Address: at("192.0.2.1")}, {Name: "a", Interface: "eth1"}, {Name: "b", Interface: "eth2"}, {Name: "c", Interface: "eth3"}, {Name: "d", Interface: "eth4"},
	}
	found := map[string]unnumbered.State{
		"eth1": {Neighbour: at("fe80::1%eth1"), Rival: at("fe80::9%eth1")}, "eth2": {Neighbour: at("fe80::1%eth2")}, "eth3": {Why: "interface eth3 is down"}, "eth4": {Neighbour: at("fe80::4%eth4")},
	}
	resolved, missing := resolve(fabric.Routing{Peers: peers}, found)
	var got []string
	for _, p := range resolved {
		got = append(got, fmt.Sprintf("%s %s %s", p.Name, p.Address, missing[p.Name].reason))
	}
	if want := "far 192.0.2.1 ; a fe80::1%eth1 ; b invalid IP same-neighbor; c invalid IP no-neighbor; d fe80::4%eth4 "; strings.Join(got, "; ") != want {
		t.Errorf("%q", got)
	}
	if missing["c"].message != "interface eth3 is down" || !strings.Contains(missing["b"].message, "as the one on eth1") {
		t.Errorf("%+v", missing)
	}
	if left := there(resolved, missing); len(left) != 3 {
		t.Errorf("%+v", left)
	}
	if w := rivalWarning(resolved[1], found); !strings.Contains(w, "fe80::9, is on eth1") || rivalWarning(resolved[4], found) != "" {
		t.Error(w)
	}
	// Losses are counted once, when the wait begins.
	l := losses{}
	state := []fabric.PeerState{{Name: "c", State: "established", Flaps: 2}, {Name: "d", State: "established"}}
	l.note(state, missing, map[string]hold{})
	l.note(state, missing, missing)
	if l["c"] != 3 || l["d"] != 0 {
		t.Errorf("%v", l)
	}
	l["c@192.0.2.1"] = 1
	if l.keep(peers); len(l) != 2 {
		t.Errorf("%v", l)
	}
	if l.keep(peers[:1]); len(l) != 0 {
		t.Errorf("%v", l)
	}
}
