package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ping(n *Node, address string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := n.Exec(ctx, "ping", "-n", "-c", "1", "-W", "1", address)
		return err
	}
}

func carrier(n *Node, iface, want string) func() error {
	return func() error {
		out, err := n.Exec(context.Background(), "ip", "-o", "link", "show", iface)
		if err == nil && strings.Contains(out, "NO-CARRIER") == (want == "on") {
			err = fmt.Errorf("carrier is not %s: %s", want, out)
		}
		return err
	}
}

func TestNodesAreMachinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/pair.clab.yml")
	a, b := l.MustNode(t, "a"), l.MustNode(t, "b")
	WaitFor(t, 5*time.Second, "IPv4", ping(a, "192.0.2.2"))
	WaitFor(t, 5*time.Second, "IPv6", ping(b, "2001:db8::1"))
	a.MustExec(t, "ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "8900", "192.0.2.2") // the MTU of the file

	if got := strings.TrimSpace(a.MustExec(t, "hostname")); got != "a" {
		t.Errorf("host name is %q", got)
	}
	if got := strings.Fields(a.MustExec(t, "ls", "/sys/class/net")); strings.Join(got, " ") != "eth1 lo" {
		t.Errorf("interfaces are %v", got)
	}
	if got := a.MustExec(t, "ls", "/sys/fs/cgroup"); got == "" {
		t.Error("the cgroup tree is hidden")
	}
	for _, path := range []string{"/etc/mine", "/var/lib/mine", "/run/mine", "/var/tmp/mine"} {
		a.MustExec(t, "touch", path)
		if _, err := b.Exec(bounded(t), "test", "-e", path); err == nil {
			t.Errorf("b sees a's %s", path)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("this machine sees a's %s", path)
		}
	}
	if out := a.MustExec(t, "ps", "-e", "-o", "comm="); strings.Contains(out, filepath.Base(os.Args[0])[:8]) {
		t.Errorf("a sees processes of this machine:\n%s", out)
	}
	if out, err := exec.Command("ip", "netns", "exec", a.Netns(), "ip", "-o", "address").CombinedOutput(); err != nil || !strings.Contains(string(out), "192.0.2.1/24") {
		t.Errorf("ip netns exec %s: %v\n%s", a.Netns(), err, out)
	}
	if _, err := a.Exec(bounded(t), "no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program is not in") {
		t.Errorf("a missing program gives %v", err)
	}
	_, err := a.Exec(bounded(t), "sh", "-c", "echo why >&2; exit 7")
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(err.Error(), "why") {
		t.Errorf("a failing command gives %v", err)
	}
}

func TestUpRefusesWhatRuns(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/switched.clab.yml")
	again := func(opts ...Option) error {
		_, err := Up(bounded(t), "testdata/switched.clab.yml", append(opts, WithName(l.Name()), EndWithProcess())...)
		return err
	}
	before := l.MustNode(t, "a").PID()
	if err := again(); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "--reconfigure") {
		t.Errorf("a second up gives %v", err)
	}
	if err := again(WithReconfigure()); err != nil {
		t.Fatal(err)
	}
	if after := l.MustNode(t, "a").PID(); after == before || after == 0 {
		t.Errorf("reconfigured node has init %d, had %d", after, before)
	}
	WaitFor(t, 5*time.Second, "the new lab", ping(l.MustNode(t, "a"), "192.0.2.2"))
}

func TestFailedUpLeavesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "broken.clab.yml")
	text := "name: broken\ntopology: {nodes: {a: {kind: linux, image: i, exec: ['sh -c \"echo because >&2; exit 3\"']}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Up(bounded(t), file)
	if err == nil || !strings.Contains(err.Error(), "node a") || !strings.Contains(err.Error(), "because") {
		t.Errorf("up gives %v", err)
	}
	assertGone(t, "broken", 0)
}

