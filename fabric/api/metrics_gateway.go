package api

import (
	"netfabric/fabric"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descGateway      = desc("vrrp_state", "0 while this member takes no part in the gateway, 1 while it is Backup, 2 while it is Active.", "gateway", "family", "member")
	descGatewaySince = desc("vrrp_state_start_time_seconds", "Unix time of the last transition.", "gateway", "family")
	descTrack        = desc("vrrp_track_up", "1 while what the gateway tracks is there on this member.", "gateway", "track")
	descAdverts      = desc("vrrp_advertisements_total", "Advertisements of the gateway since its process started, as last read.", "gateway", "family", "direction")
	descDiscarded    = desc("vrrp_discarded_total", "Advertisements not taken since the process of the gateways started, by cause, as last read.", "gateway", "family", "cause")
)

// gatewayStateValues are the values of vrrp_state.
var gatewayStateValues = map[string]float64{fabric.GatewayInitialize: 0, fabric.GatewayBackup: 1, fabric.GatewayActive: 2}

func (c *stateCollector) gateways(g gauges, state *fabric.RoutingState, self string) {
	for _, s := range state.Gateways {
		for _, t := range s.Tracks {
			g.flag(descTrack, t.Up, s.Gateway, t.String())
		}
		for _, r := range s.Routers {
			g.set(descGateway, gatewayStateValues[r.State], s.Gateway, r.Family, self)
			g.set(descGatewaySince, float64(r.Since.UnixMilli())/1000, s.Gateway, r.Family)
			g.count(descAdverts, float64(r.In), s.Gateway, r.Family, "in")
			g.count(descAdverts, float64(r.Out), s.Gateway, r.Family, "out")
			for cause, n := range r.Discarded {
				g.count(descDiscarded, float64(n), s.Gateway, r.Family, cause)
			}
		}
	}
}

func (g gauges) count(d *prometheus.Desc, v float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}
