package router

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
)

// upstream is a router of one make that a member has a session with in each family. What it has to say is of the member's sessions.
type upstream interface {
	make() string
	// set configures it anew. Sessions may be lost.
	set(upstreamOptions)
	node() *bgptest.Node
	// established tells whether the session of a family is, as it sees it.
	established(family int) bool
	// seen is what it was told of a prefix; ok is false where it was not.
	seen(prefix string) (p seenPath, ok bool)
	// count is the number of IPv4 prefixes it was told.
	count() int
	// ceased tells whether the member has ended the IPv4 session because of too many prefixes.
	ceased() string
}

// upstreamOptions are what tests vary.
type upstreamOptions struct {
	password string
	near     bool // GTSM
	bfd      bool // of 300 ms and 3, in those that have BFD
	routes   int  // IPv4 prefixes that it announces beside the default routes
	limit    int  // IPv4 prefixes that it takes; 0: all
}

// seenPath is how a prefix arrived.
type seenPath struct {
	communities []string
	localPref   int // as its own policy sets it; -1 where it has none
}

// upstreamRoute is the nth prefix that upstreams announce.
func upstreamRoute(n int) string { return fmt.Sprintf("198.18.%d.%d/32", n>>8, n&255) }

// hostOn gives the address of a host of the link by its number.
func hostOn(family, n int) string {
	if family == 4 {
		return fmt.Sprintf("10.98.0.%d", n)
	}
	return fmt.Sprintf("fd98::%d", n)
}

type frrUpstream struct{ *bgptest.FRR }

func (frrUpstream) make() string          { return "frr" }
func (u frrUpstream) node() *bgptest.Node { return u.Node }
func (u frrUpstream) set(o upstreamOptions) {
	u.Restart(frrUpstreamConfig(o))
}

func frrUpstreamConfig(o upstreamOptions) string {
	var c strings.Builder
	c.WriteString("bgp as-path access-list local permit ^$\nrouter bgp 65001\n bgp router-id 10.98.0.1\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n no bgp network import-check\n bgp graceful-restart\n timers bgp 1 3\n")
	for _, family := range []int{4, 6} {
		neighbor := " neighbor " + hostOn(family, 11) + " "
		fmt.Fprintf(&c, "%sremote-as 65010\n%[1]stimers connect 1\n", neighbor)
		if o.password != "" {
			fmt.Fprintf(&c, "%spassword %s\n", neighbor, o.password)
		}
		if o.near {
			fmt.Fprintf(&c, "%sttl-security hops 1\n", neighbor)
		}
		if o.bfd {
			fmt.Fprintf(&c, "%sbfd\n%[1]sbfd 3 300 300\n", neighbor)
		}
	}
	c.WriteString(" address-family ipv4 unicast\n  neighbor 10.98.0.11 activate\n  neighbor 10.98.0.11 filter-list local out\n  network 0.0.0.0/0\n")
	if o.limit > 0 {
		fmt.Fprintf(&c, "  neighbor 10.98.0.11 maximum-prefix %d\n", o.limit)
	}
	for n := range o.routes {
		fmt.Fprintf(&c, "  network %s\n", upstreamRoute(n))
	}
	c.WriteString(" exit-address-family\n address-family ipv6 unicast\n  neighbor fd98::11 activate\n  neighbor fd98::11 filter-list local out\n  network ::/0\n exit-address-family\n")
	return c.String()
}

func (u frrUpstream) established(family int) bool {
	return u.Neighbor(hostOn(family, 11)).State == "Established"
}

func (u frrUpstream) seen(prefix string) (seenPath, bool) {
	paths := u.Paths(prefix)
	if len(paths) == 0 {
		return seenPath{}, false
	}
	s := seenPath{localPref: paths[0].LocalPref}
	for c := range strings.FieldsSeq(paths[0].Community.String) {
		s.communities = append(s.communities, strings.ReplaceAll(c, "graceful-shutdown", "65535:0"))
	}
	return s, true
}

func (u frrUpstream) count() int {
	var summary struct {
		Peers map[string]struct {
			Received int `json:"pfxRcd"`
		} `json:"peers"`
	}
	if err := json.Unmarshal([]byte(u.Vtysh("show bgp ipv4 unicast summary json")), &summary); err != nil {
		return 0
	}
	return summary.Peers["10.98.0.11"].Received
}

