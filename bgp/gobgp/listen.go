package gobgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"netfabric/fabric"
)

// hearable is c as it can be put in force without harm. Another address to accept sessions on costs all sessions that there are, and GoBGP does not begin
// at all without one that it was to have: when an address can't be had, sessions are accepted where they are now, or nowhere, and those that this side
// dials go on. The error says so.
func (s *Speaker) hearable(c *Config) (*Config, error) {
	if c.Speaker == nil || s.running != nil && *c.Speaker == *s.running {
		return c, nil
	}
	as, now := *c.Speaker, fabric.Speaker{}
	if s.running != nil {
		now = *s.running
	}
	var failures []error
	if as.Listen != now.Listen {
		if err := s.canListen(as.Listen); err != nil {
			failures = append(failures, listenFailed([]netip.AddrPort{as.Listen}, err))
			as.Listen = now.Listen
		}
	}
	if at := netip.AddrPortFrom(c.Speaker.Mesh, c.Speaker.Port()); as.Mesh != now.Mesh && as.Mesh.IsValid() && !c.Speaker.ListensAt(as.Mesh) {
		if err := s.canListen(at); err != nil {
			failures = append(failures, listenFailed([]netip.AddrPort{at}, err))
			as.Mesh = now.Mesh
		}
	}
	if len(failures) == 0 {
		return c, nil
	}
	kept := *c
	// The packet filter guards what was asked for.
	kept.Speaker, kept.Closed = &as, c.Closed || as.Port() != c.Speaker.Port() || as.Listen.IsValid() && as.Listen != c.Speaker.Listen
	return &kept, errors.Join(failures...)
}

// canListen tries an address. One that may be in use by our own sockets is taken for good.
func (s *Speaker) canListen(at netip.AddrPort) error {
	if !at.IsValid() {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", at.String())
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && s.running != nil && s.running.Accepts() && at.Port() == s.running.Port() {
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

// elsewhere tells whether a speaker differs from the one that runs in nothing but where it accepts sessions. Peers see nothing of that.
func (s *Speaker) elsewhere(next *fabric.Speaker) bool {
	if s.running == nil || next == nil {
		return false
	}
	as := *next
	as.Listen, as.Mesh = s.running.Listen, s.running.Mesh
	return as == *s.running
}
