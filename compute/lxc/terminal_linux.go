package lxc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// openTerminal opens a new pseudo-terminal of the container's own devpts, so that the command finds it in its /dev/pts.
func openTerminal(init fabric.Process, width, height int) (master, slave *os.File, err error) {
	root, err := unix.Open(filepath.Join("/proc", strconv.Itoa(init.PID), "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	if !alive(init) {
		return nil, nil, os.ErrProcessDone
	}
	// The guest may have put links anywhere: they are followed as it would follow them, and what is found must be a devpts.
	fd, err := unix.Openat2(root, "dev/pts/ptmx", &unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal in the container: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	defer func() {
		if err != nil {
			err = errors.Join(err, master.Close())
		}
	}()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return nil, nil, fmt.Errorf("open a terminal in the container: its /dev/pts is no devpts")
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock a terminal: %w", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, fmt.Errorf("open the other end of a terminal: %w", errno)
	}
	slave = os.NewFile(peer, "pts")
	setSize(master, width, height)
	return master, slave, nil
}

func setSize(terminal *os.File, width, height int) {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(min(width, 1<<16-1)), Row: uint16(min(height, 1<<16-1))})
	})
}
