package api

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
)

// scrapeText is what Prometheus gets.
func (m *member) scrapeText(t testing.TB) string {
	t.Helper()
	resp, err := m.unix.raw(context.Background(), "/1.0/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", ct)
	}
	return string(data)
}

// hasLines fails unless a scrape has all of the lines.
func hasLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains("\n"+text, "\n"+want+"\n") {
			name, _, _ := strings.Cut(want, "{")
			var near []string
			for line := range strings.SplitSeq(text, "\n") {
				if strings.HasPrefix(line, strings.Fields(name)[0]) {
					near = append(near, line)
				}
			}
			t.Errorf("no line %s\namong\n%s", want, strings.Join(near, "\n"))
		}
	}
}

func TestMetrics(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	m.launch(t, "web1", "n1")
	m.launch(t, "web2", "n2")
	svc, lan := fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}, fabric.Key{Kind: fabric.KindNetwork, Name: "fabbr0"}
	state := &fabric.RoutingState{
		Worker: fabric.WorkerState{PID: 42, Started: time.Unix(1700000000, 0)},
		Peers: []fabric.PeerState{
			{Name: "tor1", State: "established", Sent: 7, Received: 9, Accepted: 5, UpdatesIn: 11, UpdatesOut: 12, Flaps: 2, BFD: &fabric.BFDState{State: "up", Detection: 150, Flaps: 1}},
			{Name: "tor2", State: "active", OverLimit: true},
		},
		Routes: []fabric.RouteState{
			{Prefix: netip.MustParsePrefix("203.0.113.53/32"), Kind: fabric.AnnounceAnycast, Owner: svc, Up: true,
				Peers:  []fabric.RoutePeer{{Peer: "tor1", Announced: true}, {Peer: "tor2"}},
				Copies: []fabric.CopyState{{Instance: "web1", Healthy: true}}},
			{Prefix: netip.MustParsePrefix("2001:db8::53/128"), Kind: fabric.AnnounceAnycast, Owner: svc,
				Copies: []fabric.CopyState{{Instance: "web1", Reason: "check-failed", Check: "refused"}, {Instance: "web\"3", Healthy: true}}},
			{Prefix: netip.MustParsePrefix("10.1.0.0/24"), Kind: fabric.AnnounceNetwork, Owner: lan, Up: true, Peers: []fabric.RoutePeer{{Peer: "tor2"}}},
		},
	}
	state.Gateways = []fabric.GatewayState{{
		Gateway: "gw", Tracks: []fabric.TrackState{{Track: fabric.Track{Type: fabric.TrackCarrier, Target: "eth2"}, Up: true}},
		Routers: []fabric.VirtualRouterState{{Family: "ipv4", State: fabric.GatewayActive, Since: time.Unix(1700000000, 0), In: 3, Out: 4, Discarded: map[string]uint64{"ttl": 5}, Transitions: 6, Takeover: 329},
			{Family: "ipv6", State: fabric.GatewayBackup, RAOut: 7, RSIn: 8, Rogues: []fabric.RogueRouter{{}}}},
	}}
	m.server.Routing = func() *fabric.RoutingState { return state }
	m.setOffline("n2", true)
	m.server.Metrics.Applied(3 * time.Millisecond)
	m.server.Metrics.WorkerRestarted()
	_, err := m.unix.GetNetworks(t.Context())
	must(t, err)
	_, _, err = m.unix.GetNetwork(t.Context(), "nope")
	refused(t, err, fabric.CodeNotFound, "not-found")
	m.raw(t, "BREW", "/1.0/networks", "")
	listen(t, m, "routing").Close()
	eventually(t, "the event stream is counted", func() bool {
		return strings.Contains(m.scrapeText(t), `fabric_api_requests_total{code="stream",method="GET",path="/1.0/events"} 1`)
	})

	text := m.scrapeText(t)
	hasLines(t, text,
		`fabric_build_info{member="n1",version="test"} 1`,
		`fabric_bgp_session_up{member="n1",peer="tor1"} 1`,
		`fabric_bgp_session_up{member="n1",peer="tor2"} 0`,
		`fabric_bgp_prefixes_sent{member="n1",peer="tor1"} 7`,
		`fabric_bgp_prefixes_received{member="n1",peer="tor1"} 9`,
		`fabric_bgp_session_flaps_total{member="n1",peer="tor1"} 2`,
		`fabric_bgp_prefixes_rejected{member="n1",peer="tor1"} 4`,
		`fabric_bgp_updates_total{direction="in",member="n1",peer="tor1"} 11`,
		`fabric_bgp_updates_total{direction="out",member="n1",peer="tor1"} 12`,
		`fabric_bgp_max_prefix_exceeded{member="n1",peer="tor1"} 0`,
		`fabric_bgp_max_prefix_exceeded{member="n1",peer="tor2"} 1`,
		`fabric_bfd_session_up{member="n1",peer="tor1"} 1`,
		`fabric_bfd_detection_seconds{member="n1",peer="tor1"} 0.15`,
		`fabric_bfd_session_flaps_total{member="n1",peer="tor1"} 1`,
		`fabric_anycast_check_ok{instance="web1",service="dns"} 0`,
		`fabric_anycast_copy_healthy{instance="web1",service="dns"} 0`,
		`fabric_anycast_copy_healthy{instance="web\"3",service="dns"} 1`,
		`fabric_route_announced{kind="anycast",owner="anycast/dns",prefix="203.0.113.53/32"} 1`,
		`fabric_route_announced{kind="network",owner="network/fabbr0",prefix="10.1.0.0/24"} 0`,
		`fabric_routes{announced="no",kind="anycast"} 1`,
		`fabric_vrrp_state{family="ipv4",gateway="gw",member="n1"} 2`,
		`fabric_vrrp_state_start_time_seconds{family="ipv4",gateway="gw"} 1.7e+09`,
		`fabric_vrrp_track_up{gateway="gw",track="carrier:eth2"} 1`,
		`fabric_vrrp_advertisements_total{direction="out",family="ipv4",gateway="gw"} 4`,
		`fabric_vrrp_discarded_total{cause="ttl",family="ipv4",gateway="gw"} 5`,
		`fabric_vrrp_discarded_total{cause="checksum",family="ipv4",gateway="gw"} 0`,
		`fabric_vrrp_transitions_total{family="ipv4",gateway="gw"} 6`,
		`fabric_vrrp_last_takeover_seconds{family="ipv4",gateway="gw"} 0.329`,
		`fabric_vrrp_router_advertisements_total{gateway="gw"} 7`,
		`fabric_vrrp_router_solicitations_total{gateway="gw"} 8`,
		`fabric_vrrp_rogue_routers{gateway="gw"} 1`,
		`fabric_routing_worker_start_time_seconds 1.7e+09`,
		`fabric_routing_worker_restarts_total 1`,
		`fabric_routing_apply_duration_seconds_bucket{le="0.0025"} 0`,
		`fabric_routing_apply_duration_seconds_bucket{le="0.005"} 1`,
		`fabric_database_quorum 1`,
		`fabric_database_leader 1`,
		fmt.Sprintf(`fabric_database_revision %d`, f.store.Snapshot().Revision),
		`fabric_cluster_member_online{member="n1"} 1`,
		`fabric_cluster_member_online{member="n2"} 0`,
		`fabric_instances{status="Running"} 1`,
		`fabric_instances{status="Error"} 0`,
		`fabric_objects{kind="instance"} 2`,
		`fabric_api_requests_total{code="200",method="GET",path="/1.0/networks"} 1`,
		`fabric_api_requests_total{code="404",method="GET",path="/1.0/networks/{name}"} 1`,
		`fabric_api_requests_total{code="405",method="",path="other"} 1`,
		`fabric_api_request_duration_seconds_count{method="GET",path="/1.0/networks"} 1`,
	)
	if strings.Contains(text, `fabric_api_request_duration_seconds_count{method="GET",path="/1.0/events"}`) {
		t.Error("streams are in the latencies")
	}
	if !strings.Contains(text, "go_goroutines ") || !strings.Contains(text, "process_resident_memory_bytes ") {
		t.Error("there is nothing about the process itself")
	}
}