func (u frrUpstream) ceased() string {
	if n := u.Neighbor("10.98.0.11"); n.State == "Established" || n.Notified != "Cease/Maximum Number of Prefixes Reached" {
		return fmt.Sprintf("%+v", n)
	}
	return ""
}

type birdUpstream struct{ *bgptest.BIRD }

func (birdUpstream) make() string            { return "bird" }
func (u birdUpstream) node() *bgptest.Node   { return u.Node }
func (u birdUpstream) set(o upstreamOptions) { u.Configure(birdUpstreamConfig(o)) }

func birdUpstreamConfig(o upstreamOptions) string {
	var more, limit, routes strings.Builder
	if o.password != "" {
		fmt.Fprintf(&more, "  password %q;\n", o.password)
	}
	if o.near {
		more.WriteString("  ttl security on;\n")
	}
	if o.bfd {
		more.WriteString("  bfd on;\n")
	}
	if o.limit > 0 {
		fmt.Fprintf(&limit, "import limit %d action disable;", o.limit)
	}
	for n := range o.routes {
		fmt.Fprintf(&routes, "  route %s blackhole;\n", upstreamRoute(n))
	}
	return `router id 10.98.0.2;
protocol bfd { interface "eth0" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; }; }
protocol static routes4 { ipv4; route 0.0.0.0/0 blackhole;
` + routes.String() + `}
protocol static routes6 { ipv6; route ::/0 blackhole; }
filter taken {
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}
template bgp members {
  local as 65002;
  hold time 3;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  graceful restart on;
` + more.String() + `}
protocol bgp member4 from members {
  neighbor 10.98.0.11 as 65010;
  ipv4 { import filter taken; export where source = RTS_STATIC; ` + limit.String() + ` };
}
protocol bgp member6 from members {
  neighbor fd98::11 as 65010;
  ipv6 { import filter taken; export where source = RTS_STATIC; };
}
`
}

func (u birdUpstream) established(family int) bool {
	return u.Session(fmt.Sprintf("member%d", family)).State == "Established"
}

var (
	birdCommunity = regexp.MustCompile(`\((\d+),(\d+)\)`)
	birdLocalPref = regexp.MustCompile(`BGP.local_pref: (\d+)`)
)

func (u birdUpstream) seen(prefix string) (seenPath, bool) {
	text := u.Ask("show", "route", "all", prefix)
	m := birdLocalPref.FindStringSubmatch(text)
	if m == nil {
		return seenPath{}, false
	}
	s := seenPath{}
	s.localPref, _ = strconv.Atoi(m[1]) // digits
	for line := range strings.Lines(text) {
		if strings.Contains(line, "BGP.community:") {
			for _, c := range birdCommunity.FindAllStringSubmatch(line, -1) {
				s.communities = append(s.communities, c[1]+":"+c[2])
			}
		}
	}
	return s, true
}

func (u birdUpstream) count() int { return u.Session("member4").Imported }

func (u birdUpstream) ceased() string {
	if s := u.Session("member4"); s.State == "Established" || s.LastError != "Received: Maximum number of prefixes reached" {
		return fmt.Sprintf("%+v", s)
	}
	return ""
}

type exaUpstream struct{ *bgptest.ExaBGP }

func (exaUpstream) make() string            { return "exabgp" }
func (u exaUpstream) node() *bgptest.Node   { return u.Node }
func (u exaUpstream) set(o upstreamOptions) { u.Restart(exaUpstreamConfig(o)) }

func exaUpstreamConfig(o upstreamOptions) string {
	var all strings.Builder
	for _, family := range []int{4, 6} {
		fmt.Fprintf(&all, "neighbor %s {\n  router-id 10.98.0.3; local-address %s; local-as 65003; peer-as 65010; hold-time 3;\n", hostOn(family, 11), hostOn(family, 3))
		if o.password != "" {
			fmt.Fprintf(&all, "  md5-password '%s';\n", o.password)
		}
		if o.near {
			all.WriteString("  outgoing-ttl 255; incoming-ttl 255;\n")
		}
		fmt.Fprintf(&all, "  family { ipv%d unicast; }\n  capability { graceful-restart 30; }\n", family)
		all.WriteString("  api { processes [ watch ]; neighbor-changes; receive { parsed; update; notification; } }\n")
		defaults := map[int]string{4: "0.0.0.0/0", 6: "::/0"}
		fmt.Fprintf(&all, "  announce { ipv%d {\n    unicast %s next-hop self;\n", family, defaults[family])
		for n := range o.routes {
			if family == 4 {
				fmt.Fprintf(&all, "    unicast %s next-hop self;\n", upstreamRoute(n))
			}
		}
		all.WriteString("  } }\n}\n")
	}
	return all.String()
}

