package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric/api"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestGatewayNetwork is what a gateway does to the network around it: hosts have their IPv6 router by its advertisements, members forward because
// of it alone, and gateways of a set go together. One of two segments has no multicast for it.
func TestGatewayNetwork(t *testing.T) {
	w := worldOf(t, "../topologies/gateway.clab.yml")
	w.inside(t, "ext", ignored, serveWord, ":80")
	before := map[string]string{}
	for _, member := range members {
		n := w.lab.MustNode(t, member)
		n.MustExec(t, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv4.conf.eth2.rp_filter=1")
		before[member] = w.routerSettings(t, member)
	}
	h1 := w.lab.MustNode(t, "h1")
	h1.MustExec(t, "ip", "-6", "route", "del", "default")
	h1.MustExec(t, "ip", "-6", "address", "flush", "dev", "eth1", "scope", "global")
	h1.MustExec(t, "sysctl", "-qw", "net.ipv6.conf.eth1.accept_ra=1")
	w.script(t, "n1", `
		gateway create lan --interface eth1 --address 198.51.100.1/24 --address 2001:db8:51::1/64 --ra-dns 2001:db8:53::53 --sync edge
		gateway create uplink --interface eth2 --address 192.0.2.10/24 --address 2001:db8:2::10/64 --sync edge --unicast --checksum rfc9568
	`)
	w.waitActive(t, "n2", "lan", "n1")
	w.waitActive(t, "n2", "uplink", "n1")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"advertised", gatewayAdvertised},
		{"moved together", gatewaysMoved},
		{"lost together", gatewaysLost},
		{"rogue router", gatewayRogue},
		{"not accepting", gatewayNotAccepting},
		{"spread", gatewaysSpread},
		{"announced", gatewayAnnounced},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
	w.ctl(t, "n1", "gateway delete lan uplink")
	lab.WaitFor(t, 20*time.Second, "the network as it was", func() error {
		if out := h1.MustExec(t, "ip", "-6", "route", "show", "default"); strings.TrimSpace(out) != "" {
			return fmt.Errorf("h1 has %s", out)
		}
		for _, member := range members {
			if now := w.routerSettings(t, member); now != before[member] {
				return fmt.Errorf("%s has %s, and had %s", member, now, before[member])
			}
		}
		return nil
	})
}

// routerSettings are what makes a member a router.
func (w *world) routerSettings(t *testing.T, member string) string {
	t.Helper()
	var keys []string
	for _, i := range []string{"eth1", "eth2", "eth3"} {
		keys = append(keys, "net.ipv4.conf."+i+".forwarding", "net.ipv4.conf."+i+".rp_filter", "net.ipv4.conf."+i+".arp_ignore", "net.ipv6.conf."+i+".force_forwarding")
	}
	out := w.lab.MustNode(t, member).MustExec(t, append([]string{"sysctl", "-n"}, keys...)...)
	return strings.Join(strings.Fields(out), " ")
}

// changeGateway edits a gateway.
func (w *world) changeGateway(t *testing.T, name string, change func(*api.GatewayPut)) {
	t.Helper()
	g, err := w.gateway(t, "n1", name)
	if err != nil {
		t.Fatal(err)
	}
	change(&g.GatewayPut)
	text, err := json.Marshal(g.GatewayPut) // which is YAML as well
	if err != nil {
		t.Fatal(err)
	}
	if r := w.run(t, "n1", string(text), "fabricctl", "gateway", "edit", name); r.code != 0 {
		t.Fatalf("edit gateway %s: %s", name, r.stderr)
	}
}

func gatewayAdvertised(t *testing.T, w *world) {
	lab.WaitFor(t, 10*time.Second, "h1 to have its router by an advertisement", func() error {
		out := w.lab.MustNode(t, "h1").MustExec(t, "ip", "-6", "route", "show", "default")
		if !strings.Contains(out, "via fe80::5e00:2") || !strings.Contains(out, "proto ra") {
			return errors.New(out)
		}
		return nil
	})
	for _, member := range members {
		if out := w.lab.MustNode(t, member).MustExec(t, "ip", "-6", "route", "show", "default", "proto", "ra"); strings.TrimSpace(out) != "" {
			t.Errorf("%s follows a gateway of its own: %s", member, out)
		}
		if got, want := w.routerSettings(t, member), "1 0 1 1 1 2 1 1 0 0 0 0"; got != want {
			t.Errorf("%s has settings %s, want %s", member, got, want)
		}
	}
	c := w.startHost(t, "h1") // members forward, both ways
	c.stop()
}

func gatewaysMoved(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	at := probe.Now()
	for _, move := range []string{"lan n2", "uplink n3", "lan n1"} {
		t.Log(strings.TrimSpace(w.ctl(t, "n2", "gateway move "+move)))
		_, member, _ := strings.Cut(move, " ")
		w.waitActive(t, "n2", "lan", member)
		w.waitActive(t, "n2", "uplink", member)
	}
	measured(t, c, "three moves of a sync set", at, probe.Now()-at, 0)
	c.stop()
}

