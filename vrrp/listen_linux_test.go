package vrrp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A socket that an outdated report leaves out stays open and read; one that is really not needed any more is closed, and wakes nobody before.
func TestSocketsComeAndGo(t *testing.T) {
	poll, err := openPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poll.close()
	m := &Manager{poll: poll}
	key := func(f Family) socketKey { return socketKey{7, f} }
	open := func(families ...Family) listening {
		l := listening{map[socketKey]*openedSocket{}, map[int]*openedSocket{}}
		for _, f := range families {
			fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK) // there is something to be read
			if err != nil {
				t.Fatal(err)
			}
			l.routers[key(f)] = &openedSocket{socket: &socket{fd: fd, family: f}}
		}
		return l
	}
	is := func(fd int) bool { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); return err == nil }

	first := open(IPv4)
	if opened := m.read(first.and(m.listening)); len(opened) != 1 || !opened[key(IPv4)] {
		t.Errorf("opened %v", opened)
	}
	if opened := m.read(first); len(opened) != 0 {
		t.Errorf("a repeat opened %v", opened)
	}
	if opened := m.read(open(IPv6).and(m.listening)); len(opened) != 1 || !opened[key(IPv6)] {
		t.Errorf("then opened %v", opened)
	}
	four, six := m.listening.routers[key(IPv4)].socket.fd, m.listening.routers[key(IPv6)].socket.fd
	if !is(four) || !is(six) {
		t.Fatal("a socket was closed that the report did not know of")
	}
	again := open(IPv4)
	if opened := m.read(again); !opened[key(IPv4)] {
		t.Error("another socket in the place of one is not new")
	}
	for _, fd := range []int{four, six} {
		wait(t, 5*time.Second, "sockets closed", func() bool { return !is(fd) })
	}
	poll.remove(again.routers[key(IPv4)].socket.fd)
	began := time.Now()
	poll.wait(int64(20 * time.Millisecond))
	if took := time.Since(began); took < 10*time.Millisecond {
		t.Errorf("woken after %s by what is not read", took)
	}
	m.listening.close()
}
