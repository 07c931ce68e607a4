package compute

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
	"testing/synctest"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

var bootIDForTest = func() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}()

const testCertificate = "-----BEGIN CERTIFICATE-----\nTQ==\n-----END CERTIFICATE-----\n"

// member is a member of a cluster with this package's module on it, and all it needs.
type member struct {
	t       *testing.T
	dir     string
	store   *fabrictest.Memory
	runtime *fakeRuntime
	fetcher *fakeFetcher
	images  *Images
	module  *Module
	report  fabric.Report
	facts   fabric.Facts
}

func newMember(t *testing.T) *member {
	t.Helper()
	dir := t.TempDir()
	m := &member{t: t, dir: dir, store: fabrictest.NewMemory(), runtime: newFakeRuntime(t), images: NewImages(filepath.Join(dir, "images")), fetcher: &fakeFetcher{members: map[string]*Images{}}}
	if err := os.Mkdir(filepath.Join(dir, "pool"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.facts = fabric.Facts{
		Pools:    map[string]fabric.PoolFact{"default": {Driver: "dir"}},
		Networks: map[string]fabric.NetworkFact{"fabbr0": {Bridge: "fabbr0", MTU: 1500}},
	}
	m.restart()
	m.put(
		&fabric.Member{Header: fabric.Header{Name: "m1"}, Address: "192.0.2.1:8443", Certificate: testCertificate},
		&fabric.Pool{Header: fabric.Header{Name: "default"}, Driver: "dir", Config: fabric.Config{}},
		&fabric.Network{Header: fabric.Header{Name: "fabbr0"}, Type: "bridge", Config: fabric.Config{"ipv4.address": "10.1.0.1/24", "ipv6.address": "fd00:1::1/64"}},
	)
	return m
}

// restart is the end of a daemon and the beginning of the next.
func (m *member) restart() {
	if m.module != nil {
		m.module.Close()
	}
	m.module = NewModule(Options{
		Dir: filepath.Join(m.dir, "instances"), Images: m.images, Pools: fakePools{filepath.Join(m.dir, "pool")}, Fetcher: m.fetcher, Runtime: m.runtime,
		IDs: func() (IDMap, error) { return IDMap{}, nil }, Log: slog.New(slog.DiscardHandler),
	})
}

func (m *member) put(objects ...fabric.Object) {
	m.t.Helper()
	m.apply(func(tx *fabric.Tx) error {
		for _, o := range objects {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *member) apply(change func(*fabric.Tx) error) {
	m.t.Helper()
	if _, err := m.store.Apply(context.Background(), change); err != nil {
		m.t.Fatal(err)
	}
}

// change edits an instance.
func (m *member) change(name string, edit func(*fabric.Instance)) {
	m.t.Helper()
	m.apply(func(tx *fabric.Tx) error {
		i, _ := tx.Snapshot().Instance(name)
		i = fabric.Clone(i)
		edit(i)
		return tx.Put(i)
	})
}

// importImage puts an image on a member and into the cluster.
func (m *member) importImage(images *Images, origin string) string {
	m.t.Helper()
	i, err := images.Import(context.Background(), []fabric.ImageFile{{Name: "x.tar", Body: io.NopCloser(bytes.NewReader(goodImage(m.t)))}})
	if err != nil {
		m.t.Fatal(err)
	}
	i.Origin = origin
	m.put(i)
	return i.Name
}

func (m *member) instance(name, image string) *fabric.Instance {
	return &fabric.Instance{
		Header: fabric.Header{Name: name}, Type: "container", Config: fabric.Config{}, Member: "m1", Pool: "default", Image: image, Power: fabric.PowerRunning, Boots: 1,
		Devices: fabric.Devices{"eth0": {"type": "nic", "network": "fabbr0"}},
		NICs:    []fabric.NIC{{Device: "eth0", Network: "fabbr0", MAC: "00:16:3e:00:00:01", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd00:1::2")}}},
	}
}

// reconcile calls the module as an agent would until nothing goes on any more. It must run in a synctest bubble.
func (m *member) reconcile() {
	m.t.Helper()
	for {
		var err error
		m.report, err = m.module.Reconcile(context.Background(), fabric.View{Member: "m1", Desired: m.store.Snapshot(), Reports: m.store.Reports(), Facts: m.facts})
		if err != nil {
			m.t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-m.module.Wake():
		default:
			return
		}
	}
}

func (m *member) condition(k fabric.Key) fabric.Condition {
	m.t.Helper()
	for _, c := range m.report.Conditions {
		if c.Object == k {
			return c
		}
	}
	return fabric.Condition{}
}

func (m *member) wantStatus(name string, want fabric.InstanceStatus, reason string) {
	m.t.Helper()
	c := m.condition(fabric.Key{Kind: fabric.KindInstance, Name: name})
	state := fabric.JSON[fabric.InstanceState](c.Data)
	if state.Status != want || c.Reason != reason || c.OK != (reason == "") {
		m.t.Errorf("instance %s is %s, ok %v, reason %q (%s); want %s, %q", name, state.Status, c.OK, c.Reason, c.Message, want, reason)
	}
}

// inBubble runs a test on a virtual clock.
func inBubble(t *testing.T, test func(m *member)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		defer func() { m.module.Close() }()
		test(m)
	})
}

func TestLife(t *testing.T) {
	inBubble(t, func(m *member) {
		image := m.importImage(m.images, "m1")
		m.put(m.instance("c1", image))
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		fact := m.report.Facts.Instances["c1"]
		if fact.Process.PID == 0 || fact.Process.Start == 0 || fact.Boots != 1 || len(fact.NICs) != 1 || !strings.HasPrefix(fact.NICs[0].Link, "f") || len(fact.NICs[0].Link) > 15 {
			t.Errorf("fact is %+v", fact)
		}
		nic := m.runtime.specs["c1"].Network.NICs[0]
		if len(nic.Addresses) != 2 || nic.Addresses[0].String() != "10.1.0.2/24" || nic.Gateways[1].String() != "fd00:1::1" {
			t.Errorf("NIC is %+v", nic)
		}
		before := m.report
		m.reconcile()
		if len(before.Conditions) != len(m.report.Conditions) || !before.Conditions[0].Same(m.report.Conditions[0]) {
			t.Errorf("a repeat changed %+v to %+v", before.Conditions, m.report.Conditions)
		}

		m.change("c1", func(i *fabric.Instance) { i.Boots++ }) // restart
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		if got := m.runtime.get("c1"); got.Boots != 2 || m.runtime.started("c1") != 2 || m.runtime.graces[0] != 10*time.Second {
			t.Errorf("after the restart: %+v, started %d times, graces %v", got, m.runtime.started("c1"), m.runtime.graces)
		}

		m.change("c1", func(i *fabric.Instance) { i.Power, i.Timeout = fabric.PowerStopped, 3 })
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceStopped, "")
		if got := m.runtime.graces[1]; got != 3*time.Second {
			t.Errorf("grace is %s", got)
		}

		m.change("c1", func(i *fabric.Instance) { i.Deleting = true })
		m.reconcile()
		if len(m.report.Released) != 1 || m.report.Released[0] != (fabric.Key{Kind: fabric.KindInstance, Name: "c1"}) {
			t.Errorf("released: %v", m.report.Released)
		}
		for _, dir := range []string{"pool", "instances"} {
			if left, _ := os.ReadDir(filepath.Join(m.dir, dir)); len(left) > 0 {
				t.Errorf("left in %s: %v", dir, left)
			}
		}
	})
}

func TestAdoption(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		m.reconcile()
		pid := m.runtime.get("c1").Process
		m.restart()
		m.facts = fabric.Facts{} // nothing is known yet
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		if m.runtime.get("c1").Process != pid || m.runtime.started("c1") != 1 {
			t.Error("it was restarted")
		}
	})
}

func TestDeathBacksOff(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		m.reconcile()
		// A first death is followed by a start after a second, and by longer and longer waits when it dies young.
		for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			m.runtime.die("c1")
			m.reconcile()
			m.wantStatus("c1", fabric.InstanceError, "died")
			starts := m.runtime.started("c1")
			if m.report.Again != wait {
				t.Errorf("again in %s, want %s", m.report.Again, wait)
			}
			time.Sleep(wait - time.Millisecond)
			if m.reconcile(); m.runtime.started("c1") != starts {
				t.Errorf("started before %s", wait)
			}
			time.Sleep(time.Millisecond)
			m.reconcile()
			m.wantStatus("c1", fabric.InstanceRunning, "")
		}
		time.Sleep(healthyAfter)
		m.runtime.die("c1")
		if m.reconcile(); m.report.Again != time.Second {
			t.Errorf("after a long life: again in %s", m.report.Again)
		}
	})
}

