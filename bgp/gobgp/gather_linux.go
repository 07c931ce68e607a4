package gobgp

import "golang.org/x/sys/unix"

// gather has the kernel collect what sessions say into full segments, or send each message at once as it does otherwise (TCP_NODELAY in tcp(7)).
// GoBGP writes each withdrawal by itself: of thousands, most of the time would go into packets of a few bytes, here and at the peer. What waits is
// sent when the peer has acknowledged what came before, or when this is over.
func (s *Speaker) gather(on bool) {
	noDelay := 1
	if on {
		noDelay = 0
	}
	err := eachSocket(func(fd int) {
		for _, x := range s.sessions {
			if !connectedTo(fd, x.peer.Address, portsOf(s.running, x.peer)) {
				continue
			}
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, noDelay); err != nil {
				s.log.Warn("cannot have messages sent together", "peer", x.peer.Name, "error", err)
			}
		}
	})
	if err != nil {
		s.log.Warn("cannot have messages sent together", "error", err)
	}
}
