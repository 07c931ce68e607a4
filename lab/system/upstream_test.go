package system

import (
	"fmt"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// clients4 and clients6 are where the client is. Routers announce it to members.
const (
	clients4 = "198.51.100.0/24"
	clients6 = "2001:db8:51::/64"
)

// answerBothWays has members answer the client through both routers, and the client ask through r2 only, so that it is what members do that counts.
func (w *world) answerBothWays(t *testing.T) {
	t.Helper()
	for _, peer := range []string{"r1-v4", "r2-v4", "r1-v6", "r2-v6"} {
		w.ctl(t, "n1", "bgp peer set "+peer+" --import all --install all")
	}
	client := w.lab.MustNode(t, "client")
	client.MustExec(t, "ip", "route", "replace", "default", "via", "198.51.100.2")
	client.MustExec(t, "ip", "-6", "route", "replace", "default", "via", "2001:db8:51::2", "dev", "eth1")
}

// waitAnswers waits until members have so many ways to the client of BGP, in both families.
func (w *world) waitAnswers(t *testing.T, want int) {
	t.Helper()
	lab.WaitFor(t, 30*time.Second, fmt.Sprintf("%d ways to the client at all members", want), func() error {
		for _, member := range members {
			for family, prefix := range map[string]string{"-4": clients4, "-6": clients6} {
				if have := w.nextHops(t, member, family, prefix); have != want {
					return fmt.Errorf("%s has %d to %s", member, have, prefix)
				}
			}
		}
		return nil
	})
}

// withoutR1 has something happen to r1, and the other router carry: from bound on the client loses next to nothing, where half of the answers went by r1.
func (w *world) withoutR1(t *testing.T, fault string, do func(), bound time.Duration) {
	t.Helper()
	w.waitAnswers(t, 2)
	routes4, routes6 := w.watchNextHops(t, "n1", clients4, 2), w.watchNextHops(t, "n1", clients6, 2)
	defer routes4.stop()
	defer routes6.stop()
	c := w.steadyClient(t, "client", servicePackets...)
	defer c.stop()
	gone := func(n probe.NextHops) bool { return n.Count < 2 }
	at := probe.Now()
	do()
	gone4, gone6 := routes4.until(t, gone).At-at, routes6.until(t, gone).At-at
	first, later := c.since(t, at, bound), c.since(t, at+bound, time.Second)
	t.Logf("%s: r1 gone from n1 after %.1f ms (IPv4), %.1f ms (IPv6); %s; after %s it lost %d of %d", fault, gone4.Seconds()*1000, gone6.Seconds()*1000, describe(first), bound, later.Lost, later.Sent)
	if gone4 > bound || gone6 > bound {
		t.Errorf("%s: longer than %s", fault, bound)
	}
	if later.Sent == 0 || later.Lost*10 > later.Sent { // a machine with other work to do may lose some
		t.Errorf("%s: %s", fault, c.lost(at+bound))
	}
}

// routerFails has one of two routers end its sessions, and then die. It does not come back.
func routerFails(t *testing.T, w *world) {
	w.watched(t)
	w.answerBothWays(t)
	r1 := w.lab.MustNode(t, "r1")
	w.withoutR1(t, "session reset", func() { r1.MustExec(t, "vtysh", "-c", "clear bgp *") }, bfdBound)
	w.watched(t)
	w.withoutR1(t, "router killed", func() {
		if err := r1.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, bfdBound)
}

// routerOutOfReach takes r1 from the members' switch, where nobody loses a carrier. There is no BFD: the hold time is 3 s, and the machine may have
// other work to do. It does not come back.
func routerOutOfReach(t *testing.T, w *world) {
	w.answerBothWays(t)
	sw := w.lab.MustNode(t, "sw-up")
	w.withoutR1(t, "path lost without a word", func() { sw.MustExec(t, "ip", "link", "set", "eth1", "nomaster") }, 4500*time.Millisecond)
}
