package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// syscallsWord makes the test program try what is forbidden.
const syscallsWord = "try-system-calls"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case HelperCommand:
			os.Exit(Helper())
		case syscallsWord:
			for _, n := range []uintptr{unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_GETPID} {
				_, _, errno := syscall.RawSyscall(n, ^uintptr(0), 0, 0)
				fmt.Printf("%d,", errno)
			}
			return
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: namespaces need root")
		return
	}
	os.Exit(m.Run())
}

// jail is a process in namespaces of its own, which is init there.
type jail struct {
	t    testing.TB
	init fabric.Process
	run  *Runner
}

// newJail starts an init, with a word before its shell's command line if there is one.
func newJail(t testing.TB, unprivileged bool, before ...string) *jail {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	args := append(before, "sh", "-c", "mount --make-rprivate / && mount -t proc proc /proc && hostname jail && echo ready && exec sleep 1000")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	for name, flag := range namespaces {
		if name != "user" {
			cmd.SysProcAttr.Cloneflags |= uintptr(flag)
		}
	}
	if unprivileged {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.GidMappingsEnableSetgroups = ids, ids, true
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if n, _ := r.Read(make([]byte, 6)); n == 0 {
		t.Fatal("the init of the jail did not begin")
	}
	j := &jail{t, fabric.Process{PID: cmd.Process.Pid}, NewRunner(func() *exec.Cmd { return exec.Command("/proc/self/exe", HelperCommand) })}
	j.init.Start = started(t, j.init.PID)
	return j
}

func started(t testing.TB, pid int) uint64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	n, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sh runs a shell command that must succeed, and gives the last line of its output.
func (j *jail) sh(script string) string {
	j.t.Helper()
	status, line, err := j.run.Run(j.init, []string{"sh", "-c", script}, []string{"HOME=/root"}, 10*time.Second)
	if err != nil || status != 0 {
		j.t.Fatalf("%s: status %d, %q, %v", script, status, line, err)
	}
	return line
}

func TestCommandIsOneOfTheInstance(t *testing.T) {
	for name, unprivileged := range map[string]bool{"privileged": false, "unprivileged": true} {
		t.Run(name, func(t *testing.T) {
			j := newJail(t, unprivileged)
			for name := range namespaces {
				its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", j.init.PID, name))
				if err != nil {
					t.Fatal(err)
				}
				if got := j.sh("readlink /proc/self/ns/" + name); got != its {
					t.Errorf("namespace %s, want %s", got, its)
				}
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", j.init.PID))
			if err != nil {
				t.Fatal(err)
			}
			_, bounding, _ := strings.Cut(string(status), "CapBnd:\t")
			for script, want := range map[string]string{
				"echo $(id -u):$(id -g):$(id -G)":        "0:0:0",
				"hostname":                               "jail",
				"pwd":                                    "/",
				"echo $HOME":                             "/root",
				"ls /proc/self/fd | tr '\\n' ' '":        "0 1 2 3", // the last is that of ls
				"readlink /proc/self/fd/0":               "/dev/null",
				"grep CapBnd: /proc/self/status":         "CapBnd: " + firstLine(bounding),
				"grep NoNewPrivs: /proc/self/status":     "NoNewPrivs: 1",
				"grep Seccomp: /proc/self/status":        "Seccomp: 2",
				"grep SigBlk: /proc/self/status":         "SigBlk: 0000000000000000",
				"ulimit -c":                              "0",
				"cat /proc/1/comm":                       "sleep",
				"cat /proc/self/cgroup | grep -c inside": "1",
			} {
				if got := j.sh(script); got != want {
					t.Errorf("%s: %q, want %q", script, got, want)
				}
			}
		})
	}
}

func TestCommandHasTheCapabilitiesOfTheInit(t *testing.T) {
	j := newJail(t, false, "setpriv", "--bounding-set=-sys_module,-sys_rawio")
	if got := j.sh("grep CapEff: /proc/self/status"); got == "CapEff: "+fmt.Sprintf("%016x", uint64(1)<<41-1) || !strings.HasPrefix(got, "CapEff: ") {
		t.Error(got)
	}
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, line, err := j.run.Run(j.init, []string{test, syscallsWord}, nil, 10*time.Second); line != "1,1,1,0," {
		t.Errorf("errors %q, %v", line, err)
	}
}

func TestHowCommandsEnd(t *testing.T) {
	j := newJail(t, true)
	for _, c := range []struct {
		name    string
		command []string
		status  int
		line    string
		err     string
	}{
		{"well", []string{"true"}, 0, "", ""},
		{"with a status", []string{"sh", "-c", "echo first; echo it is ill; exit 3"}, 3, "it is ill", ""},
		{"by a signal", []string{"sh", "-c", "kill -SEGV $$"}, 139, "", ""},
		{"last line without an end", []string{"printf", `a\nb`}, 0, "b", ""},
		{"empty lines do not count", []string{"printf", `a\n\n  \n`}, 0, "a", ""},
		{"standard error", []string{"sh", "-c", "echo bad >&2"}, 0, "bad", ""},
		{"escape sequences", []string{"printf", `\033[31mred\tand\0007\377`}, 0, "[31mred and7?", ""},
		{"a long line", []string{"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"}, 0, strings.Repeat("x", lineLimit), ""},
		{"not there", []string{"no-such-program"}, 0, "", "run the command: no such file or directory"},
		{"not there, with a path", []string{"/no/such/program"}, 0, "", "run the command: no such file or directory"},
		{"no program", []string{"/etc/passwd"}, 0, "", "run the command: permission denied"},
	} {
		status, line, err := j.run.Run(j.init, c.command, nil, 10*time.Second)
		if status != c.status || line != c.line || err != nil && err.Error() != c.err || err == nil && c.err != "" {
			t.Errorf("%s: status %d, %q, %v", c.name, status, line, err)
		}
	}
}

// nothingLeft makes sure that no process with a word in its command line is there, nor a control group of a command.
func (j *jail) nothingLeft(word string) {
	j.t.Helper()
	left := func() string {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if text, _ := os.ReadFile(f); strings.Contains(string(text), word) {
				return f
			}
		}
		_, _, parent, err := look(j.init)
		if err != nil {
			return err.Error()
		}
		if groups, _ := filepath.Glob(filepath.Join(parent, j.run.prefix+"*")); len(groups) > 0 {
			return groups[0]
		}
		return ""
	}
	end := time.Now().Add(5 * time.Second)
	for what := left(); what != ""; what = left() {
		if time.Now().After(end) {
			j.t.Fatalf("%s is still there", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestNothingIsLeft(t *testing.T) {
	j := newJail(t, true)
	// What ran away from its parent, its session and its process group.
	const away = "(setsid sh -c 'sleep 98765 & sleep 98765' &) ; "
	began := time.Now()
	if _, line, err := j.run.Run(j.init, []string{"sh", "-c", away + "echo hangs; exec sleep 98765"}, nil, 300*time.Millisecond); !errors.Is(err, ErrTimeout) || line != "hangs" {
		t.Errorf("%q, %v", line, err)
	}
	j.nothingLeft("98765")
	if line := j.sh(away + "echo ends"); line != "ends" {
		t.Errorf("%q", line)
	}
	j.nothingLeft("98765")
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("took %s: it waited for what was left", took)
	}

	// What an earlier run of the program has left, as when it was killed, goes with the next command.
	_, _, parent, err := look(j.init)
	if err != nil {
		t.Fatal(err)
	}
	g, err := makeGroup(filepath.Join(parent, groupPrefix+"4194305-1-1")) // a pid that none can have
	if err != nil {
		t.Fatal(err)
	}
	sleeper := exec.Command("sleep", "98765")
	sleeper.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.dir.Fd())}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	g.dir.Close()
	go sleeper.Wait()
	fresh := NewRunner(j.run.helper)
	if _, _, err := fresh.Run(j.init, []string{"true"}, nil, 10*time.Second); err != nil {
		t.Error(err)
	}
	j.nothingLeft("98765")
	if _, err := os.Stat(g.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", g.path, err)
	}
}

func TestAnotherInitIsNotEntered(t *testing.T) {
	j := newJail(t, false)
	other := j.init
	other.Start++
	for p, want := range map[fabric.Process]string{
		other:          "is another one by now",
		{PID: 4194305}: "process 4194305:",
	} {
		if _, _, err := j.run.Run(p, []string{"true"}, nil, time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestWhereHierarchiesAreMounted(t *testing.T) {
	const mounts = `25 20 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
26 20 0:24 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory
27 20 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 20 0:26 /part /mnt rw - cgroup cgroup rw,pids
29 20 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
`
	for controllers, want := range map[string]string{
		"": "/sys/fs/cgroup/unified", "memory": "/sys/fs/cgroup/memory", "cpuacct,cpu": "/sys/fs/cgroup/cpu,cpuacct", "pids": "", "mem": "",
		"name=systemd": "/sys/fs/cgroup/systemd",
	} {
		if got := mountOf(mounts, controllers); got != want {
			t.Errorf("%q is mounted at %q, want %q", controllers, got, want)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	j := newJail(b, true)
	for b.Loop() {
		if _, _, err := j.run.Run(j.init, []string{"true"}, nil, 10*time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
