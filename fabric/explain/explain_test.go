package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
)

var since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a cluster to ask about: members n1 and n2, network br0, service dns, and instances that tests add.
type world struct {
	t       *testing.T
	objects map[fabric.Key]fabric.Object
	reports *fabric.Reports
	offline map[string]bool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, objects: map[fabric.Key]fabric.Object{}, reports: fabric.EmptyReports(), offline: map[string]bool{}}
	w.put(
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010"}},
		&fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.11:8443"},
		&fabric.Member{Header: fabric.Header{Name: "n2"}, Address: "192.0.2.12:8443"},
		&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.50.0.1/24", "ipv6.address": "none"}},
		&fabric.Peer{Header: fabric.Header{Name: "tor1"}, Address: netip.MustParseAddr("192.0.2.1"), ASN: 65001},
		&fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{prefix("203.0.113.53/32")}, Check: fabric.Check{Type: fabric.CheckTCP, Port: 53}},
	)
	w.session("n1", true)
	w.session("n2", true)
	return w
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func (w *world) put(objects ...fabric.Object) {
	for _, o := range objects {
		w.objects[fabric.KeyOf(o)] = o
	}
}

func (w *world) say(cs ...fabric.Condition) {
	w.reports = w.reports.With(w.reports.Counter+1, cs, nil)
}

func (w *world) session(member string, up bool) {
	s := fabric.PeerState{Name: "tor1", Address: netip.MustParseAddr("192.0.2.1"), ASN: 65001, State: "active", LastError: "cannot connect: connection refused", Since: since}
	if up {
		s.State, s.LastError = "established", ""
	}
	w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}, Member: member, Type: fabric.ConditionSession, OK: up}.WithData(s))
}

// instance adds one on n1 that is as status says.
func (w *world) instance(name string, status fabric.InstanceStatus, config fabric.Config) {
	i := &fabric.Instance{
		Header: fabric.Header{Name: name}, Type: "container", Member: "n1", Power: fabric.PowerRunning, Config: config,
		Devices: fabric.Devices{"eth0": {"type": "nic", "network": "br0", "ipv4.routes.external": "198.51.100.0/28"}},
		NICs:    []fabric.NIC{{Device: "eth0", Network: "br0", Addresses: []netip.Addr{netip.MustParseAddr("10.50.0.7")}}},
	}
	w.put(i)
	w.say(fabric.Condition{Object: fabric.KeyOf(i), Member: "n1", Type: fabric.ConditionInstance, OK: true}.WithData(fabric.InstanceState{Status: status}))
}

// route has a member say something of a prefix.
func (w *world) route(member, owner, p string, kind fabric.AnnouncementKind, r fabric.RouteState) {
	key, err := fabric.ParseKey(owner)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Prefix, r.Kind, r.Owner = prefix(p), kind, key
	w.say(fabric.Condition{Object: key, Member: member, Type: fabric.ConditionRoutes, OK: r.Reason == "", Reason: r.Reason}.WithData([]fabric.RouteState{r}))
}

