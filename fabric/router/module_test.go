package router

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// desired is a snapshot in which the member's instance is a copy of a service.
func desired(t *testing.T, m *member) *fabric.Snapshot {
	t.Helper()
	a := netip.MustParseAddr
	objects := []fabric.Object{
		&fabric.Member{Header: fabric.Header{Name: "m1"}, Address: "10.98.0.11:8443"},
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010"}},
		&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{
			"ipv4.address": m.net4() + ".1/24", "ipv4.nat": "true", "ipv6.address": m.net6() + "::1/64"}},
		&fabric.Peer{Header: fabric.Header{Name: "up4"}, Address: a("10.98.0.1"), ASN: 65001, HoldTime: 3, Export: "own"},
		&fabric.Peer{Header: fabric.Header{Name: "up6"}, Address: a("fd98::1"), ASN: 65001, HoldTime: 3, Export: "own"},
		&fabric.Anycast{Header: fabric.Header{Name: "web"}, Addresses: []netip.Prefix{netip.MustParsePrefix(anycast4), netip.MustParsePrefix(anycast6)}},
		&fabric.Instance{Header: fabric.Header{Name: "web1"}, Type: "container", Member: "m1", Power: fabric.PowerRunning,
			Config:  fabric.Config{"anycast": "web"},
			Devices: fabric.Devices{"eth0": {"type": "nic", "network": "br0"}},
			NICs:    []fabric.NIC{{Device: "eth0", Network: "br0", Addresses: []netip.Addr{a(m.net4() + ".10"), a(m.net6() + "::10")}}}},
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
	return s
}

func (m *member) facts(t *testing.T, s *fabric.Snapshot) fabric.Facts {
	i, _ := s.Instance("web1")
	return fabric.Facts{
		Networks: map[string]fabric.NetworkFact{"br0": {Bridge: "br0", MTU: 1500}},
		Instances: map[string]fabric.InstanceFact{"web1": {Status: fabric.InstanceRunning, Process: m.process(m.init), NICs: []fabric.NICFact{
			{Device: "eth0", Network: "br0", Link: "veth0", Bridge: "br0", Inside: "eth0", Addresses: i.NICs[0].Addresses}}}},
	}
}

// condition finds what a report says of an object.
func condition(r fabric.Report, kind fabric.Kind, name string) (fabric.Condition, bool) {
	for _, c := range r.Conditions {
		if c.Object == (fabric.Key{Kind: kind, Name: name}) {
			return c, true
		}
	}
	return fabric.Condition{}, false
}

func TestModule(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	snapshot := desired(t, m)
	v := fabric.View{Member: "m1", Desired: snapshot, Reports: fabric.EmptyReports()}
	module := NewModule(m.client)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		module.Run(ctx)
		close(done)
	}()
	defer func() {
		cancel()
		<-done
	}()

	stored := fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "up4"}, Member: "m1", Type: fabric.ConditionSession, OK: true}
	other := stored
	other.Member = "m2"
	v.Reports = v.Reports.With(1, []fabric.Condition{stored, other}, nil)
	r, err := module.Reconcile(ctx, v)
	if fabric.ReasonOf(err) != fabric.ReasonWorkerDown || len(r.Conditions) != 1 || !r.Conditions[0].Same(stored) {
		t.Fatalf("without a worker, at first: %v, %+v", err, r.Conditions)
	}
	down := func() {
		t.Helper()
		bgptest.Eventually(t, 2*patience, func() string {
			r, err = module.Reconcile(ctx, v)
			if c, _ := condition(r, fabric.KindPeer, "up4"); fabric.ReasonOf(err) != fabric.ReasonWorkerDown || c.Reason != fabric.ReasonWorkerDown {
				return fmt.Sprintf("%v, %+v", err, c)
			}
			return ""
		})
	}
	down()

	// The worker has a value from before; nobody has told yet what runs here.
	m.start()
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	if r, err = module.Reconcile(ctx, v); err != nil || len(r.Facts.Routing.Routes) != 2 {
		t.Fatalf("not ready: %v, %+v", err, r.Facts.Routing)
	}
	if got, _ := s.frr.Node.Gateways(anycast4); len(got) != 1 {
		t.Fatal("what is not known yet was withdrawn")
	}

	v.Facts = m.facts(t, snapshot)
	ok := func(want ...string) {
		t.Helper()
		bgptest.Eventually(t, 10*time.Second, func() string {
			if r, err = module.Reconcile(ctx, v); err != nil {
				return err.Error()
			}
			for _, name := range want {
				key, _ := fabric.ParseKey(name)
				if c, ok := condition(r, key.Kind, key.Name); !ok || !c.OK {
					return fmt.Sprintf("%s: %+v", name, c)
				}
			}
			return ""
		})
	}
	ok("peer/up4", "peer/up6", "anycast/web")
	s.gateways(m.net6()+"::10", "fd98::11")
	// Quiet: all that there was to say of this has been said.
	for drained := false; !drained; {
		select {
		case <-module.Wake():
		case <-time.After(300 * time.Millisecond):
			drained = true
		}
	}
	ok("peer/up4", "peer/up6", "anycast/web")
	for owner, want := range map[string]string{"network/br0": fabric.ReasonNAT, "instance/web1": fabric.ReasonNAT} {
		key, _ := fabric.ParseKey(owner)
		if c, _ := condition(r, key.Kind, key.Name); c.OK || c.Reason != want || len(fabric.JSON[[]fabric.RouteState](c.Data)) != 2 {
			t.Errorf("%s: %+v", owner, c)
		}
	}

	// Nothing happens: nothing is sent, and nothing to write.
	before := r
	if r, err = module.Reconcile(ctx, v); err != nil {
		t.Fatal(err)
	}
	for n := range r.Conditions {
		if !r.Conditions[n].Same(before.Conditions[n]) {
			t.Errorf("changed without a reason:\n%+v\n%+v", before.Conditions[n], r.Conditions[n])
		}
	}

	// The worker says that something happened.
	m.init.Process.Kill()
	select {
	case <-module.Wake():
	case <-time.After(2 * time.Second):
		t.Fatal("no wake after the instance died")
	}
	if r, err = module.Reconcile(ctx, v); err != nil {
		t.Fatal(err)
	}
	if c, _ := condition(r, fabric.KindAnycast, "web"); c.OK || c.Reason != fabric.ReasonProcessDead {
		t.Errorf("%+v", c)
	}

	// A worker that is only restarting is not worth a word; one that stays away is.
	m.end(syscall.SIGKILL)
	r, err = module.Reconcile(ctx, v)
	if c, _ := condition(r, fabric.KindPeer, "up4"); err == nil && !c.OK {
		t.Errorf("at once after the end of the worker: %v, %+v", err, c)
	}
	down()
	m.init = m.instance.Start("sleep", "infinity")
	m.settled()
	v.Facts = m.facts(t, snapshot)
	m.start()
	ok("peer/up4", "peer/up6", "anycast/web")
}
