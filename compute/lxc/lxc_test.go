package lxc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/compute/busyboximage"
	"netfabric/fabric"
)

// booted waits until the boot script of a container is through.
func (h *host) booted(t *testing.T, name string) {
	t.Helper()
	h.until(t, "boot of "+name, func() bool {
		status, _ := h.exec(t, name, "test", "-e", "/run/booted")
		return status == 0
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestLife(t *testing.T) {
	h := newHost(t, busyboximage.Options{HTTP: true})
	c := h.start(t, h.spec("c1"))
	if c.Process.PID == 0 || c.Boots != 1 || c.BootID != bootID() || time.Since(c.StartedAt) > time.Minute {
		t.Errorf("container is %+v", c)
	}
	if got, err := identify(c.Process.PID); err != nil || got != c.Process {
		t.Errorf("process is %+v, %v", got, err)
	}
	uids, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.Process.PID), "uid_map"))
	if fields := strings.Fields(string(uids)); err != nil || len(fields) != 3 || fields[1] == "0" {
		t.Errorf("uid map is %q, %v", uids, err)
	}
	for _, address := range []string{"10.66.0.2", "fd00:66::2"} {
		command(t, "ping", "-c", "1", "-W", "2", address)
	}
	h.booted(t, "c1")
	command(t, "ip", "route", "add", "203.0.113.53/32", "via", "10.66.0.2")
	command(t, "ip", "-6", "route", "add", "2001:db8:53::53/128", "via", "fd00:66::2")
	for _, address := range []string{"10.66.0.2", "[fd00:66::2]", "203.0.113.53", "[2001:db8:53::53]"} {
		if got := get(t, "http://"+address+"/"); got != "c1\n" {
			t.Errorf("http://%s/ says %q", address, got)
		}
	}
	if out := command(t, "ip", "link", "show", "ft-c1"); !strings.Contains(out, "master "+bridge) {
		t.Errorf("member's end of the NIC:\n%s", out)
	}
	ctx := t.Context()
	if err := h.runtime.Start(ctx, h.spec("c1")); fabric.ReasonOf(err) != "not-stopped" {
		t.Errorf("second start: %v", err)
	}
	if err := h.runtime.Remove(ctx, "c1"); fabric.ReasonOf(err) != "not-stopped" {
		t.Errorf("remove while it runs: %v", err)
	}
	began := time.Now()
	if err := h.runtime.Stop(ctx, "c1", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the guest was not asked, or did not understand: stop took %s", took)
	}
	if c := h.container(t, "c1"); c.State != compute.ContainerStopped || c.Boots != 1 {
		t.Errorf("after the stop: %+v", c)
	}
	spec := h.spec("c1")
	spec.Boots = 2
	if err := h.runtime.Start(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if c := h.container(t, "c1"); c.State != compute.ContainerRunning || c.Boots != 2 {
		t.Errorf("after the second start: %+v", c)
	}
	began = time.Now()
	if err := h.runtime.Stop(ctx, "c1", 20*time.Second); err != nil || time.Since(began) > 10*time.Second { // before it has booted
		t.Errorf("stop took %s, %v", time.Since(began), err)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	c := h.start(t, h.spec("c1"))
	last, err := readJSON[run](h.runtime.path("c1", runFile))
	if err != nil {
		t.Fatal(err)
	}
	h.end(t, "c1")
	for _, p := range []fabric.Process{c.Process, last.Monitor} {
		if alive(p) {
			t.Errorf("process %d lives", p.PID)
		}
	}
	if out := command(t, "ip", "-o", "link", "show"); strings.Contains(out, "ft-c1") {
		t.Errorf("interface is there:\n%s", out)
	}
	roots, err := hierarchies()
	if err != nil || len(roots) == 0 {
		t.Fatal(roots, err)
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, h.runtime.cgroups)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("cgroup in %s: %v", root, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "containers", "c1*")); len(left) > 0 {
		t.Errorf("files: %v", left)
	}
	if all, err := h.runtime.Containers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("containers: %v, %v", all, err)
	}
}

func TestDeathIsSeen(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	c := h.start(t, h.spec("c1"))
	select {
	case <-h.runtime.Changed():
	default:
	}
	p, err := open(c.Process)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	began := time.Now()
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.runtime.Changed():
		t.Logf("seen after %s", time.Since(began))
	case <-time.After(5 * time.Second):
		t.Fatal("nobody noticed")
	}
	h.until(t, "end", func() bool { return h.container(t, "c1").State == compute.ContainerStopped })
}

