package vrrp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probe pings an address from the client, once per millisecond, and knows what got lost.
type probe struct {
	conn net.PacketConn
	to   net.Addr
	six  bool
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time
	answered []time.Time // zero: not answered

	firstLost time.Time
	back      time.Time // end of the longest gap
}

const probeEvery = time.Millisecond

func (l *link) probe(to string) *probe {
	l.t.Helper()
	address := netip.MustParseAddr(to)
	p := &probe{to: &net.IPAddr{IP: address.AsSlice()}, six: address.Is6(), stop: make(chan struct{})}
	l.inside("c", func() (err error) {
		if p.six {
			p.conn, err = net.ListenPacket("ip6:ipv6-icmp", "::")
		} else {
			p.conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		}
		return err
	})
	p.wg.Add(2)
	go p.send()
	go p.receive()
	l.t.Cleanup(func() { p.end() })
	return p
}

func (p *probe) send() {
	defer p.wg.Done()
	runtime.LockOSThread() // for the rest of its life: the machine is shared, and a late probe looks like an outage
	_ = realTime()
	id := uint16(os.Getpid())
	pause := unix.NsecToTimespec(int64(probeEvery))
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil)
		p.mu.Lock()
		n := len(p.sent)
		p.sent, p.answered = append(p.sent, time.Now()), append(p.answered, time.Time{})
		p.mu.Unlock()
		b := make([]byte, 12)
		b[0] = 8
		if p.six {
			b[0] = 128 // the kernel adds the checksum
		}
		binary.BigEndian.PutUint16(b[4:], id)
		binary.BigEndian.PutUint32(b[8:], uint32(n))
		if !p.six {
			binary.BigEndian.PutUint16(b[2:], ^fold(sum(b)))
		}
		_, _ = p.conn.WriteTo(b, p.to) // what is not sent is not answered
	}
}

func (p *probe) receive() {
	defer p.wg.Done()
	b := make([]byte, 256)
	reply := byte(0)
	if p.six {
		reply = 129
	}
	for {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 12 || b[0] != reply || binary.BigEndian.Uint16(b[4:]) != uint16(os.Getpid()) {
			continue
		}
		p.mu.Lock()
		if i := binary.BigEndian.Uint32(b[8:]); int(i) < len(p.answered) {
			p.answered[i] = time.Now()
		}
		p.mu.Unlock()
	}
}

// lastAnswer is when the last answer came.
func (p *probe) lastAnswer() (last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.answered) - 1; i >= 0 && last.IsZero(); i-- {
		last = p.answered[i]
	}
	return last
}

// waitAnswered waits until answers come again after a moment.
func (p *probe) waitAnswered(t testing.TB, after time.Time) {
	t.Helper()
	wait(t, 15*time.Second, "an answer to the probe", func() bool { return p.lastAnswer().After(after) })
}

// end stops and gives the number of probes, how many were lost, and the longest time between answered ones with lost
// ones between them.
func (p *probe) end() (sent, lost int, gap time.Duration) {
	select {
	case <-p.stop:
	default:
		close(p.stop)
		end := time.Now().Add(50 * time.Millisecond) // for the last answers
		_ = p.conn.SetReadDeadline(end)
		p.wg.Wait()
		_ = p.conn.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var last time.Time
	inside := false // lost ones since the last answered one
	for i, at := range p.sent {
		if p.answered[i].IsZero() {
			if lost++; lost == 1 {
				p.firstLost = at
			}
			inside = true
			continue
		}
		if inside && !last.IsZero() && at.Sub(last) > gap {
			gap, p.back = at.Sub(last), at
		}
		last, inside = at, false
	}
	return len(p.sent), lost, gap
}

// arp asks everybody who has an address and gives every answer: MACs as ARP says them.
func (l *link) arp(target string) []string {
	l.t.Helper()
	var answers []string
	l.inside("c", func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		arpType := 0x0608 // in network byte order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, arpType)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(arpType), Ifindex: dev.Index}); err != nil {
			return err
		}
		ask := garpFrame(dev.HardwareAddr, netip.MustParseAddr("192.0.2.100"))
		copy(ask[38:], netip.MustParseAddr(target).AsSlice())
		if err := unix.Sendto(fd, ask, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}); err != nil {
			return err
		}
		end := time.Now().Add(150 * time.Millisecond) // all the time that a second answer gets
		for left := time.Until(end); left > 0; left = time.Until(end) {
			tv := unix.NsecToTimeval(int64(left))
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
				return err
			}
			b := make([]byte, 128)
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil || n < 42 {
				continue
			}
			from, _ := netip.AddrFromSlice(b[28:32])
			if b[21] == 2 && from.String() == target {
				answers = append(answers, net.HardwareAddr(b[22:28]).String())
			}
		}
		return nil
	})
	return answers
}