// gatewaysLost: the Active loses one of two segments, and gives up the other.
func gatewaysLost(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	link, err := w.lab.Link("n1:eth2")
	if err != nil {
		t.Fatal(err)
	}
	at := probe.Now()
	if err := link.Cut(); err != nil {
		t.Fatal(err)
	}
	w.waitActive(t, "n3", "lan", "n2")
	w.waitActive(t, "n3", "uplink", "n2")
	g, err := w.gateway(t, "n3", "lan")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.States {
		if m.Member == "n1" && m.Reason != "sync-fault" {
			t.Errorf("n1 says %s: %s", m.Reason, m.Message)
		}
	}
	measured(t, c, "uplink of n1 lost", at, 3*time.Second, time.Duration(g.WorstOutage.Crash)*time.Millisecond+500*time.Millisecond)
	at = probe.Now()
	if err := link.Restore(); err != nil {
		t.Fatal(err)
	}
	// The kernel took these away with the carrier; n1 is to be a router with a way out before it takes over.
	n1 := w.lab.MustNode(t, "n1")
	n1.MustExec(t, "ip", "route", "replace", "default", "nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.2")
	n1.MustExec(t, "ip", "-6", "route", "replace", "default", "nexthop", "via", "2001:db8:2::1", "dev", "eth2", "nexthop", "via", "2001:db8:2::2", "dev", "eth2")
	w.waitActive(t, "n3", "lan", "n1")
	w.waitActive(t, "n3", "uplink", "n1")
	r := c.since(t, at, probe.Now()-at)
	t.Logf("and back: %s", describe(r))
	c.stop()
}

// gatewayRogue: a provider advertises itself to the segment that the uplink's gateway is the router of.
func gatewayRogue(t *testing.T, w *world) {
	p1 := w.lab.MustNode(t, "p1")
	p1.MustExec(t, "vtysh", "-c", "configure terminal", "-c", "interface eth1", "-c", "no ipv6 nd suppress-ra", "-c", "ipv6 nd ra-interval 3")
	reason := func() string {
		g, err := w.gateway(t, "n2", "uplink")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(g.States, func(m api.GatewayMember) bool { return m.Member == "n1" })
		return g.States[i].Reason + " " + g.States[i].Message
	}
	lab.WaitFor(t, 15*time.Second, "the rogue router", func() error {
		if got := reason(); !strings.HasPrefix(got, "rogue-ra ") {
			return fmt.Errorf("n1 says %q", got)
		}
		return nil
	})
	t.Log(reason())
	p1.MustExec(t, "vtysh", "-c", "configure terminal", "-c", "interface eth1", "-c", "ipv6 nd suppress-ra")
	fe80 := strings.Fields(p1.MustExec(t, "ip", "-6", "-o", "address", "show", "dev", "eth1", "scope", "link"))[3]
	address, _, _ := strings.Cut(fe80, "/")
	w.changeGateway(t, "uplink", func(put *api.GatewayPut) { put.RA.Trusted = []netip.Addr{netip.MustParseAddr(address)} })
	lab.WaitFor(t, 10*time.Second, "it is trusted", func() error {
		if got := strings.TrimSpace(reason()); got != "" {
			return fmt.Errorf("n1 says %q", got)
		}
		return nil
	})
}

func gatewayNotAccepting(t *testing.T, w *world) {
	h2 := w.lab.MustNode(t, "h2")
	answers := func() bool {
		_, err := h2.Exec(t.Context(), "ping", "-n", "-c", "1", "-W", "1", "198.51.100.1")
		return err == nil
	}
	if !answers() {
		t.Error("the gateway does not answer pings")
	}
	for _, refuse := range []bool{true, false} {
		w.changeGateway(t, "lan", func(put *api.GatewayPut) { put.NoAccept = refuse })
		lab.WaitFor(t, 10*time.Second, "the gateway to answer pings or not", func() error {
			if answers() == refuse {
				return fmt.Errorf("answers: %v", !refuse)
			}
			return nil
		})
	}
}

// gatewaysSpread: two gateways of one segment share the members, and a third one turns the order on.
func gatewaysSpread(t *testing.T, w *world) {
	w.script(t, "n1", `
		gateway create odd --interface eth1 --address 198.51.100.3/24 --address 2001:db8:51::3/64 --no-ra --spread lan
		gateway create even --interface eth1 --address 198.51.100.2/24 --address 2001:db8:51::2/64 --no-ra --spread lan
	`)
	w.waitActive(t, "n3", "even", "n1")
	w.waitActive(t, "n3", "odd", "n2")
	if out := w.ctl(t, "n3", "gateway list"); !strings.Contains(out, "spread lan") || !strings.Contains(out, "sync edge") {
		t.Errorf("the list says\n%s", out)
	} else {
		t.Logf("\n%s", out)
	}
	w.ctl(t, "n1", "gateway delete odd even")
	if r := w.try(t, "n1", "gateway create bad --interface eth1 --address 198.51.100.4/24 --sync edge --members n1"); r.code == 0 || !strings.Contains(r.stderr, "sync set") {
		t.Errorf("a set that contradicts itself: %s", r.stderr)
	}
}
