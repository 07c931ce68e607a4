package bgptest

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Tally counts the IPv4 host routes inside a prefix that a host's kernel has. It takes so little time that 100,000 of them can come while
// something else is measured.
type Tally struct {
	t      testing.TB
	within netip.Prefix
	buffer []byte

	mu   sync.Mutex
	have map[[4]byte]bool
	lost bool // the kernel has dropped events
	at   time.Time
	news chan struct{} // one slot
}

// Tally begins to count; the host must have no such route yet.
func (n *Node) Tally(within netip.Prefix) *Tally {
	n.t.Helper()
	ns, err := netns.GetFromName(n.Name)
	if err != nil {
		n.t.Fatal(err)
	}
	defer ns.Close()
	s, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := s.SetReceiveBufferSize(256<<20, true); err != nil {
		n.t.Fatal(err)
	}
	if err := unix.SetNonblock(s.GetFd(), true); err != nil {
		n.t.Fatal(err)
	}
	y := &Tally{t: n.t, within: within, buffer: make([]byte, 1<<20), have: map[[4]byte]bool{}, news: make(chan struct{}, 1)}
	end, ended := make(chan struct{}), make(chan struct{})
	n.t.Cleanup(func() { close(end); <-ended; s.Close() })
	go func() {
		defer close(ended)
		// To be woken for each route would take as much of a processor as what is measured.
		look := time.NewTicker(tallyEvery)
		defer look.Stop()
		for {
			select {
			case <-end:
				return
			case <-look.C:
				y.drain(s.GetFd())
			}
		}
	}()
	return y
}

// tallyEvery is how often it is looked for routes, and so how late a time can be.
const tallyEvery = 2 * time.Millisecond

// drain reads what has come.
func (y *Tally) drain(socket int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for {
		switch size, err := unix.Read(socket, y.buffer); err {
		case nil:
			y.take(y.buffer[:size], time.Now())
		case unix.EINTR:
		case unix.ENOBUFS:
			y.lost = true
		default: // nothing more
			wake(y.news)
			return
		}
	}
}

// take reads messages of rtnetlink(7).
func (y *Tally) take(b []byte, now time.Time) {
	for len(b) >= unix.SizeofNlMsghdr+unix.SizeofRtMsg {
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		m := b[unix.SizeofNlMsghdr:size]
		b = b[min(len(b), (size+3)&^3):]
		if (kind != unix.RTM_NEWROUTE && kind != unix.RTM_DELROUTE) || m[1] != 32 {
			continue
		}
		for a := m[unix.SizeofRtMsg:]; len(a) >= 8; {
			if binary.NativeEndian.Uint16(a[2:]) == unix.RTA_DST {
				dst := [4]byte(a[4:8])
				if y.within.Contains(netip.AddrFrom4(dst)) {
					if kind == unix.RTM_NEWROUTE {
						y.have[dst] = true
					} else {
						delete(y.have, dst)
					}
					y.at = now
				}
				break
			}
			a = a[min(len(a), (int(binary.NativeEndian.Uint16(a))+3)&^3):]
		}
	}
}

func wake(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// Until waits until there are so many routes, and tells when the last change was. The test fails after the bound.
func (y *Tally) Until(count int, bound time.Duration) time.Time {
	y.t.Helper()
	end := time.After(bound)
	for {
		y.mu.Lock()
		have, lost, at := len(y.have), y.lost, y.at
		y.mu.Unlock()
		if lost {
			y.t.Fatal("the kernel dropped events of routes")
		}
		if have == count {
			return at
		}
		select {
		case <-y.news:
		case <-end:
			y.t.Fatalf("%d routes after %s, want %d", have, bound, count)
		}
	}
}
