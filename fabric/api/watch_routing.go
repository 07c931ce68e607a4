package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netfabric/fabric"
)

// RoutingEvent is the metadata of events of type "routing". Of what happened at once, causes come before their effects.
type RoutingEvent struct {
	Action   string       `json:"action"` // one of the Action constants, or gateway-STATE
	Member   string       `json:"member"`
	Peer     string       `json:"peer,omitempty"`
	Cache    string       `json:"cache,omitempty"` // RPKI
	Gateway  string       `json:"gateway,omitempty"`
	Family   string       `json:"family,omitempty"` // of the gateway: ipv4, ipv6
	Prefix   netip.Prefix `json:"prefix,omitzero"`
	Owner    string       `json:"owner,omitempty"` // kind/name of the object because of which the prefix is announced
	Instance string       `json:"instance,omitempty"`
	Reason   string       `json:"reason,omitempty"` // slug, of what is not well
	Message  string       `json:"message,omitempty"`
}

// The actions of routing events.
const (
	ActionMemberOffline   = "member-offline" // nothing more is known of its sessions and prefixes: events of it end until it is back
	ActionMemberOnline    = "member-online"
	ActionAddressClaimed  = "gateway-address-claimed" // somebody says that an address of a gateway is at another MAC
	ActionBFDUp           = "bfd-up"
	ActionBFDDown         = "bfd-down"
	ActionSessionUp       = "session-up"
	ActionSessionDown     = "session-down"
	ActionRPKIUp          = "rpki-up"    // a cache is connected and has told its data
	ActionRPKIDown        = "rpki-down"  // it does not answer, or its data have expired (reason rpki-no-data)
	ActionMaxPrefix       = "max-prefix" // the peer announces more than max_prefix.limit
	ActionCopyHealthy     = "copy-healthy"
	ActionCopyUnhealthy   = "copy-unhealthy" // also when the reason changes
	ActionCopyKept        = "copy-kept"      // unhealthy, and used all the same
	ActionPrefixAnnounced = "prefix-announced"
	ActionPrefixWithdrawn = "prefix-withdrawn"
)

// actionOrder has causes before effects, and what is lost before what is gained.
var actionOrder = []string{
	ActionMemberOffline, ActionMemberOnline, ActionRPKIDown, ActionRPKIUp, ActionBFDDown, ActionMaxPrefix, ActionSessionDown, ActionSessionUp, ActionBFDUp,
	ActionCopyUnhealthy, ActionCopyKept, ActionCopyHealthy, ActionPrefixWithdrawn, ActionPrefixAnnounced,
}

// reasonRemoved is the reason of what ended because nobody wants it any more.
const reasonRemoved = "removed"

// routing is what happened to members, gateways, sessions, prefixes and copies.
func routing(last, now seen) []RoutingEvent {
	events := onlineEvents(last.online, now.online)
	if last.reports != now.reports {
		before, after := sessionStates(last.reports), sessionStates(now.reports)
		events = append(events, sessionEvents(before, after)...)
		events = append(events, routeEvents(routeStates(last.reports), routeStates(now.reports), after)...)
		events = append(events, rpkiEvents(last.reports, now.reports)...)
		events = append(events, gatewayEvents(gatewayStates(last.reports), gatewayStates(now.reports))...)
	}
	slices.SortStableFunc(events, func(a, b RoutingEvent) int {
		return cmp.Or(
			cmp.Compare(a.Member, b.Member),
			cmp.Compare(slices.Index(actionOrder, a.Action), slices.Index(actionOrder, b.Action)),
			a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
			cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Family, b.Family),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Instance, b.Instance),
		)
	})
	return events
}

func onlineEvents(before, after map[string]bool) []RoutingEvent {
	var events []RoutingEvent
	for member, is := range after {
		if was, known := before[member]; !known || was == is {
			continue
		}
		e := RoutingEvent{Action: ActionMemberOnline, Member: member}
		if !is {
			e.Action, e.Reason, e.Message = ActionMemberOffline, fabric.ReasonMemberOffline, "nothing is known of its sessions and prefixes until it is back; its routing worker may go on"
		}
		events = append(events, e)
	}
	return events
}

