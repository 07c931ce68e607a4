package router

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

const password = "sesame"

// plain4 is announced beside the anycast address, and nothing is said of it.
const plain4 = "10.50.1.0/24"

// TestUpstreams has sessions with routers of three makes at once, and does with all of them whatever they can.
func TestUpstreams(t *testing.T) {
	k := newMarket(t, upstreamOptions{bfd: true})
	k.m.value = k.marketValue()
	k.m.start()
	k.m.set()
	for _, step := range []struct {
		name string
		run  func(*testing.T, *market)
	}{
		{"MD5 refused", upstreamsUnsigned},
		{"GTSM refused", upstreamsFar},
		{"accepted", upstreamsAccepted},
		{"communities", upstreamsCommunities},
		{"default route", upstreamsDefaultRoute},
		{"graceful shutdown", upstreamsShutdown},
		{"graceful restart", upstreamsRestart},
		{"BFD", upstreamsBFD},
		{"their limit", upstreamsLimitUs},
		{"our limit", upstreamsLimited},
		{"10,000 routes", upstreamsManyRoutes},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			outer := k.t
			k.t, k.m.t = t, t
			defer func() { k.t, k.m.t = outer, outer }()
			step.run(t, k)
		})
		if !ok {
			return
		}
	}
}

// marketValue has a session with each upstream in each family, secured in every way, and announces the service.
func (k *market) marketValue() fabric.Routing {
	v := k.m.anycast(nil)
	v.Speaker.Listen = netip.MustParseAddrPort("10.98.0.11:179")
	v.Peers = nil
	names := map[int][]string{}
	for i, u := range k.upstreams {
		for _, family := range []int{4, 6} {
			p := fabric.RoutingPeer{
				Name: fmt.Sprintf("%s%d", u.make(), family), Address: netip.MustParseAddr(hostOn(family, i+1)), ASN: uint32(65001 + i),
				HoldTime: 3, GracefulRestart: 30, Password: password, GTSM: true,
			}
			if u.make() != "exabgp" {
				p.BFD = fabric.PeerBFD{Interval: 300, Multiplier: 3}
			}
			v.Peers = append(v.Peers, p)
			names[family] = append(names[family], p.Name)
			v.Imports = append(v.Imports, fabric.Import{Peer: p.Name, Rules: defaultOnly})
		}
	}
	v.Announcements[0].Peers, v.Announcements[1].Peers = names[4], names[6]
	for i, family := range []int{4, 6} {
		v.Announcements[i].Attributes = map[string]fabric.PolicySet{}
		for _, name := range names[family] {
			v.Announcements[i].Attributes[name] = fabric.PolicySet{AddCommunities: []fabric.Community{{Numbers: [3]uint32{65010, 80}}}}
		}
	}
	v.Announcements = append(v.Announcements, fabric.Announcement{
		Prefix: netip.MustParsePrefix(plain4), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: names[4],
	})
	return v
}

var defaultOnly = func() []fabric.PolicyRule {
	for _, p := range fabric.BuiltinPolicies() {
		if p.Name == fabric.PolicyDefaultOnly {
			return p.Rules
		}
	}
	return nil
}()

