package fabric

import (
	"cmp"
	"maps"
	"slices"
)

// Reasons that only readers of reports give: no member says them of itself.
const (
	ReasonMemberOffline  = "member-offline"  // the member gives no sign of life: what it said last may be wrong by now
	ReasonNoReport       = "no-report"       // the member has said nothing of the prefix or session yet
	ReasonNotOurs        = "not-ours"        // no object of the cluster has the address
	ReasonNetworkPending = "network-pending" // the network is defined for single members and not created yet
	ReasonNoMember       = "no-member"       // the instance is on no member of the cluster
	ReasonImportRejected = "import-rejected" // the path came in and was not taken: no import policy accepts it
	ReasonASLoop         = "as-loop"         // the path has the member's own AS number in it (RFC 4271, 9.1.2)
	ReasonExportRejected = "export-rejected" // the path is not for this peer: it is not among the peers it is planned for, or the export policy refuses it
)

// Stage is where on the way from what an operator wants to what a peer is told a reason stands in the way. Stages are in the order of that way.
type Stage string

// The stages, in their order.
const (
	StageIntent   Stage = "intent"      // an object of the cluster has the prefix
	StageNetwork  Stage = "network"     // its network is there and lets it out
	StageMember   Stage = "member"      // the member is there
	StageWorker   Stage = "worker"      // its routing worker does what it is told
	StageGateway  Stage = "gateway"     // the member is Active for the gateway
	StageInstance Stage = "instance"    // an instance runs that answers for it, with a NIC of the right family
	StageProcess  Stage = "process"     // the instance's init lives
	StageLink     Stage = "link"        // its interface is up
	StageCheck    Stage = "check"       // the service's check succeeds
	StageKernel   Stage = "kernel"      // the kernel has the route to it
	StageSpeaker  Stage = "speaker"     // the member speaks BGP
	StagePolicy   Stage = "policy"      // the prefix is for this peer
	StageSession  Stage = "session"     // the session with the peer is established
	StageAdjOut   Stage = "adj-rib-out" // the peer has been told (Adj-RIB-Out of RFC 4271, 1.1)
)

// ReasonText is what a reason slug means to people: the one place from which commands, answers and documentation have it.
type ReasonText struct {
	Slug  string `json:"slug"`
	Stage Stage  `json:"stage"` // empty: not of a prefix
	Cause string `json:"cause"` // a clause without capital and full stop
	Fix   string `json:"fix"`   // what to do about it, the same; empty where waiting is all
}

