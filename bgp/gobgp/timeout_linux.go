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
	err := eachSocket(func(fd int) {
		if !connectedTo(fd, peer) {
			return
		}
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
	})
	if err != nil {
		log.Warn("cannot set TCP user timeout", "peer", peer, "error", err)
	}
}

// Acknowledged tells whether the kernels of all peers with a session have acknowledged what they were sent (SIOCOUTQ in tcp(7)). What is still on
// its way to the kernel of this host is not known here.
func (s *Speaker) Acknowledged() (bool, error) {
	waits := false
	peers := s.State().Peers
	err := eachSocket(func(fd int) {
		for _, p := range peers {
			if p.Established() && connectedTo(fd, p.Address) {
				n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
				waits = waits || err == nil && n > 0
			}
		}
	})
	return !waits, err
}

// eachSocket has f look at the sockets of the process.
func eachSocket(f func(fd int)) error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, file := range files {
		if target, err := os.Readlink("/proc/self/fd/" + file.Name()); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		n, err := strconv.Atoi(file.Name())
		if err != nil {
			continue
		}
		// A copy stays the same socket even when the number is given to another file meanwhile.
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			continue
		}
		f(fd)
		unix.Close(fd)
	}
	return nil
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
