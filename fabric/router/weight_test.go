package router

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// shares are the next hops of a host's kernel route with their weights, such as "10.98.0.11*1".
func shares(t *testing.T, n *bgptest.Node, prefix string) string {
	t.Helper()
	var routes []struct {
		NextHops []struct {
			Gateway string `json:"gateway"`
			Weight  int    `json:"weight"`
		} `json:"nexthops"`
	}
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	if err := json.Unmarshal([]byte(n.Run("ip", "-j", family, "route", "show", prefix)), &routes); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range routes {
		for _, h := range r.NextHops {
			all = append(all, fmt.Sprintf("%s*%d", h.Gateway, h.Weight))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func shared(t *testing.T, n *bgptest.Node, prefix string, want ...string) {
	t.Helper()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if got := shares(t, n, prefix); !slices.Contains(want, got) {
			return fmt.Sprintf("%s at %s goes to %q, want %q", prefix, n.Name, got, want)
		}
		return ""
	})
}

// twice has a second copy answer for each service, with a weight.
func (m *member) twice(weight int) {
	for i := range m.value.Announcements {
		a := &m.value.Announcements[i]
		more := a.Copies[0]
		more.Instance, more.Via, more.Weight = "web2", more.Via.Next(), weight
		a.Copies = append(a.Copies[:1:1], more)
	}
}

func TestTrafficIsSharedOutByWeight(t *testing.T) {
	s := newSite(t, 2)
	two := s.members[1]
	weigh := func(w fabric.Weighting) {
		for _, m := range s.members {
			for i, peer := range []string{"up4", "up6"} {
				m.value.Announcements[i].Weighted = map[string]fabric.Weighting{peer: w}
			}
			m.set()
		}
	}
	for _, m := range s.members {
		m.start()
	}
	two.twice(2) // and 1
	weigh(fabric.WeightLinkBandwidth)
	// Three to one; FRR gives the parts in percent of the whole, Linux as it is told.
	shared(t, s.frr.Node, strings.TrimSuffix(anycast4, "/32"), "10.98.0.11*25 10.98.0.12*75")
	shared(t, two.node, strings.TrimSuffix(anycast4, "/32"), two.net4()+".10*1 "+two.net4()+".11*2")
	shared(t, two.node, strings.TrimSuffix(anycast6, "/128"), two.net6()+"::10*1 "+two.net6()+"::11*2")
	if r := two.route(anycast4); r.Weight != 3 || r.Copies[1].Weight != 2 {
		t.Errorf("%+v", r)
	}

	// The bigger of the two copies goes: the other is as much as the other member has.
	for i := range two.value.Announcements {
		two.value.Announcements[i].Copies[1].Drain = fabric.ReasonMaintenance
	}
	two.set()
	shared(t, s.frr.Node, strings.TrimSuffix(anycast4, "/32"), "10.98.0.11*50 10.98.0.12*50", "10.98.0.11*1 10.98.0.12*1")

	// By MED all goes to where the weight is.
	two.twice(2)
	weigh(fabric.WeightMED)
	s.gateways(anycast4, "10.98.0.12")
	var table struct {
		Paths []struct {
			MED uint32 `json:"metric"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(s.frr.Vtysh("show bgp ipv4 unicast "+netip.MustParsePrefix(anycast4).String()+" json")), &table); err != nil {
		t.Fatal(err)
	}
	var meds []uint32
	for _, p := range table.Paths {
		meds = append(meds, p.MED)
	}
	if slices.Sort(meds); !slices.Equal(meds, []uint32{65532, 65534}) {
		t.Errorf("MEDs %v", meds)
	}
}