// assertGone checks that nothing of a lab is left on this machine.
func assertGone(t *testing.T, name string, oldPID int) {
	t.Helper()
	if paths, _ := filepath.Glob(filepath.Join(netnsDir, netnsName(name, "*"))); len(paths) > 0 {
		t.Errorf("namespaces are left: %v", paths)
	}
	for _, dir := range []string{labDir(name), "/sys/fs/cgroup/unified/lab/" + name, "/sys/fs/cgroup/lab/" + name} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	pids, err := allPIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), "lab-holder\x00"+name+"\x00") {
			t.Errorf("process %d is left", pid)
		}
	}
	if oldPID != 0 {
		if _, err := startTime(oldPID); err == nil {
			t.Errorf("process %d lives on", oldPID)
		}
	}
}

func TestPowerCut(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/pair.clab.yml")
	a, b := l.MustNode(t, "a"), l.MustNode(t, "b")
	WaitFor(t, 5*time.Second, "a path", ping(a, "192.0.2.2"))
	// A daemon that has left its parent, and something like a container: namespaces of its own inside the node.
	a.MustExec(t, "sh", "-c", "setsid sleep 1111 >/dev/null 2>&1 </dev/null &")
	if _, err := a.Start("container", "unshare", "--pid", "--fork", "--net", "--mount-proc", "sh", "-c", "sleep 2222; true"); err != nil {
		t.Fatal(err)
	}
	a.MustExec(t, "touch", "/var/lib/kept", "/run/lost")
	var victims []Process
	WaitFor(t, 5*time.Second, "all processes", func() (err error) {
		victims, err = a.Processes()
		if err == nil && len(victims) != 4 { // sleep, unshare, sh, sleep
			err = fmt.Errorf("a runs %v", victims)
		}
		return err
	})
	if err := a.Kill(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for _, victim := range victims {
		if victim.Alive() {
			t.Errorf("%+v survived the power cut", victim)
		}
	}
	WaitFor(t, time.Second, "b to see it", carrier(b, "eth1", "off"))
	if _, err := a.Exec(bounded(t), "true"); err == nil || !strings.Contains(err.Error(), "node a: the node is off") {
		t.Errorf("exec in a dead node gives %v", err)
	}
	if err := a.Kill(bounded(t)); err != nil {
		t.Errorf("a second power cut: %v", err)
	}
	if err := a.Boot(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := a.Boot(bounded(t)); err == nil {
		t.Error("booting a node that is on is no error")
	}
	WaitFor(t, 5*time.Second, "the path again", ping(b, "2001:db8::1"))
	a.MustExec(t, "test", "-e", "/var/lib/kept")
	if _, err := a.Exec(bounded(t), "test", "-e", "/run/lost"); err == nil {
		t.Error("/run survived the power cut")
	}
}

func TestCutAndRestore(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"pair", "switched"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			l := Run(t, "testdata/"+file+".clab.yml")
			a, b := l.MustNode(t, "a"), l.MustNode(t, "b")
			WaitFor(t, 5*time.Second, "a path", ping(a, "2001:db8::2"))
			link, err := l.Link("b:eth1")
			if err != nil {
				t.Fatal(err)
			}
			if err := link.Cut(); err != nil {
				t.Fatal(err)
			}
			WaitFor(t, time.Second, "b to see it", carrier(b, "eth1", "off"))
			if out := b.MustExec(t, "ip", "-o", "address", "show", "eth1"); !strings.Contains(out, "2001:db8::2/64") {
				t.Errorf("b lost its addresses with its cable:\n%s", out)
			}
			if err := ping(a, "192.0.2.2")(); err == nil {
				t.Error("packets pass the cut cable")
			}
			// A reboot does not mend a cable.
			if err := errors.Join(b.Kill(bounded(t)), b.Boot(bounded(t))); err != nil {
				t.Fatal(err)
			}
			if err := carrier(b, "eth1", "off")(); err != nil {
				t.Error(err)
			}
			if err := link.Restore(); err != nil {
				t.Fatal(err)
			}
			WaitFor(t, 5*time.Second, "the path again", ping(a, "2001:db8::2"))
			WaitFor(t, 5*time.Second, "the path again", ping(a, "192.0.2.2"))
		})
	}
	t.Run("unknown", func(t *testing.T) {
		if _, err := (&Lab{name: "x", topology: &Topology{}}).Link("a:eth9"); err == nil {
			t.Error("an unknown link is found")
		}
	})
}

