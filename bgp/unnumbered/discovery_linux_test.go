package unnumbered

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
)

func TestMain(m *testing.M) { bgptest.Main(m) }

// localAddress is the link-local address of an interface.
func localAddress(t *testing.T, name string) netip.Addr {
	t.Helper()
	var found netip.Addr
	bgptest.Eventually(t, 5*time.Second, func() string {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return err.Error()
		}
		all, err := ifi.Addrs()
		for _, a := range all {
			if p, ok := netip.AddrFromSlice(a.(*net.IPNet).IP); ok && p.Is6() && p.IsLinkLocalUnicast() {
				found = p.WithZone(name)
				return ""
			}
		}
		return fmt.Sprint(all, err)
	})
	return found
}

// linkState tells of a real interface.
func linkState(name string) (int, bool) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return ifi.Index, ifi.Flags&net.FlagRunning != 0
}

// TestOnTheWire has three hosts on one link, all of which are interfaces of this one.
func TestOnTheWire(t *testing.T) {
	n := bgptest.Self(t)
	n.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	n.IP("link add lan type bridge")
	n.IP("link set dev lan addrgenmode none up")
	address := map[string]netip.Addr{}
	for _, name := range []string{"a0", "b0", "c0"} {
		n.Link(name, n, name+"p")
		n.IP("link set dev %sp addrgenmode none master lan", name)
		address[name] = localAddress(t, name)
	}
	start := func() *Discovery {
		d := New(slog.New(slog.DiscardHandler), linkState, func() {})
		t.Cleanup(func() { d.Set(nil) })
		return d
	}
	sees := func(d *Discovery, name string, neighbour, rival netip.Addr) {
		t.Helper()
		bgptest.Eventually(t, 20*time.Second, func() string {
			x := d.State()[name]
			if x.Neighbour.WithZone("") != neighbour.WithZone("") || x.Rival.WithZone("") != rival.WithZone("") {
				return fmt.Sprintf("%s: %+v, want %s and %s", name, x, neighbour, rival)
			}
			return ""
		})
	}
	a, b, c := start(), start(), start()
	a.Set([]string{"a0"})
	b.Set([]string{"b0"})
	sees(a, "a0", address["b0"], nothing)
	sees(b, "b0", address["a0"], nothing)
	if x := a.State()["a0"].Neighbour; x.Zone() != "a0" {
		t.Errorf("the neighbour of a0 is %s", x)
	}
	// A third changes nothing, until the second is gone.
	c.Set([]string{"c0"})
	sees(a, "a0", address["b0"], address["c0"])
	a.Alive(map[string]bool{"a0": true})
	b.Set(nil)
	if x := a.State()["a0"].Neighbour.WithZone(""); x != address["b0"].WithZone("") {
		t.Errorf("the neighbour is %s while BGP with it is established", x)
	}
	a.Alive(nil)
	sees(a, "a0", address["c0"], nothing)
	// What is remembered is there at once, and the link has to be, too.
	d := start()
	d.Remember(map[string]netip.Addr{"b0": address["a0"].WithZone("b0")})
	d.Set([]string{"b0", "nope"})
	if x := d.State(); x["b0"].Neighbour.WithZone("") != address["a0"].WithZone("") || x["nope"].Neighbour.IsValid() {
		t.Errorf("%+v", x)
	}
	n.IP("link set dev a0 down")
	a.LinksChanged()
	sees(a, "a0", nothing, nothing)
	if why := a.State()["a0"].Why; why != "interface a0 is down" {
		t.Error(why)
	}
	n.IP("link set dev a0 up")
	bgptest.Eventually(t, 10*time.Second, func() string {
		a.LinksChanged()
		if x := a.State()["a0"]; !x.Neighbour.IsValid() {
			return x.Why
		}
		return ""
	})
}
