package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ports of BFD.
const (
	portSingleHop = 3784  // RFC 5881, 4
	portMultihop  = 4784  // RFC 5883, 5
	sourceLow     = 49152 // RFC 5881, 4
	sourceHigh    = 65535
)

// classControl is the DSCP CS6 of network control (RFC 4594, 3.1) as a byte of the header.
const classControl = 0xc0

// preferPublic is IPV6_PREFER_SRC_PUBLIC (RFC 5014, 5.1; linux/in6.h).
const preferPublic = 0x2

// receiverKind tells receivers apart.
type receiverKind struct {
	v6, multihop bool
}

// receiver is the socket that all sessions of a kind receive on.
type receiver struct {
	kind  receiverKind
	fd    int
	paths int // that need it

	// Of receive, kept so that it makes no garbage.
	name    unix.RawSockaddrInet6 // has room for both families
	vector  unix.Iovec
	message unix.Msghdr
	buffer  [256]byte // the length field of a packet has 8 bits
	control [256]byte
}

// linuxPath is the socket that a session sends from.
type linuxPath struct {
	host    *linux
	kind    receiverKind
	key     Key
	ifindex int // of the key's interface
	fd      int
	port    uint16
	to      unix.Sockaddr
}

// option is a socket option with an integer value.
type option struct {
	level, name, value int
	what               string
}

// open makes the sending socket of a session, and the receiving one of its kind where it is the first.
func (l *linux) open(k Key) (path, int, *pathError) {
	ifindex := 0
	if k.Interface != "" {
		i, err := interfaceIndex(k.Interface)
		if err != nil {
			return nil, 0, fault(k, "find its interface", err)
		}
		ifindex = i
	}
	kind := receiverKind{v6: k.Address.Is6(), multihop: k.Multihop}
	if err := l.need(kind); err != nil {
		return nil, 0, fault(k, fmt.Sprintf("listen on UDP port %d", kind.port()), err)
	}
	p := &linuxPath{host: l, kind: kind, key: k, ifindex: ifindex, fd: -1, to: sockaddr(k.Address, uint16(kind.port()), ifindex)}
	if err := p.open(); err != nil {
		p.close()
		return nil, 0, fault(k, "open a socket to send from", err)
	}
	return p, ifindex, nil
}

// fault says what failed, and why in a slug.
func fault(k Key, doing string, err error) *pathError {
	f := &pathError{reason: ReasonSocket}
	hint := ""
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		f.reason, hint = ReasonPortInUse, ": stop the other BFD daemon of this host (bird, bfdd)"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		f.reason, f.gone, hint = ReasonNoInterface, true, fmt.Sprintf(": interface %q is not there", k.Interface)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		f.reason, f.gone, hint = ReasonNoLocal, true, ": the local address is not on this host, or not ready yet"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN):
		f.reason, hint = ReasonUnreachable, ": no route to the neighbour, or its link is down"
	}
	f.err = fmt.Errorf("BFD session with %s: %s: %w%s", k, doing, err, hint)
	return f
}

// need opens the receiver of a kind where there is none, and counts one more user.
func (l *linux) need(kind receiverKind) error {
	if r := l.receivers[kind]; r != nil {
		r.paths++
		return nil
	}
	r := &receiver{kind: kind, paths: 1}
	if err := r.open(); err != nil {
		return err
	}
	l.receivers[kind] = r
	l.repoll()
	return nil
}

// release closes the receiver of a kind after its last user.
func (l *linux) release(kind receiverKind) {
	r := l.receivers[kind]
	if r.paths--; r.paths == 0 {
		delete(l.receivers, kind)
		l.repoll()
		_ = unix.Close(r.fd) // nothing was written that could be lost
	}
}

func (k receiverKind) port() int {
	if k.multihop {
		return portMultihop
	}
	return portSingleHop
}

func (k receiverKind) socket() (int, error) {
	family := unix.AF_INET
	if k.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	return fd, os.NewSyscallError("socket", err)
}

func (r *receiver) open() (err error) {
	if r.fd, err = r.kind.socket(); err != nil {
		return err
	}
	options, any := []option{
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1, "IP_PKTINFO"},
		{unix.IPPROTO_IP, unix.IP_RECVTTL, 1, "IP_RECVTTL"},
	}, netip.IPv4Unspecified()
	if r.kind.v6 {
		options, any = []option{
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT"},
		}, netip.IPv6Unspecified()
	}
	if err = setOptions(r.fd, options); err == nil {
		err = os.NewSyscallError("bind", unix.Bind(r.fd, sockaddr(any, uint16(r.kind.port()), 0)))
	}
	if err != nil {
		_ = unix.Close(r.fd)
		return err
	}
	// Room for what comes while the thread waits for a processor. Without CAP_NET_ADMIN the system's default has to do.
	_ = unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	r.vector.Base = &r.buffer[0]
	r.vector.SetLen(len(r.buffer))
	r.message.Name = (*byte)(unsafe.Pointer(&r.name))
	r.message.Iov = &r.vector
	r.message.SetIovlen(1)
	r.message.Control = &r.control[0]
	return nil
}