func TestStartFailure(t *testing.T) {
	inBubble(t, func(m *member) {
		m.runtime.startErr["bad"] = fabric.Errorf(fabric.CodeInternal, "start-failed", "no init")
		image := m.importImage(m.images, "m1")
		m.put(m.instance("bad", image))
		m.reconcile()
		m.wantStatus("bad", fabric.InstanceError, "start-failed")
		time.Sleep(time.Second)
		m.reconcile()
		if n := m.runtime.started("bad"); n != 2 {
			t.Errorf("started %d times", n)
		}
		delete(m.runtime.startErr, "bad")
		m.change("bad", func(i *fabric.Instance) { i.Description = "mended" }) // does not wait for the back-off
		m.reconcile()
		m.wantStatus("bad", fabric.InstanceRunning, "")
	})
}

func TestHangingStartBlocksNobody(t *testing.T) {
	inBubble(t, func(m *member) {
		image := m.importImage(m.images, "m1")
		free := make(chan struct{})
		names := []string{"h1", "h2", "h3", "h4", "h5"}
		for _, name := range names {
			m.runtime.hang[name] = free
			i := m.instance(name, image)
			i.NICs, i.Devices = nil, nil
			m.put(i)
		}
		m.reconcile()
		m.put(m.instance("z", image))
		m.reconcile()
		m.wantStatus("h1", fabric.InstanceStarting, "")
		time.Sleep(2 * (startTimeout + lateAfter))
		m.reconcile()
		m.wantStatus("h1", fabric.InstanceStarting, "operation-hangs")
		m.wantStatus("z", fabric.InstanceRunning, "")
		close(free)
		m.reconcile()
		m.wantStatus("h5", fabric.InstanceRunning, "")
	})
}

