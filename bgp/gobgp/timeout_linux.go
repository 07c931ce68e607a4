package gobgp

import (
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/bgp"
)

// setUserTimeout lets the kernel give up the connection with a peer that acknowledges nothing before its hold time is over
// (TCP_USER_TIMEOUT in tcp(7)), and ask for a sign of life when there is nothing to acknowledge. GoBGP gives nobody its sockets, so they are looked
// for among the files of the process.
func setUserTimeout(peer netip.Addr, hold time.Duration, log *slog.Logger) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		log.Warn("cannot set TCP user timeout", "peer", peer, "error", err)
		return
	}
	for _, f := range files {
		if target, err := os.Readlink("/proc/self/fd/" + f.Name()); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		// A copy stays the same socket even when the number is given to another file meanwhile.
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if connectedTo(fd, peer) {
			probe := max(1, int(hold.Seconds())/3)
			for _, o := range []struct{ level, name, value int }{
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(hold.Milliseconds()) * 9 / 10},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probe},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probe},
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			} {
				if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
					log.Warn("cannot set TCP user timeout", "peer", peer, "error", err)
				}
			}
		}
		unix.Close(fd)
	}
}

// connectedTo tells whether a file is a TCP socket that has a BGP session with a peer.
func connectedTo(fd int, peer netip.Addr) bool {
	remote, port := address(unix.Getpeername(fd))
	_, local := address(unix.Getsockname(fd))
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && kind == unix.IPPROTO_TCP && remote == peer.WithZone("") && (port == bgp.Port || local == bgp.Port)
}

func address(sa unix.Sockaddr, err error) (netip.Addr, int) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), sa.Port
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap(), sa.Port
	}
	return netip.Addr{}, 0
}
