package gobgp

import (
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// lastWordBound is how long a peer has to read the last word of a session.
const lastWordBound = 2 * time.Second

// grip is a second file of the socket of a session. GoBGP sends the Cease of a session with too many prefixes and closes the connection. If the peer still sends,
// the kernel then resets it, and with that the peer's kernel throws away the Cease that has not been read: an operator would see a
// reset and no cause. A connection that is still held elsewhere is not reset. The zero value holds nothing.
type grip struct{ fd int }

// take holds the socket of the session with a peer that may announce too much, by its ports: another connection with the peer may be about to be closed,
// because both ends made one.
func (g *grip) take(s *Speaker, p fabric.RoutingPeer, t *api.Transport) {
	before := *g
	defer before.release() // not before the new one is there: it may be the same connection
	g.fd = 0
	if p.MaxPrefix.Limit == 0 || p.MaxPrefix.Action == fabric.MaxPrefixWarn {
		return
	}
	err := eachSocket(func(fd int) {
		remote, theirs := address(unix.Getpeername(fd))
		_, ours := address(unix.Getsockname(fd))
		if g.fd != 0 || remote != p.Address.WithZone("") || theirs != int(t.GetRemotePort()) || ours != int(t.GetLocalPort()) {
			return
		}
		held, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			s.log.Warn("cannot hold the connection of a BGP session", "peer", p.Name, "error", err)
			return
		}
		g.fd = held
	})
	if err != nil {
		s.log.Warn("cannot hold the connection of a BGP session", "peer", p.Name, "error", err)
	}
}

// release lets go of the socket: it closes as GoBGP closes it.
func (g *grip) release() {
	if g.fd != 0 {
		unix.Close(g.fd)
		g.fd = 0
	}
}

// drain ends the connection, and lets go of the socket when the peer has read all.
func (g *grip) drain() {
	fd := g.fd
	g.fd = 0
	if fd == 0 {
		return
	}
	go func() {
		defer unix.Close(fd)
		if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
			return // it has ended
		}
		buffer := make([]byte, 1<<16)
		for end := time.Now().Add(lastWordBound); time.Now().Before(end); {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(ready, int(time.Until(end).Milliseconds())+1); err != nil && err != unix.EINTR {
				return
			}
			if n, err := unix.Read(fd, buffer); n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR {
				return
			}
		}
	}()
}
