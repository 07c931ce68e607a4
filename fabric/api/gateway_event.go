package api

import (
	"cmp"
	"fmt"
	"slices"

	"netfabric/fabric"
)

// gatewayStates are the virtual routers by member, gateway and family.
func gatewayStates(reports *fabric.Reports) map[[3]string]fabric.VirtualRouterState {
	all := map[[3]string]fabric.VirtualRouterState{}
	for _, c := range reports.All(fabric.ConditionGateway) {
		for _, r := range fabric.JSON[fabric.GatewayState](c.Data).Routers {
			all[[3]string{c.Member, c.Object.Name, r.Family}] = r
		}
	}
	return all
}

// gatewayEvents are the transitions between two reports: gateway-active, gateway-backup, gateway-initialize, and the reason of each; and
// gateway-rogue-ra for each router that has begun to advertise itself to hosts beside a gateway, gateway-address-claimed for each MAC that has
// begun to claim one of its addresses.
func gatewayEvents(before, after map[[3]string]fabric.VirtualRouterState) []RoutingEvent {
	var events []RoutingEvent
	for at, is := range after {
		for _, rogue := range is.Rogues {
			if !slices.ContainsFunc(before[at].Rogues, func(r fabric.RogueRouter) bool { return r.Address == rogue.Address }) {
				events = append(events, RoutingEvent{
					Action: "gateway-rogue-ra", Member: at[0], Gateway: at[1], Family: at[2], Reason: "rogue-ra",
					Message: fmt.Sprintf("%s (MAC %s) advertises itself to hosts as a router, with a lifetime of %d s", rogue.Address, cmp.Or(rogue.MAC, "unknown"), rogue.Lifetime),
				})
			}
		}
		for _, c := range is.Claims {
			if !slices.ContainsFunc(before[at].Claims, func(o fabric.ForeignClaim) bool { return o.Address == c.Address && o.MAC == c.MAC }) {
				events = append(events, RoutingEvent{
					Action: ActionAddressClaimed, Member: at[0], Gateway: at[1], Family: at[2], Reason: "address-claimed", Message: c.Text(is.VirtualMAC),
				})
			}
		}
		if was, known := before[at]; known && was.State == is.State && was.Since.Equal(is.Since) || !known && is.State == fabric.GatewayInitialize {
			continue
		}
		events = append(events, RoutingEvent{
			Action: "gateway-" + is.State, Member: at[0], Gateway: at[1], Family: at[2], Reason: is.Why, Message: is.Message,
		})
	}
	return events
}
