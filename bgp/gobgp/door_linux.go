package gobgp

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// loopback is the interface that nobody from outside comes in by.
const loopback = "lo"

// setDoor has the listening sockets take connections of other hosts, or none. Sessions that are there go on: GoBGP could open and close these sockets
// only by ending all sessions, so they are bound to an interface instead (SO_BINDTODEVICE in socket(7)).
func (s *Speaker) setDoor(closed bool) error {
	if closed == s.closed || !s.running.Accepts() {
		return nil
	}
	device := ""
	if closed {
		device = loopback
	}
	err := s.eachListener(func(fd int, _ netip.Addr) error {
		return unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
	})
	if err != nil {
		return fmt.Errorf("let BGP sessions in: %w", err)
	}
	s.closed = closed
	return nil
}
