package vrrp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// advertLog is the IPv4 advertisements that pass the client, with the times at which the kernel had them.
type advertLog struct {
	mu   sync.Mutex
	seen []seenAdvert
}

type seenAdvert struct {
	at     time.Time
	source netip.Addr
	vrid   uint8
}

// adverts hears advertisements from now on, until the test ends.
func (l *link) adverts() *advertLog {
	l.t.Helper()
	program, err := bpf.Assemble([]bpf.Instruction{ // IPv4 VRRP and nothing else: probes would be in the way
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: Protocol, SkipTrue: 1},
		bpf.RetConstant{Val: 256},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	var filter []unix.SockFilter
	for _, in := range program {
		filter = append(filter, unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	fd := -1
	l.inside("c", func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		bound := unix.NsecToTimeval(int64(100 * time.Millisecond))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &bound)
		kind := uint16(unix.ETH_P_IP)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: kind<<8 | kind>>8, Ifindex: dev.Index})
	})
	a := &advertLog{}
	stop, ended := make(chan struct{}), make(chan struct{})
	l.t.Cleanup(func() { close(stop); <-ended; unix.Close(fd) })
	go func() {
		defer close(ended)
		runtime.LockOSThread() // for the rest of its life: who waits for an advertisement is not to wait for the reader
		_ = realTime()
		b, control := make([]byte, 256), make([]byte, 256)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, oobn, _, _, err := unix.Recvmsg(fd, b, control, 0); err == nil && n >= 36 {
				a.note(b[:n], control[:oobn])
			}
		}
	}()
	return a
}

func (a *advertLog) note(frame, control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
		return
	}
	stamp := messages[0].Data
	seen := seenAdvert{
		at:     time.Unix(int64(binary.NativeEndian.Uint64(stamp)), int64(binary.NativeEndian.Uint64(stamp[8:]))),
		source: netip.AddrFrom4([4]byte(frame[26:30])), vrid: frame[14+int(frame[14]&0xf)*4+1],
	}
	a.mu.Lock()
	a.seen = append(a.seen, seen)
	a.mu.Unlock()
}

// of are the times of a router's advertisements with a VRID.
func (a *advertLog) of(source string, vrid uint8) (all []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.seen {
		if s.source.String() == source && s.vrid == vrid {
			all = append(all, s.at)
		}
	}
	return all
}

// after waits until a phase after an advertisement of a router, and makes a call then.
func (a *advertLog) after(t testing.TB, source string, phase time.Duration, call func()) {
	t.Helper()
	done := make(chan bool, 1)
	go func() {
		runtime.LockOSThread() // for the rest of its life
		_ = realTime()
		known := len(a.of(source, 51))
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if all := a.of(source, 51); len(all) > known {
				known = len(all)
				if left := phase - time.Since(all[known-1]); left > -time.Millisecond { // else it is too late: with the next one
					pause := unix.NsecToTimespec(max(0, int64(left)))
					_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil)
					call()
					done <- true
					return
				}
			}
			pause := unix.NsecToTimespec(int64(100 * time.Microsecond))
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil)
		}
		done <- false
	}()
	if !<-done {
		t.Fatalf("no advertisement of %s", source)
	}
}

// longestGap is the longest time between two that follow each other.
func longestGap(times []time.Time) (longest time.Duration) {
	slices.SortFunc(times, time.Time.Compare)
	for i := range times[1:] {
		longest = max(longest, times[i+1].Sub(times[i]))
	}
	return longest
}
