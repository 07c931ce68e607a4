package lxc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/compute/busyboximage"
	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

// directories are pools of one volume each per instance.
type directories struct{ dir string }

func (d directories) HasVolume(_ context.Context, _, volume string) (bool, error) {
	_, err := os.Stat(filepath.Join(d.dir, volume))
	return err == nil, nil
}

func (d directories) CreateVolume(ctx context.Context, _, volume string, fill func(context.Context, string) error) error {
	if err := os.Mkdir(filepath.Join(d.dir, volume), 0o755); err != nil {
		return err
	}
	return fill(ctx, filepath.Join(d.dir, volume))
}

func (d directories) DeleteVolume(_ context.Context, _, volume string) error {
	return os.RemoveAll(filepath.Join(d.dir, volume))
}

func (d directories) Mount(_ context.Context, _, volume string) (string, error) {
	return filepath.Join(d.dir, volume), nil
}

type noFetcher struct{}

func (noFetcher) Fetch(context.Context, string, string) ([]fabric.ImageFile, error) {
	return nil, errors.New("no other member is there")
}

// node is a member with real containers.
type node struct {
	*host
	store  *fabrictest.Memory
	images *compute.Images
	module *compute.Module
	report fabric.Report
}

func newNode(t *testing.T) *node {
	n := &node{host: newHost(t, busyboximage.Options{}), store: fabrictest.NewMemory()}
	n.images = compute.NewImages(filepath.Join(n.dir, "images"))
	n.begin(t)
	t.Cleanup(func() {
		n.module.Close()
		all, err := n.runtime.Containers(context.Background())
		if err != nil {
			t.Error(err)
		}
		for name := range all {
			n.end(t, name)
		}
	})
	var image bytes.Buffer
	if err := busyboximage.Build(&image, busyboximage.Options{HTTP: true}); err != nil {
		t.Fatal(err)
	}
	i, err := n.images.Import(t.Context(), []fabric.ImageFile{{Name: "busybox.tar.gz", Body: io.NopCloser(&image)}})
	if err != nil {
		t.Fatal(err)
	}
	i.Origin = "m1"
	n.put(t,
		&fabric.Member{Header: fabric.Header{Name: "m1"}, Address: "192.0.2.1:8443", Certificate: "-----BEGIN CERTIFICATE-----\nTQ==\n-----END CERTIFICATE-----\n"},
		&fabric.Pool{Header: fabric.Header{Name: "default"}, Driver: "dir"},
		&fabric.Network{Header: fabric.Header{Name: bridge}, Type: "bridge", Config: fabric.Config{"ipv4.address": "10.66.0.1/24", "ipv6.address": "fd00:66::1/64"}},
		&fabric.Anycast{Header: fabric.Header{Name: "web"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.80/32"), netip.MustParsePrefix("2001:db8:80::80/128")}},
		i,
		&fabric.Instance{
			Header: fabric.Header{Name: "web1"}, Type: "container", Config: fabric.Config{"anycast": "web"}, Member: "m1", Pool: "default", Image: i.Name,
			Power: fabric.PowerRunning, Boots: 1, Devices: fabric.Devices{"eth0": {"type": "nic", "network": bridge}},
			NICs: []fabric.NIC{{Device: "eth0", Network: bridge, MAC: "00:16:3e:00:00:09", Addresses: []netip.Addr{netip.MustParseAddr("10.66.0.9"), netip.MustParseAddr("fd00:66::9")}}},
		})
	return n
}

// begin is what a daemon does when it starts.
func (n *node) begin(t *testing.T) {
	t.Helper()
	if n.module != nil {
		n.module.Close()
		n.runtime = n.open(t)
	}
	if err := os.MkdirAll(filepath.Join(n.dir, "pool"), 0o711); err != nil {
		t.Fatal(err)
	}
	n.module = compute.NewModule(compute.Options{
		Dir: filepath.Join(n.dir, "instances"), Images: n.images, Pools: directories{filepath.Join(n.dir, "pool")}, Fetcher: noFetcher{}, Runtime: n.runtime,
		Log: slog.New(slog.DiscardHandler),
	})
}

func (n *node) put(t *testing.T, objects ...fabric.Object) {
	t.Helper()
	if _, err := n.store.Apply(t.Context(), func(tx *fabric.Tx) error {
		for _, o := range objects {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (n *node) change(t *testing.T, edit func(*fabric.Instance)) {
	t.Helper()
	i, _ := n.store.Snapshot().Instance("web1")
	i = fabric.Clone(i)
	edit(i)
	n.put(t, i)
}

// reach reconciles as an agent does until ok.
func (n *node) reach(t *testing.T, what string, ok func(fabric.InstanceState, fabric.Condition) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		var err error
		n.report, err = n.module.Reconcile(t.Context(), fabric.View{Member: "m1", Desired: n.store.Snapshot(), Reports: n.store.Reports(), Facts: fabric.Facts{
			Pools:    map[string]fabric.PoolFact{"default": {}},
			Networks: map[string]fabric.NetworkFact{bridge: {Bridge: bridge, MTU: 1500}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var last fabric.Condition
		for _, c := range n.report.Conditions {
			if c.Object.Kind == fabric.KindInstance {
				last = c
			}
		}
		if ok(fabric.JSON[fabric.InstanceState](last.Data), last) {
			return
		}
		again := time.Second
		if n.report.Again > 0 {
			again = n.report.Again
		}
		select {
		case <-n.module.Wake():
		case <-time.After(again):
		case <-deadline:
			t.Fatalf("%s: not within 30 s; it is %+v", what, last)
		}
	}
}

func running(s fabric.InstanceState, c fabric.Condition) bool {
	return c.OK && s.Status == fabric.InstanceRunning
}

func TestMember(t *testing.T) {
	n := newNode(t)
	n.reach(t, "start", running)
	fact := n.report.Facts.Instances["web1"]
	if !alive(fact.Process) || len(fact.NICs) != 1 {
		t.Fatalf("fact is %+v", fact)
	}
	command(t, "ip", "link", "show", fact.NICs[0].Link)
	command(t, "ip", "route", "add", "203.0.113.80/32", "via", "10.66.0.9")
	command(t, "ip", "-6", "route", "add", "2001:db8:80::80/128", "via", "fd00:66::9")
	command(t, "ping", "-c", "1", "-W", "2", "203.0.113.80")
	command(t, "ping", "-c", "1", "-W", "2", "2001:db8:80::80")

	n.begin(t) // the daemon restarts, and adopts
	n.reach(t, "adoption", running)
	if got := n.report.Facts.Instances["web1"].Process; got != fact.Process {
		t.Errorf("process is %+v, was %+v", got, fact.Process)
	}

	var out bytes.Buffer
	if status, err := n.module.Exec(t.Context(), "web1", fabric.ExecRequest{Command: []string{"sh", "-c", "pwd; echo $HOME"}, Stdout: &out}); err != nil || status != 0 || out.String() != "/root\n/root\n" {
		t.Errorf("exec: %d, %v, %q", status, err, out.String())
	}

	p, err := open(fact.Process)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.reach(t, "death", func(_ fabric.InstanceState, c fabric.Condition) bool { return c.Reason == "died" })
	n.reach(t, "start after death", running)

	n.change(t, func(i *fabric.Instance) { i.Boots++ })
	n.reach(t, "restart", func(s fabric.InstanceState, c fabric.Condition) bool { return running(s, c) && s.Boots == 2 })
	n.change(t, func(i *fabric.Instance) { i.Config["security.privileged"], i.Boots = "true", 3 })
	n.reach(t, "restart as privileged", func(s fabric.InstanceState, c fabric.Condition) bool { return running(s, c) && s.Boots == 3 })
	n.change(t, func(i *fabric.Instance) { i.Power = fabric.PowerStopped })
	n.reach(t, "stop", func(s fabric.InstanceState, c fabric.Condition) bool {
		return c.OK && s.Status == fabric.InstanceStopped
	})
	n.change(t, func(i *fabric.Instance) { i.Power, i.Boots = fabric.PowerRunning, 4 })
	n.reach(t, "start", running)
	n.change(t, func(i *fabric.Instance) { i.Deleting = true })
	n.reach(t, "removal", func(fabric.InstanceState, fabric.Condition) bool { return len(n.report.Released) == 1 })

	if out := command(t, "ip", "-o", "link", "show"); strings.Contains(out, fact.NICs[0].Link) {
		t.Errorf("interface is there:\n%s", out)
	}
	for _, dir := range []string{"pool", "instances", "containers"} {
		if left, _ := filepath.Glob(filepath.Join(n.dir, dir, "[^.]*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	roots, _ := hierarchies()
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, n.runtime.cgroups)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("cgroup in %s: %v", root, err)
		}
	}
}
