package fabric_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

const testCertificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

// world is a snapshot with one member, pool and network, and a profile that uses them.
func world(t testing.TB) *fabric.Snapshot {
	t.Helper()
	return write(t, fabric.EmptySnapshot(),
		&fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.1:8443", Certificate: testCertificate},
		&fabric.Pool{Header: fabric.Header{Name: "local"}, Driver: "dir"},
		&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.1.0.1/29", "ipv6.address": "fd00::1/64"}},
		&fabric.Profile{Header: fabric.Header{Name: "default"}, Devices: fabric.Devices{
			"eth0": {"type": "nic", "network": "br0"},
			"root": {"type": "disk", "path": "/", "pool": "local"},
		}},
	)
}

func write(t testing.TB, s *fabric.Snapshot, objects ...fabric.Object) *fabric.Snapshot {
	t.Helper()
	next, err := tryWrite(s, objects...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func tryWrite(s *fabric.Snapshot, objects ...fabric.Object) (*fabric.Snapshot, error) {
	return change(s, func(tx *fabric.Tx) error {
		for _, o := range objects {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
}

func change(s *fabric.Snapshot, do func(tx *fabric.Tx) error) (*fabric.Snapshot, error) {
	tx := fabric.NewTx(s)
	if err := do(tx); err != nil {
		return nil, err
	}
	rows, _, err := tx.Finish(s.Revision + 1)
	if err != nil {
		return nil, err
	}
	return s.Advance(s.Revision+1, rows)
}

func instance(name string) *fabric.Instance {
	return &fabric.Instance{
		Header: fabric.Header{Name: name}, Type: "container", Member: "n1", Pool: "local",
		Profiles: []string{"default"}, Config: fabric.Config{}, Devices: fabric.Devices{}, Power: fabric.PowerStopped,
	}
}

// launch writes an instance with its NICs resolved.
func launch(s *fabric.Snapshot, i *fabric.Instance) (*fabric.Snapshot, error) {
	return change(s, func(tx *fabric.Tx) error {
		if err := tx.ResolveNICs(i); err != nil {
			return err
		}
		return tx.Put(i)
	})
}

func TestSnapshotsShareAndNeverChange(t *testing.T) {
	before := world(t)
	member, _ := before.Member("n1")
	after, err := launch(before, instance("web"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := before.Instance("web"); ok {
		t.Error("the snapshot before has the new instance")
	}
	if same, _ := after.Member("n1"); same != member {
		t.Error("an object that did not change is not shared")
	}
	i, ok := after.Instance("web")
	if !ok || i.Revision != after.Revision || i.Created.IsZero() {
		t.Errorf("instance after the write: %+v", i)
	}
	gone, err := change(after, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(i)) })
	if err != nil {
		t.Fatal(err)
	}
	if holder, held := gone.Holder(i.Claims()[0]); held {
		t.Errorf("a deleted object still holds a claim: %s", holder)
	}
	if _, held := after.Holder(i.Claims()[0]); !held {
		t.Error("the claim vanished from the snapshot before")
	}
}

// The database gives rows in any order: who lets go of a claim may come after who has it next.
func TestClaimMovesInAnyOrder(t *testing.T) {
	before, err := launch(world(t), instance("old"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := change(before, func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindInstance, Name: "old"}) })
	if err != nil {
		t.Fatal(err)
	}
	if after, err = launch(after, instance("new")); err != nil {
		t.Fatal(err)
	}
	old, _ := before.Instance("old")
	i, _ := after.Instance("new")
	row, err := fabric.Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	tombstone := fabric.Row{Kind: fabric.KindInstance, Name: "old", Revision: after.Revision, Deleted: true}
	claim := fabric.AddressClaim("br0", i.NICs[0].Addresses[0])
	if !slices.Contains(old.Claims(), claim) {
		t.Fatalf("the address %v was not handed on", claim)
	}
	for _, rows := range [][]fabric.Row{{tombstone, row}, {row, tombstone}} {
		got, err := before.Advance(after.Revision, rows)
		if err != nil {
			t.Fatal(err)
		}
		if holder, held := got.Holder(claim); holder != fabric.KeyOf(i) {
			t.Errorf("%s first: %v belongs to %v, %t", rows[0].Name, claim, holder, held)
		}
	}
}

func TestRowsCarryASnapshotWhole(t *testing.T) {
	s, err := launch(world(t), instance("web"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.Rows()
	if err != nil {
		t.Fatal(err)
	}
	again, err := fabric.EmptySnapshot().Advance(s.Revision, rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range fabric.Kinds() {
		for _, o := range s.All(kind) {
			other, ok := again.Get(fabric.KeyOf(o))
			if !ok || fmt.Sprintf("%+v", o) != fmt.Sprintf("%+v", other) {
				t.Errorf("%s:\n%+v\n%+v", fabric.KeyOf(o), o, other)
			}
		}
	}
}

func TestWritesThatDoNotFitAreRefused(t *testing.T) {
	base, err := launch(world(t), instance("web"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(objects ...fabric.Object) func() error {
		return func() error { _, err := tryWrite(base, objects...); return err }
	}
	remove := func(kind fabric.Kind, name string) func() error {
		return func() error {
			_, err := change(base, func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: kind, Name: name}) })
			return err
		}
	}
	start := func(edit func(*fabric.Instance)) func() error {
		return func() error {
			i := instance("other")
			edit(i)
			_, err := launch(base, i)
			return err
		}
	}
	for _, c := range []struct {
		name   string
		do     func() error
		reason string
		says   string
	}{
		{"delete what is not there", remove(fabric.KindPool, "nope"), "not-found", "nope"},
		{"delete a pool in use", remove(fabric.KindPool, "local"), "in-use", `by profile "default"`},
		{"delete a member with instances", remove(fabric.KindMember, "n1"), "in-use", `by instance "web"`},
		{"reference to nothing", put(&fabric.Alias{Header: fabric.Header{Name: "a"}, Target: strings.Repeat("0", 64)}), "missing-reference", "does not exist"},
		{"overlapping subnet", put(&fabric.Network{Header: fabric.Header{Name: "br1"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.1.0.2/24", "ipv6.address": "none"}}), "subnet-overlap", "10.1.0.0/29"},
		{"subnet as gateway", put(&fabric.Network{Header: fabric.Header{Name: "br1"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.9.0.0/24"}}), "bad-value", "10.9.0.1/24"},
		{"interface name too long", put(&fabric.Network{Header: fabric.Header{Name: "a-very-long-bridge"}, Type: fabric.NetworkBridge}), "bad-name", "interface"},
		{"unknown network type", put(&fabric.Network{Header: fabric.Header{Name: "br1"}, Type: "ovn"}), "network-type", "not supported"},
		{"unknown key", put(&fabric.Network{Header: fabric.Header{Name: "br1"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.adress": "none"}}), "unknown-key", `did you mean "ipv4.address"?`},
		{"unknown driver", put(&fabric.Pool{Header: fabric.Header{Name: "p"}, Driver: "zfs"}), "storage-driver", "dir"},
		{"NUL in a value", put(&fabric.Profile{Header: fabric.Header{Name: "p"}, Config: fabric.Config{"user.x": "a\x00b"}}), "bad-value", "not text"},
		{"newline in a value", put(&fabric.Profile{Header: fabric.Header{Name: "p"}, Config: fabric.Config{"anycast": "a\nb"}}), "bad-value", "one line"},
		{"percent as a name", put(&fabric.Profile{Header: fabric.Header{Name: "%"}}), "bad-name", `"%"`},
		{"address outside the network", start(func(i *fabric.Instance) {
			i.Devices["eth0"] = fabric.Config{"type": "nic", "network": "br0", "ipv4.address": "10.2.0.3"}
		}), "bad-address", "10.1.0.1/29"},
		{"gateway's address", start(func(i *fabric.Instance) {
			i.Devices["eth0"] = fabric.Config{"type": "nic", "network": "br0", "ipv4.address": "10.1.0.1"}
		}), "bad-address", "10.1.0.1"},
		{"address of another instance", start(func(i *fabric.Instance) {
			i.Devices["eth0"] = fabric.Config{"type": "nic", "network": "br0", "ipv4.address": "10.1.0.2"}
		}), "in-use", "instance/web"},
		{"network that does not exist", start(func(i *fabric.Instance) { i.Devices["eth1"] = fabric.Config{"type": "nic", "network": "no"} }), "missing-reference", `"no"`},
		{"multicast MAC", start(func(i *fabric.Instance) {
			i.Devices["eth0"] = fabric.Config{"type": "nic", "network": "br0", "hwaddr": "01:00:5e:00:00:01"}
		}), "bad-value", "multicast"},
		{"anycast service that does not exist", start(func(i *fabric.Instance) { i.Config["anycast"] = "dns" }), "missing-reference", "dns"},
		{"host name with an underscore", start(func(i *fabric.Instance) { i.Name = "a_b" }), "bad-name", "a_b"},
		{"reserved AS number", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 23456}), "bad-asn", "reserved"},
		{"multicast peer", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("224.0.0.1"), ASN: 65000}), "bad-address", "224.0.0.1"},
		{"two peers, one address", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"n1"}}), "peer-address", "r1"},
		{"peer inside the prefix of another", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Dynamic: netip.MustParsePrefix("192.0.2.0/24"), ASN: 65000},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000}), "peer-address", "r1"},
		{"two peers by prefix that overlap", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Dynamic: netip.MustParsePrefix("192.0.2.0/24"), ASN: 65000},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Dynamic: netip.MustParsePrefix("192.0.2.128/25"), ASN: 65000}), "peer-address", "r1"},
		{"two peers, one interface", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Interface: "eth7", ASN: 65000},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Interface: "eth7", ASN: fabric.ASNExternal}), "peer-address", "eth7"},
		{"peer on a bridge of instances", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Interface: "br0", ASN: 65000}), "peer-interface", "br0"},
		{"hold time of 1 s", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, HoldTime: 1}), "bad-value", "3-65535"},
		{"AS number that is no word", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: fabric.ASNExternal + 1}), "bad-asn", "reserved"},
		{"reserved local AS number", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, LocalASN: 23456}), "bad-asn", "23456"},
		{"keepalive of half the hold time", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, HoldTime: 6, Keepalive: 3}), "bad-value", "1-2"},
		{"unknown family", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Families: []string{"evpn"}}), "bad-value", "evpn"},
		{"unknown action", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, MaxPrefix: fabric.MaxPrefix{Limit: 1, Action: "drop"}}), "bad-value", "drop"},
		{"restart delay without a limit", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, MaxPrefix: fabric.MaxPrefix{Restart: 5}}), "bad-value", "needs a limit"},
		{"failure domain without a name", put(&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"failure_domain:"}}), "bad-value", "failure domain"},
		{"two peers, one address, by failure domain and by name", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"failure_domain:default"}},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"n1"}}), "peer-address", "192.0.2.9"},
		{"a member that moves to where another peer has the address", put(
			&fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"failure_domain:rack2"}},
			&fabric.Peer{Header: fabric.Header{Name: "r2"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Members: []string{"n1"}},
			&fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.1:8443", Certificate: testCertificate, FailureDomain: "rack2"}), "peer-address", "192.0.2.9"},
		{"anycast without address", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}}), "bad-address", "203.0.113.53/32"},
		{"anycast of a subnet", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}), "bad-address", "/32"},
		{"anycast on loopback", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}), "bad-address", "127.0.0.1"},
		{"tcp check without port", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckTCP}}), "bad-check", "tcp:80"},
		{"dns check without a name", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckDNS, Port: 53}}), "bad-check", "dns:53/example.com"},
		{"dns check with an empty label", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckDNS, Port: 53, Name: "a..example"}}), "bad-check", "not a domain name"},
		{"dns check of an unknown record", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckDNS, Port: 53, Name: "a.example", Record: "ANY"}}), "bad-check", "AAAA"},
		{"dns answer of a name that is not there", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckDNS, Port: 53, Name: "a.example", Rcode: "NXDOMAIN", Answer: "192.0.2.1"}}), "bad-check", "no records"},
		{"status out of range", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckHTTPS, Port: 443, Status: "200-99"}}), "bad-check", "200-204"},
		{"verify without a host", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckHTTPS, Port: 443, Verify: true}}), "bad-check", "host"},
		{"verify without TLS", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckHTTP, Port: 80, Verify: true, Host: "a"}}), "bad-check", "certificate"},
		{"body of a tcp check", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Type: fabric.CheckTCP, Port: 80, Body: "ok"}}), "bad-check", "body"},
		{"timeout longer than interval", put(&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Check: fabric.Check{Interval: 100, Timeout: 200}}), "bad-check", "timeout"},
		{"two services, one address", put(
			&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}},
			&fabric.Anycast{Header: fabric.Header{Name: "b"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}}), "in-use", "anycast/a"},
	} {
		err := c.do()
		if fabric.ReasonOf(err) != c.reason || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v (reason %q), want reason %q and %q in the text", c.name, err, fabric.ReasonOf(err), c.reason, c.says)
		}
	}
}

