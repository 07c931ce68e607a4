package lxc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"netfabric/compute"
)

// item is a line of a container's configuration, see lxc.container.conf(5).
type item struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// surroundings is what a configuration depends on besides the container itself.
type surroundings struct {
	dir       string // the container's
	cgroups   string // name below which its cgroups are
	memoryV1  bool   // the memory controller is in a v1 hierarchy
	pidsV1    bool
	seccomp   string // profile, may be empty
	bootHook  string // command
	namespace bool   // cgroup namespaces exist
}

// look finds the surroundings of a container.
func (r *Runtime) look(name string) surroundings {
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	s := surroundings{
		dir:       r.path(name),
		cgroups:   r.cgroups + "/" + name,
		memoryV1:  there("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
		pidsV1:    there("/sys/fs/cgroup/pids/cgroup.procs"),
		bootHook:  fmt.Sprintf("%s %s %s %s", quote(r.helper), HelperCommand, modeBoot, quote(r.path(name))),
		namespace: there("/proc/self/ns/cgroup"),
	}
	if profile := "/usr/share/lxc/config/common.seccomp"; there(profile) {
		s.seccomp = profile
	}
	return s
}

// quote makes a word for sh(1).
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// items is the configuration of a container.
func items(spec compute.Spec, s surroundings) []item {
	all := []item{
		{"lxc.uts.name", spec.Name},
		{"lxc.rootfs.path", "dir:" + spec.Root},
		{"lxc.log.file", filepath.Join(s.dir, lxcLog)},
		{"lxc.log.level", "WARN"},
		{"lxc.console.logfile", filepath.Join(s.dir, consoleLog)},
		{"lxc.console.size", "1048576"},
		{"lxc.console.rotate", "1"},
		{"lxc.autodev", "1"},
		{"lxc.tty.max", "0"},
		{"lxc.pty.max", "1024"},
		{"lxc.cgroup.dir.container", s.cgroups},
		{"lxc.cgroup.dir.monitor", s.cgroups + ".monitor"},
		{"lxc.cgroup.dir.monitor.pivot", s.cgroups + ".pivot"},
		{"lxc.hook.version", "1"},
		{"lxc.hook.start-host", s.bootHook},
	}
	if s.seccomp != "" {
		all = append(all, item{"lxc.seccomp.profile", s.seccomp})
	}
	if spec.IDs.Size > 0 {
		all = append(all,
			item{"lxc.idmap", fmt.Sprintf("u 0 %d %d", spec.IDs.UID, spec.IDs.Size)},
			item{"lxc.idmap", fmt.Sprintf("g 0 %d %d", spec.IDs.GID, spec.IDs.Size)},
			item{"lxc.mount.auto", "proc:rw sys:rw"},
		)
	} else {
		all = append(all,
			item{"lxc.mount.auto", "proc:mixed sys:mixed"},
			item{"lxc.cap.drop", "mac_admin mac_override sys_module sys_rawio sys_time"},
		)
	}
	if s.namespace {
		all = append(all, item{"lxc.mount.auto", "cgroup:mixed"})
	}
	if spec.Nesting {
		// Fresh instances of both must be visible somewhere, or the kernel lets no container inside mount its own.
		all = append(all,
			item{"lxc.mount.entry", "proc dev/.lxc/proc proc create=dir,optional 0 0"},
			item{"lxc.mount.entry", "sysfs dev/.lxc/sys sysfs create=dir,optional 0 0"},
		)
	}
	if n := spec.Resources.Memory; n > 0 {
		all = append(all, item{pick(s.memoryV1, "lxc.cgroup.memory.limit_in_bytes", "lxc.cgroup2.memory.max"), strconv.FormatInt(n, 10)})
	}
	if n := spec.Resources.Processes; n > 0 {
		all = append(all, item{pick(s.pidsV1, "lxc.cgroup.pids.max", "lxc.cgroup2.pids.max"), strconv.Itoa(n)})
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Environment)) {
		all = append(all, item{"lxc.environment", k + "=" + spec.Environment[k]})
	}
	for i, nic := range spec.Network.NICs {
		all = append(all, nicItems(i, nic)...)
	}
	if len(spec.Network.NICs) == 0 {
		all = append(all, item{"lxc.net.0.type", "empty"})
	}
	return all
}

// nicItems is one veth pair. The boot hook plugs it into its bridge, which liblxc would look for in whatever /sys happens to be mounted, and
// sets the addresses, for which liblxc would have IPv6 look for duplicates.
func nicItems(i int, nic compute.NIC) []item {
	prefix := fmt.Sprintf("lxc.net.%d.", i)
	return []item{
		{prefix + "type", "veth"},
		{prefix + "flags", "up"},
		{prefix + "veth.pair", nic.Link},
		{prefix + "name", nic.Inside},
		{prefix + "hwaddr", nic.MAC},
		{prefix + "mtu", strconv.Itoa(nic.MTU)},
	}
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