func (w *world) ask(query string) Answer {
	w.t.Helper()
	var rows []fabric.Row
	for _, o := range w.objects {
		row, err := fabric.Encode(o)
		if err != nil {
			w.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	s, err := fabric.EmptySnapshot().Advance(1, rows)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := fabric.ParsePrefix(query)
	if err != nil {
		w.t.Fatal(err)
	}
	return Explain(p, Input{Desired: s, Reports: w.reports, Offline: func(m string) bool { return w.offline[m] }})
}

// told is a route that tor1 has been told of, missing one that it has not.
func told() fabric.RouteState {
	return fabric.RouteState{Up: true, Peers: []fabric.RoutePeer{{Peer: "tor1", Announced: true}}}
}

func missing(reason string) fabric.RouteState {
	return fabric.RouteState{Up: true, Reason: reason, Peers: []fabric.RoutePeer{{Peer: "tor1", Reason: reason}}}
}

func copyOf(instance, reason, message string) []fabric.CopyState {
	return []fabric.CopyState{{Instance: instance, Device: "eth0", Healthy: reason == "", Reason: reason, Message: message, Since: since}}
}

func withCopy(r fabric.RouteState, reason, message string) fabric.RouteState {
	r.Copies = copyOf("web1", reason, message)
	if reason != "" {
		r.Up, r.Reason, r.Message, r.Peers = false, reason, message, nil
	}
	return r
}

const svc = "203.0.113.53/32"

// Every reason that can be in the way is named as the blocker, at its stage, with a fix that names what it is about.
func TestEveryBlocker(t *testing.T) {
	copies := fabric.Config{"anycast": "dns"}
	for _, c := range []struct {
		name, query string
		prepare     func(w *world)
		state       State
		reason      string
		stage       fabric.Stage
		fix         string // part of it
	}{
		{"told", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, withCopy(told(), "", ""))
		}, Announced, "", "", ""},
		{"nothing covers it", "192.0.2.99", func(*world) {}, NotOurs, fabric.ReasonNotOurs, fabric.StageIntent, "fabricctl anycast create NAME 192.0.2.99"},
		{"no AS number", "203.0.113.53", func(w *world) {
			w.put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}})
			w.instance("web1", fabric.InstanceRunning, copies)
			r := withCopy(missing(fabric.ReasonNoASN), "", "")
			r.Peers = nil
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, r)
		}, Blocked, fabric.ReasonNoASN, fabric.StageSpeaker, "core.bgp_asn=65010"},
		{"no peer", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			r := withCopy(missing(fabric.ReasonNoPeer), "", "")
			r.Peers = nil
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, r)
		}, Blocked, fabric.ReasonNoPeer, fabric.StageSpeaker, "bgp peer add NAME ROUTER ASN"},
		{"session down", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.session("n1", false)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonSessionDown), "", ""))
		}, Blocked, fabric.ReasonSessionDown, fabric.StageSession, "TCP port 179"},
		{"session held down", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}, Member: "n1", Type: fabric.ConditionSession, Reason: fabric.ReasonMaxPrefix, Message: "too much"})
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonSessionDown), "", ""))
		}, Blocked, fabric.ReasonMaxPrefix, fabric.StageSession, "max-prefix"},
		{"outside of what may be announced", "10.50.0.7", func(w *world) {
			w.put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010", "bgp.prefixes": "203.0.113.0/24, 2001:db8::/32"}})
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonOutside), "", ""))
		}, Blocked, fabric.ReasonOutside, fabric.StagePolicy, "bgp.prefixes=203.0.113.0/24,2001:db8::/32,10.50.0.7/32"},
		{"nobody accepts sessions", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}, Member: "n1", Type: fabric.ConditionSession, Reason: fabric.ReasonNoListener})
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonSessionDown), "", ""))
		}, Blocked, fabric.ReasonNoListener, fabric.StageSession, "cluster set n1 core.bgp_address=IP"},
		{"no session can be set up", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}, Member: "n1", Type: fabric.ConditionSession, Reason: fabric.ReasonListenFailed, Message: "no such address"})
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonSessionDown), "", ""))
		}, Blocked, fabric.ReasonListenFailed, fabric.StageSpeaker, "cluster set n1 core.bgp_address=none"},
		{"being told", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonSending), "", ""))
		}, Blocked, fabric.ReasonSending, fabric.StageAdjOut, ""},
		{"not for the peer", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(missing(fabric.ReasonExportRejected), "", ""))
		}, Blocked, fabric.ReasonExportRejected, fabric.StagePolicy, "route explain 10.50.0.7/32"},
		{"NAT", "10.50.0.7", func(w *world) {
			w.put(&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Config: fabric.Config{"ipv4.address": "10.50.0.1/24", "ipv4.nat": "true"}})
			w.instance("web1", fabric.InstanceRunning, nil)
		}, Blocked, fabric.ReasonNAT, fabric.StageNetwork, "network set br0 ipv4.nat=false"},
		{"network down", "10.50.0.0/24", func(w *world) {
			w.route("n1", "network/br0", "10.50.0.0/24", fabric.AnnounceNetwork, fabric.RouteState{Reason: fabric.ReasonNetworkDown, Message: "network \"br0\" is not there on this member"})
			w.route("n2", "network/br0", "10.50.0.0/24", fabric.AnnounceNetwork, fabric.RouteState{Reason: fabric.ReasonNetworkDown})
		}, Blocked, fabric.ReasonNetworkDown, fabric.StageNetwork, "network list"},
		{"network pending", "10.50.0.0/24", func(w *world) {
			w.put(&fabric.Network{Header: fabric.Header{Name: "br0"}, Type: fabric.NetworkBridge, Pending: true, Config: fabric.Config{"ipv4.address": "10.50.0.1/24"}})
		}, Blocked, fabric.ReasonNetworkPending, fabric.StageNetwork, "network create br0"},
		{"instance stopped", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceStopped, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, fabric.RouteState{Reason: fabric.ReasonInstanceStopped})
		}, Blocked, fabric.ReasonInstanceStopped, fabric.StageInstance, "fabricctl start web1"},
		{"NIC without address", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, fabric.RouteState{Reason: fabric.ReasonNoAddress, Message: "NIC \"eth0\" of instance \"web1\" has no IPv4 address"})
		}, Blocked, fabric.ReasonNoAddress, fabric.StageInstance, "restart the instance"},
		{"no copy", "203.0.113.53", func(*world) {}, Blocked, fabric.ReasonNoCopy, fabric.StageInstance, "anycast=dns"},
		{"check pending", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, withCopy(told(), fabric.ReasonCheckPending, "no success yet"))
		}, Blocked, fabric.ReasonCheckPending, fabric.StageCheck, "anycast show dns"},
		{"check failed", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, withCopy(told(), fabric.ReasonCheckFailed, "connection refused"))
		}, Blocked, fabric.ReasonCheckFailed, fabric.StageCheck, "anycast show dns"},
		{"link down", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(told(), fabric.ReasonLinkDown, "interface veth1 is down"))
		}, Blocked, fabric.ReasonLinkDown, fabric.StageLink, "restart the instance"},
		{"process dead", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(told(), fabric.ReasonProcessDead, "process 7 has ended"))
		}, Blocked, fabric.ReasonProcessDead, fabric.StageProcess, "fabricctl start web1"},
		{"kernel route refused", "198.51.100.3", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "198.51.100.0/28", fabric.AnnounceInstance, fabric.RouteState{Reason: fabric.ReasonRouteFailed, Message: "file exists", Copies: copyOf("web1", "", "")})
		}, Blocked, fabric.ReasonRouteFailed, fabric.StageKernel, "ip route show 198.51.100.0/28"},
		{"worker down", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, fabric.RouteState{Reason: fabric.ReasonWorkerDown})
		}, Blocked, fabric.ReasonWorkerDown, fabric.StageWorker, "worker.log"},
		{"prefix of another", "203.0.113.53", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, copies)
			w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, fabric.RouteState{Reason: fabric.ReasonPrefixOwned, Message: "203.0.113.53/32 is announced on this member for network/x"})
		}, Blocked, fabric.ReasonPrefixOwned, fabric.StageIntent, "leave the prefix to one of them"},
		{"member offline", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(told(), "", ""))
			w.offline["n1"] = true
		}, Blocked, fabric.ReasonMemberOffline, fabric.StageMember, "cluster list"},
		{"no report", "10.50.0.7", func(w *world) { w.instance("web1", fabric.InstanceRunning, nil) },
			Blocked, fabric.ReasonNoReport, fabric.StageWorker, "wait"},
		{"member removed", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			delete(w.objects, fabric.Key{Kind: fabric.KindMember, Name: "n1"})
		}, Blocked, fabric.ReasonNoMember, fabric.StageMember, "fabricctl list"},
		{"a reason of a newer member", "10.50.0.7", func(w *world) {
			w.instance("web1", fabric.InstanceRunning, nil)
			w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(told(), "moon-phase", "the moon is full"))
		}, Blocked, "moon-phase", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			a := w.ask(c.query)
			if a.State != c.state {
				t.Errorf("state %q, want %q: %s", a.State, c.state, transcript(a))
			}
			if c.reason == "" {
				if a.Blocker != nil {
					t.Errorf("blocked by %+v", a.Blocker)
				}
				return
			}
			if a.Blocker == nil || a.Blocker.Reason != c.reason || a.Blocker.Stage != c.stage || !strings.Contains(a.Blocker.Fix, c.fix) {
				t.Errorf("blocker %+v, want %s at %q with fix %q\n%s", a.Blocker, c.reason, c.stage, c.fix, transcript(a))
			}
			if !strings.Contains(a.Summary, c.query) && !strings.Contains(a.Summary, "/") {
				t.Errorf("summary %q", a.Summary)
			}
		})
	}
}

