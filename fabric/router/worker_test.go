package router

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

func TestServiceIsReachedInBothFamilies(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.serve()
	m.value = m.anycast(&fabric.Check{Type: fabric.CheckHTTP, Port: 80, Path: "/", Interval: 100, Timeout: 100, Rise: 2, Fall: 2})
	m.start()
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	s.gateways(anycast6, "fd98::11")
	for _, prefix := range []string{anycast4, anycast6} {
		if err := dialFrom(s.frr.Node, prefix); err != nil {
			t.Errorf("service at %s: %v", prefix, err)
		}
	}
	bgptest.Eventually(t, 2*time.Second, func() string {
		r := m.route(anycast4)
		if !r.Up || r.Reason != "" || len(r.Peers) != 1 || !r.Peers[0].Announced || !r.Copies[0].Healthy {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	info, err := os.Stat(m.state() + "/routing.json")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kept value: %v, %v", info, err)
	}
}

func TestDeathWithdrawsFromTheRouter(t *testing.T) {
	const bound = time.Second // far below the hold time; how fast it is, the benchmark tells
	for _, c := range []struct {
		name, reason string
		kill         func(m *member)
	}{
		{"interface deleted", fabric.ReasonLinkDown, func(m *member) { m.node.IP("link del veth0") }},
		{"interface down", fabric.ReasonLinkDown, func(m *member) { m.instance.IP("link set dev eth0 down") }},
		{"process killed", fabric.ReasonProcessDead, func(m *member) { m.init.Process.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1)
			m := s.members[0]
			m.start()
			m.set()
			watch := s.frr.Node.Watch()
			watch.Until(anycast4, true, 10*time.Second)
			watch.Until(anycast6, true, 10*time.Second)
			began := time.Now()
			c.kill(m)
			gone4 := watch.Until(anycast4, false, 5*time.Second).Sub(began)
			gone6 := watch.Until(anycast6, false, 5*time.Second).Sub(began)
			t.Logf("from before the fault to gone from the router's kernel: IPv4 %s, IPv6 %s", gone4, gone6)
			if gone4 > bound || gone6 > bound {
				t.Errorf("longer than %s", bound)
			}
			r := m.says(anycast4, c.reason, "")
			if r.Up || r.Copies[0].Healthy {
				t.Errorf("%+v", r)
			}
			if _, ok := m.node.Gateways(anycast4); ok {
				t.Error("the kernel route is still there")
			}
		})
	}
}

func TestCheckDecides(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value = m.anycast(&fabric.Check{Type: fabric.CheckTCP, Port: 80, Interval: 50, Timeout: 50, Rise: 2, Fall: 2})
	m.start()
	m.set()
	m.says(anycast4, fabric.ReasonCheckPending, "web1: tcp 203.0.113.53:80: connection refused, no success yet")
	if _, ok := s.frr.Node.Gateways(anycast4); ok {
		t.Fatal("announced before any check succeeded")
	}
	service := m.serve()
	s.gateways(anycast4, "10.98.0.11")
	s.gateways(anycast6, "fd98::11")
	service.Process.Kill()
	m.says(anycast6, fabric.ReasonCheckFailed, "web1: tcp [2001:db8:53::53]:80: connection refused, 2 of 2 failures")
	s.gateways(anycast4, "")
	s.gateways(anycast6, "")
	m.serve()
	s.gateways(anycast4, "10.98.0.11")
}

func TestHTTPStatusDecides(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.serve()
	m.value = m.anycast(&fabric.Check{Type: fabric.CheckHTTP, Port: 80, Path: "/sick", Interval: 50, Timeout: 50, Rise: 1, Fall: 1})
	m.start()
	m.set()
	m.says(anycast4, fabric.ReasonCheckPending, "http://203.0.113.53:80/sick: status 503")
}

func TestThreeMembersAreThreeNextHops(t *testing.T) {
	s := newSite(t, 3)
	for _, m := range s.members {
		m.start()
		m.set()
	}
	s.gateways(anycast4, "10.98.0.11 10.98.0.12 10.98.0.13")
	bgptest.Eventually(t, 10*time.Second, func() string {
		if got, _ := s.frr.Node.Gateways(anycast6); len(got) != 3 {
			return fmt.Sprint(got)
		}
		return ""
	})
	s.members[1].init.Process.Kill()
	s.gateways(anycast4, "10.98.0.11 10.98.0.13")
}

func TestRestartKeepsRoutes(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			s := newSite(t, 1)
			m := s.members[0]
			m.serve()
			m.value = m.anycast(&fabric.Check{Type: fabric.CheckTCP, Port: 80, Interval: 3600000, Timeout: 500, Rise: 1, Fall: 2})
			m.start()
			m.set()
			watch := s.frr.Node.Watch()
			came4, came6 := watch.Until(anycast4, true, 10*time.Second), watch.Until(anycast6, true, 10*time.Second)
			bgptest.Eventually(t, 5*time.Second, func() string {
				if n := s.frr.Neighbor("10.98.0.11"); n.Restart.Timers.Received != 30 {
					return fmt.Sprintf("%+v", n)
				}
				return ""
			})
			m.end(signal)
			stale := func(want bool) {
				t.Helper()
				for _, prefix := range []string{anycast4, anycast6} {
					bgptest.Eventually(t, 10*time.Second, func() string {
						if p := s.frr.Paths(prefix); len(p) != 1 || p[0].Stale != want {
							return fmt.Sprintf("%s at FRR: %+v, want stale: %v", prefix, p, want)
						}
						return ""
					})
				}
			}
			stale(true)
			if _, ok := m.node.Gateways(anycast4); !ok {
				t.Error("the kernel route went with the worker")
			}
			m.start()
			if state, err := m.client.State(t.Context()); err != nil || !state.Worker.FromDisk || state.Worker.Revision != 1 {
				t.Errorf("state after the restart: %+v, %v", state.Worker, err)
			}
			if r := m.route(anycast4); !r.Up || !r.Copies[0].Healthy {
				t.Errorf("the verdict of the check is lost: %+v", r)
			}
			stale(false)
			m.set()
			// Both sessions are back and synchronised; the routes in the kernel have not been touched since they came.
			if now4, now6 := watch.Until(anycast4, true, time.Second), watch.Until(anycast6, true, time.Second); now4 != came4 || now6 != came6 {
				t.Errorf("routes changed: IPv4 %s later, IPv6 %s later", now4.Sub(came4), now6.Sub(came6))
			}
		})
	}
}

