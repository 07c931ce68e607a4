package system

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
