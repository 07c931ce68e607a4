package system

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/lab"
)

// TestHealth has one cluster judge its copies, and tell routers of it, in all the ways it can.
func TestHealth(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"weight", weights},
		{"exec check", execChecks},
		{"events and metrics", eventsAndMetrics},
		{"groups and AS numbers", groupsAndASNs},
		{"origin validation", originValidation},
		{"flapping", flapping},
		{"peers by prefix", dynamicPeers},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// waitShares waits until a node's kernel shares out the traffic to an address as wanted: "GATEWAY*WEIGHT", in the order of the gateways.
func (w *world) waitShares(t *testing.T, node, address string, want ...string) {
	t.Helper()
	lab.WaitFor(t, 10*time.Second, fmt.Sprintf("%s at %s over %v", address, node, want), func() error {
		var routes []struct {
			NextHops []struct {
				Gateway string
				Weight  int
			}
		}
		text := w.lab.MustNode(t, node).MustExec(t, "ip", "-json", "route", "show", address)
		if err := json.Unmarshal([]byte(text), &routes); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		var have []string
		for _, r := range routes {
			for _, h := range r.NextHops {
				have = append(have, fmt.Sprintf("%s*%d", h.Gateway, h.Weight))
			}
		}
		if slices.Sort(have); !slices.Equal(have, want) {
			return fmt.Errorf("%v", have)
		}
		return nil
	})
}

func weights(t *testing.T, w *world) {
	w.ctl(t, "n1", `query -X PATCH /1.0/anycast/web -d {"weight":"link-bandwidth"}`)
	w.waitShares(t, "r1", service4, "192.0.2.11*33", "192.0.2.12*33", "192.0.2.13*33")
	w.ctl(t, "n1", "config set web1 anycast.weight=3")
	w.waitShares(t, "r1", service4, "192.0.2.11*60", "192.0.2.12*20", "192.0.2.13*20")
	w.ctl(t, "n1", "launch busybox web4 --config anycast=web --config anycast.weight=4 --target n2")
	w.waitShares(t, "r1", service4, "192.0.2.11*33", "192.0.2.12*55", "192.0.2.13*11")
	t.Logf("r1:\n%s", w.lab.MustNode(t, "r1").MustExec(t, "vtysh", "-c", "show ip route "+service4+"/32"))
	if text := w.lab.MustNode(t, "n2").MustExec(t, "ip", "route", "show", service4); !strings.Contains(text, "weight 1") || !strings.Contains(text, "weight 4") {
		t.Errorf("n2 shares out as in %s", text)
	}
	// A copy takes its weight with it.
	w.ctl(t, "n1", "delete --force web4")
	w.waitShares(t, "r1", service4, "192.0.2.11*60", "192.0.2.12*20", "192.0.2.13*20")
	w.ctl(t, "n1", `query -X PATCH /1.0/anycast/web -d {"weight":"med"}`)
	// Members tell their new attributes one after the other: in between another one may seem the best.
	lab.WaitFor(t, 10*time.Second, "r1 to use n1 alone, which has the most weight", func() error {
		text := w.lab.MustNode(t, "r1").MustExec(t, "ip", "route", "show", service4)
		if strings.Count(text, "via ") != 1 || !strings.Contains(text, "via 192.0.2.11 ") {
			return errors.New(text)
		}
		return nil
	})
	w.ctl(t, "n1", `query -X PATCH /1.0/anycast/web -d {"weight":"none"}`)
	w.waitNextHops(t, 3, 10*time.Second)
}

// waitCopy waits until what a member says of a copy has text in it, and tells whether that is of a healthy one.
func (w *world) waitCopy(t *testing.T, service, instance, text string, healthy bool) {
	t.Helper()
	lab.WaitFor(t, 15*time.Second, fmt.Sprintf("%s says %q", instance, text), func() error {
		a, err := ctlJSON[api.Anycast](t, w, "n1", "anycast show "+service)
		if err != nil {
			return err
		}
		for _, c := range a.Copies {
			if c.Instance == instance && len(c.Addresses) > 0 && c.Healthy == healthy && (strings.Contains(c.Message, text) || strings.Contains(c.Addresses[0].Check, text)) {
				return nil
			}
		}
		return fmt.Errorf("%+v", a.Copies)
	})
}

