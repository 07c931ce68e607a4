package system

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestUnnumbered has members whose uplinks have no addresses, and breaks those.
func TestUnnumbered(t *testing.T) {
	w := worldOf(t, "../topologies/unnumbered.clab.yml")
	image := w.image(t, "n1", "/tmp/busybox.tar.gz")
	w.script(t, "n1", `
		config set core.bgp_asn=65100
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=2001:db8:10::1/64
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		bgp bfd-profile create fast --interval 50
		bgp peer add tor1 --interface eth1 external --export own --hold-time 3 --bfd-profile fast
		bgp peer add tor2 --interface eth2 external --export own --hold-time 3 --bfd-profile fast
		anycast create web `+service4+`/32 `+service6+`/128 --check http:80 --interval 500ms
	`)
	w.serve(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"sessions", unnumberedSessions},
		{"all copies answer", unnumberedAnswers},
		{"uplink pulled", unnumberedLinkPulled},
		{"uplink silent", unnumberedLinkSilent},
		{"worker killed", workerKilled},
		{"BFD profile changed", bfdProfileChanged},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// uplinks waits until all sessions are up in both families and BFD watches them, and gives them.
func (w *world) uplinks(t *testing.T) []api.BGPSession {
	t.Helper()
	return w.uplinksWithin(t, 150)
}

// uplinksWithin is uplinks with another detection time in milliseconds.
func (w *world) uplinksWithin(t *testing.T, detection int) []api.BGPSession {
	t.Helper()
	var sessions []api.BGPSession
	lab.WaitFor(t, 30*time.Second, "six sessions over link-local addresses, with BFD", func() (err error) {
		if sessions, err = ctlJSON[[]api.BGPSession](t, w, "n1", "bgp summary"); err != nil {
			return err
		}
		if len(sessions) != 6 {
			return fmt.Errorf("%d sessions", len(sessions))
		}
		for _, s := range sessions {
			if !s.Established() || s.BFD == nil || !s.BFD.Up() || s.BFD.Detection != detection {
				return fmt.Errorf("%s", w.ctl(t, "n1", "bgp summary --format csv"))
			}
		}
		return nil
	})
	return sessions
}

func unnumberedSessions(t *testing.T, w *world) {
	for _, s := range w.uplinks(t) {
		want := map[string]string{"tor1": "fe80::1%eth1 65001", "tor2": "fe80::2%eth2 65002"}[s.Name]
		if got := fmt.Sprintf("%s %d", s.Address, s.ASN); got != want || s.Interface != s.Address.Zone() || s.Lacks != "" || s.Warning != "" {
			t.Errorf("%s of %s is with %s, want %s: %+v", s.Name, s.Member, got, want, s.PeerState)
		}
	}
	for command, prefix := range map[string]string{"show bgp ipv4 unicast": service4 + "/32", "show bgp ipv6 unicast": service6 + "/128"} {
		text := w.lab.MustNode(t, "r1").MustExec(t, "vtysh", "-c", command+" "+prefix)
		if strings.Count(text, "fe80::") < 3 || !strings.Contains(text, "multipath") {
			t.Errorf("FRR shows for %s\n%s", prefix, text)
		}
	}
	if text := w.ctl(t, "n1", "route explain "+service4); !strings.Contains(text, "tor1") || !strings.Contains(text, "tor2") {
		t.Error(text)
	}
	if text := w.ctl(t, "n1", "bgp routes --out tor1 "+service4+" --format csv"); !strings.Contains(text, "fe80::") {
		t.Error(text)
	}
	if text := w.ctl(t, "n1", "bgp routes --in tor2 198.51.100.0/24 --format csv"); !strings.Contains(text, "tor2") {
		t.Error(text)
	}
}

func unnumberedAnswers(t *testing.T, w *world) {
	begin := probe.Now()
	c := w.startClient(t, serviceURLs...)
	lab.WaitFor(t, 10*time.Second, "answers of all three copies", func() error {
		if from := probe.Since(c.all(), begin, probe.Now()).From; len(from) != 3 {
			return fmt.Errorf("answers are from %v", from)
		}
		return nil
	})
	if r := c.since(t, begin, 500*time.Millisecond); r.Lost > 0 {
		t.Errorf("%s: %s", describe(r), c.lost(begin))
	}
}

// moved waits until r1 uses a link that is broken no more, and fails the test when that takes longer than BFD does, or when a client that uses
// all links loses about as much as it would with nobody seeing it.
func (w *world) moved(t *testing.T, c *client, at time.Duration, routes4, routes6 *watch) {
	t.Helper()
	gone := func(n probe.NextHops) bool { return n.Count < 3 }
	gone4, gone6 := routes4.until(t, gone).At-at, routes6.until(t, gone).At-at
	r := c.since(t, at, 3*time.Second)
	t.Logf("next hop gone from r1 after %.1f ms (IPv4), %.1f ms (IPv6); %s", gone4.Seconds()*1000, gone6.Seconds()*1000, describe(r))
	if gone4 > bfdBound || gone6 > bfdBound || r.Sent == 0 || r.Lost > r.Sent/10 {
		t.Errorf("traffic has not moved: %s", c.lost(at))
	}
}

// unnumberedLinkPulled pulls an uplink: both ends lose their carrier.
func unnumberedLinkPulled(t *testing.T, w *world) {
	link, err := w.lab.Link("n1:eth1")
	if err != nil {
		t.Fatal(err)
	}
	c := w.startClient(t, serviceURLs...)
	routes4, routes6 := w.watchNextHops(t, "r1", service4+"/32", 3), w.watchNextHops(t, "r1", service6+"/128", 3)
	at := probe.Now()
	if err := link.Cut(); err != nil {
		t.Fatal(err)
	}
	w.moved(t, c, at, routes4, routes6)
	lab.WaitFor(t, 10*time.Second, "the session to say that its interface is down", func() error {
		sessions, err := ctlJSON[[]api.BGPSession](t, w, "n2", "bgp summary")
		for _, s := range sessions {
			if s.Member == "n1" && s.Name == "tor1" {
				if s.State == "idle" && s.Reason == fabric.ReasonNoNeighbor && s.Interface == "eth1" && s.Address == (netip.Addr{}) && strings.Contains(s.Message, "eth1 is down") && s.Flaps == 1 {
					return nil
				}
				err = errors.Join(err, fmt.Errorf("%+v", s))
			}
		}
		return err
	})
	if err := link.Restore(); err != nil {
		t.Fatal(err)
	}
	at = probe.Now()
	w.waitNextHops(t, 3, 30*time.Second)
	t.Logf("announced again %d ms after the link was back", (probe.Now() - at).Milliseconds())
	w.uplinks(t)
}

// unnumberedLinkSilent has an uplink lose all packets to the member while its carrier stays. What the member sends out of it still arrives: its
// way out is a static route.
func unnumberedLinkSilent(t *testing.T, w *world) {
	n2 := w.lab.MustNode(t, "n2")
	c := w.startClient(t, serviceURLs...)
	routes4, routes6 := w.watchNextHops(t, "r1", service4+"/32", 3), w.watchNextHops(t, "r1", service6+"/128", 3)
	at := probe.Now()
	n2.MustExec(t, "nft", "add table netdev cut; add chain netdev cut in { type filter hook ingress device eth1 priority 0; policy drop; }")
	w.moved(t, c, at, routes4, routes6)
	n2.MustExec(t, "nft", "delete table netdev cut")
	w.waitNextHops(t, 3, 30*time.Second)
	w.uplinks(t)
}

// bfdProfileChanged re-tunes BFD on all sessions at once; none is lost.
func bfdProfileChanged(t *testing.T, w *world) {
	lost := func(sessions []api.BGPSession) (all []string) {
		for _, s := range sessions {
			all = append(all, fmt.Sprintf("%s %s %d %d", s.Member, s.Name, s.Flaps, s.BFD.Flaps))
		}
		return all
	}
	before := lost(w.uplinks(t))
	w.ctl(t, "n1", `query -X PATCH -d {"interval":100} /1.0/bgp/bfd-profiles/fast`)
	if after := lost(w.uplinksWithin(t, 300)); !slices.Equal(before, after) {
		t.Errorf("losses before: %v, after: %v", before, after)
	}
}