// receive reads a datagram that has come. It does without unix.Recvmsg, which makes garbage.
func (r *receiver) receive() (datagram, bool) {
	for {
		r.message.Namelen = uint32(unsafe.Sizeof(r.name))
		r.message.SetControllen(len(r.control))
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.message)), unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return datagram{}, false
		}
		d := datagram{multihop: r.kind.multihop, payload: r.buffer[:n]}
		if r.kind.v6 {
			d.source = netip.AddrFrom16(r.name.Addr)
		} else {
			d.source = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name)).Addr)
		}
		r.annotate(&d)
		return d, true
	}
}

// annotate reads TTL, destination and interface from the control messages.
func (r *receiver) annotate(d *datagram) {
	rest := r.control[:r.message.Controllen]
	for len(rest) >= unix.SizeofCmsghdr {
		header, data, after, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return
		}
		rest = after
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_TTL && len(data) >= 4,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			d.ttl = int(binary.NativeEndian.Uint32(data))
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			d.ifindex, d.destination = int(binary.NativeEndian.Uint32(data)), netip.AddrFrom4([4]byte(data[8:12]))
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			d.destination, d.ifindex = netip.AddrFrom16([16]byte(data[:16])), int(binary.NativeEndian.Uint32(data[16:]))
		}
	}
}

func (p *linuxPath) open() (err error) {
	if p.fd, err = p.kind.socket(); err != nil {
		return err
	}
	options := []option{
		{unix.SOL_SOCKET, unix.SO_RCVBUF, 0, "SO_RCVBUF"}, // nobody reads from it; the kernel rounds up to its least
		{unix.IPPROTO_IP, unix.IP_TTL, 255, "IP_TTL"},
		{unix.IPPROTO_IP, unix.IP_TOS, classControl, "IP_TOS"},
	}
	if p.kind.v6 {
		options = append(options[:1],
			option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
			option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255, "IPV6_UNICAST_HOPS"},
			option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, classControl, "IPV6_TCLASS"},
			// A temporary address (RFC 8981) would change under the neighbour's eyes.
			option{unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic, "IPV6_ADDR_PREFERENCES"},
		)
	}
	if err := setOptions(p.fd, options); err != nil {
		return err
	}
	if p.key.Interface != "" {
		if err := unix.BindToDevice(p.fd, p.key.Interface); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	return p.bind()
}

// bind takes a source port that no other session here has (RFC 5881, 4).
func (p *linuxPath) bind() error {
	local := p.key.Local
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
		if p.kind.v6 {
			local = netip.IPv6Unspecified()
		}
	}
	const count = sourceHigh - sourceLow + 1
	first := rand.IntN(count)
	for i := range count {
		port := uint16(sourceLow + (first+i)%count)
		if p.host.ports[port] {
			continue
		}
		err := unix.Bind(p.fd, sockaddr(local, port, p.ifindex))
		if err == nil {
			p.port = port
			p.host.ports[port] = true
			return nil
		}
		if err != unix.EADDRINUSE {
			return os.NewSyscallError("bind", err)
		}
	}
	return fmt.Errorf("all source ports of %d-%d are in use", sourceLow, sourceHigh)
}

func (p *linuxPath) send(b []byte) *pathError {
	err := unix.Sendto(p.fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, p.to)
	if err == nil {
		return nil
	}
	f := fault(p.key, "send a packet", err)
	if f.reason == ReasonSocket {
		f.reason = ReasonSend
	}
	// EINVAL is what a source address says that is not on this host any more. A link that is only down comes back to this socket; one that
	// was made anew does not.
	f.gone = f.gone || err == unix.EINVAL
	if p.key.Interface != "" {
		now, err := interfaceIndex(p.key.Interface)
		f.gone = f.gone || err != nil || now != p.ifindex
	}
	return f
}

func (p *linuxPath) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd) // datagrams are sent or lost by now
	}
	if p.port != 0 {
		delete(p.host.ports, p.port)
	}
	p.host.release(p.kind)
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt "+o.what, err)
		}
	}
	return nil
}

// sockaddr is the socket address; ifindex counts for link-local addresses only.
func sockaddr(a netip.Addr, port uint16, ifindex int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	s := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		s.ZoneId = uint32(ifindex)
	}
	return s
}

// interfaceIndex asks in the network namespace of the calling thread.
func interfaceIndex(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("interface name %q: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, os.NewSyscallError("ioctl SIOCGIFINDEX", err)
	}
	return int(request.Uint32()), nil
}
