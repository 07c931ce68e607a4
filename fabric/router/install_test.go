package router

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// fakeKernel is a kernel with one interface, eth0 with 10.0.0.0/24 and fd00::/64 on it, and routes in tables.
type fakeKernel struct {
	routes   map[fibKey][]hop
	foreign  map[fibKey]bool
	down     bool
	blind    bool // load fails
	writes   int
	attempts int // to write, also in vain
	removals []fibKey
}

func (k *fakeKernel) load() (map[fibKey][]hop, error) {
	if k.blind {
		return nil, errors.New("no buffer space")
	}
	return maps.Clone(k.routes), nil
}

func (k *fakeKernel) put(key fibKey, hops []hop, ours bool) error {
	if _, there := k.routes[key]; there != ours {
		panic("what is there is not what is believed")
	}
	if k.attempts++; k.foreign[key] {
		return fabric.Errorf(fabric.CodeConflict, fabric.ReasonForeignRoute, "somebody else's")
	}
	k.writes++
	k.routes[key] = hops
	return nil
}

func (k *fakeKernel) remove(key fibKey) error {
	if _, there := k.routes[key]; !there {
		return errors.New("it is not there")
	}
	k.removals = append(k.removals, key)
	delete(k.routes, key)
	return nil
}

func (k *fakeKernel) way(nextHop, via netip.Addr) way {
	net := prefix("10.0.0.0/24")
	if nextHop.Is6() {
		net = prefix("fd00::/64")
	}
	switch {
	case k.down:
		return way{why: "interface eth0 is down or has no carrier"}
	case needsLink(nextHop):
		return way{hops: []hop{{nextHop, via.Zone(), 1}}, direct: true}
	case net.Contains(nextHop):
		return way{hops: []hop{{nextHop, "eth0", 1}}, through: net, direct: true}
	case nextHop.Is4():
		return way{hops: []hop{{addr("10.0.0.254"), "eth0", 1}}, through: prefix("0.0.0.0/0")}
	}
	return way{why: "the kernel has no route to it"}
}

