package gobgp

import (
	"cmp"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/bgp"
	"netfabric/fabric"
)

// ports tell connections with a peer from all others with its address.
type ports struct {
	theirs uint16 // that we connect to
	ours   uint16 // that we accept them on; 0: we do not
}

func portsOf(me *fabric.Speaker, p fabric.RoutingPeer) ports {
	x := ports{theirs: cmp.Or(p.Port, bgp.Port)}
	if me != nil && me.Accepts() {
		x.ours = me.Port()
	}
	return x
}

// setUserTimeout lets the kernel give up the connection with a peer that acknowledges nothing soon after its hold time is over
// (TCP_USER_TIMEOUT in tcp(7)), and ask for a sign of life when there is nothing to acknowledge. Not before: a connection that breaks may be that of a
// peer that is restarting, one that is silent for the hold time is not. GoBGP gives nobody its sockets, so they are looked
// for among the files of the process.
func (s *Speaker) setUserTimeout(p fabric.RoutingPeer, hold time.Duration) {
	at := portsOf(s.running, p)
	err := eachSocket(func(fd int) {
		if !connectedTo(fd, p.Address, at) {
			return
		}
		probe := max(1, int(hold.Seconds())/3)
		for _, o := range []struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(hold.Milliseconds()) * 6 / 5},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probe},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probe},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		} {
			if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
				s.log.Warn("cannot set TCP user timeout", "peer", p.Address, "error", err)
			}
		}
	})
	if err != nil {
		s.log.Warn("cannot set TCP user timeout", "peer", p.Address, "error", err)
	}
}

// Acknowledged tells whether the kernels of all peers with a session have acknowledged what they were sent (SIOCOUTQ in tcp(7)). What is still on
// its way to the kernel of this host is not known here.
func (s *Speaker) Acknowledged() (bool, error) {
	waits := false
	peers := s.State().Peers
	s.mu.Lock()
	known := s.ports
	s.mu.Unlock()
	err := eachSocket(func(fd int) {
		for _, p := range peers {
			if p.Established() && connectedTo(fd, p.Address, known[p.Address.WithZone("")]) {
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
func connectedTo(fd int, peer netip.Addr, at ports) bool {
	remote, port := address(unix.Getpeername(fd))
	_, local := address(unix.Getsockname(fd))
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && kind == unix.IPPROTO_TCP && remote == peer.WithZone("") && (port == int(at.theirs) || local == int(at.ours))
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