// execChecks has commands in a privileged and an unprivileged container judge them.
func execChecks(t *testing.T, w *world) {
	n1 := w.lab.MustNode(t, "n1")
	w.run(t, "n1", "", "fabricctl", "anycast", "create", "cmd", "203.0.113.85", "--interval", "300ms", "--timeout", "250ms", "--check",
		`exec:sh -c 'test -e /tmp/sick && { cat /tmp/sick; exit 3; }; test -e /tmp/slow && sleep 98765; echo well at $FABRIC_ADDRESS of $(hostname)'`)
	w.ctl(t, "n1", "launch busybox low --config anycast=cmd --target n1")
	w.ctl(t, "n1", "launch busybox high --config anycast=cmd --config security.privileged=true --target n1")
	for _, name := range []string{"low", "high"} {
		w.waitCopy(t, "cmd", name, "success: well at 203.0.113.85 of "+name, true)
		w.run(t, "n1", "", "fabricctl", "exec", name, "--", "sh", "-c", "echo disk full >/tmp/sick")
		w.waitCopy(t, "cmd", name, "exec sh: exit status 3: disk full", false)
		w.ctl(t, "n1", "exec "+name+" -- mv /tmp/sick /tmp/slow")
		w.waitCopy(t, "cmd", name, "exec sh: not done within 250 ms", false)
		w.ctl(t, "n1", "exec "+name+" -- rm /tmp/slow")
		w.waitCopy(t, "cmd", name, "success: well", true)
	}
	processes := n1.MustExec(t, "ps", "-eo", "args")
	if strings.Contains(processes, "98765") {
		t.Errorf("a command of a check is still there:\n%s", processes)
	}
}

// waitMetric waits until a scrape of n1 has a line.
func (w *world) waitMetric(t *testing.T, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, "{")
	lab.WaitFor(t, 40*time.Second, line, func() error { // counters are told every 30 s
		text := w.lab.MustNode(t, "n1").MustExec(t, "curl", "-s", "--unix-socket", "/var/lib/fabric/unix.socket", "http://x/1.0/metrics")
		if strings.Contains(text, "\n"+line+"\n") {
			return nil
		}
		var near []string
		for have := range strings.Lines(text) {
			if strings.HasPrefix(have, name) {
				near = append(near, have)
			}
		}
		return fmt.Errorf("%v", near)
	})
}