func TestCapture(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/pair.clab.yml")
	a, b := l.MustNode(t, "a"), l.MustNode(t, "b")
	WaitFor(t, 5*time.Second, "a path", ping(a, "192.0.2.2"))
	capture, err := b.Capture(bounded(t), "eth1", "icmp")
	if err != nil {
		t.Fatal(err)
	}
	a.MustExec(t, "ping", "-n", "-c", "3", "-i", "0.01", "192.0.2.2")
	if err := capture.Stop(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tcpdump", "-n", "-r", capture.Path).Output()
	if got := strings.Count(string(out), "192.0.2.1 > 192.0.2.2: ICMP echo request"); err != nil || got != 3 {
		t.Errorf("captured %d echo requests (%v):\n%s", got, err, out)
	}
	if _, err := b.Capture(bounded(t), "eth1", "not a filter"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("a bad filter gives %v", err)
	}
	if _, err := b.Capture(bounded(t), "eth9", ""); err == nil {
		t.Error("an unknown interface is captured")
	}
}

const crashFile, crashName = "LAB_TEST_CRASH_FILE", "LAB_TEST_CRASH_NAME"

// TestCrashingRunner is the process that TestCrashedRun kills.
func TestCrashingRunner(t *testing.T) {
	if os.Getenv(crashFile) == "" {
		t.Skip("only runs as a child of TestCrashedRun")
	}
	opts := []Option{WithName(os.Getenv(crashName)), WithProgress(os.Stdout)}
	if os.Getenv("LAB_TEST_CRASH_OWNED") != "" {
		opts = append(opts, EndWithProcess())
	}
	if _, err := Up(context.Background(), os.Getenv(crashFile), opts...); err != nil {
		t.Fatal(err)
	}
	fmt.Println("lab is up")
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

// crash starts a runner and kills it with SIGKILL after it has printed a line with that text.
func crash(t *testing.T, name, text string, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingRunner$")
	cmd.Env = append(os.Environ(), append(env, crashFile+"=testdata/pair.clab.yml", crashName+"="+name)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	for lines := bufio.NewScanner(stdout); !found && lines.Scan(); {
		found = strings.Contains(lines.Text(), text)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !found {
		t.Fatalf("the runner never said %q", text)
	}
}

func TestCrashedRun(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text string }{
		{"half", "namespaces"},
		{"linked", "links"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("crash-%s-%d", row.name, os.Getpid())
			t.Cleanup(func() { _ = Down(context.Background(), name) })
			crash(t, name, row.text)
			s, err := readState(name)
			if err != nil || s == nil || s.Phase != phaseStarting {
				t.Fatalf("the crash left state %+v (%v)", s, err)
			}
			left := s.Nodes["a"].Holder
			if !left.alive() {
				t.Fatal("nothing was left to clean up")
			}
			if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "crashed run") {
				t.Errorf("opening it gives %v", err)
			}
			l, err := Up(bounded(t), "testdata/pair.clab.yml", WithName(name))
			if err != nil {
				t.Fatal(err)
			}
			if left.alive() {
				t.Errorf("process %d of the crashed run lives on", left.PID)
			}
			WaitFor(t, 5*time.Second, "a path", ping(l.MustNode(t, "a"), "192.0.2.2"))
			// Another process takes it down: it knows the name only.
			for range 2 {
				if err := Down(bounded(t), name); err != nil {
					t.Fatal(err)
				}
			}
			assertGone(t, name, left.PID)
		})
	}
	t.Run("owned", func(t *testing.T) {
		t.Parallel()
		name := fmt.Sprintf("crash-owned-%d", os.Getpid())
		crash(t, name, "lab is up", "LAB_TEST_CRASH_OWNED=1")
		// Parallel tests sweep too, so the record may be gone already; what it recorded must be.
		WaitFor(t, 5*time.Second, "its processes to end", func() error {
			s, err := readState(name)
			if err == nil && s != nil && (s.Nodes["a"].Holder.alive() || s.Nodes["b"].Holder.alive()) {
				err = errors.New("they run")
			}
			return err
		})
		if err := Sweep(bounded(t)); err != nil {
			t.Fatal(err)
		}
		assertGone(t, name, 0)
	})
}
