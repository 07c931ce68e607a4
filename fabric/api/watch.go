package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// seen is what events are derived from: every member sees the same, so none has to tell another.
type seen struct {
	snap    *fabric.Snapshot
	reports *fabric.Reports
	online  map[string]bool // by member
}

func (s *Server) look() seen {
	status := s.Cluster.Status()
	now := seen{s.Store.Snapshot(), s.Reports(), map[string]bool{}}
	for _, m := range status.Members {
		now.online[m.Name] = m.Online
	}
	s.Events.setLocation(status.Self)
	return now
}

// watch makes events of what changes, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	changed, end := s.Store.Subscribe()
	defer end()
	tick := time.NewTicker(time.Second) // for who is online
	defer tick.Stop()
	own := s.Changed()
	last := s.look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-own:
		case <-tick.C:
		}
		own = s.Changed()
		now := s.look()
		if s.Events.wanted(incusapi.EventTypeLifecycle) {
			for _, e := range lifecycle(last, now) {
				s.Events.publish(incusapi.EventTypeLifecycle, "default", e)
			}
		}
		if s.Events.wanted(EventRouting) {
			for _, e := range routing(last.reports, now.reports) {
				s.Events.publish(EventRouting, "", e)
			}
		}
		last = now
	}
}

// lifecycleNames are the kinds as events call them, and where their objects are. Kinds that are not here make no events.
var lifecycleNames = map[fabric.Kind][2]string{
	fabric.KindMember:      {"cluster-member", "/1.0/cluster/members/"},
	fabric.KindCertificate: {"certificate", "/1.0/certificates/"},
	fabric.KindNetwork:     {"network", "/1.0/networks/"},
	fabric.KindPool:        {"storage-pool", "/1.0/storage-pools/"},
	fabric.KindImage:       {"image", "/1.0/images/"},
	fabric.KindAlias:       {"image-alias", "/1.0/images/aliases/"},
	fabric.KindProfile:     {"profile", "/1.0/profiles/"},
	fabric.KindInstance:    {"instance", "/1.0/instances/"},
	fabric.KindPeer:        {"bgp-peer", "/1.0/bgp/peers/"},
	fabric.KindAnycast:     {"anycast", "/1.0/anycast/"},
	fabric.KindPolicy:      {"bgp-policy", "/1.0/bgp/policies/"},
	fabric.KindGateway:     {"gateway", "/1.0/gateways/"},
}

// lifecycle is what happened to objects, in the order of the kinds.
func lifecycle(last, now seen) []incusapi.EventLifecycle {
	var events []incusapi.EventLifecycle
	add := func(action, source, name string, context map[string]any) {
		events = append(events, incusapi.EventLifecycle{Action: action, Source: source, Name: name, Project: "default", Context: context})
	}
	for _, kind := range fabric.Kinds() {
		names, ok := lifecycleNames[kind]
		if !ok || last.snap.Revision == now.snap.Revision {
			continue
		}
		for _, o := range now.snap.All(kind) {
			name := o.Head().Name
			before, was := last.snap.Get(fabric.KeyOf(o))
			if !was {
				add(names[0]+created(kind), names[1]+seg(name), name, nil)
			} else if before.Head().Revision != o.Head().Revision {
				add(names[0]+"-updated", names[1]+seg(name), name, nil)
			}
		}
		for _, o := range last.snap.All(kind) {
			if name := o.Head().Name; !has(now.snap, fabric.KeyOf(o)) {
				add(names[0]+deleted(kind), names[1]+seg(name), name, nil)
			}
		}
	}
	if last.snap.Cluster().Revision != now.snap.Cluster().Revision {
		add("config-updated", "/1.0", "", nil)
	}
	for _, m := range now.snap.Members() {
		if was, known := last.online[m.Name]; known && was != now.online[m.Name] {
			add(map[bool]string{true: "cluster-member-online", false: "cluster-member-offline"}[!was], "/1.0/cluster/members/"+seg(m.Name), m.Name, nil)
		}
	}
	for _, i := range now.snap.Instances() {
		was, is := instanceState(last.reports, i), instanceState(now.reports, i)
		context := map[string]any{"member": i.Member}
		switch address := "/1.0/instances/" + seg(i.Name); {
		case is.Status == fabric.InstanceRunning && was.Status == fabric.InstanceRunning && is.Boots != was.Boots:
			add("instance-restarted", address, i.Name, context)
		case is.Status == was.Status:
		case is.Status == fabric.InstanceRunning:
			add("instance-started", address, i.Name, context)
		case is.Status == fabric.InstanceStopped && was.Status != "":
			add("instance-stopped", address, i.Name, context)
		case is.Status == fabric.InstanceError:
			c, _ := now.reports.Get(instanceKey(i.Name), i.Member, fabric.ConditionInstance)
			add("instance-error", address, i.Name, map[string]any{"member": i.Member, "reason": c.Reason, "message": c.Message})
		}
	}
	return events
}

func instanceState(reports *fabric.Reports, i *fabric.Instance) fabric.InstanceState {
	c, _ := reports.Get(instanceKey(i.Name), i.Member, fabric.ConditionInstance)
	return fabric.JSON[fabric.InstanceState](c.Data)
}

// Members are added and removed in the dialect, everything else is created and deleted.
func created(k fabric.Kind) string {
	if k == fabric.KindMember {
		return "-added"
	}
	return "-created"
}