// md5Dropped counts the segments that a host dropped because their signature was missing, or there without need, or wrong.
func md5Dropped(t *testing.T, n *bgptest.Node) (count int) {
	t.Helper()
	lines := strings.Split(n.Run("cat", "/proc/net/netstat"), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, name := range names {
		if strings.HasPrefix(name, "TCPMD5") {
			c, err := strconv.Atoi(values[i])
			if err != nil {
				t.Fatal(err)
			}
			count += c
		}
	}
	return count
}

// noSession fails the test where a session is established at either end.
func (k *market) noSession(t *testing.T) {
	t.Helper()
	for _, u := range k.upstreams {
		for _, family := range []int{4, 6} {
			if p := k.m.peer(fmt.Sprintf("%s%d", u.make(), family)); p.Established() || u.established(family) {
				t.Errorf("%+v", p)
			}
		}
	}
}

func upstreamsUnsigned(t *testing.T, k *market) {
	// Ours are dropped there, where nobody signs, and theirs here.
	k.each(10*time.Second, func(u upstream) string {
		if n := md5Dropped(t, u.node()); n < 2 {
			return fmt.Sprintf("%d signed segments dropped", n)
		}
		return ""
	})
	bgptest.Eventually(t, 20*time.Second, func() string {
		if n := md5Dropped(t, k.m.node); n < 3 {
			return fmt.Sprintf("%d unsigned segments dropped", n)
		}
		return ""
	})
	k.noSession(t)
}

func upstreamsFar(t *testing.T, k *market) {
	for _, u := range k.upstreams {
		u.set(upstreamOptions{bfd: true, password: password})
	}
	// Their segments come with a TTL of 1 or 64.
	k.upstreams[2].node().Run("sysctl", "-qw", "net.ipv4.ip_default_ttl=64", "net.ipv6.conf.all.hop_limit=64", "net.ipv6.conf.eth0.hop_limit=64")
	bgptest.Eventually(t, 20*time.Second, func() string {
		if text := k.m.node.Run("nft", "list", "table", "inet", filterTable); strings.Count(text, "packets 0 ") > 1 { // one is of who is no peer
			return text
		}
		return ""
	})
	k.noSession(t)
}

func upstreamsAccepted(t *testing.T, k *market) {
	k.upstreams[2].node().Run("sysctl", "-qw", "net.ipv4.ip_default_ttl=255", "net.ipv6.conf.all.hop_limit=255", "net.ipv6.conf.eth0.hop_limit=255")
	for _, u := range k.upstreams {
		u.set(upstreamOptions{bfd: true, password: password, near: true})
	}
	k.established()
	k.each(10*time.Second, func(u upstream) string {
		for _, prefix := range []string{anycast4, anycast6, plain4} {
			if _, ok := u.seen(prefix); !ok {
				return "has not been told of " + prefix
			}
		}
		return ""
	})
}

func upstreamsCommunities(t *testing.T, k *market) {
	for _, u := range k.upstreams {
		for prefix, want := range map[string]string{anycast4: "[65010:80]", anycast6: "[65010:80]", plain4: "[]"} {
			if p, ok := u.seen(prefix); !ok || fmt.Sprint(p.communities) != want {
				t.Errorf("%s: %s has %v, want %s", u.make(), prefix, p, want)
			}
		}
	}
}

func upstreamsDefaultRoute(t *testing.T, k *market) {
	k.each(10*time.Second, func(u upstream) string {
		for _, family := range []int{4, 6} {
			if p := k.m.peer(fmt.Sprintf("%s%d", u.make(), family)); p.Received != 1 || p.Accepted != 1 {
				return fmt.Sprintf("%+v", p)
			}
		}
		return ""
	})
}

func upstreamsShutdown(t *testing.T, k *market) {
	k.m.value.Drain = &fabric.MemberDrain{Grace: 60000}
	k.m.value.Revision++
	k.m.set()
	k.each(5*time.Second, func(u upstream) string {
		for _, prefix := range []string{anycast4, anycast6, plain4} {
			if p, ok := u.seen(prefix); !ok || !slices.Contains(p.communities, "65535:0") || p.localPref > 0 {
				return fmt.Sprintf("%s: %+v", prefix, p)
			}
		}
		return ""
	})
	k.m.value.Drain = nil
	k.m.value.Revision++
	k.m.set()
	k.each(5*time.Second, func(u upstream) string {
		if p, ok := u.seen(plain4); !ok || len(p.communities) > 0 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

// upstreamsRestart kills the worker: the routers with a kernel of their own keep what they have in it.
func upstreamsRestart(t *testing.T, k *market) {
	watches := map[string]*bgptest.Watch{}
	prefixes := []string{anycast4, anycast6, plain4}
	for _, u := range k.upstreams[:2] {
		watches[u.make()] = u.node().Watch()
		for _, prefix := range prefixes {
			watches[u.make()].Until(prefix, true, 5*time.Second)
		}
	}
	k.m.end(syscall.SIGKILL)
	for _, family := range []int{4, 6} {
		k.each(5*time.Second, func(u upstream) string {
			if u.established(family) {
				return "has not noticed"
			}
			return ""
		})
	}
	k.m.start()
	k.established()
	k.each(10*time.Second, func(u upstream) string {
		for _, prefix := range prefixes {
			if _, ok := u.seen(prefix); !ok {
				return "has not been told of " + prefix
			}
		}
		return ""
	})
	for _, u := range k.upstreams[:2] {
		for _, prefix := range prefixes {
			if gone := watches[u.make()].Gone(prefix); gone > 0 {
				t.Errorf("%s lost its route to %s %d times", u.make(), prefix, gone)
			}
		}
	}
}

// upstreamsBFD cuts the path to one router after the other. FRR 8.4 takes a neighbour with ttl-security for one that is several hops away, as far
// as BFD is concerned.
func upstreamsBFD(t *testing.T, k *market) {
	gtsm := func(on bool) {
		k.upstreams[0].set(upstreamOptions{bfd: true, password: password, near: on})
		k.change(func(make string, i int) { k.m.value.Peers[i].GTSM = on || make != "frr" })
		k.established()
	}
	gtsm(false)
	defer gtsm(true)
	for i, u := range k.upstreams[:2] {
		names := []string{u.make() + "4", u.make() + "6"}
		for _, name := range names {
			bgptest.Eventually(t, 20*time.Second, func() string {
				if p := k.m.peer(name); !p.Established() || p.BFD == nil || !p.BFD.Up() || p.BFD.Detection != 900 {
					return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
				}
				return ""
			})
		}
		k.sw.IP("link set dev up%d nomaster", i+1)
		for _, name := range names {
			bgptest.Eventually(t, 10*time.Second, func() string {
				if p := k.m.peer(name); p.Established() || p.BFD == nil || p.BFD.Up() || !strings.HasPrefix(p.LastError, "BFD: nothing heard") {
					return fmt.Sprintf("%+v, BFD %+v", p, p.BFD)
				}
				return ""
			})
		}
		for _, other := range k.upstreams {
			if p := k.m.peer(other.make() + "4"); other != u && !p.Established() {
				t.Errorf("the cut to %s: %+v", u.make(), p)
			}
		}
		k.sw.IP("link set dev up%d master lan", i+1)
		k.established()
	}
}

// upstreamsLimitUs: a router that takes less than we have to say ends the session, and says why.
func upstreamsLimitUs(t *testing.T, k *market) {
	for _, u := range k.upstreams[:2] {
		u.set(upstreamOptions{bfd: true, password: password, near: true, limit: 1})
		bgptest.Eventually(t, 15*time.Second, func() string {
			if p := k.m.peer(u.make() + "4"); p.Established() || !strings.Contains(strings.ToLower(p.LastError), "maximum number of prefixes reached") {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
		u.set(upstreamOptions{bfd: true, password: password, near: true})
		if u.make() == "bird" {
			u.(birdUpstream).Ask("enable", "member4") // that is what "action disable" means
		}
	}
	k.established()
}

// upstreamsLimited: whoever says more than it may is told so, and costs nobody else anything.
func upstreamsLimited(t *testing.T, k *market) {
	const limit, flood = 5, 20000
	k.change(func(_ string, i int) { k.m.value.Peers[i].MaxPrefix = fabric.MaxPrefix{Limit: limit} })
	k.established()
	for _, u := range k.upstreams {
		routes := limit // and the default route
		if u.make() == "bird" {
			routes = flood
		}
		u.set(upstreamOptions{bfd: true, password: password, near: true, routes: routes})
		ceased := "not looked at" // only until the other end connects again, which is refused
		bgptest.Eventually(t, 15*time.Second, func() string {
			if ceased != "" {
				ceased = u.ceased()
			}
			if p := k.m.peer(u.make() + "4"); p.Hold != fabric.ReasonMaxPrefix {
				return fmt.Sprintf("%+v", p)
			}
			return ceased
		})
		bgptest.Eventually(t, 15*time.Second, func() string {
			if p := k.m.peer(u.make() + "6"); !p.Established() {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
	}
	if peak := k.m.peakMemory(t); peak > 150<<20 {
		t.Errorf("the worker took %d MiB of memory", peak>>20)
	} else {
		t.Logf("with a flood of %d routes behind a limit of %d, the worker took %d MiB of memory at most", flood, limit, peak>>20)
	}
	for _, u := range k.upstreams {
		u.set(upstreamOptions{bfd: true, password: password, near: true})
	}
	k.change(func(_ string, i int) { k.m.value.Peers[i].MaxPrefix = fabric.MaxPrefix{} })
	k.established()
}

// peakMemory is the most memory that the worker has had, in bytes.
func (m *member) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.worker.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(value, &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib << 10
}

func upstreamsManyRoutes(t *testing.T, k *market) {
	const many = 10000
	// One takes all of it, another only the default route, whatever there is.
	for i := range k.m.value.Imports {
		if strings.HasPrefix(k.m.value.Imports[i].Peer, "bird") {
			k.m.value.Imports[i].Rules = []fabric.PolicyRule{{Action: fabric.PolicyAccept}}
		}
	}
	peers := k.m.value.Announcements[2].Peers
	for n := range many {
		k.m.value.Announcements = append(k.m.value.Announcements, fabric.Announcement{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 51, byte(n >> 8), byte(n)}), 32), Kind: fabric.AnnounceNetwork,
			Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: peers,
		})
	}
	began := time.Now()
	k.m.value.Revision++
	k.m.set()
	k.each(30*time.Second, func(u upstream) string {
		if n := u.count(); n != many+2 {
			return fmt.Sprintf("has been told of %d prefixes", n)
		}
		return ""
	})
	t.Logf("all three have %d prefixes of ours after %s", many, time.Since(began))
	for _, u := range k.upstreams {
		u.set(upstreamOptions{bfd: true, password: password, near: true, routes: many})
	}
	k.each(60*time.Second, func(u upstream) string {
		accepted := 1
		if u.make() == "bird" {
			accepted = many + 1
		}
		if p := k.m.peer(u.make() + "4"); p.Received != many+1 || p.Accepted != accepted {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	t.Logf("and we have %d of each of them after %s, with %d MiB of memory at most", many, time.Since(began), k.m.peakMemory(t)>>20)
	k.established()
}
