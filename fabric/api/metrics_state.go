package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"netfabric/fabric"
)

// maxRouteSeries is the number of prefixes over which single ones get no series.
const maxRouteSeries = 10000

// stateCollector tells how this member is, as it knows at the time of the scrape. It asks nobody: neither worker nor database nor other members.
type stateCollector struct{ *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fabric_"+name, help, labels, nil)
}

var (
	descInfo         = desc("build_info", "Always 1; which version runs.", "version", "member")
	descSession      = desc("bgp_session_up", "1 while the session of this member with the peer is established.", "member", "peer")
	descSent         = desc("bgp_prefixes_sent", "Prefixes that this member announces to the peer.", "member", "peer")
	descReceived     = desc("bgp_prefixes_received", "Prefixes that the peer announces to this member.", "member", "peer")
	descRejected     = desc("bgp_prefixes_rejected", "Prefixes of the peer that the import policy does not take.", "member", "peer")
	descUpdates      = desc("bgp_updates_total", "UPDATE messages of the sessions with the peer since the worker started, as last read.", "member", "peer", "direction")
	descOver         = desc("bgp_max_prefix_exceeded", "1 while the peer announces more than max_prefix.limit, or its session is down because it did.", "member", "peer")
	descBFD          = desc("bfd_session_up", "1 while BFD with the peer is up. Only of peers with BFD.", "member", "peer")
	descBFDTime      = desc("bfd_detection_seconds", "Silence after which the peer counts as dead, as agreed; 0 while it is not known.", "member", "peer")
	descBFDFlaps     = desc("bfd_session_flaps_total", "Failures of a BFD session that was up.", "member", "peer")
	descCheck        = desc("anycast_check_ok", "1 while the checks of the copy on this member succeed for all addresses of the service. Not of copies whose process or link is dead.", "service", "instance")
	descRPKI         = desc("rpki_connected", "1 while the RPKI cache is connected and has told its data.", "member", "cache")
	descVRPs         = desc("rpki_vrps", "Validated ROA payloads of the RPKI cache that are in use.", "member", "cache", "family")
	descSerial       = desc("rpki_serial", "Serial number of the data of the RPKI cache.", "member", "cache")
	descInstalled    = desc("bgp_installed_routes", "Kernel routes of this member that come from BGP peers, by routing table.", "member", "table")
	descNotInstalled = desc("bgp_install_failed_routes", "Prefixes from BGP peers that are to be in the routing table of this member's kernel and can't be made.", "member", "table")
	descFlaps        = desc("bgp_session_flaps_total", "Times the established session was lost since the worker started.", "member", "peer")
	descCopy         = desc("anycast_copy_healthy", "1 while the copy on this member is healthy for all addresses of the service.", "service", "instance")
	descRoute        = desc("route_announced", "1 while at least one peer of this member has been told of the prefix. Left out with more than 10000 prefixes.", "prefix", "kind", "owner")
	descRoutes       = desc("routes", "Prefixes that this member could announce, by kind, and whether a peer has been told.", "kind", "announced")
	descWorker       = desc("routing_worker_up", "1 while the routing worker answers.")
	descWorkerAt     = desc("routing_worker_start_time_seconds", "Unix time at which the routing worker started.")
	descRevision     = desc("database_revision", "Revision of the newest state that this member knows.")
	descQuorum       = desc("database_quorum", "1 while writes can be made, as far as this member knows.")
	descLeader       = desc("database_leader", "1 while this member leads the database.")
	descOnline       = desc("cluster_member_online", "1 while this member has signs of life of the member.", "member")
	descInstances    = desc("instances", "Instances of this member by status.", "status")
	descModule       = desc("module_ok", "1 while the reconciler works without error.", "module")
	descObjects      = desc("objects", "Objects in the database by kind.", "kind")
	allStateDescs    = []*prometheus.Desc{descInfo, descRPKI, descVRPs, descSerial, descSession, descSent, descReceived, descRejected, descUpdates, descOver, descBFD, descBFDTime, descBFDFlaps, descCheck, descInstalled, descNotInstalled, descFlaps, descCopy, descRoute, descRoutes, descWorker, descWorkerAt, descRevision, descQuorum, descLeader, descOnline, descInstances, descModule, descObjects,
		descGateway, descGatewaySince, descTrack, descAdverts, descDiscarded}
	instanceStates = []fabric.InstanceStatus{fabric.InstanceRunning, fabric.InstanceStopped, fabric.InstanceStarting, fabric.InstanceStopping, fabric.InstanceError}
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allStateDescs {
		ch <- d
	}
}