func TestAddresses(t *testing.T) {
	s := world(t)
	var given []netip.Addr
	for n := range 5 { // a /29 has six hosts, one is the gateway
		var err error
		if s, err = launch(s, instance(fmt.Sprintf("i%d", n))); err != nil {
			t.Fatal(err)
		}
		i, _ := s.Instance(fmt.Sprintf("i%d", n))
		if len(i.NICs) != 1 || len(i.NICs[0].Addresses) != 2 || !strings.HasPrefix(i.NICs[0].MAC, "00:16:3e:") {
			t.Fatalf("NICs: %+v", i.NICs)
		}
		given = append(given, i.NICs[0].Addresses...)
	}
	want := "[10.1.0.2 fd00::2 10.1.0.3 fd00::3 10.1.0.4 fd00::4 10.1.0.5 fd00::5 10.1.0.6 fd00::6]"
	if fmt.Sprint(given) != want {
		t.Errorf("addresses %v, want %v", given, want)
	}
	if _, err := launch(s, instance("more")); fabric.ReasonOf(err) != "no-free-address" {
		t.Errorf("full network: %v", err)
	}

	// What a NIC was given it keeps, whatever else changes.
	i, _ := s.Instance("i3")
	edited := fabric.Clone(i)
	edited.Config["user.x"] = "y"
	edited.Devices["eth1"] = fabric.Config{"type": "nic", "network": "br0", "ipv4.address": "none"}
	s, err := launch(s, edited)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := s.Instance("i3")
	if len(after.NICs) != 2 || fmt.Sprint(after.NICs[0]) != fmt.Sprint(i.NICs[0]) {
		t.Errorf("NICs before %+v, after %+v", i.NICs, after.NICs)
	}
	if got := fmt.Sprint(after.NICs[1].Addresses); got != "[fd00::7]" {
		t.Errorf("NIC without IPv4 was given %s", got)
	}
}

