package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// routingWorld is what members say, changed step by step.
type routingWorld struct {
	t    *testing.T
	last seen
	now  seen
}

var (
	eventPeer   = fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}
	eventSvc    = fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}
	eventPrefix = netip.MustParsePrefix("203.0.113.53/32")
)

func newRoutingWorld(t *testing.T) *routingWorld {
	s := seen{reports: fabric.EmptyReports(), online: map[string]bool{"n1": true, "n2": true}}
	return &routingWorld{t: t, last: s, now: s}
}

func (w *routingWorld) set(cs ...fabric.Condition) {
	w.now.reports = w.now.reports.With(w.now.reports.Counter+1, cs, nil)
}

func (w *routingWorld) session(p fabric.PeerState) {
	c := fabric.Condition{Object: eventPeer, Member: "n1", Type: fabric.ConditionSession, OK: p.Established()}
	if !c.OK {
		c.Reason, c.Message = fabric.ReasonSessionDown, "no connection yet"
	}
	w.set(c.WithData(p))
}

func (w *routingWorld) route(r fabric.RouteState) {
	r.Prefix, r.Owner, r.Kind = eventPrefix, eventSvc, fabric.AnnounceAnycast
	w.set(fabric.Condition{Object: eventSvc, Member: "n1", Type: fabric.ConditionRoutes}.WithData([]fabric.RouteState{r}))
}

// events tells what has happened since it was asked last, in lines.
func (w *routingWorld) events() []string {
	var lines []string
	for _, e := range routing(w.last, w.now) {
		line := strings.Join(slices.DeleteFunc([]string{e.Action, e.Member, e.Peer, e.Instance}, func(s string) bool { return s == "" }), " ")
		if e.Prefix.IsValid() {
			line += fmt.Sprintf(" %s of %s", e.Prefix, e.Owner)
		}
		if e.Reason != "" {
			line += ": " + e.Reason
		}
		if e.Message != "" {
			line += ", " + e.Message
		}
		lines = append(lines, line)
	}
	w.last = w.now
	return lines
}

func told(peers ...string) fabric.RouteState {
	r := fabric.RouteState{Up: true, Copies: []fabric.CopyState{{Instance: "d1", Device: "eth0", Healthy: true}}}
	for _, p := range peers {
		r.Peers = append(r.Peers, fabric.RoutePeer{Peer: p, Announced: true})
	}
	return r
}

