package system

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"netfabric/fabric/api"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// hostSubnets are those behind the gateway lan, by the option of ip(8) for their family.
var hostSubnets = map[string]string{"-4": "198.51.100.0/24", "-6": "2001:db8:51::/64"}

// gatewayAnnounced: providers know the hosts by the Active alone. A host asks outside, and somebody outside asks a host, while the gateway is moved and
// while the Active is cut off.
func gatewayAnnounced(t *testing.T, w *world) {
	for _, p := range []string{"p1", "p2"} {
		w.lab.MustNode(t, p).MustExec(t, "vtysh", "-c", "configure terminal", "-c", "no ip route 198.51.100.0/24 192.0.2.10 200", "-c", "no ipv6 route 2001:db8:51::/64 2001:db8:2::10 200")
	}
	w.script(t, "n1", `
		config set core.bgp_asn=65100
		bgp peer add p1-v4 192.0.2.1 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add p1-v6 2001:db8:2::1 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add p2-v4 192.0.2.2 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add p2-v6 2001:db8:2::2 65000 --export own --hold-time 3 --bfd-interval 50
	`)
	w.changeGateway(t, "lan", func(put *api.GatewayPut) { put.Announce = true })
	w.waitBehind(t, "n1")
	out := w.ctl(t, "n3", "route list 198.51.100.0/24")
	t.Logf("\n%s\n%s", out, w.ctl(t, "n2", "route explain 198.51.100.101"))
	if strings.Count(out, "198.51.100.11 is Active for gateway lan") != 2 {
		t.Error("the list does not say whose it is")
	}
	w.inside(t, "h2", ignored, serveWord, ":80")
	out1, in2 := w.startHost(t, "h1"), w.startClientAt(t, "ext", "http://198.51.100.102/", "http://[2001:db8:51::102]/")
	both := func(what string, at, span, bound time.Duration) {
		t.Helper()
		measured(t, out1, what+", from a host", at, span, bound)
		measured(t, in2, what+", to a host", at, span, bound)
	}
	at := probe.Now()
	for _, member := range []string{"n2", "n1"} {
		t.Log(strings.TrimSpace(w.ctl(t, "n3", "gateway move lan "+member)))
		w.waitBehind(t, member)
	}
	both("moved twice", at, probe.Now()-at, 0)

	g, err := w.gateway(t, "n3", "lan")
	if err != nil {
		t.Fatal(err)
	}
	crash := time.Duration(g.WorstOutage.Crash) * time.Millisecond
	at = probe.Now()
	for _, end := range []string{"n1:eth1", "n1:eth2"} {
		link, err := w.lab.Link(end)
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Cut(); err != nil {
			t.Fatal(err)
		}
		defer link.Restore()
	}
	w.waitBehind(t, "n2")
	both("the Active cut off", at, 2*time.Second, crash+time.Second)
	out1.stop()
	in2.stop()
}

// ignored is for programs that say nothing of interest.
func ignored(lines *bufio.Scanner) {
	for lines.Scan() {
	}
}

// waitBehind waits until all providers' kernels have the subnets behind one member, and no other.
func (w *world) waitBehind(t *testing.T, member string) {
	t.Helper()
	own := w.lab.MustNode(t, member).MustExec(t, "ip", "-o", "address", "show", "dev", "eth2")
	lab.WaitFor(t, 20*time.Second, "providers to have the hosts behind "+member, func() error {
		for _, p := range []string{"p1", "p2"} {
			for family, subnet := range hostSubnets {
				hops, err := w.hopsOf(t, p, family, subnet)
				if err != nil || len(hops) != 1 || !strings.Contains(own, " "+hops[0]+"/") {
					return fmt.Errorf("%s has %s behind %v, %v", p, subnet, hops, err)
				}
			}
		}
		return nil
	})
}

// hopsOf are the addresses that a node's kernel sends packets for a prefix to.
func (w *world) hopsOf(t *testing.T, node, family, prefix string) (hops []string, err error) {
	t.Helper()
	var routes []struct {
		Gateway  string
		Nexthops []struct{ Gateway string }
	}
	if err := json.Unmarshal([]byte(w.lab.MustNode(t, node).MustExec(t, "ip", "-j", family, "route", "show", prefix)), &routes); err != nil {
		return nil, err
	}
	for _, r := range routes {
		if r.Gateway != "" {
			hops = append(hops, r.Gateway)
		}
		for _, h := range r.Nexthops {
			hops = append(hops, h.Gateway)
		}
	}
	return hops, nil
}
