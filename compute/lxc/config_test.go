package lxc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netfabric/compute"
)

// values lists the values of a key.
func values(all []item, key string) []string {
	var list []string
	for _, i := range all {
		if i.Key == key {
			list = append(list, i.Value)
		}
	}
	return list
}

func TestItems(t *testing.T) {
	spec := compute.Spec{
		Name: "c1", Root: "/r", IDs: compute.IDMap{UID: 5, GID: 6, Size: 7}, Resources: compute.Resources{Memory: 1 << 20, Processes: 9}, Environment: map[string]string{"B": "2", "A": "1"},
		Network: compute.Network{NICs: []compute.NIC{{Inside: "eth0", Link: "f1", Bridge: "br", MAC: "m", MTU: 1400}}},
	}
	v1 := surroundings{dir: "/d", cgroups: "p/c1", memoryV1: true, pidsV1: true, bootHook: "hook", namespace: true, seccomp: "/s"}
	got := items(spec, v1)
	for key, want := range map[string][]string{
		"lxc.idmap":                        {"u 0 5 7", "g 0 6 7"},
		"lxc.rootfs.path":                  {"dir:/r"},
		"lxc.cgroup.dir.container":         {"p/c1"},
		"lxc.cgroup.memory.limit_in_bytes": {"1048576"},
		"lxc.cgroup.pids.max":              {"9"},
		"lxc.cgroup2.pids.max":             nil,
		"lxc.environment":                  {"A=1", "B=2"},
		"lxc.net.0.type":                   {"veth"},
		"lxc.net.0.veth.pair":              {"f1"},
		"lxc.net.0.mtu":                    {"1400"},
		"lxc.net.0.link":                   nil,
		"lxc.hook.start-host":              {"hook"},
		"lxc.seccomp.profile":              {"/s"},
		"lxc.cap.drop":                     nil,
		"lxc.mount.auto":                   {"proc:rw sys:rw", "cgroup:mixed"},
	} {
		if !slices.Equal(values(got, key), want) {
			t.Errorf("%s is %q, want %q", key, values(got, key), want)
		}
	}
	got = items(compute.Spec{Name: "p", Resources: compute.Resources{Memory: 5}}, surroundings{})
	for key, want := range map[string][]string{
		"lxc.idmap":              nil,
		"lxc.cgroup2.memory.max": {"5"},
		"lxc.net.0.type":         {"empty"},
		"lxc.mount.auto":         {"proc:mixed sys:mixed"},
		"lxc.seccomp.profile":    nil,
	} {
		if !slices.Equal(values(got, key), want) {
			t.Errorf("%s is %q, want %q", key, values(got, key), want)
		}
	}
	if len(values(got, "lxc.cap.drop")) != 1 {
		t.Error("a privileged container keeps all capabilities")
	}
}

func TestQuote(t *testing.T) {
	word := "it's $HOME; `x` \"y\""
	if got := command(t, "sh", "-c", "printf %s "+quote(word)); got != word {
		t.Errorf("got %q", got)
	}
}

func TestHaltSignal(t *testing.T) {
	bit := func(s unix.Signal) uint64 { return 1 << (s - 1) }
	for _, c := range []struct {
		name            string
		blocked, caught uint64
		want            unix.Signal
	}{
		{"systemd", bit(sigSystemdHalt) | bit(unix.SIGPWR), 0, sigSystemdHalt},
		{"sysvinit", 0, bit(unix.SIGPWR) | bit(unix.SIGTERM), unix.SIGPWR},
		{"busybox", 0, bit(unix.SIGUSR2) | bit(unix.SIGUSR1) | bit(unix.SIGTERM), unix.SIGUSR2},
		{"a program of its own", 0, bit(unix.SIGTERM), unix.SIGTERM},
		{"one that has just begun", 0, bit(unix.SIGTSTP), 0},
	} {
		if got, ok := chooseHaltSignal(c.blocked, c.caught); got != c.want || ok != (c.want != 0) {
			t.Errorf("%s: %d, %v; want %d", c.name, got, ok, c.want)
		}
	}
	if got := signalMask("Name:\tx\nSigBlk:\t0000000000000800\nSigCgt:\t00000000280b2603\n", "SigCgt"); got != 0x280b2603 {
		t.Errorf("mask is %x", got)
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	log := `lxc 20261121104933.506 WARN     cgfsng - ../src/lxc/cgroups/cgfsng.c:fchowmodat:1619 - no matter
lxc c1 20261121104933.508 ERROR    network - ../src/lxc/network.c:f:711 - No such file - Failed to attach
plain words
`
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tail(file), "|"); got != "No such file - Failed to attach|plain words" {
		t.Errorf("got %q", got)
	}
}

func TestIdentify(t *testing.T) {
	p, err := identify(os.Getpid())
	if err != nil || !alive(p) {
		t.Errorf("%+v, %v", p, err)
	}
	p.Start++
	if alive(p) {
		t.Error("another process of the same pid is taken for it")
	}
	if _, err := open(p); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v", err)
	}
}
