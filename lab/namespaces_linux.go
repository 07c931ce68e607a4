package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The holder is the init process of a node: it owns the node's namespaces and reaps orphans, and when it is killed the
// kernel kills every process of the node with it. It is a shell so that no program that uses this package has to be able
// to play a second part. Its arguments name the lab and the node.
const (
	holdForEver = `while :; do sleep 2147483647 & wait $!; done`
	// Standard input is a pipe from the owner: it ends when the owner does, however that dies.
	holdWithOwner = `exec 3<&0; until { cat <&3 >/dev/null & wait $!; }; do :; done`
)

// holderMark stands in the environment of the holder and of what it waits for, and of nothing else.
const holderMark = "LAB_HOLDER=1"

const nodeNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// startHolder makes the namespaces of a node. With an owner pipe the node ends when the other end is closed.
func startHolder(lab, node string, owner *os.File) (*exec.Cmd, error) {
	cgroup, err := makeCgroup(lab, node)
	if err != nil {
		return nil, err
	}
	defer cgroup.Close()
	script := holdForEver
	if owner != nil {
		script = holdWithOwner
	}
	holder := exec.Command("/bin/sh", "-c", script, "lab-holder", lab, node)
	holder.Dir = "/"
	holder.Env = []string{"PATH=" + systemPath, holderMark}
	if owner != nil {
		holder.Stdin = owner
	}
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  nodeNamespaces,
		Setsid:      true,
		UseCgroupFD: true,
		CgroupFD:    int(cgroup.Fd()),
	}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("make the namespaces of node %s: %w (the lab needs root)", node, err)
	}
	return holder, nil
}

// onOwnThread runs f on a thread that ends with it, so that f may change the thread's namespaces.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with this goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end and lends the process its /proc entry: keep it and take another.
			err := onOwnThread(f)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// inNode runs f with the network, mount, host name and IPC namespaces of the node; processes that f starts are also in
// its PID namespace.
func inNode(holder identity, f func() error) error {
	return onOwnThread(func() error {
		pidfd, err := openProcess(holder)
		if err != nil {
			return err
		}
		defer unix.Close(pidfd)
		// Threads share the working directory, and a mount namespace cannot be entered while it is shared.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("leave the shared working directory: %w", err)
		}
		if err := unix.Setns(pidfd, nodeNamespaces); err != nil {
			return fmt.Errorf("enter the namespaces of process %d: %w", holder.PID, err)
		}
		return f()
	})
}

var errNodeOff = errors.New("the node is off")

// openProcess returns a pidfd of exactly that process.
func openProcess(id identity) (int, error) {
	if id.PID == 0 {
		return -1, errNodeOff
	}
	pidfd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return -1, errNodeOff
	}
	if !id.alive() {
		unix.Close(pidfd)
		return -1, errNodeOff
	}
	return pidfd, nil
}

// killAndWait sends SIGKILL to exactly that process and returns when it is gone.
func killAndWait(ctx context.Context, id identity) error {
	pidfd, err := openProcess(id)
	if err != nil {
		return nil // gone already
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	return waitGone(ctx, pidfd, id)
}

// waitGone returns when the process has ended; a PID namespace's init ends after all other processes in it.
func waitGone(ctx context.Context, pidfd int, id identity) error {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		n, err := unix.Poll(poll, 20)
		if n == 1 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", id.PID, err)
		}
	}
	return fmt.Errorf("process %d has not ended: %w", id.PID, context.Cause(ctx))
}

const netnsDir = "/run/netns"

func netnsName(lab, node string) string { return "lab-" + lab + "-" + node }
func netnsPath(lab, node string) string { return filepath.Join(netnsDir, netnsName(lab, node)) }

// shareNetnsDir makes the folder a shared mount, as ip-netns(8) does before it adds a namespace. If it did so only later, it would cover the names
// that are there with copies of them, and they could not be removed any more.
func shareNetnsDir() error {
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil { // as ip-netns(8) does
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // it is no mount
		if err = unix.Mount(netnsDir, netnsDir, "", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", netnsDir, err)
	}
	return nil
}

// nameNetns gives the namespace behind source a name that ip-netns(8) knows.
func nameNetns(source, path string) error {
	err := inSharedDir(netnsDir, func() error {
		if err := shareNetnsDir(); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
		if err == nil {
			file.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("name network namespace: %w", err)
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return fmt.Errorf("name network namespace %s: %w", path, err)
	}
	return nil
}

// newNetns makes a namespace without a process in it.
func newNetns(path string) error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		return nameNetns("/proc/thread-self/ns/net", path)
	})
}

// removeNetns takes the name away; the namespace goes when nothing else uses it.
func removeNetns(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// inSharedDir makes a directory and something in it. Another lab that ends may remove the directory in between, while it
// is empty; then it is made again.
func inSharedDir(dir string, create func() error) error {
	var err error
	for range 100 {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = create()
		}
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

// pollLevel calls f until it returns true or ctx ends.
func pollLevel(ctx context.Context, f func() bool) error {
	for !f() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
