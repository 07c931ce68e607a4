package system

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// outsideURLs are a server's beyond the providers, in both families.
var outsideURLs = []string{"http://203.0.113.80/", "http://[2001:db8:113::80]/"}

// TestGateway moves and breaks the gateway of a segment with hosts that keep asking a server outside.
func TestGateway(t *testing.T) {
	w := worldOf(t, "../topologies/gateway.clab.yml")
	w.inside(t, "ext", func(lines *bufio.Scanner) {
		for lines.Scan() {
		}
	}, serveWord, ":80")
	w.script(t, "n1", `
		config set core.bgp_asn=65100
		bgp peer add p1 192.0.2.1 65000 --export own --hold-time 3
		gateway create lan --interface eth1 --address 198.51.100.1/24 --address 2001:db8:51::1/64 --track bgp --track route:0.0.0.0/0 --track route:::/0 --track check:icmp:192.0.2.2,interval=100ms,timeout=100ms,fall=3
		gateway create uplink --interface eth2 --address 192.0.2.10/24 --address 2001:db8:2::10/64 --track carrier:eth1
	`)
	w.waitActive(t, "n2", "lan", "n1")
	w.waitActive(t, "n2", "uplink", "n1")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"members restarted", gatewayProgramsRestarted},
		{"moved", gatewayMoved},
		{"worker stopped for good", gatewayWorkerStopped},
		{"drained", gatewayDrained},
		{"tracked session lost", gatewayTrackedSession},
		{"tracked default route lost", gatewayTrackedDefault},
		{"checked router lost", gatewayCheckFails},
		{"moved without quorum", gatewayMovedWithoutQuorum},
		{"new address without quorum", gatewayNewAddress},
		{"keepalived takes part", gatewayWithKeepalived},
		{"claimed by a host", gatewayClaimed},
		{"active without power", gatewayWithoutPower},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// gateway reads a gateway at a member.
func (w *world) gateway(t *testing.T, node, name string) (api.Gateway, error) {
	t.Helper()
	return ctlJSON[api.Gateway](t, w, node, "gateway show "+name)
}

// waitActive waits until a member is Active for both families, as another one sees it, and everybody else is not. It gives when it became so.
func (w *world) waitActive(t *testing.T, seenBy, name, member string) time.Time {
	t.Helper()
	var since time.Time
	lab.WaitFor(t, 30*time.Second, member+" to be Active for "+name, func() error {
		g, err := w.gateway(t, seenBy, name)
		if err != nil {
			return err
		}
		for _, m := range g.States {
			for _, r := range m.Routers {
				if !m.Stale && (r.State == fabric.GatewayActive) != (m.Member == member) {
					return fmt.Errorf("%s is %s for %s", m.Member, r.State, r.Family)
				}
				if m.Member == member && r.Since.After(since) {
					since = r.Since
				}
			}
			if m.Member == member && len(m.Routers) != 2 {
				return fmt.Errorf("%s says of %d families", m.Member, len(m.Routers))
			}
		}
		return nil
	})
	return since
}

// startHost has a host ask the server outside, and returns when nothing that went before costs it anything any more.
func (w *world) startHost(t *testing.T, host string) *client {
	t.Helper()
	return w.steadyClient(t, host, outsideURLs...)
}

// steadyClient is startClientAt, and returns when nothing that went before costs it anything any more.
func (w *world) steadyClient(t *testing.T, node string, urls ...string) *client {
	t.Helper()
	c := w.startClientAt(t, node, urls...)
	lab.WaitFor(t, 20*time.Second, "a second without loss", func() error {
		end := probe.Now() - requestTimeout - 100*time.Millisecond
		if r := probe.Since(c.all(), end-time.Second, end); r.Lost > 0 || r.Sent < 50 {
			return errors.New(describe(r))
		}
		return nil
	})
	return c
}