// gauges sends values to a scrape.
type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, v float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (g gauges) flag(d *prometheus.Desc, v bool, labels ...string) {
	if v {
		g.set(d, 1, labels...)
	} else {
		g.set(d, 0, labels...)
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	g := gauges(ch)
	status, snap, reports := c.Cluster.Status(), c.Store.Snapshot(), c.Reports()
	self := status.Self
	g.set(descInfo, 1, c.Version, self)
	g.set(descRevision, float64(snap.Revision))
	g.flag(descQuorum, status.Quorum)
	g.flag(descLeader, self != "" && status.Leader == self)
	for _, m := range status.Members {
		g.flag(descOnline, m.Online, m.Name)
	}
	for _, kind := range fabric.Kinds() {
		g.set(descObjects, float64(snap.Len(kind)), string(kind))
	}
	c.instances(g, snap, reports, self)
	up := false
	for _, m := range reports.Of(fabric.Key{Kind: fabric.KindMember, Name: self}) {
		if m.Type == fabric.ConditionModule && m.Member == self {
			g.flag(descModule, m.OK, m.Detail)
			up = up || m.Detail == "routing" && m.Reason != fabric.ReasonWorkerDown
		}
	}
	state := c.Routing()
	g.flag(descWorker, up && state != nil)
	if state != nil {
		c.sessions(g, state, self)
		c.routes(g, state)
		c.gateways(g, state, self)
	}
}

func (c *stateCollector) instances(g gauges, snap *fabric.Snapshot, reports *fabric.Reports, self string) {
	count := map[fabric.InstanceStatus]int{}
	for _, i := range snap.Instances() {
		if i.Member == self {
			if s := instanceState(reports, i).Status; s != "" {
				count[s]++
			}
		}
	}
	for _, s := range instanceStates {
		g.set(descInstances, float64(count[s]), string(s))
	}
}

func (c *stateCollector) sessions(g gauges, state *fabric.RoutingState, self string) {
	g.set(descWorkerAt, float64(state.Worker.Started.UnixMilli())/1000)
	for _, r := range state.RPKI {
		g.flag(descRPKI, r.Connected, self, r.Name)
		g.set(descVRPs, float64(r.IPv4), self, r.Name, fabric.FamilyIPv4)
		g.set(descVRPs, float64(r.IPv6), self, r.Name, fabric.FamilyIPv6)
		g.set(descSerial, float64(r.Serial), self, r.Name)
	}
	for _, p := range state.Peers {
		g.flag(descSession, p.Established(), self, p.Name)
		g.set(descSent, float64(p.Sent), self, p.Name)
		g.set(descReceived, float64(p.Received), self, p.Name)
		g.set(descRejected, float64(p.Received-p.Accepted), self, p.Name)
		g.count(descUpdates, float64(p.UpdatesIn), self, p.Name, "in")
		g.count(descUpdates, float64(p.UpdatesOut), self, p.Name, "out")
		g.flag(descOver, p.OverLimit, self, p.Name)
		g.count(descFlaps, float64(p.Flaps), self, p.Name)
		if b := p.BFD; b != nil {
			g.flag(descBFD, b.Up(), self, p.Name)
			g.set(descBFDTime, float64(b.Detection)/1000, self, p.Name)
			g.count(descBFDFlaps, float64(b.Flaps), self, p.Name)
		}
	}
}

func (c *stateCollector) routes(g gauges, state *fabric.RoutingState) {
	type group struct{ kind, announced string }
	type copyOf struct{ service, instance string }
	groups, copies, checks := map[group]int{}, map[copyOf]bool{}, map[copyOf]bool{}
	single := len(state.Routes) <= maxRouteSeries
	for _, r := range state.Routes {
		told := false
		for _, p := range r.Peers {
			told = told || p.Announced
		}
		if single {
			g.flag(descRoute, told, r.Prefix.String(), string(r.Kind), r.Owner.String())
		}
		groups[group{string(r.Kind), map[bool]string{true: "yes", false: "no"}[told]}]++
		if r.Kind != fabric.AnnounceAnycast {
			continue
		}
		for _, x := range r.Copies {
			key := copyOf{r.Owner.Name, x.Instance}
			before, known := copies[key]
			copies[key] = x.Healthy && (before || !known)
			if x.Check != "" && x.Reason != fabric.ReasonProcessDead && x.Reason != fabric.ReasonLinkDown {
				before, known := checks[key]
				checks[key] = x.Reason != fabric.ReasonCheckFailed && x.Reason != fabric.ReasonCheckPending && (before || !known)
			}
		}
	}
	for key, n := range groups {
		g.set(descRoutes, float64(n), key.kind, key.announced)
	}
	for key, ok := range checks {
		g.flag(descCheck, ok, key.service, key.instance)
	}
	for key, healthy := range copies {
		g.flag(descCopy, healthy, key.service, key.instance)
	}
}