// transcript is an answer in lines.
func transcript(a Answer) string {
	lines := []string{a.Summary}
	for _, m := range a.Matches {
		for _, x := range m.Members {
			lines = append(lines, fmt.Sprintf("%s %s", x.Name, x.State))
			for _, s := range x.Steps {
				mark := "+"
				if !s.OK {
					mark = "-"
				}
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s%s %s: %s", mark, s.Stage, s.Instance, s.Peer, s.Reason, s.Text)))
			}
		}
	}
	return strings.Join(append(lines, a.Notes...), "\n")
}

func TestWholeChain(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, fabric.Config{"anycast": "dns"})
	r := withCopy(told(), "", "")
	r.Peers = append(r.Peers, fabric.RoutePeer{Peer: "tor2", Reason: fabric.ReasonSessionDown})
	w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, r)
	w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "tor2"}, Member: "n1", Type: fabric.ConditionSession, Message: "no answer"})
	got := transcript(w.ask("203.0.113.53"))
	want := `203.0.113.53/32, address of anycast service dns: announced by n1 to tor1
n1 partly
+ member  : n1 is online, and its routing worker says how it is
+ instance web1 : instance web1 runs and answers on NIC eth0
+ process web1 : its init lives
+ link web1 : its interface is up
+ check web1 : check tcp:53 succeeds (every 1000 ms, 2 failures in a row end it)
+ kernel  : the kernel of n1 routes 203.0.113.53/32 to the healthy copies
+ speaker  : n1 speaks BGP for AS 65010
+ session tor1 : session with 192.0.2.1 (AS 65001) is established
+ adj-rib-out tor1 : tor1 has been told of 203.0.113.53/32
- session tor2 session-down: no answer
n2 idle
- instance  no-copy: no instance on n2 is a copy of dns`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if a := w.ask("203.0.113.53"); a.State != Partly || a.Blocker == nil || a.Blocker.Peer != "tor2" {
		t.Errorf("state %s, blocker %+v", a.State, a.Blocker)
	}
}

