package vrrp

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inject sends a frame out of the interface of a namespace.
func (l *link) inject(n string, frames ...[]byte) {
	l.t.Helper()
	l.inside(n, func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		s, err := openFrameSocket()
		if err != nil {
			return err
		}
		defer s.close()
		for _, frame := range frames {
			if err := s.send(dev.Index, frame); err != nil {
				return err
			}
		}
		return nil
	})
}

// heardClaims are what a namespace hears of where addresses are, as "address MAC".
type heardClaims struct {
	mu   sync.Mutex
	told map[string]int
}

func (h *heardClaims) count(claim string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told[claim]
}

func (l *link) hear(n string) *heardClaims {
	l.t.Helper()
	h := &heardClaims{told: map[string]int{}}
	fd := -1
	l.inside(n, func() (err error) {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		half := unix.NsecToTimeval(int64(100 * time.Millisecond))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &half)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: dev.Index})
	})
	stop, ended := make(chan struct{}), make(chan struct{})
	l.t.Cleanup(func() { close(stop); <-ended; unix.Close(fd) })
	go func() {
		defer close(ended)
		b := make([]byte, 256)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				continue
			}
			if address, mac, ok := parseClaim(b[:n]); ok {
				h.mu.Lock()
				h.told[fmt.Sprint(address, " ", mac)]++
				h.mu.Unlock()
			}
		}
	}()
	return h
}

// neighbour is the MAC that a namespace believes an address to be at.
func (l *link) neighbour(n, address string) string {
	fields := strings.Fields(l.in(n, "ip neigh show "+address))
	if i := slices.Index(fields, "lladdr"); i >= 0 {
		return fields[i+1]
	}
	return ""
}

// TestWitness has a host claim the addresses of the gateway: all members see who does, and other hosts do not believe it for long.
func TestWitness(t *testing.T) {
	l := newLink(t, 3) // r3 is a host
	r1, r2 := l.driver("r1"), l.driver("r2")
	r1.set(testGateway(200, 100*time.Millisecond))
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	r2.set(testGateway(100, 100*time.Millisecond))
	r2.waitFor(IPv4, Backup)
	r2.waitFor(IPv6, Backup)
	l.in("r3", "ping -c 1 -W 2 "+gateway4, "ping -c 1 -W 2 "+gateway6)
	vmac := map[string]string{gateway4: vmac4, gateway6: vmac6}
	frames := [][]byte{garpFrame(foreignMAC, netip.MustParseAddr(gateway4)), naFrame(foreignMAC, netip.MustParseAddr(gateway6))}

	// The Active can't answer at first, so that it is sure that the host believed it.
	_ = syscall.Kill(r1.cmd.Process.Pid, syscall.SIGSTOP)
	l.inject("c", frames...)
	for address := range vmac {
		wait(t, 5*time.Second, "the host to believe it", func() bool { return l.neighbour("r3", address) == foreignMAC.String() })
	}
	_ = syscall.Kill(r1.cmd.Process.Pid, syscall.SIGCONT)
	for address, mac := range vmac {
		wait(t, 5*time.Second, "the host to know better", func() bool { return l.neighbour("r3", address) == mac })
	}
	for _, d := range []*driver{r1, r2} {
		for f, address := range map[Family]string{IPv4: gateway4, IPv6: gateway6} {
			wait(t, 5*time.Second, "the claim noted", func() bool { return len(d.router(f).Claims) > 0 })
			if c := d.router(f).Claims; len(c) != 1 || c[0].Address.String() != address || c[0].MAC != foreignMAC.String() || c[0].Port != "eth0" {
				t.Errorf("%s in %s: %+v", f, d.n, c)
			}
		}
	}

	// A flood costs no more than an announcement each second, and the last word is the Active's.
	h := l.hear("r3")
	begin := time.Now()
	l.inject("c", slices.Repeat(frames, 300)...)
	for address, mac := range vmac {
		wait(t, 5*time.Second, "the host to know better after a flood", func() bool { return l.neighbour("r3", address) == mac })
		if n := h.count(address + " " + mac); n > len(announceAt)+2+int(time.Since(begin)/defendStep) {
			t.Errorf("%d announcements of %s in answer to a flood", n, address)
		}
	}
	if c := r1.router(IPv4).Claims; len(c) != 1 {
		t.Errorf("claims %+v", c)
	}
}

// TestWitnessOfAnInstance: the claim comes from a port of the bridge that the gateway is on.
func TestWitnessOfAnInstance(t *testing.T) {
	l := newLink(t, 1)
	l.namespace("i")
	l.in("r1", "ip link add br0 type bridge forward_delay 0 mcast_snooping 0", "ip link add port-i type veth peer name eth0 netns "+l.name("i"),
		"ip link set port-i master br0 up", "ip link set br0 up", "ip addr add 192.0.2.250/24 dev br0")
	l.in("i", "ip link set eth0 up")
	r1 := l.driver("r1")
	g := testGateway(200, 100*time.Millisecond)
	g.Interface = "br0"
	r1.set(g)
	r1.waitFor(IPv4, Active)
	r1.waitFor(IPv6, Active)
	link := VirtualLinkLocal(51)
	l.inject("i", naFrame(foreignMAC, netip.MustParseAddr(gateway6)), neighborFrame(134, link, link, 1, foreignMAC))
	wait(t, 5*time.Second, "both claims", func() bool { return len(r1.router(IPv6).Claims) == 2 })
	for i, address := range []string{gateway6, link.String()} {
		if c := r1.router(IPv6).Claims[i]; c.Address.String() != address || c.MAC != foreignMAC.String() || c.Port != "port-i" {
			t.Errorf("%+v", c)
		}
	}
}
