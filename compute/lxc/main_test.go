package lxc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/compute"
	"netfabric/compute/busyboximage"
	"netfabric/fabric"
)

const inNamespace = "LXC_TEST_IN_NAMESPACE"

// TestMain runs the tests in a network namespace of their own, and is the helper where the runtime wants it to be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == HelperCommand {
		os.Exit(HelperMain(os.Args[2:]))
	}
	if os.Getuid() != 0 || os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	// The race detector would have every helper sleep for a second before it ends.
	cmd.Env = append(os.Environ(), inNamespace+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// host is a directory with a runtime, a root file system and a bridge.
type host struct {
	dir     string
	ids     compute.IDMap
	runtime *Runtime
	root    string
}

const bridge = "lxct0"

func newHost(t *testing.T, options busyboximage.Options) *host {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root to make a network namespace and containers")
	}
	// Not t.TempDir: root of an unprivileged container has to pass through.
	dir, err := os.MkdirTemp("/var/tmp", "lxc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	h := &host{dir: dir, root: filepath.Join(dir, "rootfs")}
	h.ids, err = compute.ReadIDMap("/etc/subuid", "/etc/subgid")
	if err != nil {
		t.Fatal(err)
	}
	h.runtime = h.open(t)
	var image bytes.Buffer
	if err := busyboximage.Build(&image, options); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.root, 0o755); err != nil {
		t.Fatal(err)
	}
	images := compute.NewImages(filepath.Join(dir, "images"))
	i, err := images.Import(t.Context(), []fabric.ImageFile{{Name: "busybox.tar.gz", Body: io.NopCloser(&image)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := images.Unpack(t.Context(), i.Name, h.root, h.ids); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"address", "add", "10.66.0.1/24", "dev", bridge},
		{"address", "add", "fd00:66::1/64", "dev", bridge, "nodad"},
		{"link", "set", bridge, "up"},
	} {
		command(t, "ip", args...)
	}
	t.Cleanup(func() { command(t, "ip", "link", "delete", bridge) })
	return h
}

// open makes a runtime as a daemon that starts does.
func (h *host) open(t *testing.T) *Runtime {
	t.Helper()
	helper, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{Dir: filepath.Join(h.dir, "containers"), Helper: helper, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *host) spec(name string) compute.Spec {
	return compute.Spec{
		Name: name, Root: h.root, IDs: h.ids, Boots: 1,
		Network: compute.Network{
			NICs: []compute.NIC{{
				Device: "eth0", Network: bridge, Inside: "eth0", Link: "ft-" + name, Bridge: bridge, MAC: "00:16:3e:00:00:01", MTU: 1500,
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.66.0.2/24"), netip.MustParsePrefix("fd00:66::2/64")},
				Gateways:  []netip.Addr{netip.MustParseAddr("10.66.0.1"), netip.MustParseAddr("fd00:66::1")},
			}},
			Loopback: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32"), netip.MustParsePrefix("2001:db8:53::53/128")},
		},
	}
}

// start starts a container and sees to its end.
func (h *host) start(t *testing.T, spec compute.Spec) compute.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.runtime.Start(ctx, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.end(t, spec.Name) })
	c := h.container(t, spec.Name)
	if c.State != compute.ContainerRunning {
		t.Fatalf("it is %+v", c)
	}
	return c
}

func (h *host) end(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := h.runtime.Stop(ctx, name, 0); err != nil {
		t.Error(err)
	}
	if err := h.runtime.Remove(ctx, name); err != nil {
		t.Error(err)
	}
}

func (h *host) container(t *testing.T, name string) compute.Container {
	t.Helper()
	all, err := h.runtime.Containers(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// until waits until ok, looking again whenever something changed.
func (h *host) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-h.runtime.Changed():
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// exec runs a command in the container and gives what it said.
func (h *host) exec(t *testing.T, name string, args ...string) (status int, output string) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, err := h.runtime.Exec(ctx, name, fabric.ExecRequest{Command: args, Environment: map[string]string{"PATH": "/bin:/sbin"}, Cwd: "/", Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	return status, out.String()
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
