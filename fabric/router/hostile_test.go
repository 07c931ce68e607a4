package router

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// unknownType is a BGP message of a type that there is not, on which GoBGP dereferences nil.
var unknownType = append(bytes.Repeat([]byte{0xff}, 16), 0, 21, 9, 0, 0)

func TestHostilePeerCostsOneRestart(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	evil := bgptest.NewNode(t, "evil")
	s.frr.Node.Link("lan9", evil, "eth0")
	s.frr.Node.IP("link set dev lan9 master lan")
	evil.Address("eth0", "10.98.0.66/24")
	l := listenIn(t, evil, "10.98.0.66:179")
	defer l.Close()
	m.start()
	m.set()
	watch := s.frr.Node.Watch()
	came4, came6 := watch.Until(anycast4, true, 10*time.Second), watch.Until(anycast6, true, 10*time.Second)
	settled := func() {
		t.Helper()
		bgptest.Eventually(t, 20*time.Second, func() string {
			for _, prefix := range []string{anycast4, anycast6} {
				if p := s.frr.Paths(prefix); len(p) != 1 || p[0].Stale {
					return fmt.Sprintf("%s at FRR: %+v", prefix, p)
				}
			}
			return ""
		})
	}
	settled()

	m.value.Peers = append(m.value.Peers, fabric.RoutingPeer{Name: "evil", Address: netip.MustParseAddr("10.98.0.66"), ASN: 65001, HoldTime: 3, GracefulRestart: 30})
	m.set()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 19)); err != nil { // its OPEN
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := conn.Write(unknownType); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.worker.Wait() }()
	select {
	case err := <-ended:
		t.Logf("the worker ended after %s: %v", time.Since(began), err)
	case <-time.After(10 * time.Second):
		t.Skip("this GoBGP survives the message: there is nothing to test")
	}
	m.start()
	if p := m.peer("evil"); p.Hold != fabric.ReasonPenalty || !strings.Contains(p.LastError, "(1 times)") {
		t.Errorf("%+v", p)
	}
	settled()
	for _, name := range []string{"up4", "up6"} {
		bgptest.Eventually(t, 10*time.Second, func() string {
			if p := m.peer(name); !p.Established() {
				return fmt.Sprintf("%+v", p)
			}
			return ""
		})
	}
	if now4, now6 := watch.Until(anycast4, true, time.Second), watch.Until(anycast6, true, time.Second); now4 != came4 || now6 != came6 {
		t.Errorf("routes changed: IPv4 %s later, IPv6 %s later", now4.Sub(came4), now6.Sub(came6))
	}
	if _, err := os.Stat(m.state() + "/" + crashBefore); err != nil {
		t.Errorf("trace for the operator: %v", err)
	}
}
