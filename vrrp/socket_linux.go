package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// socket is a raw VRRP socket of one family on one interface: it hears the group and our own addresses there, and
// sends to single routers. Advertisements to the group go out of a frameSocket, as they come from the virtual MAC.
type socket struct {
	fd      int
	family  Family
	ifindex int
	buffer  [2048]byte
	control [256]byte
}

func openSocket(f Family, name string, ifindex int) (*socket, error) {
	domain := unix.AF_INET
	if f == IPv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, Protocol)
	if err != nil {
		return nil, fmt.Errorf("open a VRRP socket on %s: %w", name, err)
	}
	s := &socket{fd: fd, family: f, ifindex: ifindex}
	if err := s.setup(name); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up a VRRP socket on %s: %w", name, err)
	}
	return s, nil
}

func (s *socket) setup(name string) error {
	if err := unix.BindToDevice(s.fd, name); err != nil {
		return os.NewSyscallError("bind to device", err)
	}
	if s.family == IPv4 {
		group := &unix.IPMreqn{Multiaddr: IPv4.Group().As4(), Ifindex: int32(s.ifindex)}
		return errors.Join(
			unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, group),
			unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
			unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_TTL, 255),
			unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_TOS, 0xc0),
		)
	}
	group := &unix.IPv6Mreq{Multiaddr: IPv6.Group().As16(), Interface: uint32(s.ifindex)}
	return errors.Join(
		unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group),
		unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
		unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255),
	)
}

func (s *socket) close() { unix.Close(s.fd) }

// read gives the next packet, false when there is none. Payload is good until the next call.
func (s *socket) read() (Packet, bool) {
	for {
		n, oobn, _, from, err := unix.Recvmsg(s.fd, s.buffer[:], s.control[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return Packet{}, false
		case err != nil: // ENETDOWN and the like are told once; the next call goes on
			return Packet{}, false
		}
		if p, ok := s.packet(s.buffer[:n], s.control[:oobn], from); ok {
			return p, true
		}
	}
}

func (s *socket) packet(b, control []byte, from unix.Sockaddr) (Packet, bool) {
	if s.family == IPv4 {
		if len(b) < 20 || len(b) < int(b[0]&0xf)*4 {
			return Packet{}, false
		}
		return Packet{
			Source: netip.AddrFrom4([4]byte(b[12:16])), Destination: netip.AddrFrom4([4]byte(b[16:20])),
			TTL: int(b[8]), Payload: b[int(b[0]&0xf)*4:],
		}, true
	}
	sender, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return Packet{}, false
	}
	p := Packet{Source: netip.AddrFrom16(sender.Addr), TTL: -1, Payload: b}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return Packet{}, false
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			p.TTL = int(int32(binary.NativeEndian.Uint32(m.Data)))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			p.Destination = netip.AddrFrom16([16]byte(m.Data[:16]))
		}
	}
	return p, p.Destination.IsValid()
}

// send sends to one router, from one of our addresses on the interface.
func (s *socket) send(source, to netip.Addr, payload []byte) error {
	var control []byte
	var address unix.Sockaddr
	if s.family == IPv4 {
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(s.ifindex), Spec_dst: source.As4()})
		address = &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(s.ifindex), Addr: source.As16()})
		address = &unix.SockaddrInet6{Addr: to.As16(), ZoneId: uint32(s.ifindex)}
	}
	return unix.Sendmsg(s.fd, payload, control, address, unix.MSG_DONTWAIT)
}

// frameSocket sends Ethernet frames out of any interface. It receives nothing.
type frameSocket struct{ fd int }

func openFrameSocket() (*frameSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket for VRRP: %w (grant CAP_NET_RAW)", err)
	}
	return &frameSocket{fd}, nil
}

func (s *frameSocket) send(ifindex int, frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: ifindex, Halen: 6}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(s.fd, frame, unix.MSG_DONTWAIT, to)
}

func (s *frameSocket) close() { unix.Close(s.fd) }

// poller waits for sockets, a timer and pokes from other goroutines.
type poller struct{ epoll, event, timer int }

func openPoller() (*poller, error) {
	p := &poller{-1, -1, -1}
	var errs [3]error
	p.epoll, errs[0] = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	p.event, errs[1] = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	p.timer, errs[2] = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	err := errors.Join(errs[:]...)
	if err == nil {
		err = errors.Join(p.add(p.event), p.add(p.timer))
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("set up waiting for VRRP packets: %w", err)
	}
	return p, nil
}

func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// remove ends waiting for a socket. It fails only for one that was not added.
func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// poke makes a wait in another goroutine return.
func (p *poller) poke() {
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.event, one[:]) // it fails only when a poke is pending already
}

// wait sleeps until something is there to be read, or for nanoseconds; negative is for ever.
func (p *poller) wait(nanoseconds int64) {
	var spec unix.ItimerSpec
	if nanoseconds == 0 {
		nanoseconds = 1
	}
	if nanoseconds > 0 {
		spec.Value = unix.NsecToTimespec(nanoseconds)
	}
	_ = unix.TimerfdSettime(p.timer, 0, &spec, nil)
	var events [16]unix.EpollEvent
	_, _ = unix.EpollWait(p.epoll, events[:], -1) // after EINTR the caller just comes again
	var drop [8]byte
	_, _ = unix.Read(p.event, drop[:])
	_, _ = unix.Read(p.timer, drop[:])
}

func (p *poller) close() {
	for _, fd := range []int{p.epoll, p.event, p.timer} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
