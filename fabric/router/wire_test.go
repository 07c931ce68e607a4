package router

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// collector is a BGP neighbour that does nothing but tell when UPDATE messages come: what a router makes of them takes its own time (FRR waits
// 50 ms before it looks at its table).
type collector struct {
	announced, withdrawn chan time.Time
}

// collect waits on a host for one session, of IPv4 unicast.
func collect(t testing.TB, n *bgptest.Node) *collector {
	t.Helper()
	c := &collector{make(chan time.Time, 100), make(chan time.Time, 100)}
	l := listenIn(t, n, "0.0.0.0:179")
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		c.talk(conn)
	}()
	return c
}

func listenIn(t testing.TB, n *bgptest.Node, address string) net.Listener {
	t.Helper()
	l, err := within(t, n, func() (net.Listener, error) { return net.Listen("tcp4", address) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// within has f make its sockets in a host's network.
func within[T any](t testing.TB, n *bgptest.Node, f func() (T, error)) (T, error) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + n.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := enter(there); err != nil {
		t.Fatal(err)
	}
	v, err := f()
	if back := enter(home); back != nil {
		panic(back)
	}
	return v, err
}

func (c *collector) talk(conn net.Conn) {
	message := func(kind byte, body ...byte) {
		m := slices.Concat(slices.Repeat([]byte{0xff}, 16), []byte{0, byte(19 + len(body)), kind}, body)
		conn.Write(m)
	}
	const open, update, keepalive = 1, 2, 4
	for {
		header := make([]byte, 19)
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(header[16:])-19)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		now := time.Now()
		switch header[18] {
		case open:
			message(open, 4, 65001>>8, 65001&0xff, 0, 90, 192, 0, 2, 1, 0)
			message(keepalive)
		case keepalive:
			message(keepalive)
		case update:
			if len(body) >= 2 && binary.BigEndian.Uint16(body) > 0 {
				c.withdrawn <- now
			} else if len(body) > 4 {
				c.announced <- now
			}
		}
	}
}

// withdrawals measures how long it takes from before a fault to the withdraw at the peer, for the death of a process by kill(2) and for a link
// that ip(8) sets down, its start included. The results are sorted.
func withdrawals(t testing.TB, runs int) (process, link []time.Duration) {
	up := bgptest.NewNode(t, "up")
	up.IP("link add lan type bridge")
	m := newMember(t, nil, up, 1)
	peer := bgptest.NewNode(t, "peer")
	peer.Link("eth0", m.node, "eth1")
	peer.Address("eth0", "10.97.0.1/24")
	m.node.Address("eth1", "10.97.0.2/24")
	c := collect(t, peer)
	m.value.Peers = []fabric.RoutingPeer{{Name: "up4", Address: netip.MustParseAddr("10.97.0.1"), ASN: 65001, HoldTime: 90, GracefulRestart: 30}}
	m.start()
	m.set()
	wait := func(ch chan time.Time) time.Time {
		t.Helper()
		select {
		case at := <-ch:
			return at
		case <-time.After(10 * time.Second):
			t.Fatal("no UPDATE")
		}
		return time.Time{}
	}
	wait(c.announced)
	for run := range runs {
		began := time.Now()
		m.init.Process.Kill()
		process = append(process, wait(c.withdrawn).Sub(began))
		m.init = m.instance.Start("sleep", "infinity")
		m.settled()
		m.value.Announcements = m.anycast(nil).Announcements
		for _, a := range m.value.Announcements {
			a.Copies[0].Instance = fmt.Sprintf("web%d", 2+run) // one that has not flapped yet: it would be damped
		}
		m.set()
		wait(c.announced)

		began = time.Now()
		m.node.IP("link set dev veth0 down")
		link = append(link, wait(c.withdrawn).Sub(began))
		m.node.IP("link set dev veth0 up")
		wait(c.announced)
	}
	slices.Sort(process)
	slices.Sort(link)
	return process, link
}

// TestWithdrawWaitsForNothing has a bound that only waiting for something can reach; how fast it is, the benchmark tells.
func TestWithdrawWaitsForNothing(t *testing.T) {
	const bound = 100 * time.Millisecond
	process, link := withdrawals(t, 7)
	t.Logf("process killed: %s; link down: %s", process, link)
	if process[3] > bound || link[3] > bound {
		t.Errorf("median over %s", bound)
	}
}

// BenchmarkWithdraw measures 100 deaths of a process and 100 of a link, from before the fault to the withdraw at the peer.
func BenchmarkWithdraw(b *testing.B) {
	for b.Loop() {
		process, link := withdrawals(b, 100)
		report(b, "process", process)
		report(b, "link", link)
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}
