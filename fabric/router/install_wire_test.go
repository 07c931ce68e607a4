package router

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// upstreams are a member on one link with two routers of different AS numbers, 10.98.0.1 and .2, fd98::1 and ::2, that have a default route for it.
type upstreams struct {
	*member
	t       testing.TB
	routers [2]*bgptest.FRR
}

func newUpstreams(t testing.TB) *upstreams {
	t.Helper()
	lan := bgptest.NewNode(t, "lan")
	lan.IP("link add lan type bridge")
	lan.IP("link set dev lan up")
	u := &upstreams{member: newMember(t, &site{t: t}, lan, 1), t: t}
	u.node.IP("route del default")
	u.node.IP("-6 route del default")
	u.value.Peers, u.value.Announcements = nil, nil
	for n := 1; n <= 2; n++ {
		r := bgptest.NewNode(t, fmt.Sprintf("r%d", n))
		lan.Link(fmt.Sprintf("r%d", n), r, "eth0")
		lan.IP("link set dev r%d master lan", n)
		r.Address("eth0", fmt.Sprintf("10.98.0.%d/24", n), fmt.Sprintf("fd98::%d/64", n))
		u.routers[n-1] = bgptest.StartFRR(t, r, fmt.Sprintf(`
router bgp 6500%[1]d
 bgp router-id 10.98.0.%[1]d
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time 30
 timers bgp 1 3
 neighbor 10.98.0.11 remote-as 65010
 neighbor 10.98.0.11 passive
 neighbor fd98::11 remote-as 65010
 neighbor fd98::11 passive
 address-family ipv4 unicast
  redistribute kernel
  neighbor 10.98.0.11 activate
  neighbor 10.98.0.11 default-originate
 exit-address-family
 address-family ipv6 unicast
  redistribute kernel
  neighbor fd98::11 activate
  neighbor fd98::11 default-originate
 exit-address-family
`, n))
		for family, address := range map[string]string{"4": "10.98.0.%d", "6": "fd98::%d"} {
			name := fmt.Sprintf("r%d-v%s", n, family)
			u.value.Peers = append(u.value.Peers, fabric.RoutingPeer{
				Name: name, Address: netip.MustParseAddr(fmt.Sprintf(address, n)), ASN: uint32(65000 + n), HoldTime: 3, GracefulRestart: 5,
			})
			u.value.Imports = append(u.value.Imports, fabric.Import{Peer: name, Rules: []fabric.PolicyRule{{Action: fabric.PolicyAccept}}})
		}
	}
	return u
}

// install has the routes of all peers installed so.
func (u *upstreams) install(i fabric.PeerInstall) {
	for n := range u.value.Peers {
		u.value.Peers[n].PeerInstall = i.Full()
	}
	u.set()
}

// routes waits until the kernel's routes to a prefix have these next hops, in a table.
func (u *upstreams) routes(table, prefix, want string, bound time.Duration) {
	u.t.Helper()
	defer func() {
		if u.t.Failed() {
			answer, err := u.client.Routes(context.Background(), fabric.BGPQuery{Table: fabric.BGPInstalled}.Default())
			u.t.Logf("%+v, %v\n%s", answer, err, u.node.IP("-N -6 route show table all"))
		}
	}()
	bgptest.Eventually(u.t, bound, func() string {
		if got := u.hops(table, prefix); got != want {
			return fmt.Sprintf("%s in table %s goes to %q, want %q", prefix, table, got, want)
		}
		return ""
	})
}

func (u *upstreams) hops(table, prefix string) string {
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	var found []string
	for line := range strings.Lines(u.node.Run("sh", "-c", fmt.Sprintf("ip -N %s route show table %s proto 160 exact %s 2>/dev/null || true", family, table, prefix))) {
		fields := strings.Fields(line)
		for n, f := range fields {
			if f == "via" && n+1 < len(fields) {
				found = append(found, fields[n+1])
			}
		}
	}
	return strings.Join(found, " ")
}

// outcome waits until all paths to a prefix have this outcome: a slug, or none where they are in the kernel.
func (u *upstreams) outcome(prefix, reason string) {
	u.t.Helper()
	q := fabric.BGPQuery{Table: fabric.BGPInstalled, Prefix: netip.MustParsePrefix(prefix)}.Default()
	bgptest.Eventually(u.t, 5*time.Second, func() string {
		answer, err := u.client.Routes(u.t.Context(), q)
		if err != nil || len(answer.Routes) == 0 {
			return fmt.Sprint(answer, err)
		}
		for _, r := range answer.Routes {
			if r.Prefix == q.Prefix && (r.Reason != reason || (reason == "") != (len(r.Hops) > 0)) {
				return fmt.Sprintf("%+v", r)
			}
		}
		return ""
	})
}

const (
	both4 = "10.98.0.1 10.98.0.2"
	both6 = "fd98::1 fd98::2"
)

