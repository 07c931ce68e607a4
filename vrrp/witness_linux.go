package vrrp

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// witnessed is a frame that says of an address of a gateway where it is.
type witnessed struct {
	at      socketKey
	address netip.Addr
	mac     net.HardwareAddr
	port    string
}

// witness hears who claims the addresses of gateways on their interfaces. A filter in the kernel keeps everything else away, so that it costs
// nothing under load; goroutines of its own open, read and close, so that it does not keep the loop from its timers: closing such a
// socket alone takes the kernel tens of milliseconds.
type witness struct {
	heard  func(witnessed)
	opened func(error) // what could not be opened; nil: nothing

	mu    sync.Mutex
	want  map[socketKey][]netip.Addr
	stop  bool
	wake  chan struct{}
	ended chan struct{}

	watches map[socketKey]*claimWatch // of the goroutine
}

// claimWatch is the socket of one interface and family.
type claimWatch struct {
	file      *os.File
	addresses []netip.Addr
}

// claimsPerSecond is how many claims of one interface and family are looked at: of more, the kernel drops what does not fit into the socket.
const claimsPerSecond = 100

func newWitness(heard func(witnessed), opened func(error)) *witness {
	return &witness{heard: heard, opened: opened, wake: make(chan struct{}, 1), ended: make(chan struct{}), watches: map[socketKey]*claimWatch{}}
}

// set makes these the addresses to listen for. What can't be opened is tried again with the next call.
func (w *witness) set(want map[socketKey][]netip.Addr) {
	w.mu.Lock()
	w.want = want
	w.mu.Unlock()
	w.poke()
}

func (w *witness) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run carries out what set was told last, until close.
func (w *witness) run() {
	defer close(w.ended)
	for range w.wake {
		w.mu.Lock()
		want, stop := w.want, w.stop
		w.mu.Unlock()
		err := w.apply(want)
		if stop {
			return
		}
		w.opened(err)
	}
}

// apply opens and closes sockets. The error tells of those that could not be had; the others are there.
func (w *witness) apply(want map[socketKey][]netip.Addr) error {
	var errs []error
	for key, addresses := range want {
		old := w.watches[key]
		if old != nil && slices.Equal(old.addresses, addresses) {
			continue
		}
		file, err := openClaimSocket(key, addresses)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if old != nil {
			_ = old.file.Close()
		}
		w.watches[key] = &claimWatch{file, addresses}
		go w.read(key, file, addresses)
	}
	for key, watch := range maps.All(w.watches) {
		if _, wanted := want[key]; !wanted {
			_ = watch.file.Close()
			delete(w.watches, key)
		}
	}
	return errors.Join(errs...)
}

// openClaimSocket hears what comes in on an interface. It gets its filter before it hears anything.
func openClaimSocket(key socketKey, addresses []netip.Addr) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("listen for claims of %s addresses on interface %d: %w", key.family, key.ifindex, err)
	}
	program, err := bpf.Assemble(claimFilter(key.family, addresses))
	if err != nil {
		return fail(err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(os.NewSyscallError("socket", err))
	}
	kind := uint16(etherARP)
	if key.family == IPv6 {
		kind = etherIPv6
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<16),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: key.ifindex, Protocol: kind<<8 | kind>>8}),
	)
	if err != nil {
		unix.Close(fd)
		return fail(err)
	}
	return os.NewFile(uintptr(fd), "claims"), nil
}

// read tells of claims until the socket is closed.
func (w *witness) read(key socketKey, file *os.File, addresses []netip.Addr) {
	nl, err := netlink.NewHandle()
	if err == nil {
		defer nl.Close()
	}
	ports := portMemory{find: portFinder{nl: nl, ifindex: key.ifindex}.find, known: map[portKey]foundPort{}}
	pace := time.NewTicker(time.Second / claimsPerSecond)
	defer pace.Stop()
	buffer := make([]byte, claimSnap)
	for ; ; <-pace.C {
		n, err := file.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // that the interface went down, for one: told once
			continue
		}
		address, mac, ok := parseClaim(buffer[:n])
		if ok && slices.Contains(addresses, address) {
			w.heard(witnessed{key, address, slices.Clone(mac), ports.port(address, mac, time.Now())})
		}
	}
}

// close ends the listening.
func (w *witness) close() {
	w.mu.Lock()
	w.want, w.stop = nil, true
	w.mu.Unlock()
	w.poke()
	<-w.ended
}

// portFinder finds the interface that a MAC is behind.
type portFinder struct {
	nl      *netlink.Handle
	ifindex int
}

// find gives the port of the bridge, where the interface is one that has learned the MAC, else the interface; empty where neither is known.
func (p portFinder) find(mac net.HardwareAddr) string {
	if p.nl == nil {
		return ""
	}
	link, err := p.nl.LinkByIndex(p.ifindex)
	if err != nil {
		return ""
	}
	if link.Type() != "bridge" {
		return link.Attrs().Name
	}
	entries, err := p.nl.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return link.Attrs().Name
	}
	for _, e := range entries {
		if e.MasterIndex != p.ifindex || !slices.Equal(e.HardwareAddr, mac) {
			continue
		}
		if port, err := p.nl.LinkByIndex(e.LinkIndex); err == nil {
			return port.Attrs().Name
		}
	}
	return link.Attrs().Name
}