// measured judges what a host lost since an event: nothing where bound is 0.
func measured(t *testing.T, c *client, what string, event, span, bound time.Duration) {
	t.Helper()
	r := c.since(t, event, span)
	t.Logf("%s: %s", what, describe(r))
	if bound == 0 && r.Lost > 0 || bound > 0 && r.Outage > bound {
		t.Errorf("%s: %s%s", what, describe(r), c.lost(event))
	}
}

// gatewayProgramsRestarted: neither the daemon nor the worker of the Active matters to the gateway.
func gatewayProgramsRestarted(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	before := w.waitActive(t, "n2", "lan", "n1")
	at := probe.Now()
	n1 := w.lab.MustNode(t, "n1")
	worker := w.worker(t, "n1")
	if err := worker.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 10*time.Second, "a new worker", func() error {
		if p, err := w.findWorker(t, "n1"); err != nil || p.PID == worker.PID {
			return fmt.Errorf("worker %d, %v", p.PID, err)
		}
		return nil
	})
	if err := n1.StopDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	if err := n1.StartDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 20*time.Second, "the daemon to answer", func() error {
		_, err := w.gateway(t, "n1", "lan")
		return err
	})
	measured(t, c, "worker killed, daemon restarted", at, probe.Now()-at+3*time.Second, 0)
	if after := w.waitActive(t, "n1", "lan", "n1"); !after.Equal(before) {
		t.Errorf("n1 is Active since %v, not %v any more", after, before)
	}
}

// worker is the routing worker of a member: there are two processes of that program.
func (w *world) worker(t *testing.T, node string) lab.Process {
	t.Helper()
	p, err := w.findWorker(t, node)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) findWorker(t *testing.T, node string) (lab.Process, error) {
	t.Helper()
	list, err := w.lab.MustNode(t, node).Processes()
	if err != nil {
		return lab.Process{}, err
	}
	for _, p := range list {
		if p.Name == "fabric-router" && strings.Contains(p.Command, "/router.socket ") {
			return p, nil
		}
	}
	return lab.Process{}, errors.New("there is no routing worker")
}

func gatewayMoved(t *testing.T, w *world) {
	c := w.startHost(t, "h2")
	at := probe.Now()
	for _, move := range []string{"lan n2", "uplink n3", "lan n3", "uplink n2", "lan n1", "uplink n1"} {
		t.Log(strings.TrimSpace(w.ctl(t, "n2", "gateway move "+move)))
		name, member, _ := strings.Cut(move, " ")
		w.waitActive(t, "n2", name, member)
	}
	measured(t, c, "six moves", at, probe.Now()-at, 0)
}

// gatewayWorkerStopped: who leaves for good hands over.
func gatewayWorkerStopped(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	at := probe.Now()
	if err := w.worker(t, "n1").Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It is started again, and n1 is the best again.
	measured(t, c, "worker stopped for good, and started again", at, 5*time.Second, 0)
	w.waitActive(t, "n2", "lan", "n1")
	w.waitActive(t, "n2", "uplink", "n1")
}

