package lxc

import (
	"strings"
	"testing"

	"netfabric/compute/busyboximage"
)

func TestStart(t *testing.T) {
	h := newHost(t, busyboximage.Options{HTTP: true})
	c := h.start(t, h.spec("c1"))
	t.Logf("%+v", c)
	command(t, "ping", "-c", "1", "-W", "2", "10.66.0.2")
	command(t, "ping", "-c", "1", "-W", "2", "fd00:66::2")
	status, out := h.exec(t, "c1", "sh", "-c", "ip address; ip route; ip -6 route; id; cat /proc/self/uid_map; cat /proc/1/status | grep Sig; ps; echo err >&2; cat /proc/self/cgroup; exit 3")
	t.Log(status, out)
	if status != 3 || !strings.Contains(out, "203.0.113.53/32") {
		t.Error("no")
	}
}