func TestRoutingDiff(t *testing.T) {
	w := newRoutingWorld(t)
	up := fabric.PeerState{Name: "tor1", State: "established"}
	sick := func(reason, message string, kept bool) fabric.RouteState {
		r := told()
		r.Copies[0] = fabric.CopyState{Instance: "d1", Device: "eth0", Reason: reason, Message: message, Kept: kept}
		if kept {
			r.Peers = told("tor1").Peers
		} else {
			r.Up, r.Reason, r.Message = false, reason, "d1: "+message
		}
		return r
	}
	for _, step := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"a session that tries", func() { w.session(fabric.PeerState{Name: "tor1", State: "active"}) }, nil},
		{"up, and told", func() { w.session(up); w.route(told("tor1", "tor2")) }, []string{
			"session-up n1 tor1",
			"copy-healthy n1 d1 203.0.113.53/32 of anycast/dns",
			"prefix-announced n1 tor1 203.0.113.53/32 of anycast/dns",
			"prefix-announced n1 tor2 203.0.113.53/32 of anycast/dns",
		}},
		{"nothing", func() {}, nil},
		{"one of two sessions lost", func() {
			w.session(fabric.PeerState{Name: "tor1", State: "active", Flaps: 1, LastError: "the peer ended the session: cease"})
			r := told("tor1", "tor2")
			r.Peers[0] = fabric.RoutePeer{Peer: "tor1", Reason: fabric.ReasonSessionDown}
			w.route(r)
		}, []string{
			"session-down n1 tor1: session-down, the peer ended the session: cease",
			"prefix-withdrawn n1 tor1 203.0.113.53/32 of anycast/dns: session-down, the peer ended the session: cease",
		}},
		{"back", func() { up.Flaps = 1; w.session(up); w.route(told("tor1", "tor2")) }, []string{
			"session-up n1 tor1", "prefix-announced n1 tor1 203.0.113.53/32 of anycast/dns",
		}},
		{"lost and back between two words of the member", func() { up.Flaps = 2; w.session(up) }, []string{
			"session-down n1 tor1: session-down, and up again at once", "session-up n1 tor1",
		}},
		{"not for a peer any more", func() {
			r := told("tor1", "tor2")
			r.Peers[1] = fabric.RoutePeer{Peer: "tor2", Reason: fabric.ReasonPolicy, Message: "rule 2 of policy ix rejects it"}
			w.route(r)
		}, []string{"prefix-withdrawn n1 tor2 203.0.113.53/32 of anycast/dns: policy, rule 2 of policy ix rejects it"}},
		{"a peer is gone", func() { w.route(told("tor1")) }, nil},
		{"the check fails", func() { w.route(sick("check-failed", "refused", false)) }, []string{
			"copy-unhealthy n1 d1 203.0.113.53/32 of anycast/dns: check-failed, refused",
			"prefix-withdrawn n1 tor1 203.0.113.53/32 of anycast/dns: check-failed, d1: refused",
		}},
		{"and is damped", func() { w.route(sick("damped", "flapped 5 times", false)) }, []string{"copy-unhealthy n1 d1 203.0.113.53/32 of anycast/dns: damped, flapped 5 times"}},
		{"healthy", func() { w.route(told("tor1")) }, []string{
			"copy-healthy n1 d1 203.0.113.53/32 of anycast/dns", "prefix-announced n1 tor1 203.0.113.53/32 of anycast/dns",
		}},
		{"kept", func() { w.route(sick("check-failed", "refused", true)) }, []string{"copy-kept n1 d1 203.0.113.53/32 of anycast/dns: check-failed, refused"}},
		{"kept no more", func() { w.route(sick("check-failed", "refused", false)) }, []string{
			"copy-unhealthy n1 d1 203.0.113.53/32 of anycast/dns: check-failed, refused",
			"prefix-withdrawn n1 tor1 203.0.113.53/32 of anycast/dns: check-failed, d1: refused",
		}},
		{"healthy again", func() { w.route(told("tor1")) }, []string{
			"copy-healthy n1 d1 203.0.113.53/32 of anycast/dns", "prefix-announced n1 tor1 203.0.113.53/32 of anycast/dns",
		}},
		{"the instance is killed", func() {
			w.route(fabric.RouteState{Reason: fabric.ReasonInstanceStopped, Message: `instance "d1" does not run`})
		}, []string{
			`copy-unhealthy n1 d1 203.0.113.53/32 of anycast/dns: instance-stopped, instance "d1" does not run`,
			`prefix-withdrawn n1 tor1 203.0.113.53/32 of anycast/dns: instance-stopped, instance "d1" does not run`,
		}},
		{"BFD is up", func() { up.BFD = &fabric.BFDState{State: "up"}; w.session(up) }, []string{"bfd-up n1 tor1"}},
		{"BFD fails", func() {
			w.session(fabric.PeerState{Name: "tor1", State: "active", LastError: "BFD is down", BFD: &fabric.BFDState{State: "down", Reason: "bfd-down", Failure: "nothing heard for 150 ms"}})
		}, []string{"bfd-down n1 tor1: bfd-down, nothing heard for 150 ms", "session-down n1 tor1: session-down, BFD is down"}},
		{"more prefixes than it may", func() {
			w.session(up)
			w.events()
			over := up
			over.OverLimit, over.Warning = true, "12 prefixes of one family received: max_prefix.limit is 10"
			w.session(over)
		}, []string{"max-prefix n1 tor1: max-prefix, 12 prefixes of one family received: max_prefix.limit is 10"}},
		{"and the session ends for it", func() {
			w.session(up)
			w.events()
			w.session(fabric.PeerState{Name: "tor1", State: "idle", OverLimit: true, Hold: "max-prefix", LastError: "the peer announced more than 10 prefixes"})
		}, []string{"bfd-down n1 tor1: removed", "max-prefix n1 tor1: max-prefix, the peer announced more than 10 prefixes", "session-down n1 tor1: max-prefix, the peer announced more than 10 prefixes"}},
		{"BFD fails, with a diagnostic", func() {
			w.session(up)
			w.events()
			down := up
			down.BFD = &fabric.BFDState{State: "down", Failure: "the neighbour says no", Diagnostic: "path down"}
			w.session(down)
		}, []string{"bfd-down n1 tor1: bfd-down, the neighbour says no; diagnostic: path down"}},
		{"a cache answers", func() { w.cache(true, "", "") }, []string{"rpki-up n1"}},
		{"a cache is gone", func() { w.cache(false, "rpki-down", "connection refused") }, []string{"rpki-down n1: rpki-down, connection refused"}},
		{"its data expire", func() { w.cache(false, "rpki-no-data", "connection refused") }, []string{"rpki-down n1: rpki-no-data, connection refused"}},
		{"the worker is away", func() {
			w.session(up)
			w.events()
			w.set(fabric.Condition{Object: eventPeer, Member: "n1", Type: fabric.ConditionSession, Reason: fabric.ReasonWorkerDown, Message: "no answer"})
		}, []string{"session-down n1 tor1: worker-down, no answer"}},
		{"a member dies", func() { w.now.online = map[string]bool{"n1": true, "n2": false} },
			[]string{"member-offline n2: member-offline, nothing is known of its sessions and prefixes until it is back; its routing worker may go on"}},
		{"and comes back, with a new one", func() { w.now.online = map[string]bool{"n1": true, "n2": true, "n3": true} }, []string{"member-online n2"}},
		{"all is removed", func() {
			w.session(up)
			w.route(told("tor1"))
			w.events()
			w.now.reports = fabric.EmptyReports()
		}, []string{"session-down n1 tor1: removed", "prefix-withdrawn n1 tor1 203.0.113.53/32 of anycast/dns: removed"}},
	} {
		step.change()
		if got := w.events(); !slices.Equal(got, step.want) {
			t.Fatalf("%s: got\n%s\nwant\n%s", step.name, strings.Join(got, "\n"), strings.Join(step.want, "\n"))
		}
	}
}

// cache has n1 say how it stands with an RPKI cache.
func (w *routingWorld) cache(ok bool, reason, message string) {
	w.set(fabric.Condition{Object: fabric.Key{Kind: fabric.KindRPKI, Name: "rtr"}, Member: "n1", Type: fabric.ConditionRPKI, OK: ok, Reason: reason, Message: message}.WithData(fabric.RPKIState{Name: "rtr"}))
}
