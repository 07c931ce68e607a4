package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// meshMembers are those of the mesh topology, and the instances that run on some of them in one network.
var (
	meshMembers   = []string{"n1", "n2", "n3", "n4"}
	meshInstances = map[string]string{"i1": "n1", "i3": "n3", "i4": "n4"}
)

// meshDeath bounds for how long routes to a member without power stay: BFD between members takes 900 ms, the rest is for a busy machine.
const meshDeath = 2 * time.Second

// TestMesh has members that reach each other's instances and leave by each other, and breaks what they have in common.
func TestMesh(t *testing.T) {
	w := worldOf(t, "../topologies/mesh.clab.yml")
	token := strings.TrimSpace(w.ctl(t, "n1", "cluster add n4"))
	w.ctl(t, "n4", fmt.Sprintf("cluster join %s --address 10.66.0.4:8443", token))
	image := w.image(t, "n1", "/tmp/busybox.tar.gz")
	w.script(t, "n1", `
		config set core.bgp_asn=65100 bgp.mesh=full
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=2001:db8:10::1/64
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		bgp peer add r1-v4 192.0.2.1 65000 --export own --import default-only --install default --hold-time 3 --bfd-interval 100
		bgp peer add r1-v6 2001:db8:2::1 65000 --export own --import default-only --install default --hold-time 3 --bfd-interval 100
	`)
	for name, member := range meshInstances {
		w.ctl(t, "n1", fmt.Sprintf("launch busybox %[1]s --target %[2]s -d eth0,ipv4.address=%[3]s -d eth0,ipv6.address=%[4]s", name, member, meshAddress(name, false), meshAddress(name, true)))
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"instances reach each other", meshReaches},
		{"uplink cut", meshUplinkCut},
		{"reflectors", meshReflectors},
		{"member without power", meshMemberWithoutPower},
		{"off", meshOff},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// meshAddress is where an instance is.
func meshAddress(instance string, six bool) string {
	if six {
		return "2001:db8:10::1" + instance[1:]
	}
	return "10.80.0.1" + instance[1:]
}

// waitMesh waits until so many sessions between members are established, each seen from both ends, and nothing else of the kind is there.
func (w *world) waitMesh(t *testing.T, want int) {
	t.Helper()
	lab.WaitFor(t, 30*time.Second, fmt.Sprintf("%d sessions between members", want), func() error {
		all, err := ctlJSON[[]api.BGPSession](t, w, "n1", "bgp summary")
		if err != nil {
			return err
		}
		up := 0
		for _, s := range all {
			if _, mesh := fabric.MemberOfMeshPeer(s.Name); !mesh {
				continue
			}
			if !s.Established() || s.BFD == nil || !s.BFD.Up() {
				return fmt.Errorf("%s %s: %s %s", s.Member, s.Name, s.State, s.Message)
			}
			up++
		}
		if up != 2*want {
			return fmt.Errorf("%d are up, from both ends", up)
		}
		return nil
	})
}

// waitPing waits until an instance hears an answer from an address.
func (w *world) waitPing(t *testing.T, instance, address string, bound time.Duration) {
	t.Helper()
	lab.WaitFor(t, bound, fmt.Sprintf("%s to reach %s", instance, address), func() error {
		if r := w.try(t, meshInstances[instance], fmt.Sprintf("exec %s -- ping -c 1 -W 1 %s", instance, address)); r.code != 0 {
			return fmt.Errorf("%s%s", r.stdout, r.stderr)
		}
		return nil
	})
}

// reachAll has every instance of some reach every other one in both families.
func (w *world) reachAll(t *testing.T, instances ...string) {
	t.Helper()
	for _, from := range instances {
		for _, to := range instances {
			if from != to {
				w.waitPing(t, from, meshAddress(to, false), 10*time.Second)
				w.waitPing(t, from, meshAddress(to, true), 10*time.Second)
			}
		}
	}
}

func meshReaches(t *testing.T, w *world) {
	w.waitMesh(t, 6)
	w.reachAll(t, "i1", "i3", "i4")
	for _, outside := range []string{"198.51.100.10", "2001:db8:51::10"} {
		w.waitPing(t, "i3", outside, 10*time.Second)
	}
	// They can't be had as peers that somebody configured.
	for _, line := range []string{"bgp peer show mesh:n2", "bgp peer remove mesh:n2", "bgp peer add mesh:n9 192.0.2.9 65000"} {
		if r := w.try(t, "n1", line); r.code == 0 {
			t.Errorf("%s: %s", line, r.stdout)
		}
	}
	// What one member told goes on to no other.
	for _, s := range meshPaths(t, w, "n1", "") {
		if strings.HasPrefix(s.Peer, "mesh:") && !strings.HasSuffix(s.Peer, meshOwner(s)) {
			t.Errorf("%+v came from the wrong member", s)
		}
	}
	if out := w.ctl(t, "n1", "bgp routes --installed -f compact "+meshAddress("i3", false)); !strings.Contains(out, "via 10.66.0.3 dev eth2") {
		t.Error(out)
	}
}

// meshPaths are what peers told a member for a prefix, or for all.
func meshPaths(t *testing.T, w *world, member, prefix string) []fabric.BGPRoute {
	t.Helper()
	list, err := ctlJSON[[]fabric.BGPRoute](t, w, member, strings.TrimSpace("bgp routes --installed "+prefix))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// meshOwner is the member that an instance's prefix leads to; empty for other prefixes.
func meshOwner(r fabric.BGPRoute) string {
	for name, member := range meshInstances {
		if a := r.Prefix.Addr().String(); r.Prefix.IsSingleIP() && (a == meshAddress(name, false) || a == meshAddress(name, true)) {
			return member
		}
	}
	return ""
}

func meshUplinkCut(t *testing.T, w *world) {
	n3 := w.lab.MustNode(t, "n3")
	n3.MustExec(t, "ip", "link", "set", "dev", "eth1", "down")
	at := time.Now()
	for _, outside := range []string{"198.51.100.10", "2001:db8:51::10"} {
		w.waitPing(t, "i3", outside, 10*time.Second)
	}
	t.Logf("out by others, and back in, %d ms after the cut", time.Since(at).Milliseconds())
	for _, family := range []string{"-4", "-6"} {
		if n := w.nextHops(t, "n3", family, "default"); n != 3 {
			t.Errorf("the default route %s of a member without uplink has %d next hops, want the 3 other members", family, n)
		}
	}
	n3.MustExec(t, "ip", "link", "set", "dev", "eth1", "up")
	n3.MustExec(t, "ip", "address", "replace", "2001:db8:2::13/64", "dev", "eth1", "nodad")
	lab.WaitFor(t, 20*time.Second, "n3 to leave by itself again", func() error {
		for _, family := range []string{"-4", "-6"} {
			if out := n3.MustExec(t, "ip", family, "route", "show", "default"); !strings.Contains(out, "dev eth1") {
				return fmt.Errorf("%s", out)
			}
		}
		return nil
	})
}

// meshRoles are the members by what they are in a mesh with reflectors: the first two voters of the database reflect. Of the clients, the last has an instance.
func meshRoles(t *testing.T, w *world) (reflectors, clients []string) {
	t.Helper()
	members, err := ctlJSON[[]incusapi.ClusterMember](t, w, "n1", "cluster list")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if len(reflectors) < 2 && slices.Contains(m.Roles, "database") {
			reflectors = append(reflectors, m.ServerName)
		} else {
			clients = append(clients, m.ServerName)
		}
	}
	if len(clients) != 2 {
		t.Fatalf("reflectors %v, clients %v", reflectors, clients)
	}
	if _, ok := meshInstanceOn(clients[1]); !ok {
		slices.Reverse(clients)
	}
	return reflectors, clients
}

// meshInstanceOn is the instance that runs on a member.
func meshInstanceOn(member string) (instance string, ok bool) {
	for i, m := range meshInstances {
		if m == member {
			return i, true
		}
	}
	return "", false
}

func meshReflectors(t *testing.T, w *world) {
	w.ctl(t, "n1", "config set bgp.mesh=reflector")
	w.waitMesh(t, 5) // the clients have none with each other
	w.reachAll(t, "i1", "i3", "i4")
	reflectors, clients := meshRoles(t, w)
	from, to := clients[0], clients[1]
	behind, _ := meshInstanceOn(to)
	hop := func(member string) string { return "10.66.0." + member[1:] }
	var heard, want []string
	for _, r := range meshPaths(t, w, from, meshAddress(behind, false)) {
		if meshOwner(r) == to {
			heard = append(heard, fmt.Sprintf("%s: %s", r.Peer, r.NextHop))
		}
	}
	for _, r := range reflectors {
		want = append(want, fmt.Sprintf("%s: %s", fabric.MeshPeerName(r), hop(to)))
	}
	slices.Sort(heard)
	heard = slices.Compact(heard) // each reflector may tell of it twice: as it came, and as the other one reflects it
	if !slices.Equal(heard, want) {
		t.Errorf("%s heard of %s from %v, want %v", from, behind, heard, want)
	}
	meshCopies(t, w, reflectors, from, to, hop)
	w.ctl(t, "n1", "config set bgp.mesh=full")
	w.waitMesh(t, 6)
}

// meshCopies has a reflector tell a client of a copy on another client although it has a better one itself.
func meshCopies(t *testing.T, w *world, reflectors []string, from, to string, hop func(member string) string) {
	near := reflectors[0]
	if _, ok := meshInstanceOn(near); !ok {
		near = reflectors[1]
	}
	w.ctl(t, "n1", "anycast create copies 203.0.113.53/32")
	for _, member := range []string{near, to} {
		instance, _ := meshInstanceOn(member)
		w.ctl(t, "n1", "config set "+instance+" anycast=copies")
		defer w.ctl(t, "n1", "config unset "+instance+" anycast")
	}
	lab.WaitFor(t, 10*time.Second, from+" to use both copies", func() error {
		out := w.lab.MustNode(t, from).MustExec(t, "ip", "route", "show", "203.0.113.53")
		for _, member := range []string{near, to} {
			if strings.Count(out, "nexthop via "+hop(member)+" ") != 1 {
				return fmt.Errorf("%s", out)
			}
		}
		return nil
	})
}

func meshMemberWithoutPower(t *testing.T, w *world) {
	w.reachAll(t, "i1", "i4")
	n4 := w.lab.MustNode(t, "n4")
	watches := []*watch{w.watchNextHops(t, "n1", meshAddress("i4", false)+"/32", 1), w.watchNextHops(t, "n1", meshAddress("i4", true)+"/128", 1)}
	at := probe.Now()
	if err := n4.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range watches {
		gone := x.until(t, func(n probe.NextHops) bool { return n.Count == 0 }).At - at
		t.Logf("route to an instance of a dead member gone after %d ms; BFD takes 900 ms", gone.Milliseconds())
		if gone > meshDeath {
			t.Errorf("it stayed for %s", gone)
		}
	}
	if err := n4.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.running(t, "n1", "i4")
	w.waitMesh(t, 6)
	w.reachAll(t, "i1", "i4")
}

func meshOff(t *testing.T, w *world) {
	w.ctl(t, "n1", "config set bgp.mesh=off")
	lab.WaitFor(t, 10*time.Second, "nothing to be left of the mesh", func() error {
		for _, member := range meshMembers {
			node := w.lab.MustNode(t, member)
			if out := node.MustExec(t, "sh", "-c", "ip route show proto 160; ip -6 route show proto 160; ip -6 neigh show proxy"); strings.Contains(out, "10.80.0.1") || strings.Contains(out, "2001:db8:10::") {
				return fmt.Errorf("%s: %s", member, out)
			}
		}
		return nil
	})
	w.waitMesh(t, 0)
	w.waitPing(t, "i1", "198.51.100.10", 10*time.Second)
}
