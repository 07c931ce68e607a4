package router

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// process is hold on a process that can't be mistaken for another one with its number.
type process struct {
	pidfd *os.File
	ns    *os.File // its network namespace
}

// openProcess takes hold of a process. It is an error that it is not there, or is another one by now.
func openProcess(p fabric.Process) (*process, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID, err)
	}
	h := &process{pidfd: os.NewFile(uintptr(fd), "pidfd")}
	// In this order: what pidfd stands for can't change any more, so if the start time fits now, it is the one that is meant.
	start, err := ProcessStart(p.PID)
	if err == nil && start != p.Start {
		err = fmt.Errorf("process %d is another one by now", p.PID)
	}
	if err == nil {
		h.ns, err = os.Open("/proc/" + strconv.Itoa(p.PID) + "/ns/net")
	}
	if err == nil && h.dead() {
		err = fmt.Errorf("process %d has ended", p.PID)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *process) dead() (dead bool) {
	raw, err := h.pidfd.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) { dead = ended(fd) })
	return dead || err != nil
}

// ended tells whether the process behind a pidfd has ended: pidfd_open(2).
func ended(pidfd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// wait returns when the process has ended; false after close.
func (h *process) wait() bool {
	raw, err := h.pidfd.SyscallConn()
	return err == nil && raw.Read(ended) == nil
}

func (h *process) close() {
	h.pidfd.Close()
	if h.ns != nil {
		h.ns.Close()
	}
}

// ProcessStart is when a process started: field 22 of proc_pid_stat(5).
func ProcessStart(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may have anything in it: count from its end, where field 3 begins.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start = 22 - 3
	if len(fields) <= start {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	return strconv.ParseUint(string(fields[start]), 10, 64)
}

// kill ends the process at once, and no other one (pidfd_send_signal(2)).
func (h *process) kill() {
	raw, err := h.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }) // the next look tells
}
