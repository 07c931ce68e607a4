package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// runCheck makes one check against an address, from inside a network namespace, and gives the failure in words; empty is success.
func runCheck(ns *os.File, c fabric.Check, address netip.Addr) string {
	target := netip.AddrPortFrom(address, c.Port)
	deadline := time.Now().Add(time.Duration(c.Timeout) * time.Millisecond)
	switch c.Type {
	case fabric.CheckTCP:
		conn, err := dialIn(ns, target, deadline)
		if err != nil {
			return fmt.Sprintf("tcp %s: %s", target, failure(err, c))
		}
		conn.Close()
		return ""
	case fabric.CheckHTTP, fabric.CheckHTTPS:
		return webCheck(ns, c, target, deadline)
	case fabric.CheckDNS:
		return dnsCheck(ns, c, target, deadline)
	}
	return fmt.Sprintf("check type %q is not known to this version of fabric-router", c.Type)
}

func failure(err error, c fabric.Check) string {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + strconv.Itoa(c.Timeout) + " ms"
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	if e := (*tls.CertificateVerificationError)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

// dialIn connects by TCP from inside a network namespace.
func dialIn(ns *os.File, to netip.AddrPort, deadline time.Time) (net.Conn, error) {
	return dialAs(ns, unix.SOCK_STREAM, to, deadline)
}

// dialAs connects a socket of a type (socket(2)) from inside a network namespace. The connection keeps the deadline.
func dialAs(ns *os.File, kind int, to netip.AddrPort, deadline time.Time) (net.Conn, error) {
	fd, err := socketIn(ns, kind, to.Addr())
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "check")
	conn, err := net.FileConn(f) // has its own copy of the file
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("make connection: %w", err)
	}
	if err := connect(conn, to, deadline); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// socketIn makes a socket that belongs to a network namespace, without one to that of this process. Only the thread that makes it has to be there, and only so long.
func socketIn(ns *os.File, kind int, like netip.Addr) (int, error) {
	domain := unix.AF_INET
	if like.Is6() {
		domain = unix.AF_INET6
	}
	if ns == nil {
		fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return fd, os.NewSyscallError("socket", err)
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("open own network namespace: %w", err)
	}
	defer home.Close()
	if err := enter(ns); err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("enter network namespace of the instance: %w", err)
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if back := enter(home); back != nil {
		// The thread stays locked and ends with its goroutine, so that nothing else ever runs in the wrong namespace.
		if err == nil {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("leave network namespace of the instance: %w", back)
	}
	runtime.UnlockOSThread()
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// enter moves the thread into a network namespace. The file stays open meanwhile, whoever closes it.
func enter(ns *os.File) error {
	raw, err := ns.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
		return err
	}
	return result
}

// connect connects a socket that is not, within a deadline.
func connect(conn net.Conn, to netip.AddrPort, deadline time.Time) error {
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if to.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	started := false
	var result error
	err = raw.Write(func(fd uintptr) bool {
		if !started {
			started = true
			result = unix.Connect(int(fd), sa)
			return result != unix.EINPROGRESS
		}
		var done bool
		done, result = settled(int(fd))
		return done
	})
	if err != nil {
		return err
	}
	return result
}

// settled tells what has become of a connection under way: a socket may be said to be ready for what it was before there was one.
func settled(fd int) (done bool, err error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return true, err
	}
	_, err = unix.Getpeername(fd)
	if errors.Is(err, unix.ENOTCONN) {
		return false, nil
	}
	return true, err
}
