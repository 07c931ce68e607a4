package bfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// realtimePriority is that of the loop's thread, of 1-99: above ordinary real-time work of a host, below its kernel's own threads at 50.
const realtimePriority = 20

// linux is a host with UDP sockets of the network namespace that its thread is in.
type linux struct {
	enter     func() error // moves the thread to another network namespace; tests have several
	waker     waker
	receivers map[receiverKind]*receiver
	polled    []unix.PollFd // the waker, then the receivers of ready
	ready     []*receiver   // in the order of polled
	at        int           // in ready: where receive goes on
	timeout   unix.Timespec
	ports     map[uint16]bool // source ports of paths
}

func newHost() *linux {
	return &linux{receivers: map[receiverKind]*receiver{}, ports: map[uint16]bool{}, waker: waker{fd: -1}}
}

func (l *linux) start() (realtime error, err error) {
	if l.enter != nil {
		if err := l.enter(); err != nil {
			return nil, err
		}
	}
	if err := l.waker.open(); err != nil {
		return nil, err
	}
	l.repoll()
	return setRealtime(), nil
}

// setProcessRealtime gives all threads of the process, and those that they start, real-time priority below that of the loop's: in a process that
// has nothing but sessions, the loop must not wait for a lock of the runtime that a thread holds which gets no processor.
func setProcessRealtime() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realtimePriority - 1}
	for done := map[int]bool{}; ; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads of the BFD process: %w", err)
		}
		more := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[id] {
				continue
			}
			if err := unix.SchedSetAttr(id, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("real-time priority for the BFD process: %w", err)
			}
			done[id], more = true, true
		}
		if !more {
			return nil
		}
	}
}

// setRealtime gives the calling thread real-time priority. Threads that it starts don't inherit it.
func setRealtime() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: realtimePriority}
	err := unix.SchedSetAttr(0, &attr, 0)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("real-time priority for BFD: %w: give the process CAP_SYS_NICE or a real-time limit of %d (LimitRTPRIO of systemd)", err, realtimePriority)
	}
	if err != nil {
		return fmt.Errorf("real-time priority for BFD: %w", err)
	}
	return nil
}

func (l *linux) wait(until time.Time) {
	l.at = 0
	timeout := (*unix.Timespec)(nil)
	if !until.IsZero() {
		l.timeout = unix.NsecToTimespec(int64(max(time.Until(until), 0)))
		timeout = &l.timeout
	}
	// EINTR, and the rest: nothing is ready, the loop comes back.
	n, err := unix.Ppoll(l.polled, timeout, nil)
	if err != nil || n == 0 {
		for i := range l.polled {
			l.polled[i].Revents = 0
		}
	}
	if l.polled[0].Revents != 0 {
		l.waker.clear()
	}
}

func (l *linux) receive() (datagram, bool) {
	for ; l.at < len(l.ready); l.at++ {
		if l.polled[l.at+1].Revents == 0 {
			continue
		}
		if d, ok := l.ready[l.at].receive(); ok {
			return d, true
		}
	}
	return datagram{}, false
}

func (l *linux) wake() { l.waker.wake() }

func (l *linux) close() {
	for _, r := range l.receivers {
		_ = unix.Close(r.fd) // nothing was written that could be lost
	}
	l.waker.close()
}

// repoll lists the descriptors to wait for after receivers came or went.
func (l *linux) repoll() {
	l.polled = append(l.polled[:0], unix.PollFd{Fd: int32(l.waker.fd), Events: unix.POLLIN})
	l.ready, l.at = l.ready[:0], 0
	for _, r := range l.receivers {
		l.polled = append(l.polled, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
		l.ready = append(l.ready, r)
	}
}

// waker makes the loop return from its wait.
type waker struct {
	mu sync.Mutex // against writing to a descriptor that is closed and another's by then
	fd int
}

func (w *waker) open() (err error) {
	w.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make an eventfd: %w", err)
	}
	return nil
}

func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd >= 0 {
		one := [8]byte{0: 1}
		_, _ = unix.Write(w.fd, one[:]) // EAGAIN: it is awake already
	}
}

func (w *waker) clear() {
	var count [8]byte
	_, _ = unix.Read(w.fd, count[:]) // EAGAIN: nothing to clear
}

func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = unix.Close(w.fd)
	w.fd = -1
}
