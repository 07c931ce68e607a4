package gobgp

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUserTimeoutIsSetOnTheSessionOnly(t *testing.T) {
	timeout := func(address string) int {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		setUserTimeout(netip.MustParseAddr("127.0.0.1"), 9*time.Second, slog.Default())
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		value := -1
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := timeout("127.0.0.1:179"); got != 8100 {
		t.Errorf("session: %d ms", got)
	}
	if got := timeout("127.0.0.1:0"); got != 0 {
		t.Errorf("another connection: %d ms", got)
	}
}
