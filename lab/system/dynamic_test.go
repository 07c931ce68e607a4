package system

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric/api"
	"netfabric/lab"
)

// dialBIRD is a router that calls n1 from an address of its own on r2, beside FRR, which has the port of BGP there.
const dialBIRD = `
router id 192.0.2.18;
protocol device {}
protocol bgp n1 {
  local 192.0.2.18 port 1790 as 65018;
  neighbor 192.0.2.11 as 65100;
  connect delay time 1; connect retry time 1;
  ipv4 { import all; export none; };
}
`

// dynamicPeers has an FRR and a BIRD call a member that knows nothing of them but the prefix they are in.
func dynamicPeers(t *testing.T, w *world) {
	w.script(t, "n1", `
		bgp peer remove r1-v4
		cluster set n1 core.bgp_address=192.0.2.11
		bgp peer add racks --dynamic 192.0.2.16/28 external --export own --hold-time 3 --max-sessions 2
	`)
	w.session(t, "n1", "racks", func(s api.BGPSession) bool { return s.Reason == "no-caller" })
	r1, r2 := w.lab.MustNode(t, "r1"), w.lab.MustNode(t, "r2")
	r1.MustExec(t, "ip", "address", "add", "192.0.2.17/24", "dev", "eth1")
	frr := func(lines ...string) {
		words := []string{"vtysh", "-c", "configure terminal", "-c", "router bgp 65000"}
		for _, line := range lines {
			words = append(words, "-c", line)
		}
		r1.MustExec(t, words...)
	}
	frr("neighbor 192.0.2.11 remote-as 65100", "neighbor 192.0.2.11 update-source 192.0.2.17", "neighbor 192.0.2.11 timers connect 1", "address-family ipv4 unicast",
		"neighbor 192.0.2.11 activate", "neighbor 192.0.2.11 route-map from-members4 in", "neighbor 192.0.2.11 route-map to-members out")
	r2.MustExec(t, "ip", "address", "add", "192.0.2.18/24", "dev", "eth1")
	r2.MustExec(t, "sh", "-c", "cat >/tmp/dial.conf <<'END'\n"+dialBIRD+"END\n")
	_, stop := w.background(t, "r2", func(lines *bufio.Scanner) {
		for lines.Scan() {
		}
	}, "bird", "-f", "-c", "/tmp/dial.conf", "-s", "/run/dial.ctl", "-P", "/run/dial.pid")
	for _, name := range []string{"racks@192.0.2.17", "racks@192.0.2.18"} {
		w.session(t, "n1", name, api.BGPSession.Established)
	}
	t.Log(w.ctl(t, "n1", "bgp summary -f compact"))
	lab.WaitFor(t, 10*time.Second, "both to have the service by n1", func() error {
		if text := r1.MustExec(t, "vtysh", "-c", "show bgp ipv4 unicast neighbors 192.0.2.11 routes"); !strings.Contains(text, service4) {
			return errors.New(text)
		}
		// birdc fails where there is no route.
		if text, _ := r2.Exec(t.Context(), "birdc", "-s", "/run/dial.ctl", "show route for "+service4+" all"); !strings.Contains(text, "BGP.next_hop: 192.0.2.11") || !strings.Contains(text, "BGP.as_path: 65100") {
			return errors.New(text)
		}
		return nil
	})
	// One that goes is missed for as long as its place is its own.
	stop()
	w.session(t, "n1", "racks@192.0.2.18", func(s api.BGPSession) bool { return !s.Established() })
	w.session(t, "n1", "racks@192.0.2.17", func(s api.BGPSession) bool { return s.Established() && s.Flaps == 0 })
	// Members that accept no sessions say so.
	all := ctlQuery[[]api.BGPSession](t, w, "n1", "/1.0/bgp/sessions")
	if i := slices.IndexFunc(all, func(s api.BGPSession) bool { return s.Member == "n2" && s.Name == "racks" }); i < 0 || all[i].Reason != "no-listener" {
		t.Errorf("n2: %s", fmt.Sprint(all))
	}
	frr("no neighbor 192.0.2.11")
	r1.MustExec(t, "ip", "address", "delete", "192.0.2.17/24", "dev", "eth1")
	r2.MustExec(t, "ip", "address", "delete", "192.0.2.18/24", "dev", "eth1")
	w.script(t, "n1", `
		bgp peer remove racks
		cluster unset n1 core.bgp_address
		bgp peer add r1-v4 192.0.2.1 65000 --export own --hold-time 3
	`)
	w.waitNextHops(t, 3, 20*time.Second)
}
