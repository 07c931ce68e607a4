package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The command is this test binary, so that its exit codes and streams are the real ones.
func TestMain(m *testing.M) {
	if os.Getenv("LAB_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LAB_TEST_MAIN=1", "GORACE=atexit_sleep_ms=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

const topology = `name: lab-command-test
topology:
  nodes:
    a: {kind: linux, image: debian, exec: [ip address add 192.0.2.1/24 dev eth1]}
    b: {kind: linux, image: debian, exec: [ip address add 192.0.2.2/24 dev eth1]}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.clab.yml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLifeOfALab(t *testing.T) {
	file := write(t, topology)
	t.Cleanup(func() { run(t, "down", file) })
	if _, stderr, code := run(t, "up", file); code != 0 || !strings.Contains(stderr, "2 namespaces (") {
		t.Fatalf("up ends with %d: %s", code, stderr)
	}
	if _, stderr, code := run(t, "up", file); code != 1 || !strings.Contains(stderr, "running already") {
		t.Errorf("a second up ends with %d: %s", code, stderr)
	}
	if _, stderr, code := run(t, "up", "-q", "--reconfigure", file); code != 0 || stderr != "" {
		t.Errorf("up --reconfigure ends with %d: %s", code, stderr)
	}
	if out, stderr, code := run(t, "exec", file, "a", "--", "ping", "-c", "1", "-W", "2", "192.0.2.2"); code != 0 {
		t.Errorf("ping ends with %d: %s%s", code, out, stderr)
	}
	if out, stderr, code := run(t, "exec", file, "b", "sh", "-c", "hostname; echo no >&2; exit 5"); out != "b\n" || stderr != "no\n" || code != 5 {
		t.Errorf("exec gives %q, %q, %d", out, stderr, code)
	}
	if _, _, code := run(t, "exec", file, "b", "sh", "-c", "kill -9 $$"); code != 128+9 {
		t.Errorf("a command killed by signal 9 gives %d", code)
	}
	out, stderr, code := run(t, "inspect", file)
	if code != 0 || !strings.Contains(out, "lab-lab-command-test-a") || !strings.Contains(out, "eth1 192.0.2.1/24") {
		t.Errorf("inspect ends with %d: %s%s", code, out, stderr)
	}
	if out, _, code := run(t, "inspect", "--format", "json", file); code != 0 || !strings.Contains(out, `"state": "running"`) {
		t.Errorf("inspect --format json ends with %d: %s", code, out)
	}
	for range 2 {
		if _, stderr, code := run(t, "down", file); code != 0 || stderr != "" {
			t.Errorf("down ends with %d: %s", code, stderr)
		}
	}
	if _, stderr, code := run(t, "inspect", file); code != 1 || !strings.Contains(stderr, "lab lab-command-test is not running: start it with up") {
		t.Errorf("inspect of nothing ends with %d: %s", code, stderr)
	}
}

func TestGraph(t *testing.T) {
	file := write(t, topology)
	if out, stderr, code := run(t, "graph", file); code != 0 || !strings.HasPrefix(out, "flowchart TB\n") {
		t.Errorf("graph ends with %d: %s%s", code, out, stderr)
	}
	svg := filepath.Join(t.TempDir(), "x.svg")
	if _, stderr, code := run(t, "graph", file, "-o", svg); code != 0 {
		t.Errorf("graph -o ends with %d: %s", code, stderr)
	}
	if data, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(data, []byte("<svg ")) {
		t.Errorf("graph -o wrote %.20q (%v)", data, err)
	}
}

// Wrong input gives one line that says what is wrong, and exit code 1.
func TestWrongInput(t *testing.T) {
	file := write(t, topology)
	missing := write(t, strings.Replace(topology, "image: debian,", "image: debian, cmd: no-such-daemon,", 1))
	bind := write(t, strings.Replace(topology, "image: debian,", "image: debian, binds: ['nowhere:/etc/x'],", 1))
	place := write(t, strings.Replace(topology, "image: debian,", "image: debian, binds: ['/etc/passwd:/no/such/place'],", 1))
	sysctl := write(t, strings.Replace(topology, "image: debian,", "image: debian, sysctls: {net.ipv4.nothing: 1},", 1))
	dies := write(t, strings.Replace(topology, "image: debian,", "image: debian, cmd: sh -c 'echo last words; exit 1',", 1))
	for _, row := range []struct {
		want string
		args []string
	}{
		{`unknown command "dwon" for "lab" Did you mean this? down`, []string{"dwon"}},
		{"unknown flag: --fast", []string{"up", "--fast", file}},
		{"up needs one topology file", []string{"up"}},
		{"up needs one topology file", []string{"up", file, file}},
		{"no such file", []string{"up", "/nowhere.clab.yml"}},
		{"is a directory", []string{"up", "/"}},
		{`lab name "a/b"`, []string{"up", "--name", "a/b", file}},
		{"not up within 1ns", []string{"up", "-q", "--timeout", "1ns", file}},
		{"no-such-daemon is not in", []string{"up", "-q", missing}},
		{"nowhere: no such file", []string{"up", "-q", bind}},
		{"bind destination /no/such/place does not exist", []string{"up", "-q", place}},
		{`sysctl net.ipv4.nothing`, []string{"up", "-q", sysctl}},
		{"last words", []string{"up", "-q", dies}},
		{"down needs one topology file", []string{"down"}},
		{"reached with --name", []string{"down", "/nowhere.clab.yml"}},
		{`lab name ".."`, []string{"down", "--name", ".."}},
		{"exec needs FILE, NODE and a command", []string{"exec", file}},
		{"exec needs FILE, NODE and a command", []string{"exec", file, "a", "--"}},
		{"is not running", []string{"exec", file, "a", "true"}},
		{"is not running", []string{"inspect", "--name", "nothing", file}},
		{`format "xml"`, []string{"inspect", "--format", "xml", file}},
		{`format "png"`, []string{"graph", "--format", "png", file}},
		{"no such file or directory", []string{"graph", file, "-o", "/no/such/dir/x.svg"}},
	} {
		_, stderr, code := run(t, row.args...)
		lines := strings.Count(stderr, "\n")
		if code != 1 || !strings.Contains(stderr, row.want) || lines != 1 && row.want != "last words" {
			t.Errorf("lab %s ends with %d and %d lines, want one that names %q:\n%s", strings.Join(row.args, " "), code, lines, row.want, stderr)
		}
	}
}