// sessionKey identifies a session.
type sessionKey struct{ member, peer string }

// sessionSeen is a session as its member tells of it.
type sessionSeen struct {
	fabric.PeerState
	reason, message string // when it is not established
}

func sessionStates(reports *fabric.Reports) map[sessionKey]sessionSeen {
	all := map[sessionKey]sessionSeen{}
	for _, c := range reports.All(fabric.ConditionSession) {
		for _, p := range fabric.SessionsOf(c) {
			s := sessionSeen{PeerState: p}
			if !s.Established() {
				s.reason, s.message = cmp.Or(p.Hold, c.Reason, fabric.ReasonSessionDown), cmp.Or(s.LastError, c.Message)
			}
			all[sessionKey{c.Member, cmp.Or(p.Name, c.Object.Name)}] = s
		}
	}
	return all
}

func sessionEvents(before, after map[sessionKey]sessionSeen) []RoutingEvent {
	var events []RoutingEvent
	for at, is := range after {
		was := before[at]
		e := RoutingEvent{Member: at.member, Peer: at.peer}
		switch {
		case is.Established() && !was.Established():
			e.Action = ActionSessionUp
			events = append(events, e)
		case !is.Established() && was.Established():
			e.Action, e.Reason, e.Message = ActionSessionDown, is.reason, is.message
			events = append(events, e)
		case is.Established() && is.Flaps > was.Flaps: // it was down for less time than members take to tell
			e.Action, e.Reason, e.Message = ActionSessionDown, fabric.ReasonSessionDown, cmp.Or(is.LastError, "and up again at once")
			events = append(events, e, RoutingEvent{Action: ActionSessionUp, Member: at.member, Peer: at.peer})
		}
		if is.OverLimit && !was.OverLimit {
			events = append(events, RoutingEvent{
				Action: ActionMaxPrefix, Member: at.member, Peer: at.peer, Reason: fabric.ReasonMaxPrefix, Message: cmp.Or(is.message, is.Warning),
			})
		}
		if is.Name != "" { // else the worker is away, and nothing is known
			events = append(events, bfdEvents(at, was.BFD, is.BFD)...)
		}
	}
	for at, was := range before {
		if _, there := after[at]; !there && was.Established() {
			events = append(events, RoutingEvent{Action: ActionSessionDown, Member: at.member, Peer: at.peer, Reason: reasonRemoved})
		}
	}
	return events
}

