package gobgp

import "golang.org/x/sys/unix"

// hangUp ends the connections of all sessions without a word. A peer takes that for the beginning of a restart (RFC 4724) and keeps our routes until it has
// heard of them again; with the Cease that GoBGP sends otherwise it would drop them.
func (s *Speaker) hangUp() {
	err := eachSocket(func(fd int) {
		for _, x := range s.sessions {
			if !connectedTo(fd, x.peer.Address, portsOf(s.running, x.peer)) {
				continue
			}
			if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil && err != unix.ENOTCONN {
				s.log.Warn("cannot end a session without a word", "peer", x.peer.Name, "error", err)
			}
		}
	})
	if err != nil {
		s.log.Warn("cannot end sessions without a word", "error", err)
	}
}
