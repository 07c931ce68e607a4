package gobgp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

func TestUserTimeoutIsSetOnTheSessionOnly(t *testing.T) {
	for _, c := range []struct {
		name      string
		listen    string // where the connection is accepted
		accepting bool   // by us; otherwise by the peer
		port      uint16 // of the peer; 0: that of BGP
		ours      string // where we accept sessions; empty: nowhere
		want      int    // ms
	}{
		{"a session that we began", "127.0.0.1:179", false, 0, "", 10800},
		{"at a port of its own", "127.0.0.1:1790", false, 1790, "", 10800},
		{"another connection", "127.0.0.1:0", false, 0, "127.0.0.1:1791", 0},
		{"to the port of BGP where the peer has another", "127.0.0.1:179", false, 1790, "", 0},
		{"a session that the peer began", "127.0.0.1:179", true, 1790, "127.0.0.1:179", 10800},
		{"at a port of ours", "127.0.0.1:1791", true, 0, "127.0.0.1:1791", 10800},
		{"another connection that we accepted", "127.0.0.1:0", true, 0, "127.0.0.1:1791", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialled, accepted := connection(t, c.listen)
			s := quiet(t)
			s.running = &fabric.Speaker{}
			if c.ours != "" {
				s.running.Listen = netip.MustParseAddrPort(c.ours)
			}
			p := fabric.RoutingPeer{Address: netip.MustParseAddr("127.0.0.1"), Port: c.port}
			s.setUserTimeout(p, 9*time.Second)
			conn := dialled
			if c.accepting {
				conn = accepted
			}
			if got := userTimeout(t, conn); got != c.want {
				t.Errorf("%d ms, want %d", got, c.want)
			}
			s.running = nil
		})
	}
}

// What a peer has not acknowledged is seen whatever the ports of its session are.
func TestAcknowledgedLooksAtThePortsOfTheSession(t *testing.T) {
	for _, c := range []struct {
		name string
		at   ports
		want bool
	}{
		{"a session that we began", ports{theirs: 1790}, false},
		{"another connection", ports{theirs: 179, ours: 1791}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialled, _ := connection(t, "127.0.0.1:1790")
			peer := netip.MustParseAddr("127.0.0.1")
			s := quiet(t)
			s.state.Peers = []fabric.PeerState{{Name: "one", Address: peer, State: established}}
			s.ports = map[netip.Addr]ports{peer: c.at}
			if got, err := s.Acknowledged(); err != nil || !got {
				t.Errorf("nothing was sent: %v, %v", got, err)
			}
			fill(t, dialled)
			if got, err := s.Acknowledged(); err != nil || got != c.want {
				t.Errorf("more was sent than the peer takes: %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// connection is one over TCP, by its two ends.
func connection(t *testing.T, listen string) (dialled, accepted net.Conn) {
	l, err := net.Listen("tcp4", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialled, err = net.Dial("tcp4", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []net.Conn{dialled, accepted} {
			c.(*net.TCPConn).SetLinger(0) // the port is free for the next
			c.Close()
		}
	})
	return dialled, accepted
}

// fill sends until the other end takes no more.
func fill(t *testing.T, conn net.Conn) {
	onSocket(t, conn, func(fd int) error {
		for {
			if _, err := unix.Write(fd, make([]byte, 1<<16)); err == unix.EAGAIN {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

func userTimeout(t *testing.T, conn net.Conn) (ms int) {
	onSocket(t, conn, func(fd int) (err error) {
		ms, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		return err
	})
	return ms
}

func onSocket(t *testing.T, conn net.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}
