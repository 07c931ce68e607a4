package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestSyncSetSplit: gateways that are on two routers when they are made a set come together where the first is, though nobody preempts.
func TestSyncSetSplit(t *testing.T) {
	l := newLink(t, 2)
	l.in("sw", "ip link add br1 type bridge mcast_snooping 0 forward_delay 0", "ip link set br1 up")
	for i, n := range []string{"r1", "r2"} {
		l.in("sw", fmt.Sprintf("ip link add q-%s type veth peer name eth1 netns %s", n, l.name(n)), "ip link set q-"+n+" master br1 up")
		l.in(n, "ip link set eth1 up", fmt.Sprintf("ip addr add 203.0.113.%d/24 dev eth1", i+2))
	}
	pair := func(set string, other string, last int) (lan, up Gateway) {
		lan = testGateway(100, 100*time.Millisecond)
		lan.Successors = addrs(fmt.Sprintf("192.0.2.%d", last), l.linkLocal(other))
		lan.Members = map[netip.Addr]string{lan.Successors[0]: other, lan.Successors[1]: other}
		up = Gateway{Name: "up", Interface: "eth1", VRID: 7, Priority: 100, Interval: 100 * time.Millisecond, Accept: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}, Successors: addrs(fmt.Sprintf("203.0.113.%d", last))}
		up.Members = map[netip.Addr]string{up.Successors[0]: other}
		lan.Sync, up.Sync, lan.NoPreempt, up.NoPreempt = set, set, true, true
		return lan, up
	}
	r1, r2 := l.driver("r1"), l.driver("r2")
	lan1, up1 := pair("", "r2", 3)
	lan2, up2 := pair("", "r1", 2)
	r1.set(lan1)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(up2)
	r2.waitFor(IPv4, Active)
	all := func(d *driver, state State) bool {
		routers := d.order(order{}).State.Routers
		return len(routers) == 3 && !slices.ContainsFunc(routers, func(r RouterState) bool { return r.State != state })
	}
	up := func(d *driver) RouterState {
		for _, r := range d.order(order{}).State.Routers {
			if r.Gateway == "up" {
				return r
			}
		}
		return RouterState{}
	}
	r1.set(lan1, up1)
	r2.set(lan2, up2)
	wait(t, 5*time.Second, "both take part in both", func() bool {
		return up(r1).State == Backup && up(r1).In > 0 && r2.router(IPv4).State == Backup && r2.router(IPv4).In > 0 && r2.router(IPv6).In > 0
	})
	lan1, up1 = pair("edge", "r2", 3)
	lan2, up2 = pair("edge", "r1", 2)
	unknown := up2
	unknown.Members, unknown.Successors = nil, nil // where r1 is on that segment is not known yet
	r1.set(lan1, up1)
	r2.set(lan2, unknown)
	wait(t, 10*time.Second, "r2 tells of the split", func() bool { return up(r2).ErrorReason == "sync-split" })
	if s := up(r2); s.State != Active {
		t.Errorf("moved without knowing where to: %+v", s)
	}
	r2.set(lan2, up2)
	wait(t, 10*time.Second, "all Active where the first is", func() bool { return all(r1, Active) && all(r2, Backup) })
	if s := up(r2); s.Reason != ReasonHandedOver || s.ErrorReason != "" {
		t.Errorf("left for %q, told %q", s.Reason, s.ErrorReason)
	}
	changes := func() (n uint64) {
		for _, r := range append(r1.order(order{}).State.Routers, r2.order(order{}).State.Routers...) {
			n += r.Changes
		}
		return n
	}
	before, sent := changes(), r1.router(IPv4).Out
	wait(t, 10*time.Second, "another settle time", func() bool { return r1.router(IPv4).Out > sent+20 })
	if after := changes(); after != before {
		t.Errorf("%d more transitions once all were together", after-before)
	}
}
