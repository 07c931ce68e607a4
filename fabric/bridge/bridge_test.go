package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

const inNamespace = "BRIDGE_TEST_IN_NAMESPACE"

// TestMain runs the tests in a network namespace of their own: all threads are in it, and the host's network is out of reach.
func TestMain(m *testing.M) {
	if os.Getuid() != 0 || os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func needNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root to make a network namespace")
	}
}

func view(t *testing.T, networks ...*fabric.Network) fabric.View {
	t.Helper()
	store := fabrictest.NewMemory()
	if _, err := store.Apply(context.WithoutCancel(t.Context()), func(tx *fabric.Tx) error {
		// Something is always there: an empty snapshot of revision 0 would mean that nothing is known yet.
		if err := tx.Put(&fabric.Profile{Header: fabric.Header{Name: "default"}}); err != nil {
			return err
		}
		for _, n := range networks {
			if err := tx.Put(n); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return fabric.View{Member: "m1", Desired: store.Snapshot(), Reports: fabric.EmptyReports()}
}

func network(name string, config fabric.Config) *fabric.Network {
	return &fabric.Network{Header: fabric.Header{Name: name}, Type: fabric.NetworkBridge, Config: config}
}

// dual is an address configuration for both families.
func dual(extra ...string) fabric.Config {
	c := fabric.Config{"ipv4.address": "10.77.0.1/24", "ipv6.address": "fd00:77::1/64"}
	for i := 0; i < len(extra); i += 2 {
		c[extra[i]] = extra[i+1]
	}
	return c
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func newModule() *Module { return New(slog.New(slog.DiscardHandler)) }

func reconcile(t *testing.T, m *Module, v fabric.View) fabric.Report {
	t.Helper()
	r, err := m.Reconcile(context.WithoutCancel(t.Context()), v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBridgeComesAndGoes(t *testing.T) {
	needNamespace(t)
	m := newModule()
	t.Cleanup(func() { reconcile(t, m, view(t)) })
	v := view(t, network("tb0", dual("bridge.mtu", "1400")))
	r := reconcile(t, m, v)
	if got := r.Facts.Networks["tb0"]; got != (fabric.NetworkFact{Bridge: "tb0", MTU: 1400}) {
		t.Errorf("fact is %+v", got)
	}
	if c := r.Conditions[0]; !c.OK || c.Observed != 1 {
		t.Errorf("condition is %+v", c)
	}
	out := run(t, "ip", "-d", "address", "show", "tb0")
	for _, want := range []string{"mtu 1400", "inet 10.77.0.1/24", "inet6 fd00:77::1/64 scope global nodad", "alias fabric network tb0",
		bridgeMAC("tb0").String(), "forward_delay 0", "stp_state 0", "UP"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if value, _ := os.ReadFile("/proc/sys/net/" + key); string(value) != "1\n" {
			t.Errorf("%s is %q", key, value)
		}
	}
	out = run(t, "ip", "address", "show", "tb0")
	reconcile(t, m, v)
	if again := run(t, "ip", "address", "show", "tb0"); again != out {
		t.Errorf("a repeat changed\n%s\nto\n%s", out, again)
	}
	run(t, "ip", "address", "add", "10.99.0.1/32", "dev", "tb0") // somebody else's, such as a virtual router's
	reconcile(t, m, view(t, network("tb0", fabric.Config{"ipv4.address": "10.78.0.1/24", "ipv6.address": "none"})))
	out = run(t, "ip", "address", "show", "tb0")
	if strings.Contains(out, "10.77.0.1") || strings.Contains(out, "fd00:77") || !strings.Contains(out, "10.78.0.1/24") || !strings.Contains(out, "10.99.0.1/32") || !strings.Contains(out, "mtu 1500") {
		t.Errorf("after the change:\n%s", out)
	}
	reconcile(t, m, fabric.View{Member: "m1", Desired: fabric.EmptySnapshot(), Reports: fabric.EmptyReports()})
	run(t, "ip", "link", "show", "tb0") // nothing is known yet: nothing is removed
	reconcile(t, m, view(t))
	if out, err := exec.Command("ip", "link", "show", "tb0").CombinedOutput(); err == nil {
		t.Errorf("still there:\n%s", out)
	}
}

func TestForeignInterfaceIsLeftAlone(t *testing.T) {
	needNamespace(t)
	m := newModule()
	run(t, "ip", "link", "add", "tb1", "type", "bridge")
	t.Cleanup(func() { run(t, "ip", "link", "delete", "tb1") })
	before := run(t, "ip", "address", "show", "tb1")
	r := reconcile(t, m, view(t, network("tb1", dual())))
	c := r.Conditions[0]
	if c.OK || c.Reason != "interface-foreign" || !strings.Contains(c.Message, "ip link delete tb1") || len(r.Facts.Networks) != 0 {
		t.Errorf("got %+v, %+v", c, r.Facts)
	}
	reconcile(t, m, view(t))
	if after := run(t, "ip", "address", "show", "tb1"); after != before {
		t.Errorf("changed from\n%s\nto\n%s", before, after)
	}
}

func TestUnfinishedBridgeIsFinished(t *testing.T) {
	needNamespace(t)
	m := newModule()
	t.Cleanup(func() { reconcile(t, m, view(t)) })
	run(t, "ip", "link", "add", "tb2", "address", bridgeMAC("tb2").String(), "type", "bridge") // a crash before the mark was set
	if c := reconcile(t, m, view(t, network("tb2", dual()))).Conditions[0]; !c.OK {
		t.Errorf("got %+v", c)
	}
}

func TestGatewayMovesInsideItsSubnet(t *testing.T) {
	needNamespace(t)
	m := newModule()
	t.Cleanup(func() { reconcile(t, m, view(t)) })
	reconcile(t, m, view(t, network("tb6", dual())))
	reconcile(t, m, view(t, network("tb6", dual("ipv4.address", "10.77.0.254/24"))))
	if out := run(t, "ip", "address", "show", "tb6"); !strings.Contains(out, "inet 10.77.0.254/24") || strings.Contains(out, "10.77.0.1/24") {
		t.Errorf("after the move:\n%s", out)
	}
}

func TestAddressIsRepaired(t *testing.T) {
	needNamespace(t)
	m := newModule()
	t.Cleanup(func() { reconcile(t, m, view(t)) })
	v := view(t, network("tb3", dual()))
	reconcile(t, m, v)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, address := range []string{"10.77.0.1/24", "fd00:77::1/64"} {
		run(t, "ip", "address", "delete", address, "dev", "tb3")
		for !strings.Contains(run(t, "ip", "address", "show", "tb3"), address) {
			select {
			case <-m.Wake():
				reconcile(t, m, v)
			case <-ctx.Done():
				t.Fatalf("%s is gone and nobody woke the module", address)
			}
		}
	}
}

func TestMasquerade(t *testing.T) {
	needNamespace(t)
	m := newModule()
	t.Cleanup(func() { reconcile(t, m, view(t)) })
	reconcile(t, m, view(t, network("tb4", dual("ipv4.nat", "true", "ipv6.nat", "true"))))
	out := run(t, "nft", "list", "table", "inet", "fabric")
	for _, want := range []string{
		"ip saddr 10.77.0.0/24 ip daddr != 10.77.0.0/24 masquerade",
		"ip6 saddr fd00:77::/64 ip6 daddr != fd00:77::/64 masquerade",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	run(t, "nft", "flush", "chain", "inet", "fabric", "postrouting")
	reconcile(t, m, view(t, network("tb4", dual("ipv4.nat", "true"))))
	out = run(t, "nft", "list", "table", "inet", "fabric")
	if strings.Count(out, "masquerade\n") != 1 || !strings.Contains(out, "ip saddr 10.77.0.0/24") {
		t.Errorf("after the change:\n%s", out)
	}
	reconcile(t, m, view(t, network("tb4", dual())))
	if out := run(t, "nft", "list", "ruleset"); out != "" {
		t.Errorf("without NAT there is still\n%s", out)
	}
}

func TestExternalInterface(t *testing.T) {
	needNamespace(t)
	m := newModule()
	run(t, "ip", "link", "add", "tbx", "type", "veth", "peer", "name", "tby")
	t.Cleanup(func() {
		reconcile(t, m, view(t))
		run(t, "ip", "link", "delete", "tbx")
	})
	with := func(ports string) fabric.View {
		n := network("tb5", dual())
		n.MemberConfig = map[string]fabric.Config{"m1": {"bridge.external_interfaces": ports}, "m2": {"bridge.external_interfaces": "nothere"}}
		return fabric.View{Member: "m1", Desired: viewOf(t, n), Reports: fabric.EmptyReports()}
	}
	if c := reconcile(t, m, with("tbz")).Conditions[0]; c.OK || c.Reason != "external-unusable" {
		t.Errorf("absent interface: %+v", c)
	}
	run(t, "ip", "address", "add", "192.0.2.1/24", "dev", "tbx")
	if c := reconcile(t, m, with("tbx")).Conditions[0]; c.OK || c.Reason != "external-unusable" {
		t.Errorf("interface in use: %+v", c)
	}
	run(t, "ip", "address", "delete", "192.0.2.1/24", "dev", "tbx")
	if c := reconcile(t, m, with("tbx")).Conditions[0]; !c.OK {
		t.Errorf("free interface: %+v", c)
	}
	if out := run(t, "ip", "link", "show", "tbx"); !strings.Contains(out, "master tb5") {
		t.Errorf("not a port:\n%s", out)
	}
	reconcile(t, m, with(""))
	if out := run(t, "ip", "link", "show", "tbx"); strings.Contains(out, "master") || strings.Contains(out, "alias") {
		t.Errorf("still a port:\n%s", out)
	}
}

// viewOf is a snapshot in which members m1 and m2 need not be complete.
func viewOf(t *testing.T, n *fabric.Network) *fabric.Snapshot {
	t.Helper()
	n.Revision = 1
	row, err := fabric.Encode(n)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fabric.EmptySnapshot().Advance(1, []fabric.Row{row})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAddressDiff(t *testing.T) {
	p := func(all ...string) (list []netip.Prefix) {
		for _, s := range all {
			list = append(list, netip.MustParsePrefix(s))
		}
		return list
	}
	for _, c := range []struct {
		name                    string
		have, want, add, remove []netip.Prefix
	}{
		{"nothing", nil, nil, nil, nil},
		{"new", nil, p("10.0.0.1/24"), p("10.0.0.1/24"), nil},
		{"same", p("10.0.0.1/24"), p("10.0.0.1/24"), nil, nil},
		{"longer", p("10.0.0.1/24"), p("10.0.0.1/25"), p("10.0.0.1/25"), p("10.0.0.1/24")},
		{"others' and link-local stay", p("10.9.9.9/32", "fe80::1/64", "fd00::9/128"), nil, nil, nil},
		{"both families", p("10.0.0.1/24"), p("fd00::1/64"), p("fd00::1/64"), p("10.0.0.1/24")},
	} {
		add, remove := addressDiff(c.have, c.want)
		if !slices.Equal(add, c.add) || !slices.Equal(remove, c.remove) {
			t.Errorf("%s: add %v, remove %v", c.name, add, remove)
		}
	}
}

func TestBridgeMAC(t *testing.T) {
	a, b := bridgeMAC("fabbr0"), bridgeMAC("fabbr1")
	if a.String() == b.String() || a.String() != bridgeMAC("fabbr0").String() || a[0]&3 != 2 {
		t.Errorf("%s, %s", a, b)
	}
}
