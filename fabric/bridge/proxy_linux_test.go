package bridge

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// meshView is a view of member m1 with a network and instances on it, here and elsewhere.
func meshView(t *testing.T, mesh string) fabric.View {
	t.Helper()
	objects := []fabric.Object{
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65000", "bgp.mesh": mesh}},
		network("meshbr0", dual()),
	}
	for _, i := range []struct {
		name, member, address string
		power                 fabric.Power
	}{
		{"here", "m1", "fd00:77::11", fabric.PowerRunning}, {"there", "m2", "fd00:77::12", fabric.PowerRunning},
		{"off", "m2", "fd00:77::13", fabric.PowerStopped}, {"four", "m2", "10.77.0.14", fabric.PowerRunning},
	} {
		objects = append(objects, &fabric.Instance{
			Header: fabric.Header{Name: i.name}, Type: "container", Member: i.member, Power: i.power,
			NICs: []fabric.NIC{{Device: "eth0", Network: "meshbr0", Addresses: []netip.Addr{netip.MustParseAddr(i.address)}}},
		})
	}
	var rows []fabric.Row
	for _, o := range objects {
		row, err := fabric.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	s, err := fabric.EmptySnapshot().Advance(7, rows)
	if err != nil {
		t.Fatal(err)
	}
	return fabric.View{Member: "m1", Desired: s, Reports: fabric.EmptyReports()}
}

func TestBridgeAnswersForInstancesElsewhere(t *testing.T) {
	needNamespace(t)
	m := newModule()
	knob := func(path string) string {
		data, err := os.ReadFile(filepath.Join("/proc/sys/net", path))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	const foreign = "fd00:77::99 dev meshbr0 proxy"
	for _, c := range []struct{ mesh, on, delay, proxies string }{
		{fabric.MeshOff, "0", "80", ""},
		{fabric.MeshFull, "1", "0", "fd00:77::12 dev meshbr0 proxy proto 159"},
		{fabric.MeshFull, "1", "0", "fd00:77::12 dev meshbr0 proxy proto 159\n" + foreign},
		{fabric.MeshOff, "0", "80", foreign},
	} {
		reconcile(t, m, meshView(t, c.mesh))
		lines := strings.Split(strings.TrimSpace(run(t, "ip", "-6", "neigh", "show", "proxy")), "\n")
		for n := range lines {
			lines[n] = strings.Join(strings.Fields(lines[n]), " ")
		}
		slices.Sort(lines)
		if got := strings.Join(lines, "\n"); got != c.proxies {
			t.Errorf("with mesh %s it answers for %q, want %q", c.mesh, got, c.proxies)
		}
		for path, want := range map[string]string{
			"ipv4/conf/meshbr0/proxy_arp": c.on, "ipv6/conf/meshbr0/proxy_ndp": c.on,
			"ipv4/neigh/meshbr0/proxy_delay": c.delay, "ipv6/neigh/meshbr0/proxy_delay": c.delay,
		} {
			if got := knob(path); got != want {
				t.Errorf("with mesh %s %s is %s, want %s", c.mesh, path, got, want)
			}
		}
		if c.on == "1" {
			run(t, "ip", "-6", "neigh", "replace", "proxy", "fd00:77::99", "dev", "meshbr0") // somebody else's
		}
	}
	run(t, "ip", "link", "del", "meshbr0")
}

func TestProxySettingsOfOthersStay(t *testing.T) {
	for _, c := range []struct {
		name           string
		routed         bool
		answers, delay string
		want           [2]string
	}{
		{"as the kernel makes a bridge", false, "0", "80", [2]string{"0", "80"}},
		{"turned on", true, "0", "80", [2]string{"1", "0"}},
		{"turned off again", false, "1", "0", [2]string{"0", "80"}},
		{"somebody else has it answer", false, "1", "80", [2]string{"1", "80"}},
		{"somebody else set the delay", false, "0", "0", [2]string{"0", "0"}},
	} {
		if a, d := proxyValues(c.routed, c.answers, c.delay); a != c.want[0] || d != c.want[1] {
			t.Errorf("%s: got %s and %s, want %v", c.name, a, d, c.want)
		}
	}
}

func TestProxyEntriesOfOthersStay(t *testing.T) {
	ours, theirs, both, more := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::3"), netip.MustParseAddr("fd00::4")
	add, remove := proxyDiff(map[netip.Addr]bool{ours: true, theirs: false, both: false}, []netip.Addr{both, more, more})
	if !slices.Equal(add, []netip.Addr{more}) || !slices.Equal(remove, []netip.Addr{ours}) {
		t.Errorf("add %v, remove %v", add, remove)
	}
}
