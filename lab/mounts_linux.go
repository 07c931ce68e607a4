package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A node sees this machine's files, except for what makes a machine this one: /etc is a layer of its own over the
// machine's, /var starts empty, /run is new at each start, /proc and /sys show its own namespaces, and the cgroup trees
// stay visible because containers need them. /etc and /var are kept over a power cut, like a disk.

// diskDir is where the node's /etc and /var are kept on this machine.
func diskDir(lab, node string) string { return filepath.Join(labDir(lab), node) }

// mountNode runs in the new mount namespace.
func mountNode(lab string, node NodeSpec) error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	binds, err := openBinds(node.Binds)
	defer func() {
		for _, fd := range binds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return err
	}
	disk := diskDir(lab, node.Name)
	for _, dir := range []string{"etc", "etc.work", "var/lib", "var/log", "var/cache", "var/spool"} {
		if err := os.MkdirAll(filepath.Join(disk, dir), 0o755); err != nil {
			return err
		}
	}
	if err := mount("overlay", "/etc", "overlay", 0, fmt.Sprintf("lowerdir=/etc,upperdir=%[1]s/etc,workdir=%[1]s/etc.work", disk)); err != nil {
		return fmt.Errorf("%w (the lab needs overlayfs, and %s on a file system that can be its upper layer)", err, root)
	}
	if err := mountSys(); err != nil {
		return err
	}
	dropNetnsMounts()
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := mount(filepath.Join(disk, "var"), "/var", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := makeTree(node); err != nil {
		return err
	}
	for i, bind := range node.Binds {
		if err := attachBind(bind, binds[i]); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte(node.Name))
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}

// mountSys shows the node's devices below /sys and brings the cgroup trees of the machine back into it.
func mountSys() error {
	cgroups, err := unix.OpenTree(unix.AT_FDCWD, "/sys/fs/cgroup", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("keep /sys/fs/cgroup: %w", err)
	}
	defer unix.Close(cgroups)
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	if err := unix.MoveMount(cgroups, "", unix.AT_FDCWD, "/sys/fs/cgroup", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("bring /sys/fs/cgroup back: %w", err)
	}
	return nil
}

// dropNetnsMounts forgets the names of other network namespaces: a copy of such a mount keeps the namespace alive after
// its name is gone.
func dropNetnsMounts() {
	names, _ := os.ReadDir(netnsDir)
	for _, name := range names {
		_ = unix.Unmount(filepath.Join(netnsDir, name.Name()), unix.MNT_DETACH)
	}
}

// makeTree makes what a freshly installed machine has in the places that start empty.
func makeTree(node NodeSpec) error {
	for _, dir := range []string{"/run/lock", "/run/netns", "/var/lib/misc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"/var/run": "/run", "/var/lock": "/run/lock"} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := os.MkdirAll("/var/tmp", 0o1777); err != nil {
		return err
	}
	if err := os.Chmod("/var/tmp", 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/hostname", []byte(node.Name+"\n"), 0o644); err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 " + node.Name + "\n"
	if err := os.WriteFile("/etc/hosts", []byte(hosts), 0o644); err != nil {
		return err
	}
	switch node.Role {
	case RoleFRR:
		return makeFRRTree()
	case RoleBIRD:
		return os.MkdirAll("/run/bird", 0o755)
	}
	return nil
}

// makeFRRTree hides the machine's own FRR configuration and makes the directories that the package's start script makes.
func makeFRRTree() error {
	if err := os.MkdirAll("/etc/frr", 0o755); err != nil {
		return err
	}
	if err := mount("tmpfs", "/etc/frr", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/frr/vtysh.conf", []byte("service integrated-vtysh-config\n"), 0o644); err != nil {
		return err
	}
	account, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("FRR is not installed: %w (install the Debian package frr)", err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	for _, dir := range []string{"/run/frr", "/var/log/frr", "/var/tmp/frr"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// openBinds holds on to the sources before other mounts cover them.
func openBinds(binds []Bind) ([]int, error) {
	var fds []int
	for _, bind := range binds {
		fd, err := unix.OpenTree(unix.AT_FDCWD, bind.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fds, fmt.Errorf("bind %s: %w", bind.Source, err)
		}
		fds = append(fds, fd)
		if bind.ReadOnly {
			attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
			if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
				return fds, fmt.Errorf("bind %s read-only: %w", bind.Source, err)
			}
		}
	}
	return fds, nil
}

func attachBind(bind Bind, fd int) error {
	if err := makeMountPoint(bind.Destination, fd); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, bind.Destination, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("bind %s to %s: %w", bind.Source, bind.Destination, err)
	}
	return nil
}

var privateDirs = []string{"/etc/", "/run/", "/var/"}

// makeMountPoint makes the destination of a bind where the node has a directory of its own, and nowhere else: the rest
// of the tree is the machine's.
func makeMountPoint(path string, source int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if !slices.ContainsFunc(privateDirs, func(dir string) bool { return strings.HasPrefix(path, dir) }) {
		return fmt.Errorf("bind destination %s does not exist, and the lab makes new ones only below /etc, /run and /var, which each node has for itself", path)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(source, &stat); err != nil {
		return fmt.Errorf("bind to %s: %w", path, err)
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o644)
}
