package router

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bfd"
	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// serveEnv makes the test binary an HTTP server on addresses, as the service of an instance.
const serveEnv = "ROUTER_TEST_SERVE"

func TestMain(m *testing.M) {
	if addresses := os.Getenv(serveEnv); addresses != "" {
		for a := range strings.SplitSeq(addresses, ",") {
			serveAt(a)
		}
		select {}
	}
	bgptest.Main(m, func() { os.RemoveAll(programDir) })
}

// programDir has what program built.
var programDir = filepath.Join(os.TempDir(), fmt.Sprintf("fabric-router-%d", os.Getpid()))

// program is fabric-router, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "fabric-router")
	out, err := exec.Command("go", "build", "-o", path, "netfabric/cmd/fabric-router").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

const (
	anycast4 = "203.0.113.53/32"
	anycast6 = "2001:db8:53::53/128"
)

// site is an FRR router with members on one link: the router is .1, member n is .1n.
type site struct {
	t       testing.TB
	frr     *bgptest.FRR
	members []*member
}

// member is a host with a worker, and a bridge network of its own with one instance.
type member struct {
	t        testing.TB
	site     *site
	number   int
	node     *bgptest.Node
	instance *bgptest.Node
	init     *exec.Cmd // of the instance
	worker   *exec.Cmd
	dir      string
	client   *Client
	value    fabric.Routing
}

// newSite makes a site. neighbor are settings that the router has for each neighbor.
func newSite(t testing.TB, members int, neighbor ...string) *site {
	t.Helper()
	s := &site{t: t}
	up := bgptest.NewNode(t, "up")
	up.IP("link add lan type bridge")
	up.IP("link set dev lan up")
	up.Address("lan", "10.98.0.1/24", "fd98::1/64")
	var config, four, six strings.Builder
	for n := 1; n <= members; n++ {
		s.members = append(s.members, newMember(t, s, up, n))
		fmt.Fprintf(&config, " neighbor 10.98.0.1%[1]d remote-as 65010\n neighbor 10.98.0.1%[1]d passive\n neighbor fd98::1%[1]d remote-as 65010\n neighbor fd98::1%[1]d passive\n", n)
		for _, setting := range neighbor {
			fmt.Fprintf(&config, " neighbor 10.98.0.1%[1]d %[2]s\n neighbor fd98::1%[1]d %[2]s\n", n, setting)
		}
		fmt.Fprintf(&four, "  neighbor 10.98.0.1%d activate\n", n)
		fmt.Fprintf(&six, "  neighbor fd98::1%d activate\n", n)
	}
	s.frr = bgptest.StartFRR(t, up, `
router bgp 65001
 bgp router-id 10.98.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
 timers bgp 1 3
`+config.String()+`
 address-family ipv4 unicast
  maximum-paths 8
`+four.String()+` exit-address-family
 address-family ipv6 unicast
  maximum-paths 8
`+six.String()+` exit-address-family
`)
	return s
}

func newMember(t testing.TB, s *site, up *bgptest.Node, n int) *member {
	m := &member{t: t, site: s, number: n, node: bgptest.NewNode(t, fmt.Sprintf("m%d", n)), dir: t.TempDir()}
	up.Link(fmt.Sprintf("lan%d", n), m.node, "eth0")
	up.IP("link set dev lan%d master lan", n)
	m.node.Address("eth0", fmt.Sprintf("10.98.0.1%d/24", n), fmt.Sprintf("fd98::1%d/64", n))
	m.node.IP("route add default via 10.98.0.1")
	m.node.IP("route add default via fd98::1")
	m.node.IP("link add br0 type bridge")
	m.node.IP("link set dev br0 up")
	m.node.Address("br0", m.net4()+".1/24", m.net6()+"::1/64")
	m.instance = bgptest.NewNode(t, fmt.Sprintf("i%d", n))
	m.plug()
	m.instance.Address("lo", anycast4, anycast6)
	m.init = m.instance.Start("sleep", "infinity")
	m.settled()
	m.client = NewClient(m.socket())
	m.value = m.anycast(nil)
	t.Cleanup(m.endBFD) // after the worker, which would start it again
	return m
}

// endBFD ends the BFD process that the worker may have left behind, as it does.
func (m *member) endBFD() {
	r, err := bfd.Connect(bfd.RemoteOptions{Socket: filepath.Join(m.state(), "bfd.socket")})
	if err != nil {
		return // there is none
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.Shutdown(ctx) // it is gone in any case: its neighbour may be, too
}

// settled waits until the instance's first process is in the instance's namespace.
func (m *member) settled() {
	m.t.Helper()
	bgptest.Eventually(m.t, 2*time.Second, func() string {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.init.Process.Pid)); err != nil || string(name) != "sleep\n" {
			return fmt.Sprintf("%s, %v", name, err)
		}
		return ""
	})
}

func (m *member) net4() string   { return fmt.Sprintf("10.50.%d", m.number) }
func (m *member) net6() string   { return fmt.Sprintf("fd50:%d", m.number) }
func (m *member) socket() string { return filepath.Join(m.dir, "router.sock") }
func (m *member) state() string  { return filepath.Join(m.dir, "state") }