func TestMissingPrerequisites(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		facts := m.facts
		m.facts.Pools = map[string]fabric.PoolFact{}
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceError, "no-pool")
		m.facts = facts
		m.facts.Networks = map[string]fabric.NetworkFact{}
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceError, "network-down")
		m.facts = facts
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		m.facts.Networks = map[string]fabric.NetworkFact{} // it runs on
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
	})
}

func TestAnycastAddressesFollow(t *testing.T) {
	inBubble(t, func(m *member) {
		service := func(addresses ...string) *fabric.Anycast {
			a := &fabric.Anycast{Header: fabric.Header{Name: "dns"}}
			for _, s := range addresses {
				a.Addresses = append(a.Addresses, netip.MustParsePrefix(s))
			}
			return a
		}
		m.put(service("203.0.113.53/32"))
		i := m.instance("c1", m.importImage(m.images, "m1"))
		i.Config["anycast"] = "dns"
		m.put(i)
		m.reconcile()
		if got := m.runtime.get("c1").Network.Loopback; len(got) != 1 {
			t.Errorf("loopback has %v", got)
		}
		m.put(service("203.0.113.53/32", "2001:db8:53::53/128"))
		m.reconcile()
		if got := m.runtime.get("c1").Network.Loopback; len(got) != 2 || m.runtime.started("c1") != 1 {
			t.Errorf("loopback has %v, started %d times", got, m.runtime.started("c1"))
		}
		m.change("c1", func(i *fabric.Instance) { delete(i.Config, "anycast") })
		m.reconcile()
		if got := m.runtime.get("c1").Network.Loopback; len(got) != 0 {
			t.Errorf("loopback has %v", got)
		}
	})
}