// rpkiEvents tell of caches that come, go, and whose data expire.
func rpkiEvents(last, now *fabric.Reports) []RoutingEvent {
	before := map[sessionKey]fabric.Condition{}
	for _, c := range last.All(fabric.ConditionRPKI) {
		before[sessionKey{c.Member, c.Object.Name}] = c
	}
	var events []RoutingEvent
	for _, c := range now.All(fabric.ConditionRPKI) {
		was := before[sessionKey{c.Member, c.Object.Name}]
		e := RoutingEvent{Action: ActionRPKIUp, Member: c.Member, Cache: c.Object.Name}
		switch {
		case c.OK && !was.OK:
		case !c.OK && (was.OK || was.Reason == fabric.ReasonRPKIDown && c.Reason == fabric.ReasonRPKINoData && len(was.Data) > 0):
			e.Action, e.Reason, e.Message = ActionRPKIDown, c.Reason, c.Message
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

func bfdEvents(at sessionKey, was, is *fabric.BFDState) []RoutingEvent {
	wasUp, isUp := was != nil && was.Up(), is != nil && is.Up()
	e := RoutingEvent{Action: ActionBFDUp, Member: at.member, Peer: at.peer}
	switch {
	case wasUp == isUp:
		return nil
	case is == nil:
		e.Action, e.Reason = ActionBFDDown, reasonRemoved
	case !isUp:
		e.Action, e.Reason, e.Message = ActionBFDDown, cmp.Or(is.Reason, fabric.ReasonBFDDown), cmp.Or(is.Failure, is.Message)
		if is.Diagnostic != "" && !strings.Contains(e.Message, is.Diagnostic) {
			e.Message = strings.TrimPrefix(e.Message+"; diagnostic: "+is.Diagnostic, "; ")
		}
	}
	return []RoutingEvent{e}
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

func routeEvents(before, after map[routeKey]fabric.RouteState, sessions map[sessionKey]sessionSeen) []RoutingEvent {
	var events []RoutingEvent
	for at, is := range after {
		was := before[at]
		e := RoutingEvent{Member: at.member, Prefix: at.prefix, Owner: at.owner.String()}
		for _, p := range is.Peers {
			if p.Announced && !announced(was, p.Peer) {
				e.Action, e.Peer = ActionPrefixAnnounced, p.Peer
				events = append(events, e)
			}
		}
		for _, p := range was.Peers {
			if p.Announced && !announced(is, p.Peer) {
				e.Action, e.Peer = ActionPrefixWithdrawn, p.Peer
				w := e
				w.Reason, w.Message = whyWithdrawn(is, p.Peer, sessions[sessionKey{at.member, p.Peer}])
				events = append(events, w)
			}
		}
		e.Peer = ""
		events = append(events, copyEvents(e, was, is)...)
	}
	for at, was := range before {
		if _, there := after[at]; there {
			continue
		}
		e := RoutingEvent{Action: ActionPrefixWithdrawn, Member: at.member, Prefix: at.prefix, Owner: at.owner.String(), Reason: reasonRemoved}
		for _, p := range was.Peers {
			if e.Peer = p.Peer; p.Announced {
				events = append(events, e)
			}
		}
	}
	return events
}

// whyWithdrawn is the cause of a withdraw from one peer: that of the prefix, unless others are still told of it.
func whyWithdrawn(r fabric.RouteState, peer string, session sessionSeen) (reason, message string) {
	i := slices.IndexFunc(r.Peers, func(p fabric.RoutePeer) bool { return p.Peer == peer })
	switch {
	case !r.Up:
		return r.Reason, r.Message
	case i < 0:
		return reasonRemoved, fmt.Sprintf("it is not for peer %s any more", peer)
	case r.Peers[i].Reason == fabric.ReasonSessionDown:
		return fabric.ReasonSessionDown, session.message
	}
	reason = cmp.Or(r.Peers[i].Reason, r.Reason)
	return reason, cmp.Or(r.Peers[i].Message, fabric.TextOfReason(reason).Cause)
}

// copyEvents tell of the copies of a prefix. e has member, prefix and owner.
func copyEvents(e RoutingEvent, was, is fabric.RouteState) []RoutingEvent {
	var events []RoutingEvent
	find := func(all []fabric.CopyState, like fabric.CopyState) (fabric.CopyState, bool) {
		i := slices.IndexFunc(all, func(o fabric.CopyState) bool { return o.Instance == like.Instance && o.Device == like.Device })
		if i < 0 {
			return fabric.CopyState{}, false
		}
		return all[i], true
	}
	for _, c := range is.Copies {
		old, known := find(was.Copies, c)
		e.Instance, e.Reason, e.Message = c.Instance, c.Reason, c.Message
		switch {
		case c.Healthy && !old.Healthy:
			e.Action = ActionCopyHealthy
		case c.Healthy || !known:
			continue // as before, or not healthy yet
		case c.Kept && !old.Kept:
			e.Action = ActionCopyKept
		case old.Healthy || c.Reason != old.Reason || old.Kept && !c.Kept:
			e.Action = ActionCopyUnhealthy
		default:
			continue
		}
		events = append(events, e)
	}
	for _, c := range was.Copies { // a copy that is not there: its instance does not run any more, or is not one
		if _, there := find(is.Copies, c); !there && c.Healthy {
			e.Action, e.Instance, e.Reason, e.Message = ActionCopyUnhealthy, c.Instance, cmp.Or(is.Reason, reasonRemoved), is.Message
			events = append(events, e)
		}
	}
	return events
}

func announced(r fabric.RouteState, peer string) bool {
	return slices.ContainsFunc(r.Peers, func(p fabric.RoutePeer) bool { return p.Peer == peer && p.Announced })
}