func TestLongestMatch(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, nil)
	for _, c := range []struct{ query, prefix, covering, within, note string }{
		{"10.50.0.7", "10.50.0.7/32", "10.50.0.0/24", "", ""},
		{"10.50.0.8", "10.50.0.0/24", "", "", "no instance has 10.50.0.8: only the subnet leads to a member, and not to a particular one"},
		{"10.50.0.1", "10.50.0.0/24", "", "", "it is the gateway of network br0 on every member"},
		{"10.50.0.0/24", "10.50.0.0/24", "", "10.50.0.7/32", ""},
		{"10.0.0.0/8", "", "", "10.50.0.7/32 10.50.0.0/24", "there are prefixes of ours inside it: ask for one of them"},
		{"198.51.100.9", "198.51.100.0/28", "", "", ""},
		{"192.0.2.11", "", "", "", "it is the address of member n1: members' own addresses are not announced"},
		{"192.0.2.1", "", "", "", "it is the address of BGP peer tor1"},
		{"2001:db8::1", "", "", "", ""},
	} {
		a := w.ask(c.query)
		got := ""
		if len(a.Matches) > 0 {
			got = a.Matches[0].Prefix.String()
		}
		if got != c.prefix || join(a.Covering) != c.covering || join(a.Within) != c.within || strings.Join(a.Notes, "|") != c.note {
			t.Errorf("%s: matches %q, covered by %q, has inside %q, notes %q; want %+v", c.query, got, join(a.Covering), join(a.Within), a.Notes, c)
		}
	}
}

func join(all []Other) string {
	var text []string
	for _, o := range all {
		text = append(text, o.Prefix.String())
	}
	return strings.Join(text, " ")
}

// What members announce of a kind that this package does not know is explained by what they say.
func TestKindOfTheFuture(t *testing.T) {
	w := newWorld(t)
	w.route("n2", "network/br0", "100.64.0.1/32", "forward", told())
	a := w.ask("100.64.0.1")
	if a.State != Announced || !slices.Equal(a.Matches[0].Members[1].Told, []string{"tor1"}) || a.Matches[0].Members[0].State != Idle {
		t.Errorf("%s", transcript(a))
	}
}

func TestTwoOwnersOfOnePrefix(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, fabric.Config{"anycast": "dns"})
	w.put(&fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{prefix("10.50.0.7/32")}})
	w.route("n1", "anycast/dns", "10.50.0.7/32", fabric.AnnounceAnycast, withCopy(told(), "", ""))
	w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, fabric.RouteState{Reason: fabric.ReasonPrefixOwned, Message: "10.50.0.7/32 is announced on this member for anycast/dns"})
	a := w.ask("10.50.0.7")
	if len(a.Matches) != 2 || a.State != Partly || a.Blocker.Reason != fabric.ReasonPrefixOwned {
		t.Errorf("%s", transcript(a))
	}
}