func TestAdoption(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	c := h.start(t, h.spec("c1"))
	h.runtime = h.open(t) // the daemon begins anew
	if got := h.container(t, "c1"); got.State != compute.ContainerRunning || got.Process != c.Process || got.Boots != 1 || !got.StartedAt.Equal(c.StartedAt) {
		t.Errorf("adopted as %+v, was %+v", got, c)
	}
	if status, out := h.exec(t, "c1", "hostname"); status != 0 || out != "c1\n" {
		t.Errorf("exec: %d, %q", status, out)
	}
	p, err := open(c.Process)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.until(t, "end of an adopted container", func() bool { return h.container(t, "c1").State == compute.ContainerStopped })
}

func TestGuestReboot(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	c := h.start(t, h.spec("c1"))
	h.booted(t, "c1")
	if status, out := h.exec(t, "c1", "reboot", "-f"); status != 0 && status != 137 {
		t.Errorf("reboot: %d, %q", status, out)
	}
	h.until(t, "second life", func() bool {
		got := h.container(t, "c1")
		return got.State == compute.ContainerRunning && got.Process != c.Process
	})
	command(t, "ping", "-c", "1", "-W", "2", "fd00:66::2")
	if _, out := h.exec(t, "c1", "ip", "address", "show", "lo"); !strings.Contains(out, "203.0.113.53/32") || !strings.Contains(out, "2001:db8:53::53/128") {
		t.Errorf("anycast addresses are gone:\n%s", out)
	}
	if out := command(t, "ip", "link", "show", "ft-c1"); !strings.Contains(out, "master "+bridge) {
		t.Errorf("member's end of the NIC:\n%s", out)
	}
}

