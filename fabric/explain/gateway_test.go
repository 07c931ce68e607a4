package explain

import (
	"net/netip"
	"slices"
	"testing"

	"netfabric/fabric"
)

func TestGatewayAddress(t *testing.T) {
	w := newWorld(t)
	g := &fabric.Gateway{Header: fabric.Header{Name: "lan"}, Interface: "eth1", VRID: 1, Interval: 100, Addresses: []netip.Prefix{prefix("192.0.2.254/24"), prefix("2001:db8::1/64")}}
	w.put(g)
	state := func(v4 string) fabric.GatewayState {
		return fabric.GatewayState{Routers: []fabric.VirtualRouterState{{Family: "ipv4", State: v4}, {Family: "ipv6", State: fabric.GatewayBackup}}}
	}
	report := func(member, v4, message string) {
		w.say(fabric.Condition{Object: fabric.KeyOf(g), Member: member, Type: fabric.ConditionGateway, OK: message == "", Message: message}.WithData(state(v4)))
	}
	report("n1", fabric.GatewayActive, "")
	report("n2", fabric.GatewayInitialize, "interface eth1 is down")
	for address, want := range map[string]string{
		"192.0.2.254/32":  "it is an address of gateway lan on interface eth1: n1 answers for it (n2: interface eth1 is down)",
		"2001:db8::1/128": "it is an address of gateway lan on interface eth1: no member answers for it (n2: interface eth1 is down)",
	} {
		if notes := w.ask(address).Notes; !slices.Contains(notes, want) {
			t.Errorf("%s: %q, want %q", address, notes, want)
		}
	}
}