func TestRemovedNICLosesItsAddresses(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		m.reconcile()
		m.change("c1", func(i *fabric.Instance) { i.NICs, i.Devices = nil, nil })
		m.reconcile()
		if got := m.runtime.get("c1").Network.NICs; len(got) != 1 || len(got[0].Addresses) != 0 {
			t.Errorf("NICs are %+v", got)
		}
		if c := m.condition(fabric.Key{Kind: fabric.KindInstance, Name: "c1"}); !strings.Contains(c.Message, "next restart") {
			t.Errorf("message is %q", c.Message)
		}
	})
}

func TestSameNameAnew(t *testing.T) {
	inBubble(t, func(m *member) {
		image := m.importImage(m.images, "m1")
		m.put(m.instance("c1", image))
		m.reconcile()
		if err := os.WriteFile(filepath.Join(m.dir, "pool", "c1", "old"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		m.apply(func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindInstance, Name: "c1"}) })
		m.put(m.instance("c1", image))
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		if _, err := os.Stat(filepath.Join(m.dir, "pool", "c1", "old")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the new instance has the files of the old one: %v", err)
		}
	})
}

func TestNothingIsRemovedBeforeTheFirstSnapshot(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		m.reconcile()
		store := m.store
		m.store = fabrictest.NewMemory()
		m.reconcile()
		if m.runtime.get("c1").State != ContainerRunning {
			t.Error("it was stopped")
		}
		m.store = store
		m.apply(func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindInstance, Name: "c1"}) })
		m.reconcile()
		if all, _ := m.runtime.Containers(t.Context()); len(all) != 0 {
			t.Errorf("still there: %v", all)
		}
	})
}

func TestInterruptedCreateBeginsAnew(t *testing.T) {
	inBubble(t, func(m *member) {
		image := m.importImage(m.images, "m1")
		i := m.instance("c1", image)
		m.put(i)
		created, _ := m.store.Snapshot().Instance("c1")
		if err := m.module.records.save("c1", record{Created: created.Created, Pool: "default"}); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(m.dir, "pool", "c1"), 0o700); err != nil {
			t.Fatal(err)
		}
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
	})
}

func TestForeignVolumeIsNotTaken(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		precious := filepath.Join(m.dir, "pool", "c1")
		if err := os.Mkdir(precious, 0o700); err != nil {
			t.Fatal(err)
		}
		m.reconcile()
		time.Sleep(5 * time.Second)
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceError, "volume-exists")
		if _, err := os.Stat(precious); err != nil {
			t.Error(err)
		}
	})
}

// killedPools end the daemon while it creates a volume.
type killedPools struct{ fakePools }

func (killedPools) CreateVolume(context.Context, string, string, func(context.Context, string) error) error {
	return errors.New("the daemon was killed")
}

func TestForeignVolumeOutlivesACrash(t *testing.T) {
	inBubble(t, func(m *member) {
		m.put(m.instance("c1", m.importImage(m.images, "m1")))
		precious := filepath.Join(m.dir, "pool", "c1", "precious")
		if err := os.MkdirAll(precious, 0o700); err != nil {
			t.Fatal(err)
		}
		m.module.o.Pools = killedPools{m.module.o.Pools.(fakePools)}
		m.reconcile()
		m.restart()
		m.reconcile()
		if _, err := os.Stat(precious); err != nil {
			t.Error(err)
		}
	})
}

