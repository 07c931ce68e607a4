package chassis

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
)

func TestMain(m *testing.M) { bgptest.Main(m) }

// host is a chassis: the databases and daemons of one, with the user-space datapath.
type host struct {
	t    *testing.T
	node *bgptest.Node
	dir  string
}

func newHost(t *testing.T) *host {
	h := &host{t, bgptest.NewNode(t, "ovn"), t.TempDir()}
	for name, schema := range map[string]string{"conf": "openvswitch/vswitch", "sb": "ovn/ovn-sb"} {
		h.run("ovsdb-tool", "create", h.path(name+".db"), "/usr/share/"+schema+".ovsschema")
	}
	h.start("ovsdb-server", h.path("conf.db"), "--remote=punix:"+h.path("db.sock"), "--unixctl="+h.path("conf.ctl"))
	h.southbound()
	h.run("ovs-vsctl", "--no-wait", "init")
	h.run("ovs-vsctl", "--no-wait", "set", "open", ".", "external_ids:system-id=n1", "external_ids:hostname=n1", "external_ids:ovn-remote=unix:"+h.path("sb.sock"),
		"external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1", "external_ids:ovn-bridge=br-x", "external_ids:ovn-bridge-datapath-type=netdev",
		"--", "add-br", "br-x", "--", "set", "bridge", "br-x", "datapath_type=netdev", "fail_mode=secure")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// environment has the tools use the directory of the host.
func (h *host) environment(args []string) []string {
	e := []string{"env"}
	for _, name := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR", "OVN_SYSCONFDIR"} {
		e = append(e, name+"="+h.dir)
	}
	return append(e, args...)
}

func (h *host) run(args ...string) string { return h.node.Run(h.environment(args)...) }

func (h *host) start(args ...string) *exec.Cmd { return h.node.Start(h.environment(args)...) }

// southbound starts the southbound database, which has to have its one row before ovn-controller reads it.
func (h *host) southbound() *exec.Cmd {
	c := h.start("ovsdb-server", h.path("sb.db"), "--remote=punix:"+h.path("sb.sock"), "--unixctl="+h.path("sb.ctl"))
	h.answers("conf", "sb")
	h.run("ovn-sbctl", "--db=unix:"+h.path("sb.sock"), "init")
	return c
}

func (h *host) answers(names ...string) {
	for _, name := range names {
		bgptest.Eventually(h.t, 10*time.Second, func() string {
			c, err := dial(h.t.Context(), h.path(name+".ctl"))
			if err != nil {
				return err.Error()
			}
			defer c.close()
			if err := c.call(h.t.Context(), "version", nil); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

func (h *host) vswitchd() *exec.Cmd {
	return h.start("ovs-vswitchd", "unix:"+h.path("db.sock"), "--pidfile="+h.path("ovs-vswitchd.pid"), "-vconsole:off", "-vsyslog:off")
}

func (h *host) controller() *exec.Cmd {
	return h.start("ovn-controller", "unix:"+h.path("db.sock"), "--pidfile="+h.path("ovn-controller.pid"), "-vconsole:off", "-vsyslog:off")
}

func (h *host) signal(c *exec.Cmd, s syscall.Signal) {
	h.t.Helper()
	if err := c.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

func TestWatcher(t *testing.T) {
	h := newHost(t)
	told := make(chan struct{}, 1)
	w := New(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	w.ovs, w.ovn = h.dir, h.dir
	if _, _, known := w.State(); known {
		t.Error("it knows before it has looked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		w.Run(ctx)
		close(over)
	}()
	defer func() { cancel(); <-over }()
	// until waits for a state, of which the watcher has to tell.
	until := func(what string, up bool, why string) (took time.Duration) {
		t.Helper()
		begin := time.Now()
		for bound := time.After(15 * time.Second); ; {
			isUp, is, known := w.State()
			if known && isUp == up && strings.Contains(is, why) {
				return time.Since(begin)
			}
			select {
			case <-told:
			case <-bound:
				t.Fatalf("%s: up is %v %q, want %v %q", what, isUp, is, up, why)
			}
		}
	}
	until("nothing runs", false, "ovs-vswitchd is not running")
	vswitchd := h.vswitchd()
	until("a switch without a controller", false, "br-x has no flows")
	controller := h.controller()
	until("all run", true, "")

	h.signal(vswitchd, syscall.SIGKILL)
	t.Logf("the switch is killed: seen after %v", until("a killed switch", false, "ovs-vswitchd is not running"))
	vswitchd.Wait()
	h.signal(controller, syscall.SIGSTOP)
	vswitchd = h.vswitchd()
	until("a switch that comes back has no flows", false, "br-x has no flows")
	h.signal(controller, syscall.SIGCONT)
	until("and gets them", true, "")

	h.signal(controller, syscall.SIGKILL)
	controller.Wait()
	bgptest.Eventually(t, 15*time.Second, func() string { // it is told of no verdict
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.health.controller.up {
			return "the controller is still up"
		}
		return ""
	})
	w.mu.Lock()
	w.health.controller.since = time.Now().Add(-controllerGrace + 300*time.Millisecond)
	w.mu.Unlock()
	if up, why, _ := w.State(); !up {
		t.Errorf("the controller has just ended: %s", why)
	}
	w.note(func(*health) {})
	until("the controller is away for long", false, "ovn-controller is not running")
	h.controller()
	until("it comes back", true, "")

	h.signal(vswitchd, syscall.SIGSTOP)
	t.Logf("the switch hangs: seen after %v", until("a switch that hangs", false, "ovs-vswitchd has not answered"))
	h.signal(vswitchd, syscall.SIGCONT)
	until("it goes on", true, "")
}
