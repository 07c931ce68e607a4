package system

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/fabric/explain"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestRacks has two racks with a router each: members speak with that of their own, and a rack that is gone takes nobody else along.
func TestRacks(t *testing.T) {
	w := worldOf(t, "../topologies/racks.clab.yml")
	for member, rack := range map[string]string{"n1": "rack1", "n2": "rack1", "n3": "rack2"} {
		w.ctl(t, "n1", fmt.Sprintf(`query -X PATCH -d {"failure_domain":"%s","config":{"bgp.asn":"6510%s"}} /1.0/cluster/members/%s`, rack, rack[4:], member))
	}
	w.defineWithout(t, `
		bgp peer add tor1-v4 192.0.2.1 65001 --members failure_domain:rack1 --export own --hold-time 3
		bgp peer add tor1-v6 2001:db8:2:1::1 65001 --members failure_domain:rack1 --export own --hold-time 3
		bgp peer add tor2-v4 192.0.2.65 65002 --members failure_domain:rack2 --export own --hold-time 3
		bgp peer add tor2-v6 2001:db8:2:2::1 65002 --members failure_domain:rack2 --export own --hold-time 3
	`)
	for i, member := range members {
		w.ctl(t, "n1", fmt.Sprintf("launch busybox web%d --config anycast=web --target %s", i+1, member))
	}
	w.waitHops(t, map[string]int{"spine": 2, "tor1": 2, "tor2": 1})
	for _, s := range ctlQuery[[]api.BGPSession](t, w, "n1", "/1.0/bgp/sessions") {
		if own := map[string]string{"n1": "tor1", "n2": "tor1", "n3": "tor2"}[s.Member]; !strings.HasPrefix(s.Name, own) || !s.Established() {
			t.Errorf("%s has a session with %s, %s", s.Member, s.Name, s.State)
		}
	}
	path := w.lab.MustNode(t, "spine").MustExec(t, "vtysh", "-c", "show bgp ipv4 unicast "+service4+"/32")
	if !strings.Contains(path, "65001 65101") || !strings.Contains(path, "65002 65102") {
		t.Errorf("the spine has\n%s", path)
	}
	c := w.startClient(t, serviceURLs...)
	begin := probe.Now()
	lab.WaitFor(t, 10*time.Second, "answers from both racks", func() error {
		if from := probe.Since(c.all(), begin, probe.Now()).From; !slices.Equal(from, []string{"web1", "web2", "web3"}) {
			return fmt.Errorf("answers are from %v", from)
		}
		return nil
	})

	// What a policy keeps from one rack is told in the other.
	w.run(t, "n1", "rules:\n- {match: {kinds: [anycast]}, action: accept}\n", "fabricctl", "bgp", "policy", "create", "anycast-only")
	for _, peer := range []string{"tor2-v4", "tor2-v6"} {
		w.ctl(t, "n1", "bgp peer set "+peer+" --export anycast-only")
	}
	w.explained(t, "10.80.0.0/24", "n3", "tor2-v4", fabric.ReasonPolicy)
	w.explained(t, "10.80.0.0/24", "n1", "tor1-v4", "")
	w.explained(t, service4, "n3", "tor2-v4", "")

	// A rack goes dark: its members stay in the cluster, and the other one serves.
	at := probe.Now()
	tor2 := w.lab.MustNode(t, "tor2")
	if err := tor2.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitHops(t, map[string]int{"spine": 1, "tor1": 2})
	w.explained(t, service4, "n3", "tor2-v4", fabric.ReasonSessionDown)
	w.explained(t, service4, "n1", "tor1-v4", "")
	r := c.since(t, at, 5*time.Second)
	t.Log(describe(r))
	if late := 5 * time.Second; r.Outage > late || slices.Contains(probe.Since(c.all(), at+late, probe.Now()).From, "web3") {
		t.Errorf("%s%s", describe(r), c.lost(at))
	}
	if err := tor2.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The spine is not looked at: zebra of FRR 8.4 can miss that a next hop is there again after its link was away, though bgpd knows.
	w.waitHops(t, map[string]int{"tor1": 2, "tor2": 1})
	w.explained(t, service4, "n3", "tor2-v4", "")
}

// waitHops waits until routers have so many next hops for the service, in both families.
func (w *world) waitHops(t *testing.T, want map[string]int) {
	t.Helper()
	lab.WaitFor(t, 30*time.Second, "next hops", func() error {
		for router, n := range want {
			for family, address := range map[string]string{"-4": service4, "-6": service6} {
				if have := w.nextHops(t, router, family, address); have != n {
					text := w.lab.MustNode(t, router).MustExec(t, "vtysh", "-c", "show bgp "+strings.Replace(family, "-", "ipv", 1)+" unicast "+address)
					return fmt.Errorf("%s has %d for %s, not %d:\n%s", router, have, address, n, text)
				}
			}
		}
		return nil
	})
}

// explained waits until route explain says of a member and one of its peers that the peer has been told of a prefix, or why not.
func (w *world) explained(t *testing.T, prefix, member, peer, reason string) {
	t.Helper()
	lab.WaitFor(t, 20*time.Second, fmt.Sprintf("explanation of %s on %s for %s: %q", prefix, member, peer, reason), func() error {
		answer, err := ctlJSON[explain.Answer](t, w, "n1", "route explain "+prefix)
		if err != nil {
			return err
		}
		for _, match := range answer.Matches {
			for _, m := range match.Members {
				if m.Name != member {
					continue
				}
				if reason == "" {
					if slices.Contains(m.Told, peer) {
						return nil
					}
					continue
				}
				if slices.ContainsFunc(m.Steps, func(s explain.Step) bool { return s.Peer == peer && s.Reason == reason }) {
					return nil
				}
			}
		}
		return errors.New(w.try(t, "n1", "route explain "+prefix).stdout)
	})
}