// What policy keeps from one peer is as it should be while another is told; when nobody is told it is what stands in the way.
func TestPolicyIsMeant(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, nil)
	r := withCopy(told(), "", "")
	ix := fabric.RoutePeer{Peer: "ix", Reason: fabric.ReasonPolicy, Message: "policy anycast-only rejects it"}
	r.Peers = append(r.Peers, ix)
	w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, r)
	a := w.ask("10.50.0.7")
	if last := a.Matches[0].Members[0].Steps; a.State != Announced || a.Blocker != nil || !last[len(last)-1].Meant {
		t.Errorf("%s", transcript(a))
	}
	r.Peers, r.Reason = []fabric.RoutePeer{ix}, fabric.ReasonPolicy
	w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, r)
	if a := w.ask("10.50.0.7"); a.State != Blocked || a.Blocker == nil || a.Blocker.Text != ix.Message || a.Blocker.Peer != "ix" {
		t.Errorf("%s", transcript(a))
	}
}

// A copy that is used although it is not healthy is in nobody's way.
func TestKeptCopy(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, fabric.Config{"anycast": "dns"})
	r := told()
	r.Copies = copyOf("web1", fabric.ReasonCheckFailed, "connection refused")
	r.Copies[0].Kept = true
	w.route("n1", "anycast/dns", svc, fabric.AnnounceAnycast, r)
	a := w.ask("203.0.113.53")
	if a.State != Announced || !strings.Contains(transcript(a), "used all the same, because too few copies are healthy: connection refused (check-failed)") {
		t.Errorf("%s", transcript(a))
	}
}

func TestLastWord(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, nil)
	w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, withCopy(told(), "", ""))
	w.offline["n1"] = true
	if a := w.ask("10.50.0.7"); a.Blocker.Text != "n1 gives no sign of life; when it last did, it had told tor1 of 10.50.0.7/32" || a.Matches[0].Members[0].State != Unknown {
		t.Errorf("%s", transcript(a))
	}
}

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		check fabric.Check
		want  string
	}{
		{fabric.Check{Type: fabric.CheckHTTPS, Port: 443, Path: "/health"}, "check https:443/health succeeds"},
		{fabric.Check{Type: fabric.CheckDNS, Port: 53, Name: "example.com"}, "check dns:53/example.com succeeds"},
		{fabric.Check{Type: fabric.CheckExec, Command: "pg_isready -q"}, "check exec:pg_isready -q succeeds"},
		{fabric.Check{Type: fabric.CheckProcess}, "the service has no check"},
	} {
		if got := checkText(c.check.Default()); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// That nobody has connected from a prefix is in nobody's way.
func TestDynamicPeerWithoutCallers(t *testing.T) {
	w := newWorld(t)
	w.instance("web1", fabric.InstanceRunning, nil)
	r := withCopy(told(), "", "")
	r.Peers = append(r.Peers, fabric.RoutePeer{Peer: "racks", Reason: fabric.ReasonSessionDown})
	w.route("n1", "instance/web1", "10.50.0.7/32", fabric.AnnounceInstance, r)
	w.say(fabric.Condition{Object: fabric.Key{Kind: fabric.KindPeer, Name: "racks"}, Member: "n1", Type: fabric.ConditionSession, Reason: fabric.ReasonNoCaller, Message: "nobody"})
	if a := w.ask("10.50.0.7"); a.State != Announced || a.Blocker != nil {
		t.Errorf("%s", transcript(a))
	}
}

// What nobody is to have is not offered.
func TestAddressesOfOthersAreNotOffered(t *testing.T) {
	w := newWorld(t)
	n1, _ := w.objects[fabric.Key{Kind: fabric.KindMember, Name: "n1"}].(*fabric.Member)
	for address, fix := range map[string]bool{n1.IP().String(): false, "192.0.2.1": false, "9.9.9.9": true} {
		if a := w.ask(address); a.Blocker == nil || a.Blocker.Reason != fabric.ReasonNotOurs || (a.Blocker.Fix != "") != fix {
			t.Errorf("%s: %+v", address, a.Blocker)
		}
	}
}