func TestAutoSubnetsAreFree(t *testing.T) {
	s := world(t)
	for n := range 20 {
		network := &fabric.Network{Header: fabric.Header{Name: fmt.Sprintf("auto%d", n)}, Type: fabric.NetworkBridge, Config: fabric.Config{}}
		var err error
		if s, err = change(s, func(tx *fabric.Tx) error {
			if err := tx.ResolveSubnets(network); err != nil {
				return err
			}
			return tx.Put(network)
		}); err != nil {
			t.Fatal(err)
		}
		if g := network.Gateway4(); !g.Addr().IsPrivate() || g.Bits() != 24 {
			t.Errorf("IPv4 subnet %s", g)
		}
		if g := network.Gateway6(); !g.Addr().IsPrivate() || g.Bits() != 64 {
			t.Errorf("IPv6 subnet %s", g)
		}
	}
}

func TestExpandedConfig(t *testing.T) {
	s := write(t, world(t), &fabric.Profile{Header: fabric.Header{Name: "extra"}, Config: fabric.Config{"user.a": "extra", "user.b": "extra"}})
	i := instance("web")
	i.Profiles = []string{"default", "extra"}
	i.Config = fabric.Config{"user.b": "own"}
	i.Devices = fabric.Devices{"eth0": {"type": "none"}}
	config, devices := i.Expanded(s)
	if config["user.a"] != "extra" || config["user.b"] != "own" {
		t.Errorf("config %v", config)
	}
	if _, ok := devices["eth0"]; ok || devices["root"]["pool"] != "local" {
		t.Errorf("devices %v", devices)
	}
}

