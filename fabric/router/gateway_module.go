package router

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"netfabric/fabric"
)

// steadyGateways are states of gateways whose counters move only when something else has, or with count.
func steadyGateways(states []fabric.GatewayState, told map[string]fabric.GatewayState, count bool) ([]fabric.GatewayState, map[string]fabric.GatewayState) {
	next := map[string]fabric.GatewayState{}
	var all []fabric.GatewayState
	for _, s := range states {
		if old, ok := told[s.Gateway]; ok && !count && reflect.DeepEqual(uncounted(old), uncounted(s)) {
			s = old
		}
		next[s.Gateway] = s
		all = append(all, s)
	}
	return all, next
}

// uncounted is a state without what moves with every packet.
func uncounted(s fabric.GatewayState) fabric.GatewayState {
	s.Routers = slices.Clone(s.Routers)
	for i := range s.Routers {
		s.Routers[i].In, s.Routers[i].Out, s.Routers[i].RAOut, s.Routers[i].RSIn = 0, 0, 0, 0
		causes := map[string]uint64{}
		for cause := range s.Routers[i].Discarded {
			causes[cause] = 0
		}
		s.Routers[i].Discarded = causes
	}
	return s
}

// gatewayConditions say of each gateway how it is on the member. down tells why the worker does not answer.
func gatewayConditions(v fabric.View, state *fabric.RoutingState, down string) []fabric.Condition {
	states := map[string]fabric.GatewayState{}
	if state != nil {
		for _, s := range state.Gateways {
			states[s.Gateway] = s
		}
	}
	var all []fabric.Condition
	for _, g := range v.Desired.Gateways() {
		if !g.On(v.Desired, v.Member) {
			continue
		}
		c := fabric.Condition{Object: fabric.KeyOf(g), Type: fabric.ConditionGateway, Observed: g.Revision}
		s, known := states[g.Name]
		switch {
		case down != "":
			c.Reason, c.Message = fabric.ReasonWorkerDown, down
		case !known || len(s.Routers) == 0:
			c.Reason, c.Message = cmp.Or(s.Reason, "not-set-up"), cmp.Or(s.Message, "the gateway is not set up yet")
		default:
			c.Reason, c.Message = gatewayTrouble(s)
			c.OK = c.Reason == ""
		}
		if known { // also while the worker is away: who can be asked to take over stays known
			c = c.WithData(s)
		}
		all = append(all, c)
	}
	return all
}

// gatewayTrouble is why a gateway does not work as it should on the member; both empty when it does.
func gatewayTrouble(s fabric.GatewayState) (reason, message string) {
	for _, t := range s.Tracks {
		if !t.Up && t.Weight == 0 {
			return "track-down", t.Message
		}
	}
	if s.Reason != "" {
		return s.Reason, s.Message
	}
	var messages []string
	for _, r := range s.Routers {
		switch {
		case r.Conflict.IsValid():
			reason = cmp.Or(reason, "conflict")
			messages = append(messages, fmt.Sprintf("%s: %s claims to be Active too", r.Family, r.Conflict))
		case len(r.Claims) > 0:
			reason = cmp.Or(reason, "address-claimed")
			messages = append(messages, r.Claims[len(r.Claims)-1].Text(r.VirtualMAC))
		case r.Differs:
			reason = cmp.Or(reason, "addresses-differ")
			messages = append(messages, fmt.Sprintf("%s: %s advertises other addresses with this VRID", r.Family, r.Active))
		case r.Version2.IsValid():
			reason = cmp.Or(reason, "vrrp-v2")
			messages = append(messages, fmt.Sprintf("%s: %s speaks VRRP version 2 with this VRID and is not listened to: set it to version 3", r.Family, r.Version2))
		case r.Reason != "":
			reason = cmp.Or(reason, r.Reason)
			messages = append(messages, r.Family+": "+r.Message)
		case len(r.Rogues) > 0:
			reason = cmp.Or(reason, "rogue-ra")
			messages = append(messages, r.Family+": "+rogueText(r.Rogues))
		}
	}
	for _, t := range s.Tracks {
		if !t.Up {
			reason = cmp.Or(reason, "track-down")
			messages = append(messages, t.Message)
		}
	}
	if reason == "" && s.Drained {
		return fabric.ReasonDrained, "drained: Active only while no other member can be"
	}
	return reason, strings.Join(messages, "; ")
}

// rogueText names routers that hosts may use beside the gateway.
func rogueText(all []fabric.RogueRouter) string {
	var names []string
	for _, r := range all {
		name := r.Address.String()
		if r.MAC != "" {
			name += " (" + r.MAC + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ") + " advertises itself to hosts as a router too; trust it with ra.trusted, or stop it"
}
