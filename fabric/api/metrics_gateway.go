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
	descTransitions  = desc("vrrp_transitions_total", "Changes of state since the process of the gateways started.", "gateway", "family")
	descTakeover     = desc("vrrp_last_takeover_seconds", "How long this member's last takeover took, from the old Active's last sign or the decision until it advertised.", "gateway", "family")
	descRouterAd     = desc("vrrp_router_advertisements_total", "Router advertisements sent to hosts since the process of the gateways started, as last read.", "gateway")
	descRouterSol    = desc("vrrp_router_solicitations_total", "Router solicitations of hosts heard since the process of the gateways started, as last read.", "gateway")
	descRogue        = desc("vrrp_rogue_routers", "Routers that advertise themselves to hosts beside the gateway and are not trusted to.", "gateway")
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
			g.count(descTransitions, float64(r.Transitions), s.Gateway, r.Family)
			if r.Takeover > 0 {
				g.set(descTakeover, float64(r.Takeover)/1000, s.Gateway, r.Family)
			}
			if r.Family == "ipv6" {
				g.count(descRouterAd, float64(r.RAOut), s.Gateway)
				g.count(descRouterSol, float64(r.RSIn), s.Gateway)
				g.set(descRogue, float64(len(r.Rogues)), s.Gateway)
			}
			g.count(descDiscarded, float64(r.Discarded["checksum"]), s.Gateway, r.Family, "checksum") // also before the first: it has to be seen to rise
			for cause, n := range r.Discarded {
				if cause != "checksum" {
					g.count(descDiscarded, float64(n), s.Gateway, r.Family, cause)
				}
			}
		}
	}
}

func (g gauges) count(d *prometheus.Desc, v float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}