// gatewayDrained: a drained member has no gateway, whatever is restarted there, until it is drained no more.
func gatewayDrained(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	at := probe.Now()
	w.ctl(t, "n2", "bgp drain n1")
	for _, name := range []string{"lan", "uplink"} {
		w.waitActive(t, "n2", name, "n2")
		g, err := w.gateway(t, "n2", name)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(g.States, func(m api.GatewayMember) bool { return m.Member == "n1" })
		if m := g.States[i]; m.Reason != fabric.ReasonDrained || !m.Drained || m.Rank != 1 {
			t.Errorf("%s at n1: %+v", name, m)
		}
	}
	if list := w.ctl(t, "n2", "gateway list"); !strings.Contains(list, "drained: Active only") {
		t.Errorf("the list does not say that n1 is drained:\n%s", list)
	}
	if r := w.try(t, "n2", "gateway move lan n1"); r.code == 0 || !strings.Contains(r.stderr, "drained") {
		t.Errorf("a move to a drained member: %+v", r)
	}
	measured(t, c, "drained", at, probe.Now()-at, 0)
	n1 := w.lab.MustNode(t, "n1")
	if err := w.worker(t, "n1").Signal(syscall.SIGTERM); err != nil { // also the process of the gateways ends, and is started again
		t.Fatal(err)
	}
	if err := n1.StopDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	if err := n1.StartDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 20*time.Second, "n1 to be a drained Backup again", func() error {
		g, err := w.gateway(t, "n1", "lan")
		if err != nil {
			return err
		}
		for _, m := range g.States {
			if m.Member == "n1" && (m.Reason != fabric.ReasonDrained || len(m.Routers) != 2 || m.Routers[0].State != fabric.GatewayBackup) {
				return fmt.Errorf("%+v", m)
			}
		}
		return nil
	})
	w.waitActive(t, "n1", "lan", "n2")
	measured(t, c, "restarted while drained", at, probe.Now()-at, 0)
	at = probe.Now()
	w.ctl(t, "n2", "bgp undrain n1")
	w.waitActive(t, "n2", "lan", "n1")
	w.waitActive(t, "n2", "uplink", "n1")
	measured(t, c, "drained no more", at, probe.Now()-at, 0)
}

// gatewayMovedWithoutQuorum: two of three daemons are away, and with them the database.
func gatewayMovedWithoutQuorum(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	for _, member := range []string{"n2", "n3"} {
		if err := w.lab.MustNode(t, member).StopDaemon(t.Context(), "fabric-node"); err != nil {
			t.Fatal(err)
		}
	}
	at := probe.Now()
	out := w.ctl(t, "n1", "gateway move lan n2")
	t.Log(strings.TrimSpace(out))
	if !strings.Contains(out, "moved from n1 to n2") || !strings.Contains(out, "Warning") {
		t.Errorf("it says %q", out)
	}
	measured(t, c, "moved without quorum", at, 2*time.Second, 0)
	for _, member := range []string{"n2", "n3"} {
		if err := w.lab.MustNode(t, member).StartDaemon(t.Context(), "fabric-node"); err != nil {
			t.Fatal(err)
		}
	}
	w.waitActive(t, "n1", "lan", "n2")
	// Their daemons have just started, and need not have read the reports of others: the workers know where the others are.
	t.Log(strings.TrimSpace(w.ctl(t, "n1", "gateway move lan n1")))
	w.waitActive(t, "n2", "lan", "n1")
	measured(t, c, "and back with it", at, probe.Now()-at, 0)
}

// gatewayNewAddress: a unicast member whose address changes while no database can tell the others goes on hearing the Active.
func gatewayNewAddress(t *testing.T, w *world) {
	w.ctl(t, "n1", "gateway create uni --interface eth1 --address 198.51.100.2/24 --address 2001:db8:51::2/64 --unicast")
	w.waitActive(t, "n2", "uni", "n1")
	for _, member := range []string{"n1", "n2"} {
		if err := w.lab.MustNode(t, member).StopDaemon(t.Context(), "fabric-node"); err != nil {
			t.Fatal(err)
		}
	}
	routers := func() map[string]fabric.VirtualRouterState {
		found := map[string]fabric.VirtualRouterState{}
		if g, err := w.gateway(t, "n3", "uni"); err == nil {
			for _, m := range g.States {
				for _, r := range m.Routers {
					if m.Member == "n3" {
						found[r.Family] = r
					}
				}
			}
		}
		return found
	}
	before := routers()
	n3 := w.lab.MustNode(t, "n3")
	own := strings.Fields(n3.MustExec(t, "sh", "-c", "ip -6 -o address show dev eth1 scope link"))[3]
	n3.MustExec(t, "sh", "-c", "ip address add 198.51.100.33/25 dev eth1; ip address add fe80::33/64 dev eth1 nodad; ip address delete 198.51.100.13/24 dev eth1; ip address delete "+own+" dev eth1")
	lab.WaitFor(t, 20*time.Second, "n3 to use its new addresses", func() error {
		now := routers()
		if four, six := now["ipv4"].Primary, now["ipv6"].Primary; four.String() != "198.51.100.33" || six.String() != "fe80::33" {
			return fmt.Errorf("%s and %s", four, six)
		}
		return nil
	})
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); { // many times what it would wait for an Active
		for family, r := range routers() {
			if r.State != fabric.GatewayBackup || r.Transitions != before[family].Transitions {
				t.Fatalf("%s of n3 is %s: %+v", family, r.State, r.History)
			}
		}
	}
	n3.MustExec(t, "sh", "-c", "ip address add 198.51.100.13/24 dev eth1; ip address add "+own+" dev eth1 nodad; ip address delete 198.51.100.33/25 dev eth1; ip address delete fe80::33/64 dev eth1")
	for _, member := range []string{"n1", "n2"} {
		if err := w.lab.MustNode(t, member).StartDaemon(t.Context(), "fabric-node"); err != nil {
			t.Fatal(err)
		}
	}
	for _, member := range []string{"n1", "n2"} {
		w.waitActive(t, member, "uni", "n1")
		w.waitActive(t, member, "lan", "n1")
	}
	w.ctl(t, "n1", "gateway delete uni")
}

