package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"netfabric/fabric"
)

// gatewayNotes say of an address that it is a gateway's, who answers for it, and why the others would not.
func gatewayNotes(a netip.Addr, in Input) []string {
	var all []string
	for _, g := range in.Desired.Gateways() {
		for _, p := range g.Addresses {
			if p.Addr() == a {
				all = append(all, gatewayNote(g, a, in))
			}
		}
	}
	return all
}

func gatewayNote(g *fabric.Gateway, a netip.Addr, in Input) string {
	family := "ipv6"
	if a.Is4() {
		family = "ipv4"
	}
	var active, unfit []string
	for _, ranked := range g.Ranking(in.Desired) {
		c, ok := in.Reports.Get(fabric.KeyOf(g), ranked.Member, fabric.ConditionGateway)
		for _, r := range fabric.JSON[fabric.GatewayState](c.Data).Routers {
			if r.Family == family && r.State == fabric.GatewayActive {
				active = append(active, ranked.Member)
			}
		}
		if !ok || !c.OK {
			unfit = append(unfit, fmt.Sprintf("%s: %s", ranked.Member, cmp.Or(c.Message, "says nothing of it")))
		}
	}
	text := fmt.Sprintf("it is an address of gateway %s on interface %s: ", g.Name, g.Interface)
	if len(active) == 0 {
		text += "no member answers for it"
	} else {
		text += strings.Join(active, " and ") + " answers for it"
	}
	if len(unfit) > 0 {
		text += " (" + strings.Join(unfit, "; ") + ")"
	}
	return text
}
