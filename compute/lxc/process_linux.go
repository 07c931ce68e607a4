package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// identify is the process that has a pid now.
func identify(pid int) (fabric.Process, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return fabric.Process{}, err
	}
	// The second field is a name in parentheses that may hold anything; the third, the state, follows the last one.
	_, rest, _ := cutLast(string(data), ")")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return fabric.Process{}, fmt.Errorf("process %d: its stat is %q", pid, data)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return fabric.Process{}, os.ErrProcessDone
	}
	start, err := strconv.ParseUint(fields[19], 10, 64) // field 22 of proc_pid_stat(5)
	if err != nil {
		return fabric.Process{}, fmt.Errorf("process %d: its start time: %w", pid, err)
	}
	return fabric.Process{PID: pid, Start: start}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// alive tells whether a process still is the one that it was.
func alive(p fabric.Process) bool {
	if p.PID <= 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// handle is a process that can't be mistaken for another one, as long as the handle is open.
type handle struct{ file *os.File }

// open gives a handle of a process; os.ErrProcessDone when it has ended.
func open(p fabric.Process) (handle, error) {
	if p.PID <= 0 {
		return handle{}, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return handle{}, os.ErrProcessDone
	}
	if err != nil {
		return handle{}, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	h := handle{os.NewFile(uintptr(fd), "pidfd")}
	if !alive(p) { // now that the handle pins it
		return handle{}, errors.Join(os.ErrProcessDone, h.close())
	}
	return h, nil
}

func (h handle) close() error { return h.file.Close() }

// signal sends a signal; to a process that has ended it does nothing.
func (h handle) signal(s unix.Signal) error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// wait returns when the process has ended, or with the context's error.
func (h handle) wait(ctx context.Context) error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = h.file.SetReadDeadline(past) })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch wakes the runtime's user when a process ends.
func (r *Runtime) watch(p fabric.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watched[p] {
		return
	}
	h, err := open(p)
	if err != nil {
		if !errors.Is(err, os.ErrProcessDone) {
			r.log.Warn("can't watch a container", "pid", p.PID, "error", err)
		}
		r.wake()
		return
	}
	r.watched[p] = true
	go func() {
		if err := h.wait(context.Background()); err != nil {
			r.log.Warn("stopped watching a container", "pid", p.PID, "error", err)
		}
		_ = h.close()
		r.mu.Lock()
		delete(r.watched, p)
		r.mu.Unlock()
		r.wake()
	}()
}

// locked tells whether somebody holds the lock on a file.
func locked(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// haltSignal is the signal by which an init of a kind that nobody told us wants to be stopped: it is one that it waits for. ok is false while
// it waits for none: it has just begun, or never will, and the kernel drops what the first process of a container does not wait for.
func haltSignal(p fabric.Process) (s unix.Signal, ok bool) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "status"))
	if err != nil {
		return 0, false
	}
	return chooseHaltSignal(signalMask(string(data), "SigBlk"), signalMask(string(data), "SigCgt"))
}

const sigSystemdHalt = unix.Signal(34 + 3) // SIGRTMIN+3 as libc counts, see systemd(1)

// chooseHaltSignal knows systemd by the real-time signal that it blocks and waits for, sysvinit by SIGPWR and busybox by SIGUSR2 (power off).
// Other programs end by SIGTERM, which would make an init reboot.
func chooseHaltSignal(blocked, caught uint64) (unix.Signal, bool) {
	for _, s := range []unix.Signal{sigSystemdHalt, unix.SIGPWR, unix.SIGUSR2, unix.SIGTERM} {
		if (blocked|caught)&(1<<(s-1)) != 0 {
			return s, true
		}
	}
	return 0, false
}

func signalMask(status, field string) uint64 {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			mask, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return mask
		}
	}
	return 0
}

// bootID names this run of the kernel.
func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}
