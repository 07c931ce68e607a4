package vrrp

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// parent is what a virtual router needs to know of the interface it is on.
type parent struct {
	Index   int // 0: there is no such interface
	Running bool
	IPv4    []netip.Addr   // primary addresses, in the kernel's order
	IPv6    []netip.Addr   // usable link-local addresses
	All     []netip.Addr   // of both families
	Subnets []netip.Prefix // of IPv4
}

// neighbour tells whether an address is one that another host on the link can have.
func (p parent) neighbour(a netip.Addr) bool {
	if slices.Contains(p.All, a) {
		return false
	}
	if a.Is6() {
		return a.IsLinkLocalUnicast()
	}
	return slices.ContainsFunc(p.Subnets, func(s netip.Prefix) bool {
		if !s.Contains(a) {
			return false
		}
		// The first and the last address of a subnet are no hosts', unless there are only two (RFC 3021).
		return s.Bits() >= 31 || s.Contains(a.Prev()) && s.Contains(a.Next())
	})
}

// owned is an address of a virtual router that the interface really has.
func (p parent) owned(virtual []netip.Prefix) netip.Addr {
	for _, v := range virtual {
		if slices.Contains(p.All, v.Addr()) {
			return v.Addr()
		}
	}
	return netip.Addr{}
}

// primary is the own address that a router advertises from (RFC 9568, 5.1.1.1 and 5.1.2.1); not one of the virtual
// router's, if there is another. An invalid address means that there is none.
func (p parent) primary(f Family, virtual []netip.Prefix) netip.Addr {
	own := p.IPv4
	if f == IPv6 {
		own = p.IPv6
	}
	var fallback netip.Addr
	for _, a := range own {
		if !slices.ContainsFunc(virtual, func(v netip.Prefix) bool { return v.Addr() == a }) {
			return a
		}
		fallback = a
	}
	return fallback
}

func (p parent) equal(q parent) bool {
	return p.Index == q.Index && p.Running == q.Running && slices.Equal(p.IPv4, q.IPv4) && slices.Equal(p.IPv6, q.IPv6) && slices.Equal(p.All, q.All) &&
		slices.Equal(p.Subnets, q.Subnets)
}

// rescanPeriod is the safety net below the kernel's notifications.
const rescanPeriod = 5 * time.Second

// watcher tells what interfaces are like, and opens sockets on them, from a goroutine of its own.
type watcher struct {
	nl     *netlink.Handle
	report func(found)

	mu        sync.Mutex
	interests map[string]interest
	serial    uint64 // of the interests
	wake      chan struct{}
	stop      chan struct{}
	ended     chan struct{}
}

// found is what the watcher has found.
type found struct {
	serial    uint64 // of the interests that it looked for
	parents   map[string]parent
	listening listening
}

func newWatcher(nl *netlink.Handle, report func(found)) *watcher {
	return &watcher{nl: nl, report: report, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
}

// look sets which interfaces are of interest, and reports them.
func (w *watcher) look(interests map[string]interest) {
	w.mu.Lock()
	if !maps.Equal(interests, w.interests) {
		w.interests = interests
		w.serial++
	}
	w.mu.Unlock()
	w.poke()
}

// outdated tells whether something else has become of interest since.
func (w *watcher) outdated(f found) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f.serial != w.serial
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// subscribe has the kernel poke us. It fails only for want of file descriptors; rescanPeriod then remains.
func (w *watcher) subscribe() error {
	links, addresses := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	if err := netlink.LinkSubscribe(links, w.stop); err != nil {
		return err
	}
	if err := netlink.AddrSubscribe(addresses, w.stop); err != nil {
		return err
	}
	go func() {
		for range links {
			w.poke()
		}
	}()
	go func() {
		for range addresses {
			w.poke()
		}
	}()
	return nil
}

func (w *watcher) run() {
	defer close(w.ended)
	tick := time.NewTicker(rescanPeriod)
	defer tick.Stop()
	var open listening
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-tick.C:
		}
		w.mu.Lock()
		interests, serial := w.interests, w.serial
		w.mu.Unlock()
		parents := map[string]parent{}
		for name := range interests {
			parents[name] = w.scan(name)
		}
		open = open.renew(interests, parents)
		w.report(found{serial, parents, open})
	}
}

func (w *watcher) close() {
	close(w.stop)
	<-w.ended
}

func (w *watcher) scan(name string) parent {
	link, err := w.nl.LinkByName(name)
	if err != nil {
		return parent{}
	}
	a := link.Attrs()
	p := parent{Index: a.Index, Running: a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0}
	list, err := w.nl.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return p
	}
	for _, address := range list {
		subnet := prefixOf(address)
		ip := subnet.Addr()
		p.All = append(p.All, ip)
		if ip.Is4() {
			p.Subnets = append(p.Subnets, subnet)
		}
		switch {
		case ip.Is4() && address.Flags&unix.IFA_F_SECONDARY == 0:
			p.IPv4 = append(p.IPv4, ip)
		case ip.Is6() && ip.IsLinkLocalUnicast() && address.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0:
			p.IPv6 = append(p.IPv6, ip)
		}
	}
	return p
}
