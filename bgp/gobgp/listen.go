package gobgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"netfabric/fabric"
)

// hearable is c as it can be put in force without harm. Another address to accept sessions on costs all sessions that there are: when it can't be had,
// they go on as they are and nobody else gets in, until it can or is another one. The error says so.
func (s *Speaker) hearable(c *Config) (*Config, error) {
	if s.running == nil || c.Speaker == nil || c.Speaker.Listen == s.running.Listen {
		return c, nil
	}
	as := *c.Speaker
	as.Listen = s.running.Listen
	if as != *s.running {
		return c, nil // they have to go anyway
	}
	if err := s.canListen(c.Speaker.Listen); err != nil {
		kept := *c
		kept.Speaker, kept.Closed = &as, true // the packet filter guards the other address
		return &kept, listenFailed([]netip.AddrPort{c.Speaker.Listen}, err)
	}
	return c, nil
}

// canListen tries an address. One that may be in use by our own sockets is taken for good.
func (s *Speaker) canListen(at netip.AddrPort) error {
	if !at.IsValid() {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", at.String())
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && s.running.Accepts() && at.Port() == s.running.Port() {
			return nil
		}
		return err
	}
	return l.Close()
}

// listenFailed says that sessions can't be accepted.
func listenFailed(at []netip.AddrPort, err error) error {
	return fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonListenFailed, "accept BGP sessions on %v: %w", at, err).
		WithFix("give the member that address, or set its core.bgp_address to none")
}
