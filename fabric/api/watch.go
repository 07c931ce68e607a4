package api

import (
	"context"
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
			for _, e := range routing(last, now) {
				s.Events.publish(EventRouting, "", e)
			}
		}
		last = now
	}
}

// lifecycleNames are the kinds as events call them, and where their objects are. Kinds that are not here make no events.
var lifecycleNames = map[fabric.Kind][2]string{
	fabric.KindMember:      {"cluster-member", "/1.0/cluster/members/"},
	fabric.KindGroup:       {"cluster-group", "/1.0/cluster/groups/"},
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
	fabric.KindBFDProfile:  {"bfd-profile", bfdProfilesURL + "/"},
	fabric.KindRPKI:        {"bgp-rpki", "/1.0/bgp/rpki/"},
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