func TestImageIsFetched(t *testing.T) {
	inBubble(t, func(m *member) {
		remote := NewImages(filepath.Join(m.dir, "remote"))
		image := m.importImage(remote, "m2")
		m.put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"cluster.images_minimal_replica": "1"}})
		m.put(m.instance("c1", image))
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceError, "image-unavailable")
		m.fetcher.members["m2"] = remote
		time.Sleep(2 * time.Second)
		m.reconcile()
		m.wantStatus("c1", fabric.InstanceRunning, "")
		if c := m.condition(fabric.Key{Kind: fabric.KindImage, Name: image}); !c.OK || c.Type != fabric.ConditionPresent {
			t.Errorf("condition is %+v", c)
		}
		m.apply(func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindImage, Name: image}) })
		m.reconcile()
		if m.images.Has(image) {
			t.Error("an image that nobody wants is kept")
		}
		m.wantStatus("c1", fabric.InstanceRunning, "")
	})
}

func TestImportIsKeptUntilItIsDesired(t *testing.T) {
	inBubble(t, func(m *member) {
		i, err := m.images.Import(t.Context(), []fabric.ImageFile{{Name: "x.tar", Body: io.NopCloser(bytes.NewReader(goodImage(t)))}})
		if err != nil {
			t.Fatal(err)
		}
		// The clock of the bubble is not that of the file system.
		if err := os.Chtimes(filepath.Join(m.dir, "images", i.Name), time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		m.reconcile()
		if !m.images.Has(i.Name) {
			t.Error("it is gone before it could get into the database")
		}
		time.Sleep(2 * importGrace)
		m.reconcile()
		if m.images.Has(i.Name) {
			t.Error("an abandoned import is kept")
		}
	})
}

func TestExecEnvironment(t *testing.T) {
	inBubble(t, func(m *member) {
		i := m.instance("c1", m.importImage(m.images, "m1"))
		i.Config["environment.GREETING"] = "hello"
		m.put(i)
		m.reconcile()
		var out bytes.Buffer
		if _, err := m.module.Exec(t.Context(), "c1", fabric.ExecRequest{Command: []string{"id"}, Stdout: &out}); err != nil || out.String() != "c1 [id] /root hello" {
			t.Errorf("got %q, %v", out.String(), err)
		}
		if _, err := m.module.Exec(t.Context(), "nope", fabric.ExecRequest{}); fabric.CodeOf(err) != fabric.CodeNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnycastCopyIsWithdrawnBeforeItsStop(t *testing.T) {
	for name, change := range map[string]func(*fabric.Instance){
		"stop":    func(i *fabric.Instance) { i.Power = fabric.PowerStopped },
		"restart": func(i *fabric.Instance) { i.Boots++ },
		"delete":  func(i *fabric.Instance) { i.Deleting = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(m *member) {
				m.put(&fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}})
				i := m.instance("c1", m.importImage(m.images, "m1"))
				i.Config["anycast"], i.Config["anycast.drain"] = "dns", "200"
				m.put(i)
				m.reconcile()
				first := m.runtime.get("c1").Process
				worker := func(c fabric.CopyState) {
					c.Instance = "c1"
					m.facts.Routing = &fabric.RoutingState{Routes: []fabric.RouteState{{Kind: fabric.AnnounceAnycast, Up: c.Healthy, Copies: []fabric.CopyState{c}}}}
				}
				lives := func() bool {
					return m.runtime.get("c1").State == ContainerRunning && m.runtime.get("c1").Process == first
				}
				worker(fabric.CopyState{Healthy: true})
				m.change("c1", change)
				m.reconcile()
				time.Sleep(time.Second)
				if m.reconcile(); !lives() {
					t.Fatal("stopped while traffic is led to it")
				}
				worker(fabric.CopyState{Reason: fabric.ReasonDraining})
				m.reconcile()
				if m.report.Again != 200*time.Millisecond {
					t.Errorf("looks again after %s", m.report.Again)
				}
				time.Sleep(199 * time.Millisecond)
				if m.reconcile(); !lives() {
					t.Fatal("stopped before what was under way has arrived")
				}
				time.Sleep(time.Millisecond)
				if m.reconcile(); lives() {
					t.Error("not stopped")
				}
			})
		})
	}
}