func TestSetNetwork(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	spec := h.spec("c1")
	h.start(t, spec)
	h.exec(t, "c1", "ip", "address", "add", "192.0.2.9/32", "dev", "lo") // the guest's own
	n := spec.Network
	n.Loopback = []netip.Prefix{netip.MustParsePrefix("203.0.113.80/32"), netip.MustParsePrefix("2001:db8:53::53/128")}
	n.NICs = []compute.NIC{n.NICs[0]}
	n.NICs[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.66.0.3/24")}
	n.NICs[0].Gateways = n.NICs[0].Gateways[:1]
	for range 2 {
		if err := h.runtime.SetNetwork(t.Context(), "c1", n); err != nil {
			t.Fatal(err)
		}
	}
	_, out := h.exec(t, "c1", "sh", "-c", "ip address; ip route; ip -6 route")
	for _, want := range []string{"203.0.113.80/32", "2001:db8:53::53/128", "192.0.2.9/32", "10.66.0.3/24", "default via 10.66.0.1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	for _, not := range []string{"203.0.113.53", "10.66.0.2/", "fd00:66::2/", "default via fd00"} {
		if strings.Contains(out, not) {
			t.Errorf("%s is still there:\n%s", not, out)
		}
	}
	if got := h.container(t, "c1").Network; len(got.Loopback) != 2 || got.Loopback[0] != n.Loopback[0] {
		t.Errorf("network is %+v", got)
	}
}

func TestStartFailure(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	for name, spoil := range map[string]func(*compute.Spec){
		"no-init":   func(s *compute.Spec) { s.Root = t.TempDir() },
		"no-bridge": func(s *compute.Spec) { s.Network.NICs[0].Bridge = "nothere0" },
	} {
		t.Run(name, func(t *testing.T) {
			spec := h.spec("bad")
			spoil(&spec)
			t.Cleanup(func() { h.end(t, "bad") })
			err := h.runtime.Start(t.Context(), spec)
			if fabric.ReasonOf(err) != "start-failed" {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
			if name == "no-bridge" && !strings.Contains(err.Error(), "nothere0") {
				t.Errorf("the cause is missing: %v", err)
			}
			if c := h.container(t, "bad"); c.State != compute.ContainerStopped {
				t.Errorf("it is %+v", c)
			}
			log, err := h.runtime.Log("bad")
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			if text, err := io.ReadAll(log); err != nil || len(text) == 0 {
				t.Errorf("log is %q, %v", text, err)
			}
			h.start(t, h.spec("good")) // nothing is left in the way
			h.end(t, "good")
		})
	}
}

func TestStartThatHangsIsBounded(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	script := filepath.Join(h.dir, "helper")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.runtime.helper = script
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	t.Cleanup(func() { h.end(t, "c1") })
	began := time.Now()
	if err := h.runtime.Start(ctx, h.spec("c1")); fabric.ReasonOf(err) != "start-failed" || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

// limited looks at the limits of a container that the kernel has.
func (h *host) limited(t *testing.T, name, memory, processes string) {
	t.Helper()
	found := 0
	roots, _ := hierarchies()
	for _, root := range roots {
		for file, want := range map[string]string{"memory.limit_in_bytes": memory, "memory.max": memory, "pids.max": processes} {
			got, err := os.ReadFile(filepath.Join(root, h.runtime.cgroups, name, file))
			if err != nil {
				continue
			}
			if found++; strings.TrimSpace(string(got)) != want {
				t.Errorf("%s in %s is %q, want %s", file, root, got, want)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d limits are set", found)
	}
}

func TestLimitsChangeWhileItRuns(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	c := h.start(t, h.spec("c1"))
	h.booted(t, "c1")
	want := compute.Resources{Memory: 32 << 20, Processes: 40}
	if err := h.runtime.SetResources(t.Context(), "c1", want); err != nil {
		t.Fatal(err)
	}
	h.limited(t, "c1", "33554432", "40")
	if status, out := h.exec(t, "c1", "reboot", "-f"); status != 0 && status != 137 {
		t.Errorf("reboot: %d, %q", status, out)
	}
	h.until(t, "second life", func() bool {
		got := h.container(t, "c1")
		return got.State == compute.ContainerRunning && got.Process != c.Process
	})
	h.limited(t, "c1", "33554432", "40")
	if got := h.container(t, "c1").Resources; got != want {
		t.Errorf("limits are %+v", got)
	}
	if err := h.runtime.SetResources(t.Context(), "c1", compute.Resources{Memory: 1, Processes: 40}); fabric.ReasonOf(err) != "memory-in-use" {
		t.Errorf("less memory than is in use: %v", err)
	}
	if err := h.runtime.SetResources(t.Context(), "c1", compute.Resources{Memory: 48 << 20}); err != nil {
		t.Fatal(err)
	}
	h.limited(t, "c1", "50331648", "max")
}

func TestLimitsAndPrivileged(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	spec := h.spec("c1")
	spec.Resources, spec.Nesting = compute.Resources{Memory: 64 << 20, Processes: 50}, true
	spec.Environment = map[string]string{"GREETING": "hello\nworld"}
	c := h.start(t, spec)
	proc := filepath.Join("/proc", strconv.Itoa(c.Process.PID))
	if env, err := os.ReadFile(filepath.Join(proc, "environ")); err != nil || !strings.Contains(string(env), "GREETING=hello\nworld\x00") {
		t.Errorf("environment of init is %q, %v", env, err)
	}
	h.limited(t, "c1", "67108864", "50")
	if status, out := h.exec(t, "c1", "sh", "-c", "for i in $(seq 100); do sleep 5 & done"); !strings.Contains(out, "fork") {
		t.Errorf("a hundred processes: %d, %q", status, out)
	}
	h.end(t, "c1")

	privileged := h.spec("p1")
	privileged.IDs = compute.IDMap{}
	c = h.start(t, privileged)
	if uids, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.Process.PID), "uid_map")); err != nil || strings.Fields(string(uids))[1] != "0" {
		t.Errorf("uid map is %q, %v", uids, err)
	}
}

func TestExec(t *testing.T) {
	h := newHost(t, busyboximage.Options{})
	h.start(t, h.spec("c1"))
	run := func(t *testing.T, r fabric.ExecRequest) (int, string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		r.Stdout, r.Stderr = &out, &errs
		if r.Cwd == "" {
			r.Cwd = "/"
		}
		if r.Environment == nil {
			r.Environment = map[string]string{}
		}
		r.Environment["PATH"] = "/bin:/sbin"
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		status, err := h.runtime.Exec(ctx, "c1", r)
		if err != nil {
			t.Fatal(err)
		}
		return status, out.String(), errs.String()
	}
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	t.Run("streams and status", func(t *testing.T) {
		status, out, errs := run(t, fabric.ExecRequest{Command: sh("cat; echo bad >&2; exit 7"), Stdin: strings.NewReader("in")})
		if status != 7 || out != "in" || errs != "bad\n" {
			t.Errorf("got %d, %q, %q", status, out, errs)
		}
	})
	t.Run("signal", func(t *testing.T) {
		if status, _, _ := run(t, fabric.ExecRequest{Command: sh("kill -9 $$")}); status != 137 {
			t.Errorf("status is %d", status)
		}
	})
	t.Run("control", func(t *testing.T) {
		control := make(chan fabric.ExecControl, 1)
		control <- fabric.ExecControl{Signal: 15}
		if status, _, _ := run(t, fabric.ExecRequest{Command: []string{"sleep", "100"}, Control: control}); status != 143 {
			t.Errorf("status is %d", status)
		}
	})
	t.Run("environment, directory and user", func(t *testing.T) {
		_, out, _ := run(t, fabric.ExecRequest{Command: sh("env | sort; pwd; id -u; id -g"), Environment: map[string]string{"A": "b c"}, Cwd: "/tmp", UID: 65534, GID: 65534})
		if !strings.Contains(out, "A=b c\n") || !strings.HasSuffix(out, "/tmp\n65534\n65534\n") || strings.Contains(out, "LXC") || strings.Contains(out, inNamespace) {
			t.Errorf("got %q", out)
		}
	})
	t.Run("much output", func(t *testing.T) {
		if _, out, _ := run(t, fabric.ExecRequest{Command: sh("head -c 3000000 /dev/zero")}); len(out) != 3000000 {
			t.Errorf("got %d bytes", len(out))
		}
	})
	t.Run("output kept open in the background", func(t *testing.T) {
		began := time.Now()
		if _, out, _ := run(t, fabric.ExecRequest{Command: sh("sleep 60 & echo done")}); out != "done\n" || time.Since(began) > 10*time.Second {
			t.Errorf("got %q after %s", out, time.Since(began))
		}
	})
	t.Run("standard input that never ends", func(t *testing.T) {
		reader, writer := io.Pipe()
		defer writer.Close()
		if status, out, _ := run(t, fabric.ExecRequest{Command: []string{"echo", "x"}, Stdin: reader}); status != 0 || out != "x\n" {
			t.Errorf("got %d, %q", status, out)
		}
	})
	t.Run("no such command", func(t *testing.T) {
		if status, _, _ := run(t, fabric.ExecRequest{Command: []string{"/nothere"}}); status != 127 {
			t.Errorf("status is %d", status)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		status, out, _ := run(t, fabric.ExecRequest{Command: sh("tty; stty size; test -t 0 && echo yes"), Terminal: true, Width: 132, Height: 43})
		if status != 0 || !strings.Contains(out, "/dev/pts/") || !strings.Contains(out, "43 132") || !strings.Contains(out, "yes") {
			t.Errorf("got %d, %q", status, out)
		}
	})
	t.Run("keys of a terminal", func(t *testing.T) {
		reader, writer := io.Pipe()
		defer writer.Close()
		go func() {
			for range 50 { // until the command has begun
				if _, err := writer.Write([]byte{3}); err != nil { // Ctrl-C
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}()
		if status, _, _ := run(t, fabric.ExecRequest{Command: []string{"sleep", "100"}, Terminal: true, Stdin: reader}); status != 130 {
			t.Errorf("status is %d", status)
		}
		reader.Close()
	})
	t.Run("caller is gone", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := h.runtime.Exec(ctx, "c1", fabric.ExecRequest{Command: []string{"/bin/sleep", "12345"}, Cwd: "/"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		h.until(t, "end of the command", func() bool {
			_, out, _ := run(t, fabric.ExecRequest{Command: []string{"ps"}})
			return !strings.Contains(out, "12345")
		})
	})
	t.Run("not running", func(t *testing.T) {
		if _, err := h.runtime.Exec(t.Context(), "c2", fabric.ExecRequest{Command: []string{"x"}}); fabric.ReasonOf(err) != "not-running" {
			t.Errorf("got %v", err)
		}
	})
}
