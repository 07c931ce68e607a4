package gobgp

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// What sessions say waits while it is gathered, and never after that.
func TestGather(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := quiet(t)
	s.running = &fabric.Speaker{ASN: 65010}
	t.Cleanup(func() { s.running = nil })
	s.sessions["one"] = newSession(loopPeer(at.Port()))
	for _, want := range []int{0, 1} {
		s.gather(want == 0)
		var got int
		if e := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if got != want {
			t.Errorf("gathering is %v, TCP_NODELAY %d", want == 0, got)
		}
	}
}
