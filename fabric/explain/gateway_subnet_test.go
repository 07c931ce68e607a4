package explain

import (
	"net/netip"
	"strings"
	"testing"

	"netfabric/fabric"
)

// TestGatewaySubnet: who is not Active for a gateway has no part in announcing it, and somebody who is not a member of it none at all.
func TestGatewaySubnet(t *testing.T) {
	const subnet = "198.51.100.0/24"
	backup := fabric.RouteState{Reason: fabric.ReasonGatewayBackup, Message: "198.51.100.11 is Active for gateway lan"}
	fault := fabric.RouteState{Reason: fabric.ReasonGatewayFault, Message: "interface eth1 is down"}
	for _, c := range []struct {
		name    string
		n1, n2  fabric.RouteState
		members []string
		state   State
		summary string
		reason  string // of the blocker
		states  string // of the members
	}{
		{"one is Active", told(), backup, nil, Announced, "announced by n1 to tor1", "", "announced idle"},
		{"the other has a fault", told(), fault, nil, Announced, "announced by n1 to tor1", "", "announced idle"},
		{"nobody is", backup, fault, nil, Blocked, "no member is Active for the gateway", fabric.ReasonGatewayFault, "idle idle"},
		{"the Active has not told anybody", missing(fabric.ReasonSessionDown), backup, nil, Blocked, "not announced by n1", fabric.ReasonSessionDown, "blocked idle"},
		{"of one member", told(), told(), []string{"n1"}, Announced, "announced by n1 to tor1", "", "announced"},
		{"in the address space of another", fabric.RouteState{Reason: fabric.ReasonPrefixOwned, Message: "it is network/br0's"}, backup, nil, Blocked, "not announced by n1", fabric.ReasonPrefixOwned, "blocked idle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.put(&fabric.Gateway{Header: fabric.Header{Name: "lan"}, Interface: "eth1", VRID: 7, Interval: 100, Announce: true, Members: c.members,
				Addresses: []netip.Prefix{prefix("198.51.100.1/24")}})
			w.route("n1", "gateway/lan", subnet, fabric.AnnounceGateway, c.n1)
			w.route("n2", "gateway/lan", subnet, fabric.AnnounceGateway, c.n2)
			a := w.ask("198.51.100.77")
			if a.State != c.state || !strings.Contains(a.Summary, c.summary) || !strings.Contains(a.Summary, "subnet behind gateway lan") {
				t.Errorf("%s: %s", a.State, a.Summary)
			}
			if c.reason == "" && a.Blocker != nil || c.reason != "" && (a.Blocker == nil || a.Blocker.Reason != c.reason || strings.Contains(a.Blocker.Fix, "GATEWAY")) {
				t.Errorf("in the way is %+v", a.Blocker)
			}
			var states []string
			for _, m := range a.Matches[0].Members {
				states = append(states, string(m.State))
			}
			if got := strings.Join(states, " "); got != c.states {
				t.Errorf("members are %s, want %s", got, c.states)
			}
		})
	}
	w := newWorld(t)
	w.put(&fabric.Gateway{Header: fabric.Header{Name: "lan"}, Interface: "eth1", VRID: 7, Interval: 100, Addresses: []netip.Prefix{prefix("198.51.100.1/24")}})
	if a := w.ask("198.51.100.77"); a.State != NotOurs {
		t.Errorf("not to be announced: %s", a.Summary)
	}
}
