package router

import (
	"cmp"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// TestChecks makes every check against real services in a network namespace, in both families.
func TestChecks(t *testing.T) {
	node := bgptest.NewNode(t, "chk")
	node.Address("lo", anycast4, anycast6)
	node.Start("env", serveEnv+"=203.0.113.53:80,[2001:db8:53::53]:80", os.Args[0])
	ns, err := os.Open("/run/netns/" + node.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	check := func(c fabric.Check, prefix string) string {
		return runCheck(ns, c, netip.MustParsePrefix(prefix).Addr())
	}
	web := fabric.Check{Type: fabric.CheckHTTP, Port: 80}
	tls := fabric.Check{Type: fabric.CheckHTTPS, Port: 443}
	dns := fabric.Check{Type: fabric.CheckDNS, Port: 53, Name: "example.com"}
	with := func(c fabric.Check, change func(*fabric.Check)) fabric.Check {
		change(&c)
		return c
	}
	for _, prefix := range []string{anycast4, anycast6} {
		for _, c := range []fabric.Check{web, tls, dns, {Type: fabric.CheckTCP, Port: 53}} {
			bgptest.Eventually(t, 5*time.Second, func() string { return check(with(c, func(c *fabric.Check) { *c = c.Default() }), prefix) })
		}
	}
	for _, c := range []struct {
		name  string
		check fabric.Check
		want  string // at the end of the failure; empty is success
	}{
		{"tcp", fabric.Check{Type: fabric.CheckTCP, Port: 80}, ""},
		{"tcp port that is closed", fabric.Check{Type: fabric.CheckTCP, Port: 81}, "connection refused"},
		{"http", web, ""},
		{"http bad status", with(web, func(c *fabric.Check) { c.Path = "/sick" }), ":80/sick: status 503"},
		{"http status that is expected", with(web, func(c *fabric.Check) { c.Path, c.Status = "/sick", "200,500-503" }), ""},
		{"http good status that is not expected", with(web, func(c *fabric.Check) { c.Status = "204" }), "status 200"},
		{"http body", with(web, func(c *fabric.Check) { c.Body = "is well" }), ""},
		{"http other body", with(web, func(c *fabric.Check) { c.Body = "is ill" }), `status 200, but "is ill" is not in the answer`},
		{"http host", with(web, func(c *fabric.Check) { c.Host, c.Body = "shop.example", "at shop.example" }), ""},
		{"https", with(tls, func(c *fabric.Check) { c.Body = "all is well" }), ""},
		{"https bad status", with(tls, func(c *fabric.Check) { c.Path = "/sick" }), "status 503"},
		{"https of nobody's authority", with(tls, func(c *fabric.Check) { c.Verify, c.Host = true, "example.com" }), "certificate signed by unknown authority"},
		{"https for another name", with(tls, func(c *fabric.Check) { c.Verify, c.Host = true, "shop.example" }), "certificate is valid for example.com, *.example.com, not shop.example"},
		{"https at a port without TLS", with(tls, func(c *fabric.Check) { c.Port = 80 }), "server gave HTTP response to HTTPS client"},
		{"dns", dns, ""},
		{"dns answer", with(dns, func(c *fabric.Check) { c.Answer = "192.0.2.80" }), ""},
		{"dns other answer", with(dns, func(c *fabric.Check) { c.Answer = "192.0.2.81" }), "the answer is 192.0.2.80, want 192.0.2.81"},
		{"dns text", with(dns, func(c *fabric.Check) { c.Record, c.Answer = "TXT", "v=1 x" }), ""},
		{"dns mail", with(dns, func(c *fabric.Check) { c.Record, c.Answer = "MX", "10 mail.Example.com" }), ""},
		{"dns no record", with(dns, func(c *fabric.Check) { c.Record = "AAAA" }), "no AAAA record in the answer"},
		{"dns name that is not there", with(dns, func(c *fabric.Check) { c.Name = "no.example" }), "response code NXDOMAIN, want NOERROR"},
		{"dns name that should not be there", with(dns, func(c *fabric.Check) { c.Name, c.Rcode = "no.example", "NXDOMAIN" }), ""},
		{"dns by TCP when truncated", with(dns, func(c *fabric.Check) { c.Name, c.Record, c.Answer = "big.example.com", "AAAA", "2001:DB8:0::80" }), ""},
		{"dns port that is closed", with(dns, func(c *fabric.Check) { c.Port = 54 }), "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := (&fabric.Anycast{Header: fabric.Header{Name: "a"}, Addresses: []netip.Prefix{netip.MustParsePrefix(anycast4)}, Check: c.check}).Validate(); err != nil {
				t.Fatal(err)
			}
			for _, prefix := range []string{anycast4, anycast6} {
				if got := check(c.check.Default(), prefix); got != c.want && (c.want == "" || !strings.HasSuffix(got, c.want)) {
					t.Errorf("at %s: %s, want %s", prefix, cmp.Or(got, "success"), cmp.Or(c.want, "success"))
				}
			}
		})
	}
}

// TestChecksThatGetNoAnswer are bounded by their timeout.
func TestChecksThatGetNoAnswer(t *testing.T) {
	node := bgptest.NewNode(t, "chk0")
	node.IP("link add sink type bridge")
	node.IP("link set dev sink up")
	node.Address("sink", "203.0.113.1/24")
	node.IP("neigh add 203.0.113.53 lladdr 02:00:00:00:00:53 dev sink nud permanent")
	ns, err := os.Open("/run/netns/" + node.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for _, c := range []fabric.Check{
		{Type: fabric.CheckTCP, Port: 80}, {Type: fabric.CheckHTTP, Port: 80}, {Type: fabric.CheckHTTPS, Port: 443}, {Type: fabric.CheckDNS, Port: 53, Name: "example.com"},
	} {
		c.Timeout = 50
		began := time.Now()
		if got := runCheck(ns, c.Default(), netip.MustParsePrefix(anycast4).Addr()); !strings.HasSuffix(got, "no answer within 50 ms") {
			t.Errorf("%s: %q", c.Type, got)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: took %s", c.Type, took)
		}
	}
}

// A socket that is ready need not be connected: a check must not take the one for the other.
func TestConnectionUnderWayIsNoConnection(t *testing.T) {
	node, far := bgptest.NewNode(t, "chk"), bgptest.NewNode(t, "far")
	node.Link("eth0", far, "eth0")
	node.Address("eth0", "192.0.2.1/24", "2001:db8::1/64")
	node.IP("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0") // nobody has it
	node.IP("neighbour add 2001:db8::9 lladdr 02:00:00:00:00:09 dev eth0")
	ns, err := os.Open("/run/netns/" + node.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for _, to := range []unix.Sockaddr{
		&unix.SockaddrInet4{Port: 80, Addr: netip.MustParseAddr("192.0.2.9").As4()},
		&unix.SockaddrInet6{Port: 80, Addr: netip.MustParseAddr("2001:db8::9").As16()},
	} {
		like := netip.IPv4Unspecified()
		if _, six := to.(*unix.SockaddrInet6); six {
			like = netip.IPv6Unspecified()
		}
		fd, err := socketIn(ns, unix.SOCK_STREAM, like)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		if done, err := settled(fd); done || err != nil {
			t.Errorf("%v: connected: %t, %v", to, done, err)
		}
	}
}