func gatewayTrackedSession(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	n1 := w.lab.MustNode(t, "n1")
	at := probe.Now()
	n1.MustExec(t, "ip", "route", "add", "blackhole", "192.0.2.1/32") // only what n1 itself sends: hosts are forwarded on by p2 and p1 as before
	moved := w.waitActive(t, "n2", "lan", "n2")
	var lost time.Time
	for _, s := range ctlQuery[[]api.BGPSession](t, w, "n1", "/1.0/bgp/sessions") {
		if s.Member == "n1" {
			lost = s.Since
		}
	}
	t.Logf("n2 was Active %.1f ms after n1's session was lost", float64(moved.Sub(lost).Microseconds())/1000)
	// Far more than it takes, so that a machine with other work to do fails nobody, and far less than another try at the session.
	if late := moved.Sub(lost).Abs(); late > time.Second {
		t.Errorf("n1's session was lost at %v, n2 was Active at %v", lost, moved)
	}
	g, err := w.gateway(t, "n2", "lan")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.States {
		if m.Member == "n1" && (m.Reason != "track-down" || m.Priority != 0) {
			t.Errorf("n1 is said to be %+v", m)
		}
	}
	n1.MustExec(t, "ip", "route", "delete", "blackhole", "192.0.2.1/32")
	w.waitActive(t, "n2", "lan", "n1")
	measured(t, c, "session lost and back", at, probe.Now()-at, 0)
}

