package fabric_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"netfabric/fabric"
)

// inhabited is a world with an instance, an anycast service and a router.
func inhabited(t testing.TB) *fabric.Snapshot {
	return write(t, world(t),
		&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.254"), ASN: 65000},
		&fabric.Anycast{Header: fabric.Header{Name: "web"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.80/32")}},
		vpn("198.51.100.0/24"))
}

// vpn is an instance with routes.
func vpn(routes string) *fabric.Instance {
	return &fabric.Instance{Header: fabric.Header{Name: "vpn"}, Type: "container", Member: "n1", Pool: "local", Power: fabric.PowerStopped,
		Devices: fabric.Devices{"eth0": {"type": "nic", "network": "br0", "ipv4.routes.external": routes}},
		NICs:    []fabric.NIC{{Device: "eth0", Network: "br0", MAC: "00:16:3e:00:00:01", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2")}}}}
}

func service(addresses ...string) *fabric.Anycast {
	a := &fabric.Anycast{Header: fabric.Header{Name: "dns"}}
	for _, s := range addresses {
		a.Addresses = append(a.Addresses, netip.MustParsePrefix(s))
	}
	return a
}

func bridge(gateway string) *fabric.Network {
	return &fabric.Network{Header: fabric.Header{Name: "br1"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": gateway}}
}

func TestNoAddressHasTwoOwners(t *testing.T) {
	for name, c := range map[string]struct {
		object fabric.Object
		want   string // part of the error, "" for none
	}{
		"a route of its own":              {vpn("198.51.100.0/24,203.0.113.0/28"), ""},
		"a route around a network":        {vpn("10.0.0.0/8"), ""},
		"all there is":                    {vpn("0.0.0.0/0"), "0.0.0.0/0 is everything"},
		"loopback":                        {vpn("127.0.0.0/8"), "127.0.0.0/8, which no router leads to"},
		"half of all there is":            {vpn("128.0.0.0/1"), "169.254.0.0/16, which no router leads to"},
		"a service's address":             {vpn("203.0.113.80"), `203.0.113.80 belongs to anycast service "web"`},
		"another instance's address":      {vpn("10.1.0.3"), `10.1.0.3/32 is inside of 10.1.0.0/29, which network "br0" gives its instances`},
		"a member's address":              {vpn("192.0.2.1"), `192.0.2.1/32 is the address of member "n1"`},
		"a router's address":              {vpn("192.0.2.254"), `192.0.2.254/32 is the address of BGP peer "r1"`},
		"a service":                       {service("203.0.113.81/32"), ""},
		"a service on an instance":        {service("10.1.0.2/32"), `10.1.0.2 is inside of 10.1.0.0/29, which network "br0" gives its instances`},
		"a service on a member":           {service("192.0.2.1/32"), `192.0.2.1 is the address of member "n1"`},
		"a service with the same twice":   {service("203.0.113.81/32", "203.0.113.81/32"), "203.0.113.81/32 is there twice"},
		"a network":                       {bridge("10.2.0.1/24"), ""},
		"a network around a service":      {bridge("203.0.113.1/24"), `anycast service "web" has 203.0.113.80, which is inside of 203.0.113.0/24`},
		"a network around routes":         {bridge("198.51.100.1/23"), `a prefix inside of 198.51.100.0/23 is routed to instance "vpn"`},
		"a network of loopback addresses": {bridge("127.0.0.1/24"), "127.0.0.0/24 has addresses of 127.0.0.0/8, which no router leads to"},
		"a network where a router is":     {bridge("192.0.2.129/25"), `192.0.2.128/25 has the address 192.0.2.254 of BGP peer "r1" inside of it`},
		"a network where a member is":     {bridge("192.0.2.9/25"), `192.0.2.0/25 has the address 192.0.2.1 of member "n1" inside of it`},
		"a network inside of what routes": {bridge("198.51.100.1/25"), ""},
	} {
		_, err := tryWrite(inhabited(t), c.object)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		case c.want != "" && fabric.CodeOf(err) == fabric.CodeInternal:
			t.Errorf("%s: %v is nobody's fault but ours", name, err)
		}
	}
}

func TestServiceOnARouteOfAnInstance(t *testing.T) {
	s := write(t, inhabited(t), vpn("198.51.100.53"))
	if _, err := tryWrite(s, service("198.51.100.53/32")); err == nil || !strings.Contains(err.Error(), `198.51.100.53 is routed to instance "vpn"`) {
		t.Errorf("error %v", err)
	}
}

// An instance whose route has come to be a router's address can still be changed otherwise; its profile is as strict as itself.
func TestRoutesThatAreThereStay(t *testing.T) {
	s := write(t, inhabited(t), vpn("198.51.100.7"))
	s = write(t, s, &fabric.Peer{Header: fabric.Header{Name: "r2"}, Address: netip.MustParseAddr("198.51.100.7"), ASN: 65000})
	running := vpn("198.51.100.7")
	running.Power = fabric.PowerRunning
	if _, err := tryWrite(s, running); err != nil {
		t.Error(err)
	}
	plain := vpn("")
	plain.Devices, plain.Profiles = nil, []string{"default"}
	s = write(t, s, plain)
	_, err := tryWrite(s, &fabric.Profile{Header: fabric.Header{Name: "default"}, Devices: fabric.Devices{
		"eth0": {"type": "nic", "network": "br0", "ipv4.routes.external": "10.1.0.4"}, "root": {"type": "disk", "path": "/", "pool": "local"}}})
	if err == nil || !strings.Contains(err.Error(), `instance "vpn": ipv4.routes.external of NIC eth0: 10.1.0.4/32 is inside of`) {
		t.Errorf("error %v", err)
	}
}

// gate is another instance with routes.
func gate(routes string) *fabric.Instance {
	i := vpn(routes)
	i.Name, i.NICs = "gate", []fabric.NIC{{Device: "eth0", Network: "br0", MAC: "00:16:3e:00:00:07", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.3")}}}
	return i
}

func TestRoutesOfTwoInstances(t *testing.T) {
	s := write(t, inhabited(t), vpn("198.51.100.0/24,203.0.113.0/28,203.0.113.32/28"))
	for routes, want := range map[string]string{
		"198.51.101.0/24":                  "",
		"203.0.113.16/28,203.0.113.48/28":  "",
		"203.0.113.32/28":                  `203.0.113.32/28 has addresses of 203.0.113.32/28, which is routed to NIC eth0 of instance "vpn"`,
		"198.51.0.0/24,198.51.100.128/32":  `198.51.100.128/32 has addresses of 198.51.100.0/24`,
		"203.0.112.0/23":                   `203.0.112.0/23 has addresses of 203.0.113.0/28`,
		"203.0.113.16/28,203.0.113.32/29":  `203.0.113.32/29 has addresses of 203.0.113.32/28`,
		"203.0.113.64/26,198.51.100.0/25":  `198.51.100.0/25 has addresses of 198.51.100.0/24`,
		"198.51.99.0/24,203.0.113.40/30":   `203.0.113.40/30 has addresses of 203.0.113.32/28`,
		"203.0.113.24/29,203.0.113.240/28": "",
	} {
		_, err := tryWrite(s, gate(routes))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", routes, err)
		case want != "" && (err == nil || fabric.CodeOf(err) != fabric.CodeConflict || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %q", routes, err, want)
		}
	}
	// One instance may have a prefix inside of another of its own, and they may change hands.
	if _, err := tryWrite(s, vpn("198.51.100.0/24,198.51.100.0/28")); err != nil {
		t.Error(err)
	}
	if _, err := tryWrite(s, vpn(""), gate("198.51.100.0/24")); err != nil {
		t.Error(err)
	}
}

// Two instances may have the same routes since before that was refused: each can be stopped and changed otherwise, and have more routes.
func TestSharedRoutesThatAreThereStay(t *testing.T) {
	s := write(t, write(t, inhabited(t), vpn("198.51.100.0/24")), gate(""))
	g, _ := s.Instance("gate")
	g.Devices["eth0"]["ipv4.routes.external"] = "198.51.100.0/24" // as it came out of the database
	running := gate("198.51.100.0/24,203.0.113.0/28")
	running.Power = fabric.PowerRunning
	if _, err := tryWrite(s, running); err != nil {
		t.Error(err)
	}
	if _, err := tryWrite(s, vpn("")); err != nil {
		t.Error(err)
	}
}

func TestOneObjectWithAClaimTwice(t *testing.T) {
	twice := vpn("")
	twice.NICs = append(twice.NICs, fabric.NIC{Device: "eth1", Network: "br0", MAC: "00:16:3e:00:00:02", Addresses: twice.NICs[0].Addresses})
	if _, err := tryWrite(world(t), twice); err == nil || !strings.Contains(err.Error(), "instance/vpn: it has address:br0 10.1.0.2 twice") {
		t.Errorf("error %v", err)
	}
}

// A change beside many routes has to be quick: it is made inside of a write to the database.
func BenchmarkChangeBesideRoutes(b *testing.B) {
	routes := make([]string, 10000)
	for n := range routes {
		routes[n] = fmt.Sprintf("100.64.%d.%d", n/256, n%256)
	}
	many := vpn(strings.Join(routes, ","))
	s, err := tryWrite(inhabited(b), many)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		again := vpn(strings.Join(routes[1:], ","))
		if _, err := tryWrite(s, again); err != nil {
			b.Fatal(err)
		}
	}
}
