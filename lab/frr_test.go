package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kernelRoute waits for a route with exactly these next hops in the node's kernel.
func kernelRoute(t *testing.T, n *Node, bound time.Duration, prefix string, nextHops ...string) {
	t.Helper()
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	WaitFor(t, bound, fmt.Sprintf("%s on %s via %v", prefix, n.Name(), nextHops), func() error {
		out := n.MustExec(t, "ip", "-j", family, "route", "show", prefix)
		var routes []struct {
			Gateway  string
			Protocol string
			NextHops []struct{ Gateway string }
		}
		if err := json.Unmarshal([]byte(out), &routes); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var got []string
		for _, route := range routes {
			if route.Gateway != "" {
				got = append(got, route.Gateway)
			}
			for _, hop := range route.NextHops {
				got = append(got, hop.Gateway)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, nextHops) {
			return fmt.Errorf("next hops are %v", got)
		}
		return nil
	})
}

func TestFRRSession(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/frr.clab.yml")
	r1, r2 := l.MustNode(t, "r1"), l.MustNode(t, "r2")
	kernelRoute(t, r1, 15*time.Second, "10.0.0.2/32", "192.0.2.2")
	kernelRoute(t, r2, 15*time.Second, "10.0.0.1/32", "192.0.2.1")
	if out := r1.MustExec(t, "vtysh", "-c", "show ip route"); !strings.Contains(out, "B>* 10.0.0.2/32") {
		t.Errorf("vtysh shows\n%s", out)
	}
	if _, err := r1.Process("bfdd"); err != nil {
		t.Errorf("the daemons file enables bfdd: %v", err)
	}

	// One daemon killed hard, and started again with its part of the configuration.
	bgpd, err := r2.Process("bgpd")
	if err != nil {
		t.Fatal(err)
	}
	if err := bgpd.Kill(bounded(t)); err != nil {
		t.Fatal(err)
	}
	kernelRoute(t, r1, 5*time.Second, "10.0.0.2/32")
	if err := r2.StartDaemon(bounded(t), "bgpd"); err != nil {
		t.Fatal(err)
	}
	kernelRoute(t, r1, 15*time.Second, "10.0.0.2/32", "192.0.2.2")
	if err := r2.StartDaemon(bounded(t), "bgpd"); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("starting a running daemon gives %v", err)
	}
	if err := r2.StartDaemon(bounded(t), "ospfd"); err == nil || !strings.Contains(err.Error(), "it has zebra, staticd, bgpd, bfdd") {
		t.Errorf("starting an unknown daemon gives %v", err)
	}
	if err := r2.StopDaemon(bounded(t), "bgpd"); err != nil {
		t.Fatal(err)
	}
	if _, err := r2.Process("bgpd"); err == nil {
		t.Error("bgpd still runs")
	}
}

// The members of the anycast topology are played by BIRD here: what is tested are the routers, the addresses and the
// switches of the file.
func TestAnycastTopology(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec bird -f -c %s/$(hostname).conf -s /run/bird.ctl\n", bin)
	if err := os.WriteFile(filepath.Join(bin, "fabric-node"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		config := fmt.Sprintf("router id 192.0.2.1%d;\nprotocol device { scan time 1; }\n", i)
		for family, prefix := range map[string]string{"ipv4": "203.0.113.53/32", "ipv6": "2001:db8:53::53/128"} {
			config += fmt.Sprintf("protocol static s%[1]s { %[1]s; route %[2]s unreachable; }\n", family, prefix)
			for router := 1; router <= 2; router++ {
				local, neighbour := fmt.Sprintf("192.0.2.1%d", i), fmt.Sprintf("192.0.2.%d", router)
				if family == "ipv6" {
					local, neighbour = fmt.Sprintf("2001:db8:2::1%d", i), fmt.Sprintf("2001:db8:2::%d", router)
				}
				config += fmt.Sprintf("protocol bgp r%d%s { local %s as 65100; neighbor %s as 65000; connect delay time 1; "+
					"connect retry time 1; error wait time 1, 1; %s { import none; export all; next hop self; }; }\n", router, family, local, neighbour, family)
			}
		}
		if err := os.WriteFile(filepath.Join(bin, fmt.Sprintf("n%d.conf", i)), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := Run(t, "topologies/anycast.clab.yml", WithBinDir(bin))
	r1, r2, n3, client := l.MustNode(t, "r1"), l.MustNode(t, "r2"), l.MustNode(t, "n3"), l.MustNode(t, "client")
	for _, address := range []string{"198.51.100.2", "192.0.2.11", "2001:db8:2::12", "2001:db8:2::13"} {
		WaitFor(t, 5*time.Second, "the way to "+address, ping(client, address))
	}
	WaitFor(t, 5*time.Second, "the cluster network", ping(n3, "10.66.0.1"))
	for _, router := range []*Node{r1, r2} {
		kernelRoute(t, router, 15*time.Second, "203.0.113.53/32", "192.0.2.11", "192.0.2.12", "192.0.2.13")
		WaitFor(t, 15*time.Second, "three IPv6 next hops on "+router.Name(), func() error {
			// zebra takes the link-local next hop of a directly connected peer; how many there are is what counts.
			out := router.MustExec(t, "vtysh", "-c", "show ipv6 route 2001:db8:53::53/128")
			if got := strings.Count(out, "* fe80::") + strings.Count(out, "* 2001:db8:2::"); got != 3 {
				return fmt.Errorf("%d next hops:\n%s", got, out)
			}
			return nil
		})
	}
	if out := r1.MustExec(t, "vtysh", "-c", "show ip route 203.0.113.53/32"); strings.Count(out, "* 192.0.2.1") != 3 {
		t.Errorf("vtysh shows\n%s", out)
	}
	farewell, err := r1.Capture(bounded(t), "eth1", "src host 192.0.2.13 and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0")
	if err != nil {
		t.Fatal(err)
	}
	if err := n3.Kill(bounded(t)); err != nil {
		t.Fatal(err)
	}
	// The hold time is 3 s.
	kernelRoute(t, r1, 6*time.Second, "203.0.113.53/32", "192.0.2.11", "192.0.2.12")
	kernelRoute(t, r2, 6*time.Second, "203.0.113.53/32", "192.0.2.11", "192.0.2.12")
	if err := farewell.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tcpdump", "-n", "-r", farewell.Path).Output(); err != nil || len(out) > 0 {
		t.Errorf("a node without power said goodbye (%v):\n%s", err, out)
	}
}