// gatewayTrackedDefault: a gateway goes where there is a default route, which comes from a provider. n1 has none but that.
func gatewayTrackedDefault(t *testing.T, w *world) {
	w.script(t, "n1", `
		bgp peer set p1 --import default-only --install default
		gateway create out --interface eth1 --address 198.51.100.9/24 --address 2001:db8:51::9/64 --no-ra --track route:0.0.0.0/0
	`)
	n1, p1 := w.lab.MustNode(t, "n1"), w.lab.MustNode(t, "p1")
	lab.WaitFor(t, 10*time.Second, "a default route from p1", func() error {
		if out := n1.MustExec(t, "ip", "route", "show", "default", "proto", "160"); !strings.Contains(out, "via 192.0.2.1 ") {
			return errors.New("n1 has " + out)
		}
		return nil
	})
	// What comes back must not come by n1, which drops it where it knows no way to its sender (rp_filter).
	w.ctl(t, "n1", "gateway move uplink n2")
	w.waitActive(t, "n2", "uplink", "n2")
	n1.MustExec(t, "ip", "route", "delete", "default", "metric", "0")
	w.waitActive(t, "n2", "out", "n1")
	w.waitActive(t, "n2", "lan", "n1")
	c := w.startHost(t, "h1")
	at := probe.Now()
	// p1 ends the session with n1, and takes no other.
	p1.MustExec(t, "nft", "add table inet shut; add chain inet shut in { type filter hook input priority 0; }; add rule inet shut in ip saddr 192.0.2.11 tcp dport 179 tcp flags syn drop")
	p1.MustExec(t, "vtysh", "-c", "clear bgp 192.0.2.11")
	moved := w.waitActive(t, "n2", "out", "n2")
	w.waitActive(t, "n2", "lan", "n2")
	var lost time.Time
	w.session(t, "n1", "p1", func(s api.BGPSession) bool {
		lost = s.Since
		return !s.Established()
	})
	t.Logf("n2 was Active %.1f ms after n1 had lost its session, and with it the default route", float64(moved.Sub(lost).Microseconds())/1000)
	if late := moved.Sub(lost).Abs(); late > time.Second { // as above
		t.Errorf("n1's session was lost at %v, n2 was Active at %v", lost, moved)
	}
	if out := n1.MustExec(t, "ip", "route", "show", "default"); strings.TrimSpace(out) != "" {
		t.Errorf("n1 has %s", out)
	}
	g, err := w.gateway(t, "n2", "out")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(g.States, func(m api.GatewayMember) bool { return m.Member == "n1" })
	if m := g.States[i]; m.Reason != "track-down" || !strings.Contains(m.Message, "no route to 0.0.0.0/0") {
		t.Errorf("n1 is said to be %+v", m)
	}
	p1.MustExec(t, "nft", "delete", "table", "inet", "shut")
	w.waitActive(t, "n2", "out", "n1")
	w.waitActive(t, "n2", "lan", "n1")
	measured(t, c, "default route lost and back", at, probe.Now()-at, time.Second)
	w.ctl(t, "n1", "gateway move uplink n1")
	w.waitActive(t, "n2", "uplink", "n1")
	n1.MustExec(t, "ip", "route", "add", "default", "nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.2")
	w.script(t, "n1", `
		gateway delete out
		bgp peer set p1 --import= --install none
	`)
}

func gatewayWithoutPower(t *testing.T, w *world) {
	g, err := w.gateway(t, "n2", "lan")
	if err != nil {
		t.Fatal(err)
	}
	formula := time.Duration(g.WorstOutage.Crash) * time.Millisecond
	c := w.startHost(t, "h1")
	n1 := w.lab.MustNode(t, "n1")
	at := probe.Now()
	if err := n1.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("the formula says %v", formula)
	// The power goes somewhere in the time that Kill takes; a request is lost that was under way.
	measured(t, c, "Active without power", at, 4*time.Second, formula+500*time.Millisecond)
	w.waitActive(t, "n3", "lan", "n2")
	at = probe.Now()
	if err := n1.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitActive(t, "n3", "lan", "n1")
	w.waitActive(t, "n3", "uplink", "n1")
	t.Logf("n1 booted, and was Active again %d ms after", (probe.Now() - at).Milliseconds())
	measured(t, c, "it comes back", at, probe.Now()-at, 0)
}

// gatewayClaimed: a host takes the gateway's address for itself. Everybody sees which, and others lose nothing.
func gatewayClaimed(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	at := probe.Now()
	h2 := w.lab.MustNode(t, "h2")
	h2.MustExec(t, "ip", "address", "add", "198.51.100.1/32", "dev", "eth1")
	// Its question for an address that nobody has tells everybody that the gateway's is at its MAC.
	if out, err := h2.Exec(t.Context(), "ping", "-c", "1", "-W", "1", "-I", "198.51.100.1", "198.51.100.199"); err == nil {
		t.Fatalf("somebody has the address:\n%s", out)
	}
	h2.MustExec(t, "ip", "address", "delete", "198.51.100.1/32", "dev", "eth1")
	mac := strings.Fields(h2.MustExec(t, "cat", "/sys/class/net/eth1/address"))[0]
	lab.WaitFor(t, 10*time.Second, "all members to tell of the claim", func() error {
		g, err := w.gateway(t, "n2", "lan")
		if err != nil {
			return err
		}
		for _, m := range g.States {
			if m.Reason != "address-claimed" || !strings.Contains(m.Message, mac) || !strings.Contains(m.Message, fmt.Sprintf("00:00:5e:00:01:%02x", g.VRID)) {
				return fmt.Errorf("%s: %s (%s)", m.Member, m.Message, m.Reason)
			}
		}
		return nil
	})
	measured(t, c, "claimed by a host", at, probe.Now()-at, 0)
}