func TestDefaultRouteOverTwoUpstreams(t *testing.T) {
	u := newUpstreams(t)
	u.start()
	u.install(fabric.PeerInstall{})
	u.outcome("0.0.0.0/0", fabric.ReasonInstallNone)
	u.install(fabric.PeerInstall{Install: fabric.InstallDefault})
	u.routes("main", "0.0.0.0/0", both4, 5*time.Second)
	u.routes("main", "::/0", both6, 5*time.Second)
	u.outcome("::/0", "")
	for n, r := range u.routers {
		r.Node.IP("route add blackhole 203.0.113.%d", n)
	}
	u.outcome("203.0.113.1/32", fabric.ReasonNotDefault)
	bgptest.Eventually(t, 5*time.Second, func() string {
		s, err := u.client.State(t.Context())
		if err != nil || len(s.Tables) != 1 || s.Tables[0] != (fabric.TableState{Table: "main", Routes: 2}) || len(s.Peers) != 4 || s.Peers[0].Installed != 1 {
			return fmt.Sprintf("%+v, %v", s, err)
		}
		return ""
	})
	// What somebody takes away comes back.
	u.node.IP("route del default")
	u.routes("main", "0.0.0.0/0", both4, 5*time.Second)
	u.node.IP("-6 route flush proto 160")
	u.routes("main", "::/0", both6, 5*time.Second)
	// So it does after the interface was down, which takes routes away without a word.
	u.node.IP("link set dev eth0 down")
	u.routes("main", "0.0.0.0/0", "", 5*time.Second)
	u.node.IP("link set dev eth0 up")
	u.node.Address("eth0", "fd98::11/64")
	u.routes("main", "0.0.0.0/0", both4, 10*time.Second)
	u.routes("main", "::/0", both6, 10*time.Second)
	u.node.IP("route add 192.0.2.0/24 via 10.98.0.1 metric 5000 proto static")
	// Into another table, and all of them.
	u.install(fabric.PeerInstall{Install: fabric.InstallAll, Table: "1234", Metric: 7})
	u.routes("1234", "0.0.0.0/0", both4, 5*time.Second)
	u.routes("1234", "203.0.113.1/32", "10.98.0.2", 5*time.Second)
	u.routes("main", "0.0.0.0/0", "", 5*time.Second)
	u.install(fabric.PeerInstall{Install: fabric.InstallAll, Table: "no-such-table"})
	u.outcome("0.0.0.0/0", fabric.ReasonTableUnknown)
	u.routes("1234", "0.0.0.0/0", "", 5*time.Second)
	// A route of somebody else stays, with the same metric in the way and with another one.
	u.node.IP("route add 203.0.113.1 via 10.98.0.1 metric 2000 proto static")
	u.install(fabric.PeerInstall{Install: fabric.InstallAll})
	u.outcome("203.0.113.1/32", fabric.ReasonForeignRoute)
	u.node.IP("route del 203.0.113.1")
	u.routes("main", "203.0.113.1/32", "10.98.0.2", 5*time.Second)
	u.install(fabric.PeerInstall{})
	u.routes("main", "203.0.113.1/32", "", 5*time.Second)
	u.routes("main", "0.0.0.0/0", "", 5*time.Second)
	if got, _ := u.node.Gateways("192.0.2.0/24"); len(got) != 1 {
		t.Errorf("the route of somebody else is %v", got)
	}
}

func TestRoutesStayWhileSomebodyRestarts(t *testing.T) {
	u := newUpstreams(t)
	for n := range u.value.Peers {
		u.value.Peers[n].GracefulRestart = 30 // sessions come back one after the other
	}
	u.start()
	u.install(fabric.PeerInstall{Install: fabric.InstallAll})
	u.routers[0].Node.IP("route add blackhole 203.0.113.1")
	u.routes("main", "203.0.113.1/32", "10.98.0.1", 10*time.Second)
	u.routes("main", "0.0.0.0/0", both4, 10*time.Second)
	u.routes("main", "::/0", both6, 10*time.Second)
	events := u.node.Start("ip", "-o", "monitor", "route")
	defer events.Process.Kill()

	// The worker is killed. What the router no longer tells is removed once it has told everything else.
	u.end(syscall.SIGKILL)
	u.routers[0].Node.IP("route del blackhole 203.0.113.1")
	u.start()
	u.routes("main", "203.0.113.1/32", "", 25*time.Second)
	if got := u.hops("main", "0.0.0.0/0"); got == "" {
		t.Error("the default route went with the worker")
	}
	u.routes("main", "0.0.0.0/0", both4, 10*time.Second)

	// A router is killed: it may be restarting, and its routes stay for that time.
	u.routers[1].Kill()
	down := time.Now()
	bgptest.Eventually(t, 10*time.Second, func() string {
		s, err := u.client.State(t.Context())
		if err != nil {
			return err.Error()
		}
		for _, p := range s.Peers {
			if p.Name == "r2-v4" && p.Established() {
				return "r2 is still there"
			}
		}
		return ""
	})
	if got := u.hops("main", "0.0.0.0/0"); got != both4 {
		t.Errorf("%s after its end the routes of a router that may be restarting are %q", time.Since(down), got)
	}
	u.routers[1].Start()
	bgptest.Eventually(t, 15*time.Second, func() string {
		if got := u.hops("main", "0.0.0.0/0"); got != both4 {
			t.Errorf("while a router restarts its route is gone: %q", got)
		}
		s, err := u.client.State(t.Context())
		if err != nil {
			return err.Error()
		}
		for _, p := range s.Peers {
			if !p.Established() {
				return p.Name + " is not established"
			}
		}
		return ""
	})

	// The worker ends for good, without a peer: routes stay in the kernel, as all routes do.
	u.end(syscall.SIGTERM)
	if got := u.hops("main", "::/0"); got != both6 {
		t.Errorf("after the worker's end the kernel has %q", got)
	}
}