func TestReports(t *testing.T) {
	key := fabric.Key{Kind: fabric.KindPool, Name: "p"}
	condition := func(member, detail string, ok bool) fabric.Condition {
		return fabric.Condition{Object: key, Member: member, Type: fabric.ConditionReady, Detail: detail, OK: ok}
	}
	r := fabric.EmptyReports().With(1, []fabric.Condition{condition("n2", "", true), condition("n1", "", true), condition("n1", "x", true)}, nil)
	before := slices.Clone(r.Of(key))
	set, gone := r.Diff("n1", []fabric.Condition{condition("n1", "", false)})
	if len(set) != 1 || len(gone) != 1 || gone[0].Detail != "x" {
		t.Fatalf("diff: set %+v, gone %+v", set, gone)
	}
	next := r.With(2, set, gone)
	if c, ok := next.Get(key, "n1", fabric.ConditionReady); !ok || c.OK {
		t.Errorf("after: %+v", c)
	}
	if len(next.Of(key)) != 2 || len(next.All(fabric.ConditionReady)) != 2 {
		t.Errorf("after: %+v", next.Of(key))
	}
	if fmt.Sprint(r.Of(key)) != fmt.Sprint(before) {
		t.Error("the reports before changed")
	}
	if empty := next.Replace("n1", nil).Replace("n2", nil); len(empty.Of(key)) != 0 {
		t.Errorf("nobody says anything, yet: %+v", empty.Of(key))
	}
}

func TestExpelledMemberRunsAndAnnouncesNothing(t *testing.T) {
	mine := instance("mine")
	mine.Power = fabric.PowerRunning
	s := write(t, world(t), &fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000},
		&fabric.Gateway{Header: fabric.Header{Name: "gw"}, Interface: "eth1", VRID: 1, Interval: 100, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}, mine)
	after := s.Expelled("n1")
	if i, ok := after.Instance("mine"); !ok || i.Member != "" || i.Power != fabric.PowerStopped {
		t.Errorf("its instance: %+v", i)
	}
	if len(after.Peers())+len(after.Gateways()) != 0 || after.Revision != 1 {
		t.Errorf("peers %v, revision %d", after.Peers(), after.Revision)
	}
	if i, _ := s.Instance("mine"); i.Member != "n1" || len(s.Peers()) != 1 {
		t.Error("the snapshot before changed")
	}
	if i, _ := s.Expelled("n2").Instance("mine"); i.Member != "n1" {
		t.Error("another member's instance was touched")
	}
}