// eventsAndMetrics has a link fail under BFD and a router announce more than it may.
func eventsAndMetrics(t *testing.T, w *world) {
	events := make(chan string, 1000)
	w.background(t, "n1", func(lines *bufio.Scanner) {
		for lines.Scan() {
			select {
			case events <- lines.Text():
			default:
			}
		}
	}, "fabricctl", "monitor", "--type", "routing", "--pretty")
	next := func(words ...string) {
		t.Helper()
		bound := time.After(15 * time.Second)
		for {
			select {
			case line := <-events:
				if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
					t.Log(line)
					return
				}
			case <-bound:
				t.Fatalf("no event with %q", words)
			}
		}
	}
	w.script(t, "n1", `
		bgp peer set r1-v4 --bfd-interval 50 --import all
		bgp peer set r1-v6 --bfd-interval 50
	`)
	next("bfd-up", "member=n1", "peer=r1-v4")
	w.waitMetric(t, `fabric_bfd_session_up{member="n1",peer="r1-v4"} 1`)
	w.waitMetric(t, `fabric_bfd_detection_seconds{member="n1",peer="r1-v4"} 0.15`)
	r1 := w.lab.MustNode(t, "r1")
	r1.MustExec(t, "ip", "link", "set", "dev", "eth1", "down")
	next("bfd-down", "nothing heard", "member=n1", "peer=r1-v4")
	r1.MustExec(t, "ip", "link", "set", "dev", "eth1", "up")
	r1.MustExec(t, "ip", "address", "replace", "2001:db8:2::1/64", "dev", "eth1") // the kernel takes IPv6 addresses with the link
	next("bfd-up", "member=n1", "peer=r1-v4")
	w.waitMetric(t, `fabric_bfd_session_flaps_total{member="n1",peer="r1-v4"} 1`)
	w.waitMetric(t, `fabric_bgp_session_flaps_total{member="n1",peer="r1-v4"} 1`)
	text := w.lab.MustNode(t, "n1").MustExec(t, "curl", "-s", "--unix-socket", "/var/lib/fabric/unix.socket", "http://x/1.0/metrics")
	for line := range strings.Lines(text) {
		for _, prefix := range []string{"fabric_bgp_", "fabric_bfd_", "fabric_anycast_", "fabric_routing_"} {
			if strings.HasPrefix(line, prefix) && !strings.Contains(line, "r2-") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}

	w.ctl(t, "n1", "bgp peer set r1-v4 --max-prefix 1 --max-prefix-action warn")
	next("max-prefix", "member=n1", "peer=r1-v4", "prefixes of one family received: max_prefix.limit is 1")
	w.ctl(t, "n1", "bgp peer set r1-v4 --max-prefix 1 --max-prefix-action cease")
	next("max-prefix", "member=n1", "peer=r1-v4", "announced more than 1 prefixes")
	w.waitMetric(t, `fabric_bgp_max_prefix_exceeded{member="n1",peer="r1-v4"} 1`)
	t.Log(w.ctl(t, "n1", "bgp summary -f compact"))
	// It comes back by itself when it is allowed more.
	w.ctl(t, "n1", "bgp peer set r1-v4 --max-prefix 0 --max-prefix-action=  --import=")
	w.waitNextHops(t, 3, 15*time.Second)
}

// groupsAndASNs gives members AS numbers and peers by where they are.
func groupsAndASNs(t *testing.T, w *world) {
	w.script(t, "n1", `
		cluster group create edge --members n2,n3
		bgp peer set r2-v4 --members group:edge
		launch busybox edge1 --target @edge
	`)
	lab.WaitFor(t, 10*time.Second, "r2-v4 is a peer of n2 and n3 only", func() error {
		all, err := ctlJSON[[]api.BGPSession](t, w, "n1", "bgp summary")
		if err != nil {
			return err
		}
		var on []string
		for _, s := range all {
			if s.Name == "r2-v4" {
				on = append(on, s.Member+" "+s.State)
			}
		}
		if !slices.Equal(on, []string{"n2 established", "n3 established"}) {
			return fmt.Errorf("%v", on)
		}
		return nil
	})
	if i, err := w.instance(t, "n1", "edge1"); err != nil || i.Location == "n1" {
		t.Errorf("edge1 is on %s: %v", i.Location, err)
	}
	t.Log(w.ctl(t, "n1", "cluster group list -f compact"))
	w.ctl(t, "n1", "config set bgp.asn_template=65100+number")
	for member, asn := range map[string]string{"n1": "65101", "n2": "65102", "n3": "65103"} {
		if text := w.ctl(t, "n1", "cluster show "+member); !strings.Contains(text, "bgp_asn: "+asn) || !strings.Contains(text, "bgp_asn_from: bgp.asn_template") {
			t.Errorf("%s is to have AS number %s:\n%s", member, asn, text)
		}
	}
	w.ctl(t, "n1", "config unset bgp.asn_template")
	w.ctl(t, "n1", "bgp peer set r2-v4 --members=")
	w.ctl(t, "n1", "delete --force edge1")
	w.waitNextHops(t, 3, 20*time.Second)
}