func (u exaUpstream) established(family int) bool {
	_, up := bgptest.ExaTable(u.Events(), hostOn(family, 11))
	return up
}

func (u exaUpstream) seen(prefix string) (seenPath, bool) {
	events := u.Events()
	for _, family := range []int{4, 6} {
		table, _ := bgptest.ExaTable(events, hostOn(family, 11))
		if c, ok := table[prefix]; ok {
			return seenPath{c, -1}, true
		}
	}
	return seenPath{}, false
}

func (u exaUpstream) count() int {
	table, _ := bgptest.ExaTable(u.Events(), "10.98.0.11")
	return len(table)
}

func (u exaUpstream) ceased() string {
	if !bgptest.Notified(u.Events(), "10.98.0.11", 6, 1) {
		return "exabgp got no such notification"
	}
	return ""
}

// market is a link with a member and a router of each make.
type market struct {
	*site
	sw        *bgptest.Node
	m         *member
	upstreams []upstream
}

func newMarket(t *testing.T, o upstreamOptions) *market {
	t.Helper()
	k := &market{site: &site{t: t}, sw: bgptest.NewNode(t, "sw")}
	k.sw.IP("link add lan type bridge")
	k.sw.IP("link set dev lan up")
	hosts := map[int]*bgptest.Node{}
	for n := 1; n <= 3; n++ {
		hosts[n] = bgptest.NewNode(t, fmt.Sprintf("u%d", n))
		k.sw.Link(fmt.Sprintf("up%d", n), hosts[n], "eth0")
		k.sw.IP("link set dev up%d master lan", n)
		hosts[n].Address("eth0", hostOn(4, n)+"/24", hostOn(6, n)+"/64")
	}
	// exabgp sends with its TTL only where it has dialled.
	hosts[3].Run("sysctl", "-qw", "net.ipv4.ip_default_ttl=255", "net.ipv6.conf.all.hop_limit=255", "net.ipv6.conf.eth0.hop_limit=255")
	k.m = newMember(t, k.site, k.sw, 1)
	frr := bgptest.StartFRR(t, hosts[1], frrUpstreamConfig(o))
	k.site.frr = frr
	if o.bfd {
		frr.StartBFD()
	}
	k.upstreams = []upstream{
		frrUpstream{frr},
		birdUpstream{bgptest.StartBIRD(t, hosts[2], birdUpstreamConfig(o))},
		exaUpstream{bgptest.StartExaBGP(t, hosts[3], exaUpstreamConfig(o), hostOn(4, 3), hostOn(6, 3))},
	}
	return k
}

// each waits until check has nothing to complain of any upstream.
func (k *market) each(bound time.Duration, check func(u upstream) string) {
	k.t.Helper()
	for _, u := range k.upstreams {
		bgptest.Eventually(k.t, bound, func() string {
			if c := check(u); c != "" {
				return u.make() + ": " + c
			}
			return ""
		})
	}
}

// established waits until all sessions are, as both ends see it.
func (k *market) established() {
	k.t.Helper()
	k.each(30*time.Second, func(u upstream) string {
		for _, family := range []int{4, 6} {
			name := fmt.Sprintf("%s%d", u.make(), family)
			if p := k.m.peer(name); !p.Established() {
				return fmt.Sprintf("%s: %+v", name, p)
			}
			if !u.established(family) {
				return name + " is not established at the other end"
			}
		}
		return ""
	})
}

// change changes what the member is told of its peers.
func (k *market) change(f func(make string, p int)) {
	k.m.value.Peers = slices.Clone(k.m.value.Peers)
	for i, p := range k.m.value.Peers {
		f(strings.TrimRight(p.Name, "46"), i)
	}
	k.m.value.Revision++
	k.m.set()
}