// gatewayCheckFails: what the members check is out of reach for n1.
func gatewayCheckFails(t *testing.T, w *world) {
	c := w.startHost(t, "h1")
	n1 := w.lab.MustNode(t, "n1")
	at := probe.Now()
	n1.MustExec(t, "ip", "route", "add", "blackhole", "192.0.2.2/32") // only what n1 itself sends
	w.waitActive(t, "n2", "lan", "n2")
	g, err := w.gateway(t, "n2", "lan")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.States {
		if m.Member == "n1" && (m.Reason != "track-down" || !strings.Contains(m.Message, "check icmp:192.0.2.2: ")) {
			t.Errorf("n1 is said to be %+v", m)
		}
	}
	n1.MustExec(t, "ip", "route", "delete", "blackhole", "192.0.2.2/32")
	w.waitActive(t, "n2", "lan", "n1")
	measured(t, c, "check fails and succeeds again", at, probe.Now()-at, 0)
}

// gatewayWithKeepalived: a keepalived with the same VRID and addresses is better than all members, and leaves.
func gatewayWithKeepalived(t *testing.T, w *world) {
	g, err := w.gateway(t, "n2", "lan")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global_defs {
  vrrp_version 3
}
vrrp_instance four {
  interface eth1
  virtual_router_id %[1]d
  priority 250
  advert_int 0.1
  use_vmac vk4
  virtual_ipaddress {
    198.51.100.1/24
  }
}
vrrp_instance six {
  interface eth1
  virtual_router_id %[1]d
  priority 250
  advert_int 0.1
  use_vmac vk6
  virtual_ipaddress {
    fe80::5e00:2%02[1]x/64
    2001:db8:51::1/64
  }
}
`, g.VRID)
	h2 := w.lab.MustNode(t, "h2")
	h2.MustExec(t, "sh", "-c", "cat > /etc/keepalived.conf <<'END'\n"+config+"END\n")
	k, err := h2.Start("keepalived", "keepalived", "-n", "-P", "-l", "-D", "-f", "/etc/keepalived.conf", "-p", "/var/k.pid", "-r", "/var/kv.pid")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Fields(h2.MustExec(t, "sh", "-c", "ip -6 -o address show dev eth1 scope link"))[3]
	lab.WaitFor(t, 20*time.Second, "all members to be Backups of keepalived", func() error {
		g, err := w.gateway(t, "n2", "lan")
		if err != nil {
			return err
		}
		for _, m := range g.States {
			for _, r := range m.Routers {
				if want := map[string]string{"ipv4": "198.51.100.102", "ipv6": own[:strings.Index(own, "/")]}[r.Family]; r.State != fabric.GatewayBackup || r.Active.String() != want || r.Differs {
					return fmt.Errorf("%s is %s for %s, Active is %s", m.Member, r.State, r.Family, r.Active)
				}
			}
		}
		return nil
	})
	at := time.Now()
	if err := k.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.waitActive(t, "n2", "lan", "n1")
	g, err = w.gateway(t, "n2", "lan")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.States {
		for _, r := range m.Routers {
			if m.Member == "n1" && r.Why != "farewell" {
				t.Errorf("n1 is Active for %s because of %s", r.Family, r.Why)
			}
			if m.Member == "n1" {
				t.Logf("n1 was Active for %s %d ms after keepalived was told to end", r.Family, r.Since.Sub(at).Milliseconds())
			}
		}
	}
}