func deleted(k fabric.Kind) string {
	if k == fabric.KindMember {
		return "-removed"
	}
	return "-deleted"
}

// RoutingEvent is the metadata of events of type "routing".
type RoutingEvent struct {
	Action   string       `json:"action"` // gateway-STATE, session-up, session-down, prefix-announced, prefix-withdrawn, copy-healthy, copy-unhealthy
	Member   string       `json:"member"`
	Peer     string       `json:"peer,omitempty"`
	Gateway  string       `json:"gateway,omitempty"`
	Family   string       `json:"family,omitempty"` // of the gateway: ipv4, ipv6
	Prefix   netip.Prefix `json:"prefix,omitzero"`
	Owner    string       `json:"owner,omitempty"` // kind/name of the object because of which the prefix is announced
	Instance string       `json:"instance,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Message  string       `json:"message,omitempty"`
}

// routing is what happened to sessions, prefixes and copies.
func routing(last, now *fabric.Reports) []RoutingEvent {
	if last == now {
		return nil
	}
	var events []RoutingEvent
	before, after := sessionStates(last), sessionStates(now)
	for at, is := range after {
		if was := before[at]; is.Action != was.Action && (was.Action != "" || is.Action == "session-up") {
			events = append(events, is)
		}
	}
	for at, was := range before {
		if _, there := after[at]; !there && was.Action == "session-up" {
			was.Action, was.Reason, was.Message = "session-down", "removed", ""
			events = append(events, was)
		}
	}
	events = append(events, routeEvents(routeStates(last), routeStates(now))...)
	events = append(events, gatewayEvents(gatewayStates(last), gatewayStates(now))...)
	slices.SortFunc(events, func(a, b RoutingEvent) int { return compareText(a, b) })
	return events
}

func compareText(a, b RoutingEvent) int {
	x, y := fmt.Sprint(a.Member, a.Peer, a.Gateway, a.Family, a.Prefix, a.Instance, a.Action), fmt.Sprint(b.Member, b.Peer, b.Gateway, b.Family, b.Prefix, b.Instance, b.Action)
	if x < y {
		return -1
	} else if x > y {
		return 1
	}
	return 0
}

// sessionStates are the sessions by member and peer, as the events that would tell of them.
func sessionStates(reports *fabric.Reports) map[[2]string]RoutingEvent {
	all := map[[2]string]RoutingEvent{}
	for _, c := range reports.All(fabric.ConditionSession) {
		e := RoutingEvent{Action: "session-down", Member: c.Member, Peer: c.Object.Name, Reason: c.Reason, Message: c.Message}
		if fabric.JSON[fabric.PeerState](c.Data).Established() {
			e.Action = "session-up"
		}
		all[[2]string{c.Member, c.Object.Name}] = e
	}
	return all
}

// routeKey identifies a prefix on a member.
type routeKey struct {
	member string
	prefix netip.Prefix
	owner  fabric.Key
}

func routeStates(reports *fabric.Reports) map[routeKey]fabric.RouteState {
	all := map[routeKey]fabric.RouteState{}
	for _, c := range reports.All(fabric.ConditionRoutes) {
		for _, r := range fabric.JSON[[]fabric.RouteState](c.Data) {
			all[routeKey{c.Member, r.Prefix, r.Owner}] = r
		}
	}
	return all
}

func routeEvents(before, after map[routeKey]fabric.RouteState) []RoutingEvent {
	var events []RoutingEvent
	for at, is := range after {
		was := before[at]
		e := RoutingEvent{Member: at.member, Prefix: at.prefix, Owner: at.owner.String(), Reason: is.Reason, Message: is.Message}
		for _, p := range is.Peers {
			if e.Peer = p.Peer; p.Announced && !announced(was, p.Peer) {
				e.Action, e.Reason, e.Message = "prefix-announced", "", ""
				events = append(events, e)
			}
		}
		for _, p := range was.Peers {
			if e.Peer = p.Peer; p.Announced && !announced(is, p.Peer) {
				e.Action, e.Reason, e.Message = "prefix-withdrawn", is.Reason, is.Message
				events = append(events, e)
			}
		}
		e.Peer = ""
		for _, c := range is.Copies {
			i := slices.IndexFunc(was.Copies, func(o fabric.CopyState) bool { return o.Instance == c.Instance && o.Device == c.Device })
			if i >= 0 && was.Copies[i].Healthy == c.Healthy || i < 0 && !c.Healthy {
				continue
			}
			e.Instance, e.Reason, e.Message, e.Action = c.Instance, c.Reason, c.Message, "copy-unhealthy"
			if c.Healthy {
				e.Action = "copy-healthy"
			}
			events = append(events, e)
		}
	}
	for at, was := range before {
		if _, there := after[at]; there {
			continue
		}
		for _, p := range was.Peers {
			if p.Announced {
				events = append(events, RoutingEvent{
					Action: "prefix-withdrawn", Member: at.member, Peer: p.Peer, Prefix: at.prefix, Owner: at.owner.String(), Reason: "removed",
				})
			}
		}
	}
	return events
}

func announced(r fabric.RouteState, peer string) bool {
	return slices.ContainsFunc(r.Peers, func(p fabric.RoutePeer) bool { return p.Peer == peer && p.Announced })
}