func TestMetricsBeyondTheBound(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	state := manyRoutes(maxRouteSeries + 1)
	m.server.Routing = func() *fabric.RoutingState { return state }
	text := m.scrapeText(t)
	hasLines(t, text, fmt.Sprintf(`fabric_routes{announced="yes",kind="instance"} %d`, maxRouteSeries+1))
	if strings.Contains(text, "fabric_route_announced{") {
		t.Error("single prefixes are told")
	}
}

func TestMetricsAreForTrustedOnly(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	c := NewTLSClient(m.https.Listener.Addr().String(), nil, fabric.Fingerprint(m.pem))
	_, err := c.raw(t.Context(), "/1.0/metrics")
	refused(t, err, fabric.CodeForbidden, "not-trusted")
	// Before there is a cluster the process can be watched already.
	if text := newFixture(t, "n1").members["n1"].scrapeText(t); !strings.Contains(text, "fabric_database_quorum 0\n") {
		t.Error(text)
	}
}

// Two servers in one process do not share anything.
func TestMetricsHaveNoGlobalState(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	for range 3 {
		_, err := f.members["n1"].unix.GetNetworks(t.Context())
		must(t, err)
	}
	hasLines(t, f.members["n1"].scrapeText(t), `fabric_api_requests_total{code="200",method="GET",path="/1.0/networks"} 3`)
	if text := f.members["n2"].scrapeText(t); strings.Contains(text, `path="/1.0/networks"}`) {
		t.Error("n2 counts what n1 is asked")
	}
}

func manyRoutes(n int) *fabric.RoutingState {
	state := &fabric.RoutingState{Peers: []fabric.PeerState{{Name: "tor1", State: "established"}}}
	for at := range n {
		a := netip.AddrFrom4([4]byte{10, byte(at >> 16), byte(at >> 8), byte(at)})
		state.Routes = append(state.Routes, fabric.RouteState{
			Prefix: netip.PrefixFrom(a, 32), Kind: fabric.AnnounceInstance, Owner: fabric.Key{Kind: fabric.KindInstance, Name: fmt.Sprint("i", at)},
			Up: true, Peers: []fabric.RoutePeer{{Peer: "tor1", Announced: true}},
		})
	}
	return state
}

// BenchmarkScrape measures a scrape, with no route and with as many as have a series each.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{0, 100, maxRouteSeries} {
		b.Run(fmt.Sprint(n, "-routes"), func(b *testing.B) {
			m := bootstrapped(b, "n1").members["n1"]
			state := manyRoutes(n)
			m.server.Routing = func() *fabric.RoutingState { return state }
			for b.Loop() {
				m.scrapeText(b)
			}
		})
	}
}
