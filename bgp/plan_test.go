package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// view is the view of member m1 of a small cluster, to be changed by tests.
func view(t *testing.T, objects ...fabric.Object) fabric.View {
	t.Helper()
	tx := fabric.NewTx(fabric.EmptySnapshot())
	base := []fabric.Object{
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010"}},
		&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.50.0.1/24", "ipv6.address": "fd50::1/64"}},
		&fabric.Network{Header: fabric.Header{Name: "nat0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.60.0.1/24", "ipv4.nat": "true", "ipv6.address": "none"}},
		&fabric.Peer{Header: fabric.Header{Name: "tor4"}, Address: addr("192.0.2.1"), ASN: 65001, Export: "own"},
		&fabric.Peer{Header: fabric.Header{Name: "tor6"}, Address: addr("2001:db8::1"), ASN: 65001, Export: "own", HoldTime: 3, GracefulRestart: 20, MultihopTTL: 4, Password: "sesame"},
		&fabric.Peer{Header: fabric.Header{Name: "elsewhere"}, Address: addr("192.0.2.2"), ASN: 65001, Members: []string{"m2"}},
		&fabric.Peer{Header: fabric.Header{Name: "off"}, Address: addr("192.0.2.3"), ASN: 65001, Disabled: true},
	}
	var rows []fabric.Row
	for _, o := range append(base, objects...) {
		row, err := fabric.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	s, err := tx.Snapshot().Advance(7, rows)
	if err != nil {
		t.Fatal(err)
	}
	return fabric.View{Member: "m1", Desired: s, Reports: fabric.EmptyReports(), Facts: fabric.Facts{
		Networks:  map[string]fabric.NetworkFact{"br0": {Bridge: "br0"}, "nat0": {Bridge: "nat0"}},
		Instances: map[string]fabric.InstanceFact{},
	}}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// instance is one on a member with a NIC in a network.
func instance(name, member, network string, config, device fabric.Config, addresses ...string) *fabric.Instance {
	d := fabric.Config{"type": "nic", "network": network}
	for k, v := range device {
		d[k] = v
	}
	i := &fabric.Instance{
		Header: fabric.Header{Name: name}, Type: "container", Member: member, Config: config, Power: fabric.PowerRunning,
		Devices: fabric.Devices{"eth0": d}, NICs: []fabric.NIC{{Device: "eth0", Network: network}},
	}
	for _, a := range addresses {
		i.NICs[0].Addresses = append(i.NICs[0].Addresses, addr(a))
	}
	return i
}

// run tells a view that an instance runs as it is desired.
func run(v fabric.View, i *fabric.Instance, pid int) {
	f := fabric.InstanceFact{Status: fabric.InstanceRunning, Process: fabric.Process{PID: pid, Start: 1}}
	for _, nic := range i.NICs {
		f.NICs = append(f.NICs, fabric.NICFact{Device: nic.Device, Network: nic.Network, Link: "veth-" + i.Name, Bridge: nic.Network, Addresses: nic.Addresses})
	}
	v.Facts.Instances[i.Name] = f
}

// lines tells a plan in lines: what is announced, and what not.
func lines(p Plan) []string {
	var all []string
	for _, a := range p.Announcements {
		line := fmt.Sprintf("yes %s %s to %s", a.Prefix, a.Owner, strings.Join(a.Peers, ","))
		for _, c := range a.Copies {
			line += fmt.Sprintf(" by %s via %s dev %s link %s pid %d", c.Instance, c.Via, c.Dev, c.Link, c.Process.PID)
			if c.Check != nil {
				line += fmt.Sprintf(" check %s:%d every %d", c.Check.Type, c.Check.Port, c.Check.Interval)
			}
		}
		if a.Route {
			line += " route"
		}
		all = append(all, line)
	}
	for _, r := range p.Refused {
		all = append(all, fmt.Sprintf("no %s %s %s: %s", r.Prefix, r.Owner, r.Reason, r.Message))
	}
	return all
}

const (
	br0 = "yes 10.50.0.0/24 network/br0 to tor4\nyes fd50::/64 network/br0 to tor6"
	nat = `no 10.60.0.0/24 network/nat0 nat: network "nat0" hides its IPv4 addresses (NAT)`
)

func TestPlan(t *testing.T) {
	dns := &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Check: fabric.Check{Type: fabric.CheckTCP, Port: 53}, Addresses: []netip.Prefix{
		netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")}}
	alive := &fabric.Anycast{Header: fabric.Header{Name: "alive"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}}
	copyOf := fabric.Config{"anycast": "dns"}
	external := fabric.Config{"ipv4.routes.external": "198.51.100.0/28,198.51.100.64/28"}
	for _, c := range []struct {
		name    string
		objects []fabric.Object
		change  func(v *fabric.View)
		running []string
		want    string
	}{
		{"subnets that are not NATed", nil, nil, nil, br0 + "\n" + nat},
		{"network that is not here", nil, func(v *fabric.View) { delete(v.Facts.Networks, "br0") }, nil,
			`no 10.50.0.0/24 network/br0 network-down: network "br0" is not there on this member` + "\n" +
				`no fd50::/64 network/br0 network-down: network "br0" is not there on this member` + "\n" + nat},
		{"host prefixes of a running instance", []fabric.Object{instance("c1", "m1", "br0", nil, nil, "10.50.0.2", "fd50::2")}, nil, []string{"c1"},
			"yes 10.50.0.0/24 network/br0 to tor4\nyes 10.50.0.2/32 instance/c1 to tor4 by c1 via 10.50.0.2 dev br0 link veth-c1 pid 100\n" +
				"yes fd50::/64 network/br0 to tor6\nyes fd50::2/128 instance/c1 to tor6 by c1 via fd50::2 dev br0 link veth-c1 pid 100\n" + nat},
		{"instance of another member", []fabric.Object{instance("c1", "m2", "br0", nil, external, "10.50.0.2")}, nil, nil, br0 + "\n" + nat},
		{"instance that does not run", []fabric.Object{instance("c1", "m1", "br0", nil, nil, "10.50.0.2")}, nil, nil,
			br0 + "\n" + `no 10.50.0.2/32 instance/c1 instance-stopped: instance "c1" does not run` + "\n" + nat},
		{"instance behind NAT has external routes all the same", []fabric.Object{instance("c1", "m1", "nat0", nil, external, "10.60.0.2")}, nil, []string{"c1"},
			"yes 10.50.0.0/24 network/br0 to tor4\n" +
				"yes 198.51.100.0/28 instance/c1 to tor4 by c1 via 10.60.0.2 dev nat0 link veth-c1 pid 100 route\n" +
				"yes 198.51.100.64/28 instance/c1 to tor4 by c1 via 10.60.0.2 dev nat0 link veth-c1 pid 100 route\n" +
				"yes fd50::/64 network/br0 to tor6\n" +
				`no 10.60.0.2/32 instance/c1 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" + nat},
		{"external route without an address to lead to", []fabric.Object{instance("c1", "m1", "nat0", nil, fabric.Config{"ipv6.routes.external": "2001:db8:1::/64"}, "10.60.0.2")}, nil, []string{"c1"},
			br0 + "\n" + `no 10.60.0.2/32 instance/c1 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" +
				`no 2001:db8:1::/64 instance/c1 no-address: NIC "eth0" of instance "c1" has no IPv6 address` + "\n" + nat},
		{"one prefix of two owners", []fabric.Object{
			instance("c1", "m1", "br0", nil, fabric.Config{"ipv4.routes.external": "198.51.100.0/28"}, "fd50::2"),
			instance("c2", "m1", "nat0", nil, fabric.Config{"ipv4.routes.external": "198.51.100.0/28"}, "10.60.0.3"),
			instance("c3", "m1", "nat0", nil, fabric.Config{"ipv4.routes.external": "198.51.100.0/28"}, "10.60.0.4")}, nil, []string{"c2", "c3"},
			"yes 10.50.0.0/24 network/br0 to tor4\nyes 198.51.100.0/28 instance/c2 to tor4 by c2 via 10.60.0.3 dev nat0 link veth-c2 pid 100 route\nyes fd50::/64 network/br0 to tor6\n" +
				`no 198.51.100.0/28 instance/c1 instance-stopped: instance "c1" does not run` + "\n" +
				`no fd50::2/128 instance/c1 instance-stopped: instance "c1" does not run` + "\n" +
				`no 10.60.0.3/32 instance/c2 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" +
				`no 10.60.0.4/32 instance/c3 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" +
				"no 198.51.100.0/28 instance/c3 prefix-owned-by-other: 198.51.100.0/28 is announced on this member for instance/c2\n" + nat},
		{"anycast with two copies, one of one family only", []fabric.Object{dns,
			instance("c1", "m1", "nat0", copyOf, nil, "10.60.0.2"), instance("c2", "m1", "br0", copyOf, nil, "fd50::3"), instance("c3", "m2", "br0", copyOf, nil)}, nil, []string{"c1", "c2"},
			"yes 10.50.0.0/24 network/br0 to tor4\n" +
				"yes 203.0.113.53/32 anycast/dns to tor4 by c1 via 10.60.0.2 dev nat0 link veth-c1 pid 100 check tcp:53 every 1000 route\n" +
				"yes 2001:db8:53::53/128 anycast/dns to tor6 by c2 via fd50::3 dev br0 link veth-c2 pid 100 check tcp:53 every 1000 route\n" +
				"yes fd50::/64 network/br0 to tor6\nyes fd50::3/128 instance/c2 to tor6 by c2 via fd50::3 dev br0 link veth-c2 pid 100\n" +
				`no 10.60.0.2/32 instance/c1 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" + nat},
		{"anycast checked by its process only", []fabric.Object{alive,
			instance("c1", "m1", "nat0", fabric.Config{"anycast": "alive, alive"}, nil, "10.60.0.2")}, nil, []string{"c1"},
			"yes 10.50.0.0/24 network/br0 to tor4\nyes 203.0.113.1/32 anycast/alive to tor4 by c1 via 10.60.0.2 dev nat0 link veth-c1 pid 100 route\nyes fd50::/64 network/br0 to tor6\n" +
				`no 10.60.0.2/32 instance/c1 nat: network "nat0" hides its IPv4 addresses (NAT)` + "\n" + nat},
		{"anycast without a copy here", []fabric.Object{alive}, nil, nil,
			br0 + "\nno 203.0.113.1/32 anycast/alive no-copy: no instance on this member is a copy of the service\n" + nat},
		{"anycast with a copy that does not run", []fabric.Object{alive,
			instance("c1", "m1", "nat0", fabric.Config{"anycast": "alive"}, nil)}, nil, nil,
			br0 + "\n" + `no 203.0.113.1/32 anycast/alive instance-stopped: instance "c1" does not run` + "\n" + nat},
		{"without an AS number", nil, func(v *fabric.View) {
			row, _ := fabric.Encode(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}})
			v.Desired, _ = v.Desired.Advance(8, []fabric.Row{row})
		}, nil, "yes 10.50.0.0/24 network/br0 to \nyes fd50::/64 network/br0 to \n" + nat},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := view(t, c.objects...)
			for _, o := range c.objects {
				if i, ok := o.(*fabric.Instance); ok && slices.Contains(c.running, i.Name) {
					run(v, i, 100)
				}
			}
			if c.change != nil {
				c.change(&v)
			}
			plan, ready := Make(v)
			if got := strings.Join(lines(plan), "\n"); !ready || got != c.want {
				t.Errorf("ready: %v\n%s\nwant:\n%s", ready, got, c.want)
			}
			again, _ := Make(v)
			if a, b := encode(t, plan), encode(t, again); a != b {
				t.Errorf("the plan of the same view differs:\n%s\n%s", a, b)
			}
		})
	}
}

func encode(t *testing.T, p Plan) string {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPlanWaitsForFacts(t *testing.T) {
	v := view(t)
	v.Facts.Instances = nil
	if _, ready := Make(v); ready {
		t.Error("ready without knowing the instances")
	}
	v = view(t)
	v.Facts.Networks = nil
	if _, ready := Make(v); ready {
		t.Error("ready without knowing the networks")
	}
}

func TestPeersOfMember(t *testing.T) {
	plan, _ := Make(view(t))
	want := []fabric.RoutingPeer{
		{Name: "tor4", Address: addr("192.0.2.1"), ASN: 65001, HoldTime: fabric.DefaultHoldTime, GracefulRestart: fabric.DefaultGracefulRestart},
		{Name: "tor6", Address: addr("2001:db8::1"), ASN: 65001, HoldTime: 3, GracefulRestart: 20, MultihopTTL: 4, Password: "sesame"},
	}
	if !slices.Equal(plan.Peers, want) {
		t.Errorf("%+v", plan.Peers)
	}
}

func TestPeerOfMemberWithItsOwnASN(t *testing.T) {
	plan, _ := Make(view(t,
		&fabric.Member{Header: fabric.Header{Name: "m1"}, Address: "192.0.2.11:8443", FailureDomain: "rack1", Config: fabric.Config{"bgp.asn": "65101"}},
		&fabric.Peer{Header: fabric.Header{Name: "in"}, Address: addr("192.0.2.4"), ASN: fabric.ASNInternal, Members: []string{"failure_domain:rack1"}},
		&fabric.Peer{Header: fabric.Header{Name: "as"}, Address: addr("192.0.2.5"), ASN: fabric.ASNInternal, LocalASN: 65099, Passive: true, Families: []string{"ipv6", "ipv4"}, Export: "own"},
		&fabric.Peer{Header: fabric.Header{Name: "out"}, Address: addr("192.0.2.6"), ASN: fabric.ASNExternal, MaxPrefix: fabric.MaxPrefix{Limit: 5}, Members: []string{"failure_domain:rack2", "m1"}},
		&fabric.Peer{Header: fabric.Header{Name: "rack2"}, Address: addr("192.0.2.7"), ASN: 65001, Members: []string{"failure_domain:rack2"}}))
	if plan.Speaker.ASN != 65101 {
		t.Errorf("%+v", plan.Speaker)
	}
	got := map[string]string{}
	for _, p := range plan.Peers {
		got[p.Name] = fmt.Sprint(p.ASN, p.LocalASN, p.Passive, p.IPv4, p.IPv6, p.MaxPrefix.Limit)
	}
	for name, want := range map[string]string{"in": "65101 0 false false false 0", "as": "65099 65099 true true true 0", "out": "0 0 false false false 5", "rack2": ""} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if got, want := told(plan, "as"), "yes 10.50.0.0/24\nno fd50::/64 no-next-hop: the session runs over IPv4: set next_hop in rule 1 of policy \"own\""; got != want {
		t.Errorf("both families over IPv4: %s, want %s", got, want)
	}
}

func TestSpeaker(t *testing.T) {
	member := func(address string, config fabric.Config) *fabric.Member {
		return &fabric.Member{Header: fabric.Header{Name: "m1"}, Address: address, Config: config}
	}
	for _, c := range []struct {
		name   string
		member *fabric.Member
		id     string
		listen string
	}{
		{"IPv4 address", member("192.0.2.11:8443", nil), "192.0.2.11", "invalid AddrPort"},
		{"set", member("192.0.2.11:8443", fabric.Config{"core.bgp_routerid": "198.51.100.1", "core.bgp_address": "192.0.2.11"}), "198.51.100.1", "192.0.2.11:179"},
		{"IPv6 address", member("[2001:db8::11]:8443", fabric.Config{"core.bgp_address": "[::]:1179"}), hashID("m1").String(), "[::]:1179"},
		{"not a member yet", nil, hashID("m1").String(), "invalid AddrPort"},
	} {
		var objects []fabric.Object
		if c.member != nil {
			objects = append(objects, c.member)
		}
		plan, _ := Make(view(t, objects...))
		if s := plan.Speaker; s.ASN != 65010 || s.RouterID.String() != c.id || s.Listen.String() != c.listen {
			t.Errorf("%s: %+v, want %s, %s", c.name, s, c.id, c.listen)
		}
	}
	if a, b := hashID("m1"), hashID("m2"); a == b || !a.Is4() || a.IsUnspecified() {
		t.Errorf("identifiers of names: %s, %s", a, b)
	}
}

// drains tells of a prefix's copies whether they are drained, and how many are to be kept.
func drains(p Plan, prefix string) string {
	for _, a := range p.Announcements {
		if a.Prefix.String() == prefix {
			line := fmt.Sprintf("keep %d", a.Keep)
			for _, c := range a.Copies {
				line += fmt.Sprintf(", %s %s %d", c.Instance, c.Drain, c.Linger)
			}
			return line
		}
	}
	return "not announced"
}

func TestCopiesAreDrained(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(i *fabric.Instance)
		want   string
	}{
		{"runs", func(*fabric.Instance) {}, "keep 0, c1  0"},
		{"to be stopped", func(i *fabric.Instance) { i.Power = fabric.PowerStopped }, "keep 0, c1 draining 500"},
		{"to be restarted", func(i *fabric.Instance) { i.Boots = 2 }, "keep 0, c1 draining 500"},
		{"to be deleted", func(i *fabric.Instance) { i.Deleting = true }, "keep 0, c1 draining 500"},
		{"to be moved", func(i *fabric.Instance) { i.Member = "m2" }, "keep 0, c1 draining 500"},
		{"under maintenance", func(i *fabric.Instance) { i.Config["anycast.maintenance"], i.Config["anycast.drain"] = "yes", "50" }, "keep 0, c1 maintenance 50"},
		{"to be stopped under maintenance", func(i *fabric.Instance) { i.Config["anycast.maintenance"], i.Power = "true", fabric.PowerStopped }, "keep 0, c1 draining 500"},
	} {
		i := instance("c1", "m1", "nat0", fabric.Config{"anycast": "dns"}, nil, "10.60.0.2")
		i.Boots = 1
		c.change(i)
		v := view(t, &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}}, i)
		run(v, i, 100)
		f := v.Facts.Instances["c1"]
		f.Boots = 1
		v.Facts.Instances["c1"] = f
		plan, _ := Make(v)
		if got := drains(plan, "203.0.113.53/32"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestLastCopiesAreKept(t *testing.T) {
	service := &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8::53/128")}}
	says := func(member string, healthy4, healthy6 bool) fabric.Condition {
		var routes []fabric.RouteState
		for p, healthy := range map[int]bool{0: healthy4, 1: healthy6} {
			routes = append(routes, fabric.RouteState{Prefix: service.Addresses[p], Up: true, Copies: []fabric.CopyState{{Instance: "on-" + member, Healthy: healthy, Kept: !healthy}}})
		}
		return fabric.Condition{Object: fabric.KeyOf(service), Member: member, Type: fabric.ConditionRoutes}.WithData(routes)
	}
	for _, c := range []struct {
		name    string
		min     int
		reports []fabric.Condition
		offline []string
		want    string
	}{
		{"no minimum", 0, nil, nil, "keep 0, c1  0"},
		{"no other member has a copy", 1, nil, nil, "keep 1, c1  0"},
		{"its own word does not count", 1, []fabric.Condition{says("m1", true, true)}, nil, "keep 1, c1  0"},
		{"another one is healthy", 1, []fabric.Condition{says("m2", true, false)}, nil, "keep 0, c1  0"},
		{"another one is healthy in the other family", 1, []fabric.Condition{says("m2", false, true)}, nil, "keep 1, c1  0"},
		{"what another one keeps is not healthy", 1, []fabric.Condition{says("m2", false, false)}, nil, "keep 1, c1  0"},
		{"one of two", 2, []fabric.Condition{says("m2", true, true), says("m3", false, false)}, nil, "keep 1, c1  0"},
		{"more than enough", 2, []fabric.Condition{says("m2", true, true), says("m3", true, true), says("m4", true, true)}, nil, "keep 0, c1  0"},
		{"the other one's member is offline", 1, []fabric.Condition{says("m2", true, true)}, []string{"m2"}, "keep 1, c1  0"},
	} {
		service.MinHealthy = c.min
		i := instance("c1", "m1", "br0", fabric.Config{"anycast": "dns"}, nil, "10.50.0.2", "fd50::2")
		v := view(t, service, i)
		run(v, i, 100)
		v.Reports, v.Offline = v.Reports.With(1, c.reports, nil), c.offline
		plan, _ := Make(v)
		if got := drains(plan, "203.0.113.53/32"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
