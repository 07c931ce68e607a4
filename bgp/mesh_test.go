package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// certificate is any that members may have.
const certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

// clusterView is the view of a member of a cluster of n members m1, m2, … at 10.66.0.1, .2, …
func clusterView(t *testing.T, member string, n int, mesh string, objects ...fabric.Object) fabric.View {
	objects = append(objects, &fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010", "bgp.mesh": mesh, "bgp.prefixes": "10.50.0.0/24"}})
	for i := 1; i <= n; i++ {
		m := &fabric.Member{Header: fabric.Header{Name: fmt.Sprintf("m%d", i)}, Address: fmt.Sprintf("10.66.0.%d:8443", i), Certificate: certificate}
		objects = append([]fabric.Object{m}, objects...)
	}
	v := view(t, objects...)
	v.Member = member
	return v
}

// sessions tells the sessions between members in short: a > for one that dials, a < for one that waits, R where it is a client of ours.
func sessions(p Plan) string {
	var all []string
	for _, p := range p.Peers {
		if !p.Mesh {
			continue
		}
		text := ">" + strings.TrimPrefix(p.Name, "mesh:")
		if p.Passive {
			text = "<" + text[1:]
		}
		if p.ReflectorID.IsValid() {
			text += "R"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestMeshSessions(t *testing.T) {
	for _, c := range []struct {
		mesh    string
		members int
		want    string // by member
	}{
		{"off", 3, "; ; "},
		{"full", 1, ""},
		{"full", 3, ">m2 >m3; <m1 >m3; <m1 <m2"},
		{"reflector", 2, ">m2; <m1"},
		{"reflector", 3, ">m2 >m3; <m1 >m3; <m1 <m2"},
		{"reflector", 4, ">m2 >m3R >m4R; <m1 >m3R >m4R; <m1 <m2; <m1 <m2"},
		{"reflector", 6, ">m2 >m3 >m4R >m5R >m6R; <m1 >m3 >m4R >m5R >m6R; <m1 <m2 >m4R >m5R >m6R; <m1 <m2 <m3; <m1 <m2 <m3; <m1 <m2 <m3"},
	} {
		t.Run(fmt.Sprintf("%s of %d", c.mesh, c.members), func(t *testing.T) {
			var all []string
			for i := 1; i <= c.members; i++ {
				plan, ready := Make(clusterView(t, fmt.Sprintf("m%d", i), c.members, c.mesh))
				if !ready {
					t.Fatal("not ready")
				}
				all = append(all, sessions(plan))
			}
			if got := strings.Join(all, "; "); got != c.want {
				t.Errorf("sessions are %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestReflectorsAreVoters(t *testing.T) {
	for voters, want := range map[string]string{
		"":            "m1 m2",
		"m2 m4 m5":    "m2 m4",
		"m5":          "m5 m1", // not noted yet, or one of few that run
		"m1 m2 m3 m4": "m1 m2",
	} {
		v := clusterView(t, "m1", 5, "reflector")
		var marked []fabric.Object
		for _, name := range strings.Fields(voters) {
			m, _ := v.Desired.Member(name)
			m = fabric.Clone(m)
			m.Voter = true
			marked = append(marked, m)
		}
		v = clusterView(t, "m1", 5, "reflector", marked...)
		if got := strings.Join(reflectorsOf(v.Desired), " "); got != want {
			t.Errorf("voters %q: reflectors %s, want %s", voters, got, want)
		}
	}
}

func TestReflectorsTellClientsAllPaths(t *testing.T) {
	for member, want := range map[string]string{"m1": "m2: false false, m3: false true, m4: false true", "m4": "m1: true false, m2: true false"} {
		plan, _ := Make(clusterView(t, member, 4, "reflector"))
		var all []string
		for _, p := range plan.Peers {
			if p.Mesh {
				all = append(all, fmt.Sprintf("%s: %v %v", strings.TrimPrefix(p.Name, "mesh:"), p.AddPath, p.AddPathSend))
			}
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("%s: %s, want %s", member, got, want)
		}
	}
}

func TestMeshPeer(t *testing.T) {
	other := &fabric.Member{Header: fabric.Header{Name: "m2"}, Address: "10.66.0.2:8443", Certificate: certificate, Config: fabric.Config{"core.bgp_address": "192.0.2.12:1179", "bgp.asn": "65099"}}
	v := clusterView(t, "m1", 1, "full", other)
	plan, _ := Make(v)
	at := slices.IndexFunc(plan.Peers, func(p fabric.RoutingPeer) bool { return p.Mesh })
	want := fabric.RoutingPeer{
		Name: "mesh:m2", Address: addr("10.66.0.2"), Local: addr("10.66.0.1"), Port: 1179, ASN: 65010, Mesh: true, IPv4: true, IPv6: true,
		HoldTime: 9, GracefulRestart: 30, MultihopTTL: 255, BFD: fabric.PeerBFD{Interval: 300, Multiplier: 3}, PeerInstall: fabric.PeerInstall{Install: "all", Table: "main", Metric: 2000},
	}
	if at < 0 || plan.Peers[at] != want {
		t.Errorf("peers are %+v\nwant %+v", plan.Peers, want)
	}
	if plan.Speaker.Mesh != addr("10.66.0.1") || plan.Speaker.Port() != 179 {
		t.Errorf("speaker is %+v", plan.Speaker)
	}
	// The other one has an AS number of its own, and another one for members.
	v.Member = "m2"
	plan, _ = Make(v)
	if at = slices.IndexFunc(plan.Peers, func(p fabric.RoutingPeer) bool { return p.Mesh }); at < 0 || plan.Peers[at].LocalASN != 65010 || plan.Speaker.ASN != 65099 || plan.Speaker.Port() != 1179 {
		t.Errorf("plan is %+v", plan)
	}
}

func TestMeshLeavesConfiguredPeersAlone(t *testing.T) {
	v := clusterView(t, "m1", 3, "full", &fabric.Peer{Header: fabric.Header{Name: "mine"}, Address: addr("10.66.0.2"), ASN: fabric.ASNInternal})
	plan, _ := Make(v)
	if got := sessions(plan); got != ">m3" {
		t.Errorf("sessions are %s", got)
	}
}

func TestMembersAreToldWhatTheOutsideIsNot(t *testing.T) {
	i := instance("i", "m1", "nat0", fabric.Config{"anycast": "far"}, nil, "10.60.0.2")
	v := clusterView(t, "m1", 2, "full", &fabric.Anycast{Header: fabric.Header{Name: "far"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}}, i)
	run(v, i, 1)
	plan, _ := Make(v)
	told := map[string]string{}
	for _, a := range plan.Announcements {
		told[a.Prefix.String()] = strings.Join(a.Peers, ",")
		for _, w := range a.Withheld {
			if w.Peer == "tor4" {
				told[a.Prefix.String()] += " tor4:" + w.Reason
			}
		}
	}
	for p, want := range map[string]string{
		"10.50.0.0/24":   "tor4", // every member has its own part of a network
		"fd50::/64":      "",
		"10.60.0.2/32":   "mesh:m2 tor4:nat",                  // its network is hidden from the outside
		"203.0.113.1/32": "mesh:m2 tor4:outside-bgp-prefixes", // the bound is for the outside
	} {
		if told[p] != want {
			t.Errorf("%s is told to %q, want %q", p, told[p], want)
		}
	}
}
