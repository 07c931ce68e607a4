package bridge

import (
	"net/netip"
	"os"
	"path/filepath"
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
	for _, c := range []struct{ mesh, on, proxies string }{
		{fabric.MeshFull, "1", "fd00:77::12 dev meshbr0 proxy"},
		{fabric.MeshFull, "1", "fd00:77::12 dev meshbr0 proxy"},
		{fabric.MeshOff, "0", ""},
	} {
		reconcile(t, m, meshView(t, c.mesh))
		if got := strings.TrimSpace(run(t, "ip", "-6", "neigh", "show", "proxy")); got != c.proxies {
			t.Errorf("with mesh %s it answers for %q, want %q", c.mesh, got, c.proxies)
		}
		for _, path := range []string{"ipv4/conf/meshbr0/proxy_arp", "ipv6/conf/meshbr0/proxy_ndp"} {
			if got := knob(path); got != c.on {
				t.Errorf("with mesh %s %s is %s", c.mesh, path, got)
			}
		}
		if got := knob("ipv4/neigh/meshbr0/proxy_delay"); got != "0" {
			t.Errorf("answers wait up to %s ticks", got)
		}
	}
}
