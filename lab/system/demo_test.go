package system

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netfabric/lab"
)

// TestDemo kills the demo, starts it again, and takes it down.
func TestDemo(t *testing.T) {
	name := fmt.Sprintf("systemdemo-%d", os.Getpid())
	demo := filepath.Join(binDir, "demo")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, demo, append(args, "--name", name)...)
		cmd.Dir = root
		return cmd
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := lab.Down(ctx, name); err != nil {
			t.Error(err)
		}
	})

	first := command("up", "--bin", binDir)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for !strings.Contains(fmt.Sprint(lines.ReadString('\n')), "launch an anycast service") {
		if _, err := lines.Peek(1); err != nil {
			t.Fatalf("the demo has ended: %v", err)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, lines)
	_ = first.Wait() // killed

	begin := time.Now()
	text, err := command("up", "--bin", binDir).CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after a killed one the demo took %.1f s", time.Since(begin).Seconds())
	for _, want := range []string{"web1, web2, web3 answered", "show ip route " + service4 + "/32", "show ipv6 route " + service6 + "/128"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	l, err := lab.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var processes []lab.Process
	for _, n := range l.Nodes() {
		list, err := n.Processes()
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, list...)
	}
	if len(processes) < 12 {
		t.Errorf("only %d processes run", len(processes))
	}
	if text, err := command("down").CombinedOutput(); err != nil || len(text) > 0 {
		t.Fatalf("demo down: %v\n%s", err, text)
	}
	for _, p := range processes {
		if p.Alive() {
			t.Errorf("process %d still runs: %s", p.PID, p.Command)
		}
	}
	for _, left := range leftovers(t, name) {
		t.Errorf("left behind: %s", left)
	}
}

// leftovers finds files, cgroups and network namespaces of a lab, and processes that were its.
func leftovers(t *testing.T, name string) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/var/lib/lab/" + name + "*", "/run/netns/lab-" + name + "*", "/var/run/netns/*" + name + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), name) {
			left = append(left, path)
		}
		return nil // groups of others come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), name) {
			left = append(left, fmt.Sprintf("%s: %q", file, text))
		}
	}
	return left
}
