package chassis

import (
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	now := time.Now()
	up := daemon{seen: true, up: true, since: now.Add(-time.Hour)}
	well := up
	well.flows = true
	away := func(d time.Duration) daemon { return daemon{seen: true, since: now.Add(-d), why: "is not running"} }
	for name, c := range map[string]struct {
		health health
		up     bool
		why    string
		next   time.Time
	}{
		"all well":                     {health: health{vswitchd: well, controller: up}, up: true},
		"no vswitchd":                  {health: health{vswitchd: away(0), controller: up}, why: "ovs-vswitchd is not running"},
		"no flows":                     {health: health{vswitchd: up, controller: up, bridge: "br-int"}, why: "the integration bridge br-int has no flows: ovn-controller has made none since ovs-vswitchd was started"},
		"controller restarts":          {health: health{vswitchd: well, controller: away(time.Second)}, up: true, next: now.Add(controllerGrace - time.Second)},
		"controller away":              {health: health{vswitchd: well, controller: away(controllerGrace)}, why: "ovn-controller is not running"},
		"neither":                      {health: health{vswitchd: away(0), controller: away(0)}, why: "ovs-vswitchd is not running"},
		"no flows, controller is away": {health: health{vswitchd: up, controller: away(0), bridge: "br-x"}, why: "the integration bridge br-x has no flows: ovn-controller has made none since ovs-vswitchd was started"},
	} {
		t.Run(name, func(t *testing.T) {
			if up, why, next := c.health.verdict(now); up != c.up || why != c.why || !next.Equal(c.next) {
				t.Errorf("%v %q %v, want %v %q %v", up, why, next, c.up, c.why, c.next)
			}
		})
	}
}