// has is what the fake kernel has, as text.
func (k *fakeKernel) has() string {
	var all []string
	for key, hops := range k.routes {
		all = append(all, fmt.Sprintf("%d %s %v", key.table, key.prefix, hops))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// bench is an installer with a fake kernel, a clock, and peers a (10.0.0.1), b (10.0.0.2) and c (fe80::c on eth0).
type bench struct {
	*installer
	told    int // times that the state changed
	kernel  *fakeKernel
	changes gobgp.Changes
	now     time.Time
	peers   []fabric.RoutingPeer
}

func newBench() *bench {
	b := &bench{kernel: &fakeKernel{routes: map[fibKey][]hop{}, foreign: map[fibKey]bool{}}, now: time.Unix(1000, 0)}
	b.installer = newInstaller(slog.New(slog.DiscardHandler), func() gobgp.Changes {
		c := b.changes
		b.changes.Paths = nil
		return c
	}, func() { b.told++ })
	b.fib = b.kernel
	b.changes.Ended = map[gobgp.PeerFamily]bool{}
	all := fabric.PeerInstall{Install: fabric.InstallAll}.Full()
	b.peers = []fabric.RoutingPeer{
		{Name: "a", Address: addr("10.0.0.1"), GracefulRestart: 30, PeerInstall: all},
		{Name: "b", Address: addr("10.0.0.2"), GracefulRestart: 20, PeerInstall: all},
		{Name: "c", Address: addr("fe80::c%eth0"), GracefulRestart: 10, PeerInstall: all, IPv4: true, IPv6: true},
	}
	return b
}

// hear has peers say that they are the next hops to a prefix: "10.0.0.1" or "10.0.0.1>NEXT-HOP".
func (b *bench) hear(p string, from ...string) {
	if b.changes.Paths == nil {
		b.changes.Paths = map[netip.Prefix][]gobgp.Learned{}
	}
	var paths []gobgp.Learned
	for _, f := range from {
		peer, hop, ok := strings.Cut(f, ">")
		if !ok {
			hop = peer
		}
		paths = append(paths, gobgp.Learned{Peer: addr(peer), NextHop: addr(hop)})
	}
	b.changes.Paths[prefix(p)] = paths
}

func (b *bench) end(peers ...string) {
	for _, p := range peers {
		for _, six := range []bool{false, true} {
			b.changes.Ended[gobgp.PeerFamily{Peer: addr(p), IPv6: six}] = true
		}
	}
}

func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.step(b.now)
}

func TestPlaces(t *testing.T) {
	const all, only = fabric.InstallAll, fabric.InstallDefault
	for _, c := range []struct {
		name, prefix, nextHop string
		install               fabric.PeerInstall
		want                  string
	}{
		{"nothing is installed unless it is asked for", "203.0.113.0/24", "10.0.0.1", fabric.PeerInstall{}, "install-none"},
		{"all", "203.0.113.0/24", "10.0.0.1", fabric.PeerInstall{Install: all}, "254 2000 [{10.0.0.1 eth0 1}]"},
		{"the default route is not another one", "203.0.113.0/24", "10.0.0.1", fabric.PeerInstall{Install: only}, "not-default"},
		{"the default route", "0.0.0.0/0", "10.0.0.1", fabric.PeerInstall{Install: only}, "254 2000 [{10.0.0.1 eth0 1}]"},
		{"table and metric", "::/0", "fd00::1", fabric.PeerInstall{Install: only, Table: "77", Metric: 5}, "77 5 [{fd00::1 eth0 1}]"},
		{"a table that has no number", "::/0", "fd00::1", fabric.PeerInstall{Install: only, Table: "blue"}, "table-unknown"},
		{"a next hop of the other IP version", "203.0.113.0/24", "fd00::1", fabric.PeerInstall{Install: all}, "254 2000 [{fd00::1 eth0 1}]"},
		{"a next hop behind a router", "203.0.113.0/24", "198.51.100.1", fabric.PeerInstall{Install: all}, "254 2000 [{10.0.0.254 eth0 1}]"},
		{"a next hop inside of its own prefix", "198.51.100.0/24", "198.51.100.1", fabric.PeerInstall{Install: all}, "next-hop-unreachable"},
		{"a default route by way of the default route", "0.0.0.0/0", "198.51.100.1", fabric.PeerInstall{Install: all}, "next-hop-unreachable"},
		{"a next hop that the kernel does not know", "2001:db8::/32", "2001:db8::1", fabric.PeerInstall{Install: all}, "next-hop-unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &fakeKernel{}
			peer := fabric.RoutingPeer{Name: "a", Address: addr("10.0.0.1"), PeerInstall: c.install.Full()}
			peers := installPeers([]fabric.RoutingPeer{peer}, func(name string) (uint32, bool) { return tableNumber(nil, name) })
			placed := place(prefix(c.prefix), []gobgp.Learned{{Peer: peer.Address, NextHop: addr(c.nextHop)}}, peers, func(x gobgp.Learned, p installPeer) way { return k.way(x.NextHop, p.via) })
			if len(placed) != 1 {
				t.Fatal(placed)
			}
			got := placed[0].reason
			if got == "" {
				got = fmt.Sprintf("%d %d %v", placed[0].key.table, placed[0].key.metric, placed[0].hops)
			} else if placed[0].message == "" {
				t.Error("it does not say why")
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestInstallerFollowsWhatPeersTell(t *testing.T) {
	b := newBench()
	has := func(want string) {
		t.Helper()
		if got := b.kernel.has(); got != want {
			t.Fatalf("the kernel has %s\nwant %s", got, want)
		}
	}
	b.Apply(b.peers)
	b.hear("0.0.0.0/0", "10.0.0.1", "10.0.0.2", "fe80::c")
	b.hear("203.0.113.0/24", "10.0.0.2")
	b.pass(0)
	has("254 0.0.0.0/0 [{10.0.0.1 eth0 1} {10.0.0.2 eth0 1} {fe80::c eth0 1}], 254 203.0.113.0/24 [{10.0.0.2 eth0 1}]")
	b.hear("0.0.0.0/0", "10.0.0.1")
	b.hear("203.0.113.0/24")
	b.pass(time.Second)
	has("254 0.0.0.0/0 [{10.0.0.1 eth0 1}]")
	writes := b.kernel.writes
	b.pass(time.Hour)
	if b.kernel.writes != writes {
		t.Errorf("%d writes though nothing happened", b.kernel.writes-writes)
	}
	// Somebody deletes it.
	key := fibKey{prefix("0.0.0.0/0"), 254, fabric.DefaultInstallMetric}
	delete(b.kernel.routes, key)
	b.routeChanged(routeEvent{key, true, ProtocolBGP})
	b.pass(time.Millisecond)
	has("254 0.0.0.0/0 [{10.0.0.1 eth0 1}]")
	// The interface goes, and comes back.
	b.kernel.down = true
	b.linksChanged()
	b.pass(0)
	b.pass(installSettle)
	has("")
	b.pass(installCounts)
	if s := b.State(); s.peers["a"].failed != 1 || s.tables[0] != (fabric.TableState{Table: "main", Failed: 1}) {
		t.Errorf("%+v", s)
	}
	b.kernel.down = false
	b.linksChanged()
	b.pass(0)
	b.pass(installSettle)
	has("254 0.0.0.0/0 [{10.0.0.1 eth0 1}]")
	// To another table: there first, gone here afterwards.
	b.peers = slices.Clone(b.peers)
	b.peers[0].PeerInstall = fabric.PeerInstall{Install: fabric.InstallAll, Table: "77"}.Full()
	b.Apply(b.peers)
	b.pass(0)
	has("77 0.0.0.0/0 [{10.0.0.1 eth0 1}]")
	b.peers = slices.Clone(b.peers)
	b.peers[0].PeerInstall = fabric.PeerInstall{}
	b.Apply(b.peers)
	b.pass(0)
	has("")
}

func TestForeignRouteIsInTheWayUntilItGoes(t *testing.T) {
	b := newBench()
	key := fibKey{prefix("203.0.113.0/24"), 254, fabric.DefaultInstallMetric}
	b.kernel.foreign[key] = true
	b.Apply(b.peers)
	b.hear("203.0.113.0/24", "10.0.0.1")
	b.hear("198.51.100.0/24", "10.0.0.1")
	b.pass(0)
	b.pass(installCounts)
	if s := b.State(); s.peers["a"] != (installCount{routes: 1, failed: 1, why: "203.0.113.0/24: somebody else's"}) {
		t.Errorf("%+v", s)
	}
	delete(b.kernel.foreign, key)
	b.routeChanged(routeEvent{key, true, 4})
	b.pass(time.Millisecond)
	if got := b.kernel.has(); got != "254 198.51.100.0/24 [{10.0.0.1 eth0 1}], 254 203.0.113.0/24 [{10.0.0.1 eth0 1}]" {
		t.Error(got)
	}
}

func TestWhatFailsForGoodIsToldOnceAndTriedLessOften(t *testing.T) {
	b := newBench()
	for n := range 20 {
		p := fmt.Sprintf("203.0.%d.0/24", 100+n)
		b.kernel.foreign[fibKey{prefix(p), 254, fabric.DefaultInstallMetric}] = true
		b.hear(p, "10.0.0.1")
	}
	b.end("10.0.0.1", "10.0.0.2", "fe80::c")
	b.Apply(b.peers)
	b.pass(0)
	b.pass(installCounts)
	if s := b.State(); s.peers["a"] != (installCount{failed: 20, why: "203.0.100.0/24: somebody else's"}) {
		t.Errorf("%+v", s)
	}
	told, attempts := b.told, b.kernel.attempts
	for range 600 {
		b.pass(100 * time.Millisecond)
		if !b.count.IsZero() {
			t.Fatal("it counts though nothing changed")
		}
	}
	// After 1, 3, 7, 15 and 31 seconds.
	if got := (b.kernel.attempts - attempts) / 20; b.told != told || got != 5 {
		t.Errorf("within a minute each was tried %d times, and %d changes were told", got, b.told-told)
	}
	// What fails newly is tried again soon.
	b.kernel.foreign[fibKey{prefix("198.51.100.0/24"), 254, fabric.DefaultInstallMetric}] = true
	b.hear("198.51.100.0/24", "10.0.0.1")
	b.pass(0)
	attempts = b.kernel.attempts
	b.pass(installRetry)
	if b.kernel.attempts != attempts+21 || b.State().peers["a"].why != "198.51.100.0/24: somebody else's" {
		t.Errorf("%d attempts; %+v", b.kernel.attempts-attempts, b.State())
	}
	b.kernel.foreign = nil
	b.pass(2 * installRetry)
	b.pass(installCounts)
	if s := b.State(); s.peers["a"] != (installCount{routes: 21}) || !b.retry.IsZero() {
		t.Errorf("%+v, retry at %s", s, b.retry)
	}
}

func TestRoutesOfAnEarlierRun(t *testing.T) {
	stale, told := fibKey{prefix("203.0.113.0/24"), 254, 2000}, fibKey{prefix("0.0.0.0/0"), 254, 2000}
	begin := func() *bench {
		b := newBench()
		b.kernel.routes[stale] = []hop{{addr("10.0.0.1"), "eth0", 1}}
		b.kernel.routes[told] = []hop{{addr("10.0.0.1"), "eth0", 1}}
		b.pass(0) // before anything is wanted, nothing is done
		b.Apply(b.peers)
		b.pass(0)
		b.hear("0.0.0.0/0", "10.0.0.1")
		b.end("10.0.0.1")
		b.pass(5 * time.Second)
		if len(b.kernel.removals) != 0 {
			t.Fatalf("removed while peers have not told everything: %v", b.kernel.removals)
		}
		return b
	}
	for _, c := range []struct {
		name string
		do   func(b *bench)
		want string
	}{
		{"go when all peers have told everything", func(b *bench) { b.end("10.0.0.2", "fe80::c"); b.pass(0) }, "254 0.0.0.0/0 [{10.0.0.1 eth0 1}]"},
		{"or the longest restart time is over", func(b *bench) { b.pass(24 * time.Second); b.pass(time.Second) }, "254 0.0.0.0/0 [{10.0.0.1 eth0 1}]"},
		{"and not before", func(b *bench) { b.pass(24 * time.Second) }, "254 0.0.0.0/0 [{10.0.0.1 eth0 1}], 254 203.0.113.0/24 [{10.0.0.1 eth0 1}]"},
		{"what was told in this run and taken back goes at once", func(b *bench) { b.hear("0.0.0.0/0"); b.pass(0) }, "254 203.0.113.0/24 [{10.0.0.1 eth0 1}]"},
		{"all go at once when nothing is to be installed", func(b *bench) { b.Apply(nil); b.pass(0) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := begin()
			if c.do(b); b.kernel.has() != c.want {
				t.Errorf("the kernel has %s\nwant %s", b.kernel.has(), c.want)
			}
		})
	}
}

func TestLinkOfALinkLocalNextHop(t *testing.T) {
	if needsLink(addr("169.254.1.2")) || needsLink(addr("fd00::1")) || !needsLink(addr("fe80::1")) {
		t.Error("only link-local addresses of IPv6 need a link")
	}
	for _, c := range []struct {
		name, via string
		way       way
		dev, why  string
	}{
		{"the zone of the session", "fe80::c%eth1", way{}, "eth1", ""},
		{"the link that the peer is on", "10.0.0.1", way{hops: []hop{{addr("10.0.0.1"), "eth0", 1}}, direct: true}, "eth0", ""},
		{"a peer at a link-local address of IPv4", "169.254.0.1", way{hops: []hop{{addr("169.254.0.1"), "eth0", 1}}, direct: true}, "eth0", ""},
		{"the peer is behind a router", "10.9.0.1", way{hops: []hop{{addr("10.0.0.254"), "eth0", 1}}}, "", "over no link"},
		{"the link of the peer has no carrier", "10.0.0.1", way{direct: true, why: "interface eth0 is down or has no carrier"}, "", "eth0 is down"},
		{"no zone is known", "fe80::c", way{hops: []hop{{addr("fe80::c"), "eth0", 1}}, direct: true}, "", "over no link"},
	} {
		dev, why := sessionLink(addr(c.via), func(netip.Addr) way { return c.way })
		if dev != c.dev || !strings.Contains(why, c.why) || (why == "") != (dev != "") {
			t.Errorf("%s: got %q, because %q", c.name, dev, why)
		}
	}
}

func TestNothingIsDoneBeforeTheKernelWasRead(t *testing.T) {
	b := newBench()
	key := fibKey{prefix("203.0.113.0/24"), 254, fabric.DefaultInstallMetric}
	b.kernel.routes[key] = []hop{{addr("10.0.0.2"), "eth0", 1}}
	b.kernel.routes[fibKey{prefix("198.51.100.0/24"), 254, fabric.DefaultInstallMetric}] = []hop{{addr("10.0.0.2"), "eth0", 1}}
	b.kernel.blind = true
	b.Apply(b.peers)
	b.hear("203.0.113.0/24", "10.0.0.1")
	if next := b.step(b.now); !next.Equal(b.now.Add(installRetry)) || b.kernel.attempts != 0 || b.State().err == nil {
		t.Errorf("next at %s, %d attempts, error %v", next, b.kernel.attempts, b.State().err)
	}
	b.pass(time.Minute)
	if b.told != 1 {
		t.Errorf("told %d times", b.told)
	}
	b.kernel.blind = false
	b.pass(installRetry)
	if got := b.kernel.has(); got != "254 198.51.100.0/24 [{10.0.0.2 eth0 1}], 254 203.0.113.0/24 [{10.0.0.1 eth0 1}]" || b.State().err != nil {
		t.Errorf("the kernel has %s, error %v", got, b.State().err)
	}
	// Peers have their time from when the kernel was read.
	b.pass(29 * time.Second)
	if len(b.kernel.removals) != 0 {
		t.Errorf("removed %v", b.kernel.removals)
	}
	b.pass(time.Second)
	if got := b.kernel.has(); got != "254 203.0.113.0/24 [{10.0.0.1 eth0 1}]" {
		t.Error(got)
	}
}

func TestWaysOfFormerNextHopsAreForgotten(t *testing.T) {
	b := newBench()
	b.Apply(b.peers)
	for n := range 100 {
		b.hear("203.0.113.0/24", fmt.Sprintf("10.0.0.1>10.0.0.%d", 100+n))
		b.hear("2001:db8::/32", fmt.Sprintf("10.0.0.1>2001:db8:1::%d", n)) // there is no way to it
		b.pass(0)
		b.pass(installCounts)
	}
	if len(b.ways) != 2 {
		t.Errorf("%d ways are known, want the 2 in use", len(b.ways))
	}
	// The second was never in the kernel. It is counted all the same, and its end too.
	if s := b.State(); s.peers["a"].failed != 1 {
		t.Errorf("%+v", s)
	}
	b.hear("2001:db8::/32")
	b.pass(0)
	b.pass(installCounts)
	if s := b.State(); s.peers["a"] != (installCount{routes: 1}) || len(b.ways) != 1 {
		t.Errorf("%+v, %d ways", s, len(b.ways))
	}
}

func TestCovers(t *testing.T) {
	i := newBench().installer
	for _, a := range []string{"198.51.100.7", "2001:db8::7"} {
		i.ways[wayKey{nextHop: addr(a)}] = way{}
	}
	for p, want := range map[string]bool{
		"0.0.0.0/0": true, "198.51.100.0/24": true, "198.51.100.7/32": true, "198.51.101.0/24": false,
		"::/0": true, "2001:db8::/64": true, "2001:db9::/32": false, "2001:db8::8/128": false,
	} {
		if got := i.covers(map[netip.Prefix]bool{prefix(p): true, prefix("192.0.2.0/24"): true}); got != want {
			t.Errorf("%s: %t", p, got)
		}
	}
}

func TestTableNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := []string{write("rt_tables", "# reserved\n255 local\n100 blue # comment\n0x65\tgreen\n"), filepath.Join(dir, "*.conf"), filepath.Join(dir, "none")}
	write("more.conf", "102 red\nx yellow\n")
	for name, want := range map[string]uint32{"main": 254, "default": 253, "12": 12, "blue": 100, "green": 101, "red": 102, "yellow": 0, "black": 0, "0": 0} {
		if got, ok := tableNumber(files, name); got != want || ok != (want != 0) {
			t.Errorf("table %s is %d, %t; want %d", name, got, ok, want)
		}
	}
}