var reasonTexts = map[string]ReasonText{
	ReasonNoASN: {Stage: StageSpeaker, Cause: "the cluster has no AS number, so no member speaks BGP",
		Fix: "give it one: fabricctl config set core.bgp_asn=65010"},
	ReasonNoPeer: {Stage: StageSpeaker, Cause: "no BGP peer of this member takes prefixes of this IP version",
		Fix: "add one: fabricctl bgp peer add NAME ROUTER ASN --export own; a session carries the IP version that it runs over"},
	ReasonSessionDown: {Stage: StageSession, Cause: "the session with the peer is not established",
		Fix: "see the last error with fabricctl bgp summary; check address, AS number and password on both sides, and that TCP port 179 is let through"},
	ReasonBFDDown: {Stage: StageSession, Cause: "BFD with the peer is not up",
		Fix: "see what it says with fabricctl bgp summary; check that the peer has BFD for this member's address and that UDP port 3784 (4784 across routers) is let through"},
	ReasonBFDWaits: {Stage: StageSession, Cause: "BFD with the peer begins when the BGP session is established"},
	ReasonBFDFailed: {Stage: StageWorker, Cause: "the routing worker can't have its BFD process",
		Fix: "see the error with fabricctl query /1.0/bgp"},
	ReasonFilterFailed: {Stage: StageWorker, Cause: "the routing worker can't set the packet filter that guards BGP, and accepts no sessions until it can; those that it opens go on",
		Fix: "see the error with fabricctl query /1.0/bgp; the kernel needs nftables (module nf_tables)"},
	ReasonRPKIDown: {Stage: StageSpeaker, Cause: "an RPKI cache does not answer; what it said last is used until it expires",
		Fix: "see the error with fabricctl bgp rpki list; check address and port, and that the cache lets the member connect"},
	ReasonRPKINoData: {Stage: StageSpeaker, Cause: "there are no data of an RPKI cache: routes that only it knows of count as not-found (RFC 6811)",
		Fix: "see the error with fabricctl bgp rpki list; a cache that has just been started needs some minutes"},
	ReasonMaxPrefix: {Stage: StageSession, Cause: "the peer announced more prefixes than max_prefix allows",
		Fix: "find out why it announces that much; fabricctl bgp peer set PEER --max-prefix NUMBER allows more and tries again"},
	ReasonNotExternal: {Stage: StageSession, Cause: "the peer is to be external and has our own AS number",
		Fix: "add it with the AS number internal, or change the one it has"},
	ReasonNoNeighbor: {Stage: StageSession, Cause: "no router has been found on the interface of the peer",
		Fix: "see what is missing with fabricctl bgp summary: the interface has to be up and to have an IPv6 link-local address, and the router has to send router advertisements (in FRR: neighbor IFACE interface)"},
	ReasonNoCaller: {Stage: StageSession, Cause: "nobody has connected from the prefix of the dynamic peer yet",
		Fix: "configure this member's core.bgp_address as a neighbour on the routers there"},
	ReasonNoListener: {Stage: StageSession, Cause: "the peer is to connect, and the member accepts no sessions",
		Fix: "give it an address to accept them on: fabricctl cluster set MEMBER core.bgp_address=IP"},
	ReasonSameNeighbor: {Stage: StageSession, Cause: "the router on the interface has the same link-local address as the one on another interface",
		Fix: "give the router another link-local address on one of the links; two sessions with one address can't be told apart"},
	ReasonNoFamily: {Stage: StageSession, Cause: "the session does not carry this IP version, because the peer doesn't",
		Fix: "activate the address family on the peer, over IPv6 with IPv6 next hops for IPv4 (RFC 8950; FRR: capability extended-nexthop, BIRD: extended next hop on)"},
	ReasonInstallNone: {Stage: StageKernel, Cause: "routes of the peer are not installed",
		Fix: "install them: fabricctl bgp peer set PEER --install default (or all)"},
	ReasonNotDefault: {Stage: StageKernel, Cause: "of the peer only default routes are installed",
		Fix: "install the others as well: fabricctl bgp peer set PEER --install all"},
	ReasonNotBest: {Stage: StageKernel, Cause: "another path to the prefix is better",
		Fix: "nothing, unless the other one should not be: import policies set local_pref"},
	ReasonNoWay: {Stage: StageKernel, Cause: "the kernel has no way to the next hop of the route",
		Fix: "see ip route get NEXT-HOP on the member: its interface is down, or an address or a route is missing"},
	ReasonForeignRoute: {Stage: StageKernel, Cause: "the kernel has a route to the prefix with the same metric from somebody else",
		Fix: "see ip route show table TABLE PREFIX on the member; remove that one, or give the peer another metric: fabricctl bgp peer set PEER --metric NUMBER"},
	ReasonInstallFailed: {Stage: StageKernel, Cause: "the kernel did not take the route",
		Fix: "see the error with fabricctl bgp routes --installed -f json"},
	ReasonTableUnknown: {Stage: StageKernel, Cause: "the member knows no routing table of that name",
		Fix: "name it in /etc/iproute2/rt_tables of the member, or use its number: fabricctl bgp peer set PEER --table NUMBER"},
	ReasonPenalty: {Stage: StageSession, Cause: "the peer is believed to have crashed the routing worker and has to wait",
		Fix: "find out what it sent (crash-last.log in the worker's state directory) and repair or disable the peer"},
	ReasonNAT: {Stage: StageNetwork, Cause: "the network hides its addresses behind those of its members (NAT)",
		Fix: "announce it as it is: fabricctl network set NETWORK ipv4.nat=false (or ipv6.nat)"},
	ReasonNetworkDown: {Stage: StageNetwork, Cause: "the network is not there on this member",
		Fix: "see why with fabricctl network list and the member's log"},
	ReasonDrained: {Stage: StageMember, Cause: "the member is drained: it announces nothing",
		Fix: "end it: fabricctl bgp undrain MEMBER"},
	ReasonDamped: {Stage: StageCheck, Cause: "the copy became unhealthy too often in short order (route flap damping)",
		Fix: "see why with fabricctl anycast show SERVICE; it is used again by itself a minute after its last failure at the latest"},
	ReasonMaintenance: {Stage: StageInstance, Cause: "the instance is under maintenance",
		Fix: "end it: fabricctl config unset INSTANCE anycast.maintenance"},
	ReasonDraining: {Stage: StageInstance, Cause: "the instance is about to be stopped, restarted, moved or deleted"},
	ReasonInstanceStopped: {Stage: StageInstance, Cause: "the instance does not run",
		Fix: "start it: fabricctl start INSTANCE"},
	ReasonNoAddress: {Stage: StageInstance, Cause: "the instance has no NIC with an address of this IP version",
		Fix: "give the network an address of this IP version, or the instance a NIC in one that has; then restart the instance"},
	ReasonNoCopy: {Stage: StageInstance, Cause: "no instance on this member is a copy of the service",
		Fix: "make one a copy: fabricctl config set INSTANCE anycast=SERVICE"},
	ReasonCheckPending: {Stage: StageCheck, Cause: "the check has not succeeded often enough yet",
		Fix: "wait, or see with fabricctl anycast show SERVICE what the check says"},
	ReasonCheckFailed: {Stage: StageCheck, Cause: "the check of the service failed too often in a row",
		Fix: "make the service answer on its own address inside the instance; fabricctl anycast show SERVICE says what the check sees"},
	ReasonLinkDown: {Stage: StageLink, Cause: "the instance's interface on the member is gone or down",
		Fix: "set it up again inside the instance, or restart the instance"},
	ReasonProcessDead: {Stage: StageProcess, Cause: "the instance's init is dead",
		Fix: "start the instance: fabricctl start INSTANCE; fabricctl info INSTANCE --show-log may say why it ended"},
	ReasonWorkerDown: {Stage: StageWorker, Cause: "the routing worker of the member does not answer",
		Fix: "see its log on the member (worker.log in the daemon's folder router, or journalctl -u fabric-router)"},
	ReasonGatewayBackup: {Stage: StageGateway, Cause: "another member is Active for the gateway and announces its subnets",
		Fix: "nothing; fabricctl gateway list says who is Active and why"},
	ReasonGatewayFault: {Stage: StageGateway, Cause: "the member can't be Active for the gateway: a track is down, or its interface can't be used",
		Fix: "see what is missing with fabricctl gateway show GATEWAY"},
	ReasonGatewayUnknown: {Stage: StageGateway, Cause: "the routing worker does not know whether the member is Active for the gateway",
		Fix: "wait a moment; if it stays so, see the error with fabricctl gateway show GATEWAY and the member's log"},
	ReasonPrefixOwned: {Stage: StageIntent, Cause: "another object on this member announces the same prefix",
		Fix: "leave the prefix to one of them"},
	ReasonRouteFailed: {Stage: StageKernel, Cause: "the kernel did not take the route to the copies",
		Fix: "see the error, and whether another route for the prefix is in the way: ip route show PREFIX on the member"},
	ReasonSending: {Stage: StageAdjOut, Cause: "the session or the prefix has just come up, and the peer is being told"},
	ReasonDisk: {Stage: StageWorker, Cause: "the routing worker can't write its state directory",
		Fix: "make room on the member's disk, or make the directory writable"},
	ReasonListenFailed: {Stage: StageSpeaker, Cause: "the address to accept BGP sessions on can't be used",
		Fix: "give the member that address, or have it accept no sessions: fabricctl cluster set MEMBER core.bgp_address=none"},
	ReasonMemberOffline: {Stage: StageMember, Cause: "the member gives no sign of life: this is its last word",
		Fix: "see fabricctl cluster list; routing goes on without the cluster's database as long as the host lives"},
	ReasonNoReport: {Stage: StageWorker, Cause: "the member has not said anything of it yet",
		Fix: "wait a moment; if it stays so, see the member's log"},
	ReasonNotOurs: {Stage: StageIntent, Cause: "nothing in the cluster has this address",
		Fix: "route it to an instance (fabricctl config device override INSTANCE NIC ipv4.routes.external=PREFIX, or ipv6; set in place of override where the NIC is the instance's own), or make it a service: fabricctl anycast create NAME ADDRESS"},
	ReasonNetworkPending: {Stage: StageNetwork, Cause: "the network is defined for single members and not created yet",
		Fix: "create it: fabricctl network create NETWORK"},
	ReasonNoMember: {Stage: StageMember, Cause: "the instance is on no member of the cluster",
		Fix: "see fabricctl list"},
	ReasonImportRejected: {Stage: StagePolicy, Cause: "the path came in and is not used: no import policy takes it (RFC 8212)",
		Fix: "nothing, unless the cluster is meant to use routes of this peer"},
	ReasonASLoop: {Stage: StagePolicy, Cause: "the path came in and is not used: it has our own AS number in it",
		Fix: "nothing: it is a route of ours that came back"},
	ReasonNoNextHop: {Stage: StagePolicy, Cause: "the session runs over the other IP version, and no rule says which next hop to tell",
		Fix: "set next_hop in the rule that accepts it (fabricctl bgp policy edit POLICY), or add the peer by its address of this IP version too"},
	ReasonNoExportPolicy: {Stage: StagePolicy, Cause: "the peer has no export policy, so it is told nothing (RFC 8212)",
		Fix: "give it one: fabricctl bgp peer set PEER --export own"},
	ReasonPolicy: {Stage: StagePolicy, Cause: "the export policy of the peer rejects the prefix",
		Fix: "nothing, if it is not for this peer; else change the policy that fabricctl bgp peer show PEER names: fabricctl bgp policy edit POLICY"},
	ReasonOutside: {Stage: StagePolicy, Cause: "the prefix is in none of the cluster's bgp.prefixes",
		Fix: "if it is yours to announce, add it: fabricctl config set bgp.prefixes=PREFIXES,PREFIX"},
	ReasonExportRejected: {Stage: StagePolicy, Cause: "the prefix is not for this peer",
		Fix: "see with fabricctl route explain PREFIX which peers it is for"},
}

// TextOfReason is what a slug means; a slug that is not known has itself as cause.
func TextOfReason(slug string) ReasonText {
	t := reasonTexts[slug]
	t.Slug = slug
	t.Cause = cmp.Or(t.Cause, slug)
	return t
}

// ReasonTexts are all that are known, by stage in their order, then by slug.
func ReasonTexts() []ReasonText {
	var all []ReasonText
	for _, slug := range slices.Sorted(maps.Keys(reasonTexts)) {
		all = append(all, TextOfReason(slug))
	}
	slices.SortStableFunc(all, func(a, b ReasonText) int { return cmp.Compare(a.Stage.Order(), b.Stage.Order()) })
	return all
}

var stages = []Stage{StageIntent, StageNetwork, StageMember, StageWorker, StageGateway, StageInstance, StageProcess, StageLink, StageCheck, StageKernel, StageSpeaker, StagePolicy, StageSession, StageAdjOut}

// Order is the place of a stage on the way, from 0; -1 for one that is none.
func (s Stage) Order() int { return slices.Index(stages, s) }
