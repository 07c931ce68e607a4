package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// someInstance is an instance as the API shows it.
func someInstance(name, status, location string, addresses ...string) incusapi.InstanceFull {
	i := incusapi.InstanceFull{}
	i.Name, i.Status, i.Location, i.Type = name, status, location, "container"
	i.ExpandedConfig = incusapi.ConfigMap{"anycast": "dns,web", "limits.memory": "256MiB"}
	i.State = &incusapi.InstanceState{Status: status, Pid: 4711, Processes: 3, Memory: incusapi.InstanceStateMemory{Usage: 5 << 20}}
	eth0 := incusapi.InstanceStateNetwork{HostName: "veth1", Hwaddr: "00:16:3e:00:00:01", State: "up", Mtu: 1500}
	for _, a := range addresses {
		family, scope := "inet", "global"
		if strings.Contains(a, ":") {
			family = "inet6"
		}
		if strings.HasPrefix(a, "fe80") {
			scope = "link"
		}
		eth0.Addresses = append(eth0.Addresses, incusapi.InstanceStateNetworkAddress{Family: family, Address: a, Netmask: "24", Scope: scope})
	}
	i.State.Network = map[string]incusapi.InstanceStateNetwork{"eth0": eth0}
	return i
}

func TestTables(t *testing.T) {
	f := newFake(t)
	stopped := someInstance("web2", "Stopped", "n2")
	stopped.State = nil
	f.on("GET /1.0/instances?recursion=2", answer{metadata: []incusapi.InstanceFull{
		someInstance("web10", "Running", "n1", "10.1.0.10", "fe80::1", "2001:db8::10"), stopped,
	}})
	f.on("GET /1.0/instances/web10?recursion=1", answer{metadata: someInstance("web10", "Running", "n1", "10.1.0.10", "2001:db8::10")})
	f.on("GET /1.0/cluster/members?recursion=1", answer{metadata: []incusapi.ClusterMember{
		{ServerName: "n2", URL: "https://192.0.2.2:8443", Status: "Offline", Message: "silent for 12s", ClusterMemberPut: incusapi.ClusterMemberPut{Roles: []string{"database"}, FailureDomain: "b"}},
		{ServerName: "n1", URL: "https://192.0.2.1:8443", Status: "Online", Message: "Fully operational", ClusterMemberPut: incusapi.ClusterMemberPut{Roles: []string{"database-leader", "database"}, FailureDomain: "a"}},
	}})
	f.on("GET /1.0/routes", answer{metadata: []api.Route{
		{Member: "n2", RouteState: fabric.RouteState{Prefix: netip.MustParsePrefix("203.0.113.53/32"), Kind: fabric.AnnounceAnycast, Owner: fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}, Reason: fabric.ReasonCheckFailed, Message: "dns2: connection refused"}},
		{Member: "n1", RouteState: fabric.RouteState{Prefix: netip.MustParsePrefix("203.0.113.53/32"), Kind: fabric.AnnounceAnycast, Owner: fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}, Up: true, Peers: []fabric.RoutePeer{{Peer: "tor2", Reason: "session-down"}, {Peer: "tor1", Announced: true}}}},
		{Member: "n1", RouteState: fabric.RouteState{Prefix: netip.MustParsePrefix("10.1.0.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "lan0"}, Up: true, Peers: []fabric.RoutePeer{{Peer: "tor1", Announced: true}, {Peer: "tor2", Announced: true}}}},
		{Member: "n3", Stale: true, RouteState: fabric.RouteState{Prefix: netip.MustParsePrefix("10.1.0.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "lan0"}, Up: true}},
		{Member: "n2", RouteState: fabric.RouteState{Prefix: netip.MustParsePrefix("10.1.0.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "lan0"}, Up: true, Reason: fabric.ReasonNoPeer}},
	}})
	f.on("GET /1.0/anycast?recursion=1", answer{metadata: []api.Anycast{{
		Name:       "dns",
		AnycastPut: api.AnycastPut{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")}, Check: api.AnycastCheck{Type: "http", Port: 80, Path: "/health"}},
		Copies:     []api.AnycastCopy{{Instance: "dns1", Member: "n1", Healthy: true}, {Instance: "dns2", Member: "n2", Reason: "check-failed", Message: "connection refused"}, {Instance: "dns3", Member: "n3", Healthy: true, Stale: true}},
	}}})
	f.on("GET /1.0/bgp/peers?recursion=1", answer{metadata: []api.BGPPeer{{
		Name: "tor1", HasPassword: true, BGPPeerPut: api.BGPPeerPut{Address: netip.MustParseAddr("192.0.2.254"), ASN: 65001},
		Sessions: []api.BGPSession{{PeerState: fabric.PeerState{State: "established"}}, {PeerState: fabric.PeerState{State: "active"}}, {Stale: true, PeerState: fabric.PeerState{State: "established"}}},
	}}})
	f.on("GET /1.0/operations?recursion=1", answer{metadata: map[string]any{"running": []incusapi.Operation{
		{ID: "1", Class: "token", Metadata: map[string]any{"serverName": "n3", "expiresAt": "2026-01-02T03:04:05.123Z"}},
		{ID: "2", Class: "token", Metadata: map[string]any{"request": map[string]any{"name": "laptop"}}},
		{ID: "3", Class: "task", Metadata: map[string]any{"serverName": "no"}},
	}}})

	for line, want := range map[string]string{
		"list": `
+-------+---------+------------------+---------------------+-----------+----------+
| NAME  |  STATE  |       IPV4       |        IPV6         |   TYPE    | LOCATION |
+-------+---------+------------------+---------------------+-----------+----------+
| web2  | STOPPED |                  |                     | CONTAINER | n2       |
+-------+---------+------------------+---------------------+-----------+----------+
| web10 | RUNNING | 10.1.0.10 (eth0) | 2001:db8::10 (eth0) | CONTAINER | n1       |
+-------+---------+------------------+---------------------+-----------+----------+
`,
		"list status=running -f csv -c n,p,N,m,limits.memory:MEM,A": `
web10,4711,3,5.00MiB,256MiB,"dns
web"
`,
		"list web1 -f compact -c nL":             "\nNAME   LOCATION\nweb10  n1\n",
		"list location=n2 web.* -f compact -c n": "\nNAME\nweb2\n",
		"list anycast=dns -f compact -c n":       "\nNAME\nweb2\nweb10\n",
		"list anycast=d -f compact -c n":         "\nNAME\n",
		"list eb -f compact -c n":                "\nNAME\n",
		"cluster list-tokens -f csv":             "\nn3,2026/01/02 03:04 UTC\n",
		"bgp peer list -f csv":                   "\ntor1,192.0.2.254,65001,all,nothing: no policy,,,YES,1 of 3,\n",
		"route list 203.0.113.53 -f csv":         "\n203.0.113.53/32,anycast,dns,n1,tor1,\"announced\nnot to tor2: the session with the peer is not established\"\n203.0.113.53/32,anycast,dns,n2,,no: dns2: connection refused\n",
		"route list 10.1.0.77 -f compact": `
PREFIX       KIND     OWNER  MEMBER  ANNOUNCED TO  STATE
10.1.0.0/24  network  lan0   n1      tor1          announced
                                     tor2
10.1.0.0/24  network  lan0   n2                    no: no BGP peer of this member takes prefixes of this IP version
10.1.0.0/24  network  lan0   n3                    unknown: member offline
`,
		"anycast list": `
+------+---------------------+----------------+---------+-------------------------------------+-------------+
| NAME |      ADDRESSES      |     CHECK      | HEALTHY |               COPIES                | DESCRIPTION |
+------+---------------------+----------------+---------+-------------------------------------+-------------+
| dns  | 203.0.113.53/32     | http:80/health | 1 of 3  | dns1 on n1: healthy                 |             |
|      | 2001:db8:53::53/128 |                |         | dns2 on n2: connection refused      |             |
|      |                     |                |         | dns3 on n3: unknown, member offline |             |
+------+---------------------+----------------+---------+-------------------------------------+-------------+
`,
		"cluster list": `
+------+------------------------+-----------------+----------------+---------+-------------------+
| NAME |          URL           |      ROLES      | FAILURE DOMAIN |  STATE  |      MESSAGE      |
+------+------------------------+-----------------+----------------+---------+-------------------+
| n1   | https://192.0.2.1:8443 | database-leader | a              | ONLINE  | Fully operational |
|      |                        | database        |                |         |                   |
+------+------------------------+-----------------+----------------+---------+-------------------+
| n2   | https://192.0.2.2:8443 | database        | b              | OFFLINE | silent for 12s    |
+------+------------------------+-----------------+----------------+---------+-------------------+
`,
		"info web10": `
Name: web10
Status: RUNNING
Type: container
Location: n1
Anycast: dns,web
PID: 4711
Resources:
  Processes: 3
  Memory: 5.00MiB
Network:
  eth0:
    State: UP
    Host interface: veth1
    MAC address: 00:16:3e:00:00:01
    MTU: 1500
    inet: 10.1.0.10/24 (global)
    inet6: 2001:db8::10/24 (global)
`,
	} {
		got := f.run(t, strings.Fields(line)...)
		if got.status != 0 || got.err != "" || got.out != strings.TrimPrefix(want, "\n") {
			t.Errorf("%s: status %d, stderr %q\nis\n%s\nwant%s", line, got.status, got.err, got.out, want)
		}
	}
}

func TestSessionColumns(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	session := func(state, lastError string) api.BGPSession {
		return api.BGPSession{Member: "n1", PeerState: fabric.PeerState{
			Name: "tor1", Address: netip.MustParseAddr("192.0.2.254"), ASN: 65001, State: state, Since: now.Add(-90 * time.Second), LastError: lastError, Sent: 7, Received: 2, Installed: 3, Flaps: 1}}
	}
	stale := session("established", "")
	stale.Stale = true
	refused := session("active", "connection refused")
	refused.Message = "connection refused"
	fast := session("established", "")
	fast.BFD = &fabric.BFDState{State: "up", Interval: 50, Detection: 150}
	alone := session("established", "")
	alone.BFD, alone.Message = &fabric.BFDState{State: "down"}, "BFD is down: the neighbour was never heard"
	for want, s := range map[string]api.BGPSession{
		"n1 | tor1 | 192.0.2.254 | 65001 | established | 1m 30s |  | 7 | 2 | 2 | 3 | 1 | ":                                               session("established", "hold timer expired"),
		"n1 | tor1 | 192.0.2.254 | 65001 | active | 1m 30s |  | 7 | 2 | 2 | 3 | 1 | connection refused":                                  refused,
		"n1 | tor1 | 192.0.2.254 | 65001 | unknown: member offline | 1m 30s |  | 7 | 2 | 2 | 3 | 1 | ":                                   stale,
		"n1 | tor1 | 192.0.2.254 | 65001 | established | 1m 30s | up 150 ms | 7 | 2 | 2 | 3 | 1 | ":                                      fast,
		"n1 | tor1 | 192.0.2.254 | 65001 | established | 1m 30s | down | 7 | 2 | 2 | 3 | 1 | BFD is down: the neighbour was never heard": alone,
	} {
		var cells []string
		for _, c := range sessionColumns(now) {
			cells = append(cells, c.cell(s))
		}
		if got := strings.Join(cells, " | "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// What the flags of launch ask for is what is sent.
func TestLaunch(t *testing.T) {
	f := newFake(t)
	f.on("GET /1.0/images/aliases/alpine%2F3", answer{metadata: map[string]string{"target": "abcd"}})
	f.on("GET /1.0/profiles/web", answer{metadata: map[string]any{"devices": map[string]any{"eth1": map[string]string{"type": "nic", "network": "wan0"}}}})
	f.on("POST /1.0/instances?target=n2", answer{operation: true, metadata: map[string]any{"id": "1", "status_code": 200}})
	f.on("GET /1.0/instances/web1", answer{metadata: map[string]any{"name": "web1", "location": "n2"}})
	args, err := words("launch alpine/3 web1 --target n2 -p web -n lan0 -s local -c anycast=dns -d eth0,ipv4.address=10.1.0.80 -d eth1,hwaddr=00:16:3e:00:00:02 -e")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.run(t, args...); got != (result{0, "Instance web1 started on n2\n", ""}) {
		t.Errorf("%+v", got)
	}
	asked := f.requests()
	for _, want := range []string{
		`"name":"web1"`, `"start":true`, `"ephemeral":true`, `"profiles":["web"]`, `"config":{"anycast":"dns"}`, `"type":"image"`, `"fingerprint":"abcd"`,
		`"devices":{"eth0":{"ipv4.address":"10.1.0.80","name":"eth0","network":"lan0","type":"nic"},"eth1":{"hwaddr":"00:16:3e:00:00:02","network":"wan0","type":"nic"},"root":{"path":"/","pool":"local","type":"disk"}}`,
	} {
		if len(asked) != 1 || !strings.Contains(asked[0], want) {
			t.Errorf("asked %q, want %s in it", asked, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	f := newFake(t)
	f.on("GET /1.0/instances", answer{metadata: []string{"/1.0/instances/web1", "/1.0/instances/web2"}})
	f.on("GET /1.0/networks", answer{metadata: []string{"/1.0/networks/lan0"}})
	for line, want := range map[string][]string{
		"stop ":                             {"web1", "web2"},
		"stop web1 ":                        {"web2"},
		"launch alpine web1 -n ":            {"lan0"},
		"network show ":                     {"lan0"},
		"list -f ":                          formats,
		"storage create local ":             {"dir"},
		"config keys net":                   {"network"},
		"network set lan0 bridge.m":         {"bridge.mtu="},
		"profile show ":                     nil,
		"config device add web1 eth1 ":      {"disk", "nic", "none"},
		"config device add web1 x nic hwad": {"hwaddr="},
		"config set we":                     {"web1", "web2"},
		"config set bgp.mes":                {"bgp.mesh="},
		"config set user.x=1 bgp.mes":       {"bgp.mesh="},
		"config set web1 anycast.d":         {"anycast.drain="},
		"bgp peer add tor1 192.0.2.1 ":      {"internal", "external"},
		"bgp peer set tor1 --families ":     {"ipv4", "ipv6"},
	} {
		got := f.run(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		var offered []string
		for l := range strings.Lines(got.out) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			if !strings.HasPrefix(word, ":") {
				offered = append(offered, word)
			}
		}
		// A shell drops what does not begin with what was typed.
		typed := line[strings.LastIndex(line, " ")+1:]
		offered = slices.DeleteFunc(offered, func(w string) bool { return !strings.HasPrefix(w, typed) })
		if !slices.Equal(offered, want) {
			t.Errorf("%q: %q, want %q (%s)", line, offered, want, got.err)
		}
	}
}

// A prefix that nobody is told of has one line for each peer, and none that says the same again.
func TestRouteOfNobody(t *testing.T) {
	r := api.Route{RouteState: fabric.RouteState{Up: true, Reason: fabric.ReasonPolicy, Message: "tor1: not here", Peers: []fabric.RoutePeer{
		{Peer: "tor1", Reason: fabric.ReasonPolicy, Message: "not here"}, {Peer: "tor2", Reason: fabric.ReasonPolicy, Message: "nor here"}}}}
	if got, want := routeState(r), "no\nnot to tor1: not here\nnot to tor2: nor here"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
