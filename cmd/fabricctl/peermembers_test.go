package main

import (
	"strings"
	"testing"
)

// Members of a peer or gateway that stand for nobody: names and groups are refused, of failure domains it is said.
func TestMembersThatAreNobody(t *testing.T) {
	w := newWorld(t)
	w.must(t, "cluster bootstrap n1 --address 192.0.2.1:8443")
	w.must(t, "cluster group create edge")
	for line, want := range map[string]string{
		"bgp peer add tor1 192.0.2.254 65001 --export own --members n7":                          `peer "tor1" needs member "n7", which does not exist`,
		"bgp peer add tor1 192.0.2.254 65001 --export own --members n1,group:egde":               `peer "tor1" needs group "egde", which does not exist`,
		"gateway create gw --interface eth1 --address 192.0.2.1/24 --members n1,n7":              `gateway "gw" needs member "n7", which does not exist`,
		"gateway create gw --interface eth1 --address 192.0.2.1/24 --members n1,group:egde":      `gateway "gw" needs group "egde", which does not exist`,
		"bgp peer add tor1 192.0.2.254 65001 --export own --members n1,failure_domain:":          `names no failure domain or group`,
		"gateway create gw --interface eth1 --address 192.0.2.1/24 --members n1,failure_domain:": `names no failure domain or group`,
	} {
		got := w.call.run(t, strings.Fields(line)...)
		if got.status != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v, want %q", line, got, want)
		}
	}

	const typo = `no member is in failure domain "rakc1"; there are members in default`
	edit := w.call
	edit.stdin = strings.NewReader("address: 192.0.2.254\nasn: 65001\nexport: own\nmembers: ['failure_domain:rakc1']\n")
	warned := func(line, want string, got result) {
		t.Helper()
		if got.status != 0 || got.err != want {
			t.Errorf("%s: %+v, want %q", line, got, want)
		}
	}
	for _, line := range []string{"bgp peer add tor1 192.0.2.254 65001 --export own --members failure_domain:rakc1", "bgp peer set tor1 --members n1,failure_domain:rakc1"} {
		warned(line, "Warning: "+typo+"\n", w.call.run(t, strings.Fields(line)...))
	}
	warned("edit", "Warning: "+typo+"\n", edit.run(t, "bgp", "peer", "edit", "tor1"))
	for _, line := range []string{"bgp peer list -f csv", "bgp peer show tor1"} {
		if got := strings.ReplaceAll(w.must(t, line), `""`, `"`); !strings.Contains(got, typo) {
			t.Errorf("%s: %s", line, got)
		}
	}
	warned("set", "", w.call.run(t, strings.Fields("bgp peer set tor1 --members failure_domain:default")...))
	warned("set", "Warning: no member is in group \"edge\"\n", w.call.run(t, strings.Fields("bgp peer set tor1 --members n1,group:edge")...))
	if got := w.must(t, "gateway create gw --interface eth1 --address 192.0.2.1/24 --members n1,failure_domain:rakc1"); !strings.Contains(got, "Warning: "+typo+"\n") {
		t.Errorf("gateway: %s", got)
	}
}