func TestPoliteEndWithdraws(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	watch := s.frr.Node.Watch()
	watch.Until(anycast4, true, 10*time.Second)
	watch.Until(anycast6, true, 10*time.Second)
	began := time.Now()
	m.end(syscall.SIGTERM)
	t.Logf("withdrawn after %s", watch.Until(anycast4, false, 2*time.Second).Sub(began))
	watch.Until(anycast6, false, 2*time.Second)
	if n := s.frr.Neighbor("10.98.0.11"); !strings.HasPrefix(n.Notified, "Cease") {
		t.Errorf("FRR was not told: %+v", n)
	}
	if _, ok := m.node.Gateways(anycast4); !ok {
		t.Error("the kernel route went with the worker")
	}
}

func TestKernelRoutesAreOursAlone(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.node.IP("route add 198.51.100.7 via 10.98.0.1 proto static")
	m.start()
	m.set()
	gateway := func(prefix, want string) {
		t.Helper()
		bgptest.Eventually(t, time.Second, func() string {
			if got, _ := m.node.Gateways(prefix); strings.Join(got, " ") != want {
				return fmt.Sprintf("%s goes to %q, want %q", prefix, got, want)
			}
			return ""
		})
	}
	gateway(anycast4, m.net4()+".10")
	gateway(anycast6, m.net6()+"::10")
	m.node.IP("route del 203.0.113.53")
	m.node.IP("-6 route del 2001:db8:53::53")
	gateway(anycast4, m.net4()+".10")
	gateway(anycast6, m.net6()+"::10")
	// The kernel takes IPv4 routes away with the interface and says nothing.
	m.node.IP("link set dev br0 down")
	m.node.IP("link set dev br0 up")
	gateway(anycast4, m.net4()+".10")
	// A route of somebody else in the way is left alone, and told.
	m.end(syscall.SIGKILL)
	m.node.IP("route flush proto 159")
	m.node.IP("route add 203.0.113.53 via %s.10 dev br0 metric 64 proto static", m.net4())
	m.start()
	m.says(anycast4, fabric.ReasonRouteFailed, "the kernel has one from somebody else")
	m.node.IP("route del 203.0.113.53")
	bgptest.Eventually(t, 3*time.Second, func() string {
		if r := m.route(anycast4); !r.Up {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	m.value.Announcements = nil
	m.set()
	gateway(anycast4, "")
	gateway(anycast6, "")
	gateway("198.51.100.7/32", "10.98.0.1")
}

func TestBadValueChangesNothing(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	for name, body := range map[string]string{
		"no JSON":         "{",
		"unknown key":     `{"member": "m1", "color": "red"}`,
		"two values":      `{"member": "m1"} {}`,
		"host bits":       `{"announcements": [{"prefix": "203.0.113.53/24"}]}`,
		"twice":           `{"announcements": [{"prefix": "203.0.113.53/32"}, {"prefix": "203.0.113.53/32"}]}`,
		"route to nobody": `{"announcements": [{"prefix": "203.0.113.53/32", "route": true, "copies": [{"instance": "web1"}]}]}`,
		"peer of no AS":   `{"peers": [{"name": "up", "address": "10.98.0.1"}]}`,
		"one peer twice":  `{"peers": [{"name": "a", "address": "10.98.0.1", "asn": 1, "hold_time": 3, "graceful_restart": 1}, {"name": "b", "address": "10.98.0.1", "asn": 1, "hold_time": 3, "graceful_restart": 1}]}`,
		"no router ID":    `{"speaker": {"asn": 65010, "router_id": ""}}`,
	} {
		response, err := m.client.do(t.Context(), http.MethodPut, "/routing", []byte(body))
		if fabric.CodeOf(err) != fabric.CodeInvalid {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
	if state, err := m.client.State(t.Context()); err != nil || state.Worker.Revision != 1 || len(state.Routes) != 2 {
		t.Errorf("%+v, %v", state, err)
	}
}

// Only a process that turns off multipath TCP can set keys on the socket it listens on (see the command): this is the real program.
func TestPasswordOfInboundSessions(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.11:179")
	m.value.Peers = m.value.Peers[:1]
	m.value.Peers[0].Password = "sesame"
	m.start()
	m.set()
	ns, err := os.Open("/run/netns/" + s.frr.Node.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	unsigned := func() error {
		conn, err := dialIn(ns, m.value.Speaker.Listen, time.Now().Add(500*time.Millisecond))
		if err == nil {
			conn.Close()
		}
		return err
	}
	bgptest.Eventually(t, 5*time.Second, func() string {
		if err := unsigned(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Sprintf("unsigned connection: %v", err)
		}
		return ""
	})
	s.frr.Vtysh("configure terminal", "router bgp 65001", "no neighbor 10.98.0.11 passive", "neighbor 10.98.0.11 password sesame")
	s.gateways(anycast4, "10.98.0.11")

	m.value.Peers = slices.Clone(m.value.Peers)
	m.value.Peers[0].Password = ""
	m.set()
	bgptest.Eventually(t, 5*time.Second, func() string {
		if err := unsigned(); err != nil {
			return fmt.Sprintf("unsigned connection, when no password is set any more: %v", err)
		}
		return ""
	})
}

// Peers are dialled without the address; when it is there, they take what follows for a restart, and keep the routes.
func TestListenAddressThatIsNotThereIsWaitedFor(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.99:179")
	m.start()
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if state, err := m.client.State(t.Context()); err != nil || state.Worker.Reason != fabric.ReasonListenFailed || !m.peer("up4").Established() {
			return fmt.Sprintf("%+v, %v", state.Worker, err)
		}
		return ""
	})
	since := m.peer("up4").Since
	m.node.Address("eth0", "10.98.0.99/24")
	bgptest.Eventually(t, 15*time.Second, func() string {
		if got, _ := s.frr.Node.Gateways(anycast4); !slices.Equal(got, []string{"10.98.0.11"}) {
			t.Fatalf("%s goes to %q", anycast4, got)
		}
		if got := m.peer("up4"); !got.Established() || !got.Since.After(since) {
			return fmt.Sprintf("%+v", got)
		}
		if state, err := m.client.State(t.Context()); err != nil || state.Worker.Reason != "" {
			return fmt.Sprintf("%+v, %v", state.Worker, err)
		}
		return ""
	})
	s.gateways(anycast4, "10.98.0.11")
}

// Sessions that are there outlive an address that isn't, and what is announced goes on to change.
func TestSessionsOutliveAListenAddressThatIsNotThere(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.11:179")
	m.start()
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	since := m.peer("up4").Since

	m.value.Speaker.Listen = netip.MustParseAddrPort("10.98.0.99:179")
	extra := "10.50.1.0/24"
	m.value.Announcements = append(slices.Clone(m.value.Announcements), fabric.Announcement{
		Prefix: netip.MustParsePrefix(extra), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: []string{"up4"}})
	m.set()
	bgptest.Eventually(t, 5*time.Second, func() string {
		if state, err := m.client.State(t.Context()); err != nil || state.Worker.Reason != fabric.ReasonListenFailed {
			return fmt.Sprintf("%+v, %v", state.Worker, err)
		}
		return ""
	})
	s.gateways(extra, "10.98.0.11")
	if got := m.peer("up4"); !got.Established() || !got.Since.Equal(since) {
		t.Errorf("session since %v: %+v", since, got)
	}

	m.node.Address("eth0", "10.98.0.99/24")
	bgptest.Eventually(t, 5*time.Second, func() string {
		if state, err := m.client.State(t.Context()); err != nil || state.Worker.Reason != "" {
			return fmt.Sprintf("%+v, %v", state.Worker, err)
		}
		return ""
	})
	s.gateways(anycast4, "10.98.0.11")
}

func TestAnotherBootAnnouncesOnlyWhatItSees(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value.Announcements = append(m.value.Announcements, fabric.Announcement{
		Prefix: netip.MustParsePrefix("10.50.1.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: []string{"up4"}})
	m.start()
	m.set()
	s.gateways("10.50.1.0/24", "10.98.0.11")
	m.end(syscall.SIGTERM)
	s.gateways("10.50.1.0/24", "")
	s.gateways(anycast4, "")
	kept := m.state() + "/routing.json"
	data, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	other := strings.ReplaceAll(string(data), strings.TrimSpace(string(boot)), "another boot")
	if err := os.WriteFile(kept, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	s.gateways(anycast4, "10.98.0.11") // its process lives
	if got, _ := s.frr.Node.Gateways("10.50.1.0/24"); len(got) > 0 {
		t.Errorf("a subnet is announced of which nobody knows whether it is there")
	}
	m.set()
	s.gateways("10.50.1.0/24", "10.98.0.11")
}
