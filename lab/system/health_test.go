package system

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
	w.waitShares(t, "r1", service4)
	if text := w.lab.MustNode(t, "r1").MustExec(t, "ip", "route", "show", service4); !strings.Contains(text, "via 192.0.2.11 ") {
		t.Errorf("the member with the most weight is n1: %s", text)
	}
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