// plug connects the instance with the bridge.
func (m *member) plug() {
	m.node.Link("veth0", m.instance, "eth0")
	m.node.IP("link set dev veth0 master br0")
	m.instance.Address("eth0", m.net4()+".10/24", m.net6()+"::10/64")
	m.instance.IP("route add default via %s.1", m.net4())
	m.instance.IP("route add default via %s::1", m.net6())
}

// serve starts the service of the instance on the anycast addresses only, and waits until it answers on both.
func (m *member) serve() *exec.Cmd {
	m.t.Helper()
	c := m.instance.Start("env", serveEnv+"=203.0.113.53:80,[2001:db8:53::53]:80", os.Args[0])
	for _, prefix := range []string{anycast4, anycast6} {
		bgptest.Eventually(m.t, 5*time.Second, func() string {
			if err := dialFrom(m.instance, prefix); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	return c
}

// dialFrom tells whether a host reaches the service at an address.
func dialFrom(n *bgptest.Node, prefix string) error {
	ns, err := os.Open("/run/netns/" + n.Name)
	if err != nil {
		return err
	}
	defer ns.Close()
	conn, err := dialIn(ns, netip.AddrPortFrom(netip.MustParsePrefix(prefix).Addr(), 80), time.Now().Add(2*time.Second))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (m *member) process(c *exec.Cmd) fabric.Process {
	m.t.Helper()
	start, err := ProcessStart(c.Process.Pid)
	if err != nil {
		m.t.Fatal(err)
	}
	return fabric.Process{PID: c.Process.Pid, Start: start}
}

// anycast is a value that announces the service, of which the instance is a copy.
func (m *member) anycast(check *fabric.Check) fabric.Routing {
	m.t.Helper()
	owner := fabric.Key{Kind: fabric.KindAnycast, Name: "web"}
	process := m.process(m.init)
	c := func(via string) []fabric.Copy {
		return []fabric.Copy{{Instance: "web1", Device: "eth0", Link: "veth0", Dev: "br0", Via: netip.MustParseAddr(via), Process: process, Check: check}}
	}
	return fabric.Routing{
		Member:   fmt.Sprintf("m%d", m.number),
		Revision: 1,
		Speaker:  &fabric.Speaker{ASN: 65010, RouterID: netip.MustParseAddr(fmt.Sprintf("10.98.0.1%d", m.number))},
		Peers: []fabric.RoutingPeer{
			{Name: "up4", Address: netip.MustParseAddr("10.98.0.1"), ASN: 65001, HoldTime: 3, GracefulRestart: 30},
			{Name: "up6", Address: netip.MustParseAddr("fd98::1"), ASN: 65001, HoldTime: 3, GracefulRestart: 30},
		},
		Announcements: []fabric.Announcement{
			{Prefix: netip.MustParsePrefix(anycast4), Kind: fabric.AnnounceAnycast, Owner: owner, Peers: []string{"up4"}, Copies: c(m.net4() + ".10"), Route: true},
			{Prefix: netip.MustParsePrefix(anycast6), Kind: fabric.AnnounceAnycast, Owner: owner, Peers: []string{"up6"}, Copies: c(m.net6() + "::10"), Route: true},
		},
	}
}

// start starts the worker and waits until it can be asked.
func (m *member) start() {
	m.t.Helper()
	path, err := program()
	if err != nil {
		m.t.Fatal(err)
	}
	m.worker = m.node.Start(path, "--socket", m.socket(), "--state", m.state())
	m.reachable()
}

func (m *member) reachable() {
	m.t.Helper()
	bgptest.Eventually(m.t, 5*time.Second, func() string {
		if err := m.client.Healthy(m.t.Context()); err != nil {
			return err.Error()
		}
		return ""
	})
}

// set gives the worker its value.
func (m *member) set() {
	m.t.Helper()
	if _, err := m.client.Set(m.t.Context(), m.value); err != nil {
		m.t.Fatal(err)
	}
}

// end sends the worker a signal and waits until it is gone.
func (m *member) end(s syscall.Signal) {
	m.t.Helper()
	m.worker.Process.Signal(s)
	m.worker.Wait()
}

// route is what the worker says of a prefix.
func (m *member) route(prefix string) fabric.RouteState {
	m.t.Helper()
	state, err := m.client.State(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range state.Routes {
		if r.Prefix == netip.MustParsePrefix(prefix) {
			return r
		}
	}
	return fabric.RouteState{}
}

// says waits until the worker gives a reason for a prefix, with a message that contains text.
func (m *member) says(prefix, reason, text string) fabric.RouteState {
	m.t.Helper()
	var r fabric.RouteState
	bgptest.Eventually(m.t, 5*time.Second, func() string {
		if r = m.route(prefix); r.Reason != reason || !strings.Contains(r.Message, text) {
			return fmt.Sprintf("want reason %q, message %q: %+v", reason, text, r)
		}
		return ""
	})
	return r
}

func (s *site) gateways(prefix, want string) {
	s.t.Helper()
	bgptest.Eventually(s.t, 10*time.Second, func() string {
		if got, _ := s.frr.Node.Gateways(prefix); strings.Join(got, " ") != want {
			return fmt.Sprintf("%s goes to %q, want %q", prefix, got, want)
		}
		return ""
	})
}
