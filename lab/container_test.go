package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// LXC runs in a node as on a machine: two nodes run a container of the same name, and a power cut takes it along without
// leaving a cgroup behind.
func TestContainersInNodes(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/pair.clab.yml")
	const name = "lab-test-container"
	for _, node := range l.Nodes() {
		startContainer(t, node, name)
	}
	if left := cgroupsNamed(name); len(left) == 0 {
		t.Fatal("the containers have no cgroups; LXC did not see the cgroup tree")
	}
	a, b := l.MustNode(t, "a"), l.MustNode(t, "b")
	processes, err := a.Processes()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Kill(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		if process.Alive() {
			t.Errorf("%+v survived the power cut", process)
		}
	}
	if out := b.MustExec(t, "lxc-info", "-n", name, "-s"); !strings.Contains(out, "RUNNING") {
		t.Errorf("the container on the other node is %s", out)
	}
	if err := a.Boot(bounded(t)); err != nil {
		t.Fatal(err)
	}
	a.MustExec(t, "lxc-start", "-n", name) // the disk has it still
	if err := l.Down(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if left := cgroupsNamed(name); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}

func startContainer(t *testing.T, n *Node, name string) {
	t.Helper()
	n.MustExec(t, "sh", "-ec", fmt.Sprintf(`
		root=/var/lib/lxc/%[1]s/rootfs
		mkdir -p $root/bin $root/sbin $root/proc $root/sys $root/dev $root/etc
		cp /bin/busybox $root/bin/
		ln -s busybox $root/bin/sh
		printf '#!/bin/sh\nexec /bin/busybox sleep 3333\n' >$root/sbin/init
		chmod +x $root/sbin/init
		printf '%%s\n' lxc.uts.name=%[1]s lxc.rootfs.path=dir:$root lxc.net.0.type=empty lxc.mount.auto='proc sys cgroup' >/var/lib/lxc/%[1]s/config
		lxc-start -n %[1]s`, name))
	WaitFor(t, 5*time.Second, "container on "+n.Name(), func() error {
		out := n.MustExec(t, "lxc-info", "-n", name, "-s")
		if !strings.Contains(out, "RUNNING") {
			return fmt.Errorf("it is %s", out)
		}
		return nil
	})
}

func cgroupsNamed(name string) []string {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // it went away
		}
		if entry.IsDir() && strings.Contains(entry.Name(), name) {
			found = append(found, path)
		}
		return nil
	})
	return found
}
