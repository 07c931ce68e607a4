package cluster

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// lockDir makes this process the only one to use a member's directory, until what it returns is closed or the process ends. It locks the directory
// itself: there is no file that could be left over.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fabric.Conflictf("in-use", "%s is in use: fabric-node runs on it, or one of its tools", dir).WithFix("stop it first: systemctl stop fabric-node")
	default:
		err = fabric.Errorf(fabric.CodeInternal, "internal", "lock %s: %w", dir, err)
	}
	d.Close()
	return nil, err
}
