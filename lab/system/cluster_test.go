package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netfabric/compute/busyboximage"
	"netfabric/lab"
)

const topology = "../topologies/anycast.clab.yml"

// The anycast service of the tests, in documentation prefixes (RFC 5737, RFC 3849).
const (
	service4 = "203.0.113.80"
	service6 = "2001:db8:80::80"
)

var members = []string{"n1", "n2", "n3"}

// world is a running lab with a cluster of three in it.
type world struct {
	lab *lab.Lab
}

// newWorld starts the lab and forms the cluster. Both end with the test.
func newWorld(t testing.TB) *world { return worldOf(t, topology) }

// worldOf is newWorld with another topology; its members have the cluster's network at 10.66.0.1 to .3.
func worldOf(t testing.TB, topology string) *world {
	t.Helper()
	begin := time.Now()
	w := &world{lab: lab.Run(t, topology, lab.WithBinDir(binDir))}
	t.Logf("lab up in %d ms", time.Since(begin).Milliseconds())
	begin = time.Now()
	w.ctl(t, "n1", "cluster bootstrap n1 --address 10.66.0.1:8443")
	for i, member := range members[1:] {
		token := strings.TrimSpace(w.ctl(t, "n1", "cluster add "+member))
		w.ctl(t, member, fmt.Sprintf("cluster join %s --address 10.66.0.%d:8443", token, i+2))
	}
	t.Logf("cluster of three in %d ms", time.Since(begin).Milliseconds())
	return w
}

// define gives the cluster storage, a network, an image, BGP peers and an anycast service.
func (w *world) define(t testing.TB) {
	t.Helper()
	w.defineWithout(t, `
		bgp peer add r1-v4 192.0.2.1 65000 --export own --hold-time 3
		bgp peer add r2-v4 192.0.2.2 65000 --export own --hold-time 3
		bgp peer add r1-v6 2001:db8:2::1 65000 --export own --hold-time 3
		bgp peer add r2-v6 2001:db8:2::2 65000 --export own --hold-time 3
	`)
}

// defineWithout is define with other peers than those of the anycast topology.
func (w *world) defineWithout(t testing.TB, peers string) {
	t.Helper()
	image := w.image(t, "n1", "/tmp/busybox.tar.gz")
	w.script(t, "n1", `
		config set core.bgp_asn=65100
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=2001:db8:10::1/64
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		`+peers+`
		anycast create web `+service4+`/32 `+service6+`/128 --check http:80 --interval 500ms
	`)
}

// serve launches a copy of the service on each member and waits for the routes.
func (w *world) serve(t testing.TB) {
	t.Helper()
	begin := time.Now()
	for i, member := range members {
		w.ctl(t, "n1", fmt.Sprintf("launch busybox web%d --config anycast=web --target %s", i+1, member))
	}
	launched := time.Since(begin)
	w.waitNextHops(t, 3, 15*time.Second)
	t.Logf("three instances launched in %d ms, announced %d ms later", launched.Milliseconds(), (time.Since(begin) - launched).Milliseconds())
}

// image builds a busybox image in a file of a node and gives the file's name there.
func (w *world) image(t testing.TB, node, path string) string {
	t.Helper()
	file, err := w.lab.MustNode(t, node).Path(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := busyboximage.Build(f, busyboximage.Options{Program: filepath.Join(binDir, "echo")}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command in a node and does not mind how it ends.
func (w *world) run(t testing.TB, node, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := w.command(ctx, node, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// command is run for goroutines, which must not end a test.
func (w *world) command(ctx context.Context, node, stdin string, args ...string) (result, error) {
	n, err := w.lab.Node(node)
	if err != nil {
		return result{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd := n.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err = cmd.Run()
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return r, fmt.Errorf("%s: %s: %w: %s", node, strings.Join(args, " "), err, stderr.String())
	}
	return r, nil
}

// try runs fabricctl, with words split at spaces, and does not mind how it ends.
func (w *world) try(t testing.TB, node, line string) result {
	t.Helper()
	return w.run(t, node, "", append([]string{"fabricctl"}, strings.Fields(line)...)...)
}

// ctl runs fabricctl, which must succeed, and gives what it printed.
func (w *world) ctl(t testing.TB, node, line string) string {
	t.Helper()
	r := w.try(t, node, line)
	if r.code != 0 {
		t.Fatalf("%s: fabricctl %s: exit code %d: %s%s", node, line, r.code, r.stderr, r.stdout)
	}
	return r.stdout
}

// script runs a fabricctl command for each line.
func (w *world) script(t testing.TB, node, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			w.ctl(t, node, line)
		}
	}
}

// ctlJSON reads what fabricctl prints with --format json.
func ctlJSON[T any](t testing.TB, w *world, node, line string) (T, error) {
	t.Helper()
	var v T
	r := w.try(t, node, line+" --format json")
	if r.code != 0 {
		return v, fmt.Errorf("%s: fabricctl %s: %s", node, line, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		return v, fmt.Errorf("%s: fabricctl %s: %w: %s", node, line, err, r.stdout)
	}
	return v, nil
}

// instance is what the tests read of an instance.
type instance struct {
	Name     string
	Status   string
	Location string
	State    struct{ Pid int }
}

func (w *world) instance(t testing.TB, node, name string) (instance, error) {
	t.Helper()
	list, err := ctlJSON[[]instance](t, w, node, "list")
	if err != nil {
		return instance{}, err
	}
	for _, i := range list {
		if i.Name == name {
			return i, nil
		}
	}
	return instance{}, fmt.Errorf("%s does not list instance %s", node, name)
}

// running waits until a member reports an instance as running, with a process.
func (w *world) running(t testing.TB, node, name string) instance {
	t.Helper()
	var i instance
	lab.WaitFor(t, 20*time.Second, name+" to run", func() error {
		var err error
		if i, err = w.instance(t, node, name); err != nil {
			return err
		}
		if i.Status != "Running" || i.State.Pid == 0 {
			return fmt.Errorf("%s, process %d", i.Status, i.State.Pid)
		}
		return nil
	})
	return i
}

// ctlQuery reads the metadata of an answer of the API.
func ctlQuery[T any](t testing.TB, w *world, node, path string) T {
	t.Helper()
	var v T
	text := w.ctl(t, node, "query "+path)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("fabricctl query %s: %v: %s", path, err, text)
	}
	return v
}

// oneLine says why a text is not one line.
func oneLine(text string) error {
	if strings.TrimSpace(text) == "" || strings.Index(text, "\n") != len(text)-1 {
		return fmt.Errorf("%q is not one line", text)
	}
	return nil
}