// originValidation has members ask a cache that runs on a router.
func originValidation(t *testing.T, w *world) {
	r1 := w.lab.MustNode(t, "r1")
	file, err := r1.Path("/tmp/roas.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"roas":[{"prefix":"198.51.100.0/24","maxLength":24,"asn":"AS65099"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stop := w.background(t, "r1", func(lines *bufio.Scanner) {
		for lines.Scan() {
		}
	}, "stayrtr", "-bind", "192.0.2.1:8282", "-cache", "/tmp/roas.json", "-checktime=false", "-metrics.addr", "")
	w.run(t, "n1", "rules:\n- {match: {validation: [invalid]}, action: reject}\n- {action: accept}\n", "fabricctl", "bgp", "policy", "create", "valid")
	w.script(t, "n1", `
		bgp rpki add rtr1 192.0.2.1 --port 8282
		bgp peer set r1-v4 --import valid
	`)
	validation := func(want, reason string) {
		t.Helper()
		lab.WaitFor(t, 20*time.Second, "198.51.100.0/24 is "+want, func() error {
			answer, err := ctlJSON[[]fabric.BGPRoute](t, w, "n1", "bgp routes --in r1-v4 198.51.100.0/24")
			if err != nil {
				return err
			}
			if len(answer) != 1 || answer[0].Validation != want || answer[0].Reason != reason {
				return fmt.Errorf("%+v", answer)
			}
			return nil
		})
	}
	validation("invalid", fabric.ReasonImportRejected)
	w.waitMetric(t, `fabric_rpki_vrps{cache="rtr1",family="ipv4",member="n1"} 1`)
	t.Log(w.ctl(t, "n1", "bgp rpki list -f compact"))
	t.Log(w.ctl(t, "n1", "bgp routes --in r1-v4 198.51.100.0/24 -f compact"))
	stop()
	lab.WaitFor(t, 20*time.Second, "the cache is gone, its data are not", func() error {
		text := w.ctl(t, "n1", "bgp rpki list -f csv")
		if !strings.Contains(text, "is used until") {
			return errors.New(text)
		}
		return nil
	})
	validation("invalid", fabric.ReasonImportRejected)
	w.ctl(t, "n1", "bgp rpki remove rtr1")
	validation("not-found", "")
	w.ctl(t, "n1", "bgp peer set r1-v4 --import=")
}

// flapping has the only copy of a service fail its check once a second: routers are not told each time.
func flapping(t *testing.T, w *world) {
	const prefix = "203.0.113.86"
	r := w.run(t, "n1", "", "fabricctl", "anycast", "create", "flap", prefix, "--interval", "200ms", "--timeout", "200ms", "--rise", "1", "--fall", "1", "--check", "exec:test ! -e /tmp/sick")
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	w.ctl(t, "n1", "launch busybox flap --config anycast=flap --target n1")
	w.waitCopy(t, "flap", "flap", "success", true)
	changes := w.monitorRoutes(t, "r1")
	const flaps = 6
	w.run(t, "n1", "", "fabricctl", "exec", "flap", "--", "sh", "-c", fmt.Sprintf("for i in $(seq %d); do touch /tmp/sick; sleep 0.5; rm /tmp/sick; sleep 0.5; done", flaps))
	a, err := ctlJSON[api.Anycast](t, w, "n1", "anycast show flap")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Copies) != 1 || a.Copies[0].Healthy || a.Copies[0].Reason != fabric.ReasonDamped {
		t.Errorf("the copy is %+v", a.Copies)
	}
	var of []string
	for _, line := range changes() {
		if strings.Contains(line, prefix) {
			of = append(of, line)
		}
	}
	// Three failures in short order are too many: the copy goes, comes, goes, comes and goes.
	t.Logf("%d failures in %d s made %d changes at r1, and none follow for half a minute: %s", flaps, flaps, len(of), a.Copies[0].Message)
	if len(of) == 0 || len(of) > 6 {
		t.Errorf("changes at r1:\n%s", strings.Join(of, "\n"))
	}
	w.script(t, "n1", `
		delete --force flap
		anycast delete flap
	`)
}
