package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/lab"
)

// TestExchange announces anycast addresses only to an exchange, and everything to the transit: two rules of policy.
func TestExchange(t *testing.T) {
	w := worldOf(t, "../topologies/ix.clab.yml")
	w.run(t, "n1", "rules:\n- {match: {kinds: [anycast]}, action: accept, set: {add_communities: [\"65100:80\"]}}\n", "fabricctl", "bgp", "policy", "create", "ix")
	w.defineWithout(t, `
		bgp peer add transit-v4 192.0.2.129 65000 --export own --import default-only --hold-time 3
		bgp peer add transit-v6 2001:db8:3::1 65000 --export own --import default-only --hold-time 3
		bgp peer add rs-v4 192.0.2.1 64500 --export ix --import all --hold-time 3 --max-prefix 30
		bgp peer add rs-v6 2001:db8:2::1 64500 --export ix --import all --hold-time 3 --max-prefix 30
	`)
	for i, member := range members {
		w.ctl(t, "n1", fmt.Sprintf("launch busybox web%d --config anycast=web --target %s", i+1, member))
	}
	w.waitHops(t, map[string]int{"transit": 3})

	// The participant hears of the service from one of us directly, and of nothing else.
	lab.WaitFor(t, 20*time.Second, "what x1 hears", func() error {
		for peer, prefix := range map[string]string{"192.0.2.1": service4 + "/32", "2001:db8:2::1": service6 + "/128"} {
			table, up := bgptest.ExaTable(w.heard(t), peer)
			if !up || len(table) != 1 || !slices.Equal(table[prefix], []string{"65100:80"}) {
				return fmt.Errorf("from %s: %v", peer, table)
			}
		}
		return nil
	})
	if hops := w.heardFrom(t); len(hops) == 0 || slices.ContainsFunc(hops, func(h string) bool {
		return !strings.HasPrefix(h, "192.0.2.1") && !strings.HasPrefix(h, "2001:db8:2::1") || h == "192.0.2.1" || h == "2001:db8:2::1"
	}) {
		t.Errorf("next hops at x1 are %v", hops)
	}
	transit := w.lab.MustNode(t, "transit")
	for prefix, want := range map[string]string{"10.80.0.0/24": "10.80.0.0/24", service4 + "/32": service4 + "/32"} {
		text := transit.MustExec(t, "vtysh", "-c", "show bgp ipv4 unicast "+prefix)
		if !strings.Contains(text, want) || strings.Contains(text, "65100:80") {
			t.Errorf("the transit has for %s\n%s", prefix, text)
		}
	}
	w.explained(t, "10.80.0.0/24", "n2", "rs-v4", fabric.ReasonPolicy)
	w.explained(t, "10.80.0.0/24", "n2", "transit-v4", "")
	w.explained(t, service6, "n2", "rs-v6", "")

	// Of the exchange we take what participants announce, with them as next hop, and of the transit the default route.
	in := w.ctl(t, "n1", "bgp routes --member n1 --format csv")
	for _, want := range []string{"203.0.113.128/25", "192.0.2.20", "64510", "0.0.0.0/0"} {
		if !strings.Contains(in, want) {
			t.Errorf("no %s in\n%s", want, in)
		}
	}

	// A participant who leaks a table costs the session with the exchange, and no other.
	w.say(t, "announce attributes next-hop self nlri"+manyPrefixes(40))
	w.session(t, "n1", "rs-v4", func(s api.BGPSession) bool { return !s.Established() && s.Reason == fabric.ReasonMaxPrefix })
	w.session(t, "n1", "rs-v6", func(s api.BGPSession) bool { return s.Established() })
	w.session(t, "n1", "transit-v4", func(s api.BGPSession) bool { return s.Established() && s.Flaps == 0 })
	w.explained(t, service4, "n1", "rs-v4", fabric.ReasonMaxPrefix)
	lab.WaitFor(t, 10*time.Second, "the route server to have been told", func() error {
		if text := w.lab.MustNode(t, "rs").MustExec(t, "birdc", "show", "protocols", "all"); !strings.Contains(text, "Maximum number of prefixes reached") {
			return errors.New(text)
		}
		return nil
	})
	w.waitHops(t, map[string]int{"transit": 3})
	w.ctl(t, "n1", "bgp peer set rs-v4 --max-prefix 100")
	w.session(t, "n1", "rs-v4", func(s api.BGPSession) bool { return s.Established() && s.Received == 41 })
}

// manyPrefixes are so many host prefixes with a space before each.
func manyPrefixes(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, " 198.18.0.%d/32", i)
	}
	return s.String()
}

// session waits until a session is as wanted.
func (w *world) session(t *testing.T, member, peer string, wanted func(api.BGPSession) bool) {
	t.Helper()
	lab.WaitFor(t, 20*time.Second, "session of "+member+" with "+peer, func() error {
		for _, s := range ctlQuery[[]api.BGPSession](t, w, "n1", "/1.0/bgp/sessions") {
			if s.Member == member && s.Name == peer {
				if wanted(s) {
					return nil
				}
				return fmt.Errorf("%+v", s)
			}
		}
		return errors.New("there is none")
	})
}

// say has exabgp on x1 carry out a command.
func (w *world) say(t *testing.T, command string) {
	t.Helper()
	w.run(t, "x1", command+"\n", "sh", "-c", "cat >>/run/exabgp.say")
}

func (w *world) heardText(t *testing.T) string {
	t.Helper()
	path, err := w.lab.MustNode(t, "x1").Path("/run/exabgp.heard")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// heard is what exabgp on x1 has told.
func (w *world) heard(t *testing.T) []bgptest.ExaEvent {
	t.Helper()
	return bgptest.ParseExa(w.heardText(t))
}

// heardFrom are the next hops of all announcements that x1 has heard.
func (w *world) heardFrom(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, e := range w.heard(t) {
		for _, text := range e.Neighbor.Message.Update.Announce {
			var hops map[string]json.RawMessage
			if json.Unmarshal(text, &hops) != nil {
				continue
			}
			for hop := range hops {
				if hop != "null" {
					all = append(all, hop)
				}
			}
		}
	}
	return all
}
