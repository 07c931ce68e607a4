package system

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestOperator uses a cluster as an operator would, rightly and wrongly.
func TestOperator(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"instance through every member", instanceThroughEveryMember},
		{"external route", externalRoute},
		{"in use", inUse},
		{"wrong input", wrongInput},
		{"reboot", reboot},
		{"delete while its member is off", deleteWhileOff},
		{"member removed", memberRemoved},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

func instanceThroughEveryMember(t *testing.T, w *world) {
	for i, at := range members { // the image came to n1
		begin := probe.Now()
		name := fmt.Sprintf("c%d", i+1)
		w.ctl(t, "n1", fmt.Sprintf("launch busybox %s --target %s", name, at))
		t.Logf("launched on %s from n1 in %d ms", at, (probe.Now() - begin).Milliseconds())
	}
	for _, from := range members {
		for i, at := range members {
			name := fmt.Sprintf("c%d", i+1)
			if got := w.running(t, from, name); got.Location != at {
				t.Errorf("%s sees %s on %s, want %s", from, name, got.Location, at)
			}
			r := w.run(t, from, "some\ntext\n", "fabricctl", "exec", name, "--", "sh", "-c", "cat; hostname; echo oops >&2; exit 7")
			if r.stdout != "some\ntext\n"+name+"\n" || r.stderr != "oops\n" || r.code != 7 {
				t.Errorf("exec in %s on %s through %s: %+v", name, at, from, r)
			}
		}
	}
	old := w.running(t, "n2", "c3")
	w.ctl(t, "n2", "restart c3")
	now := w.running(t, "n1", "c3")
	if now.State.Pid == old.State.Pid {
		t.Errorf("c3 has process %d before and after a restart", now.State.Pid)
	}
	begin := probe.Now()
	w.ctl(t, "n1", "stop c3")
	t.Logf("stopped in %d ms", (probe.Now() - begin).Milliseconds())
	for _, from := range members {
		lab.WaitFor(t, 5*time.Second, from+" to see it stopped", func() error {
			i, err := w.instance(t, from, "c3")
			if err == nil && i.Status != "Stopped" {
				err = errors.New(i.Status)
			}
			return err
		})
	}
	if r := w.try(t, "n1", "exec c3 -- true"); r.code != 1 || oneLine(r.stderr) != nil {
		t.Errorf("exec in what is stopped: %+v", r)
	}
	if r := w.try(t, "n1", "delete c2"); r.code != 1 || oneLine(r.stderr) != nil {
		t.Errorf("delete of what runs: %+v", r)
	}
	w.ctl(t, "n2", "start c3")
	w.running(t, "n3", "c3")
	// A profile reaches the instances that have it.
	w.script(t, "n1", `
		profile set default environment.COLOR=blue
		restart c1
	`)
	if out := w.ctl(t, "n2", "exec c1 -- env"); !strings.Contains(out, "COLOR=blue\n") {
		t.Errorf("the environment has %q", out)
	}
	w.ctl(t, "n3", "delete -f c2")
	for _, from := range members {
		lab.WaitFor(t, 5*time.Second, "c2 to be gone on "+from, func() error {
			if i, err := w.instance(t, from, "c2"); err == nil {
				return fmt.Errorf("%+v", i)
			}
			return nil
		})
	}
	if r := w.try(t, "n2", "exec c2 -- true"); r.code != 1 || oneLine(r.stderr) != nil {
		t.Errorf("exec in what is deleted: %+v", r)
	}
}

func externalRoute(t *testing.T, w *world) {
	begin := probe.Now()
	w.ctl(t, "n1", "launch busybox ext --target n2 -d eth0,ipv4.routes.external=203.0.113.96/28 -d eth0,ipv6.routes.external=2001:db8:96::/64")
	lab.WaitFor(t, 10*time.Second, "the external routes on r1", func() error {
		for family, prefix := range map[string]string{"-4": "203.0.113.96/28", "-6": "2001:db8:96::/64"} {
			if n := w.nextHops(t, "r1", family, prefix); n != 1 {
				return fmt.Errorf("%d next hops for %s", n, prefix)
			}
		}
		return nil
	})
	t.Logf("external routes on r1 %d ms after the launch began", (probe.Now() - begin).Milliseconds())
	w.ctl(t, "n3", "exec ext -- ip address add 203.0.113.97/32 dev lo")
	w.ctl(t, "n3", "exec ext -- ip address add 2001:db8:96::97/128 dev lo")
	c := w.startClient(t, "http://203.0.113.97/", "http://[2001:db8:96::97]/")
	if from := probe.Since(c.all(), 0, probe.Now()).From; !slices.Equal(from, []string{"ext"}) {
		t.Errorf("answers are from %v", from)
	}
	c.stop()
	routes := w.watchNextHops(t, "r1", "203.0.113.96/28", 1)
	at := probe.Now()
	w.ctl(t, "n1", "stop -f ext")
	gone := routes.until(t, func(n probe.NextHops) bool { return n.Count == 0 }).At - at
	t.Logf("external route gone %d ms after stop was typed", gone.Milliseconds())
	w.ctl(t, "n1", "delete ext")
}

// inUse tries to take away what something else needs.
func inUse(t *testing.T, w *world) {
	w.ctl(t, "n2", "launch busybox dns1 --config anycast=web")
	for _, line := range []string{
		"network delete fabbr0",
		"storage delete local",
		"profile delete default",
		"anycast delete web",
	} {
		refused(t, w, "n2", line)
	}
	w.ctl(t, "n2", "delete -f dns1")
	// An image is a copy: what was launched from it lives on.
	w.ctl(t, "n2", "image delete busybox")
	w.running(t, "n1", "c1")
	refused(t, w, "n3", "launch busybox another")
	w.ctl(t, "n2", "image import "+w.image(t, "n2", "/tmp/again.tar.gz")+" --alias busybox")
	w.ctl(t, "n1", "launch busybox c2 --target n3")
}

// refused insists on one line of complaint and on nothing changed.
func refused(t *testing.T, w *world, node, line string) {
	t.Helper()
	refusedWords(t, w, node, strings.Fields(line)...)
}

func refusedWords(t *testing.T, w *world, node string, words ...string) {
	t.Helper()
	r := w.run(t, node, "", append([]string{"fabricctl"}, words...)...)
	line := strings.Join(words, " ")
	if r.code != 1 && r.code != 2 || r.stdout != "" {
		t.Errorf("fabricctl %s: exit code %d, printed %q %q", line, r.code, r.stdout, r.stderr)
	} else if err := oneLine(r.stderr); err != nil {
		t.Errorf("fabricctl %s: %v", line, err)
	} else {
		t.Logf("%s\n      %s", line, strings.TrimSpace(r.stderr))
	}
}

func wrongInput(t *testing.T, w *world) {
	before := w.everything(t)
	for _, words := range [][]string{
		{"launch", "busybox"},
		{"launch", "nosuchimage", "x1"},
		{"launch", "busybox", "c1"},
		{"launch", "busybox", "-bad-"},
		{"launch", "busybox", "Not_A_Name"},
		{"launch", "busybox", strings.Repeat("x", 64)},
		{"launch", "busybox", "x1", "--target", "n9"},
		{"launch", "busybox", "x1", "--config", "no.such.key=1"},
		{"launch", "busybox", "x1", "--config", "limits.memory=lots"},
		{"launch", "busybox", "x1", "--config", "anycast=nosuch"},
		{"launch", "busybox", "x1", "--config", "novalue"},
		{"launch", "busybox", "x1", "-n", "nosuchnet"},
		{"launch", "busybox", "x1", "-s", "nosuchpool"},
		{"launch", "busybox", "x1", "-p", "nosuchprofile"},
		{"launch", "busybox", "x1", "-d", "eth0,ipv4.address=10.81.0.2"},
		{"launch", "busybox", "x1", "-d", "eth0,ipv4.address=10.80.0.1"},
		{"launch", "busybox", "x1", "-d", "eth0,hwaddr=zz"},
		{"start", "nosuch"},
		{"stop", "nosuch"},
		{"delete", "nosuch"},
		{"exec", "nosuch", "--", "true"},
		{"exec", "c1"},
		{"network", "create", "bad/name"},
		{"network", "create", "x0", "ipv4.address=10.80.0.1/24"},
		{"network", "create", "x0", "ipv4.address=10.90.0.1/33"},
		{"network", "create", "x0", "ipv4.address=nonsense"},
		{"network", "create", "fabbr0"},
		{"network", "set", "fabbr0", "ipv4.address=10.99.0.1/31"},
		{"network", "set", "nosuch", "ipv4.nat=true"},
		{"storage", "create", "p1", "nosuchdriver"},
		{"storage", "create", "local", "dir"},
		{"profile", "device", "add", "default", "eth0", "nic", "network=fabbr0"},
		{"profile", "device", "add", "default", "gpu0", "gpu"},
		{"profile", "create", "default"},
		{"image", "import", "/etc/passwd"},
		{"image", "import", "/no/such/file"},
		{"image", "delete", "nosuch"},
		{"bgp", "peer", "add", "r3", "not-an-address", "65000"},
		{"bgp", "peer", "add", "r3", "192.0.2.9", "0"},
		{"bgp", "peer", "add", "r3", "192.0.2.9", "4294967296"},
		{"bgp", "peer", "add", "r3", "192.0.2.9", "65000", "--hold-time", "2"},
		{"bgp", "peer", "add", "r1-v4", "192.0.2.9", "65000"},
		{"bgp", "peer", "add", "r3", "192.0.2.1", "65000"},
		{"anycast", "create", "a1", "203.0.113.0/24"},
		{"anycast", "create", "a1", "203.0.113.80/32"},
		{"anycast", "create", "a1", "203.0.113.81/32", "--check", "tcp:99999"},
		{"anycast", "create", "a1", "203.0.113.81/32", "--check", "smtp:25"},
		{"anycast", "create", "a1"},
		{"config", "set", "core.bgp_asn=minus"},
		{"config", "set", "core.no_such=1"},
		{"config", "set", "noequals"},
		{"config", "set", "c1", "limits.memory=-1"},
		{"cluster", "add", "n1"},
		{"cluster", "add", "bad name"},
		{"cluster", "bootstrap", "n1", "--address", "10.66.0.1:8443"},
		{"cluster", "join", "nonsense", "--address", "10.66.0.1:8443"},
		{"cluster", "remove", "n9"},
		{"cluster", "remove", "n3"}, // has instances
		{"list", "--format", "xml"},
		{"query", "/1.0/nosuch"},
		{"query", "-X", "PATCH", "-d", "{", "/1.0"},
		{"query", "-X", "PATCH", "-d", `{"config": {"user.a": [1]}}`, "/1.0"},
		{"query", "-X", "POST", "-d", `{"name": "x", "nonsense": 1}`, "/1.0/profiles"},
		{"nosuchcommand"},
		{"launch", "--nosuchflag"},
		{"operation", "show", "00000000-0000-0000-0000-000000000000"},
	} {
		refusedWords(t, w, "n2", words...)
	}
	if after := w.everything(t); after != before {
		t.Errorf("wrong input changed something:\n%s\n%s", before, after)
	}
}

// everything is what operators have defined.
func (w *world) everything(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, line := range []string{
		"list -c nsL46 -f csv", "network list -f csv", "storage list -f csv", "profile list -f csv", "image list -f csv", "bgp peer list -f csv",
		"anycast list -f csv", "config show", "profile show default", "network show fabbr0", "cluster list-tokens -f csv", "config show c1",
		"network list-leases fabbr0 -f csv",
	} {
		fmt.Fprintf(&out, "# %s\n%s", line, w.ctl(t, "n2", line))
	}
	return out.String()
}

// reboot turns a member off and on.
func reboot(t *testing.T, w *world) {
	w.ctl(t, "n1", "launch busybox stopped --target n3")
	w.ctl(t, "n1", "stop -f stopped")
	n3 := w.lab.MustNode(t, "n3")
	if err := n3.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := probe.Now()
	if err := n3.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c2", "c3"} {
		w.running(t, "n3", name)
		t.Logf("%s runs %d ms after power on", name, (probe.Now() - at).Milliseconds())
		lab.WaitFor(t, 10*time.Second, "exec in "+name, func() error {
			if r := w.try(t, "n1", "exec "+name+" -- hostname"); r.stdout != name+"\n" {
				return fmt.Errorf("%+v", r)
			}
			return nil
		})
	}
	if i, err := w.instance(t, "n3", "stopped"); err != nil || i.Status != "Stopped" {
		t.Errorf("%+v, %v", i, err)
	}
	w.ctl(t, "n1", "delete stopped")
	w.allOnline(t)
}

// deleteWhileOff deletes an instance of a member that can't let go of it.
func deleteWhileOff(t *testing.T, w *world) {
	w.ctl(t, "n1", "launch busybox kept --target n3 -d eth0,ipv4.address=10.80.0.77")
	n3 := w.lab.MustNode(t, "n3")
	if err := n3.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := w.try(t, "n1", "delete -f kept --no-wait")
	t.Logf("delete: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	lab.WaitFor(t, 30*time.Second, "n3 to be offline", func() error {
		if text := w.ctl(t, "n1", "cluster list --format csv"); !offline(text, "n3") {
			return errors.New(text)
		}
		return nil
	})
	r = w.try(t, "n1", "delete -f kept")
	t.Logf("delete, member offline: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	// Until the member has let go the address may be in use there.
	refused(t, w, "n1", "launch busybox thief --target n1 -d eth0,ipv4.address=10.80.0.77")
	if err := n3.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 30*time.Second, "the instance to be gone", func() error {
		if i, err := w.instance(t, "n1", "kept"); err == nil {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	w.ctl(t, "n1", "launch busybox heir --target n1 -d eth0,ipv4.address=10.80.0.77")
	w.ctl(t, "n1", "delete -f heir")
	w.allOnline(t)
}

func memberRemoved(t *testing.T, w *world) {
	refused(t, w, "n1", "cluster remove n3")
	r := w.try(t, "n1", "cluster remove n3 --force")
	t.Logf("cluster remove: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	list, err := ctlJSON[[]member](t, w, "n2", "cluster list")
	if err != nil || slices.ContainsFunc(list, func(m member) bool { return m.Name == "n3" }) {
		t.Errorf("%+v, %v", list, err)
	}
	// n3 can no longer write, and nobody tells it news.
	lab.WaitFor(t, 20*time.Second, "n3 to be shut out", func() error {
		r := w.try(t, "n3", "config set user.intruder=1")
		if r.code != 1 {
			return fmt.Errorf("%+v", r)
		}
		t.Logf("n3: %s", strings.TrimSpace(r.stderr))
		return oneLine(r.stderr)
	})
	w.ctl(t, "n1", "config set user.secret=1")
	if w.serverConfig(t, "n1")["user.intruder"] != "" {
		t.Error("n3 wrote after it was removed")
	}
	if w.serverConfig(t, "n3")["user.secret"] != "" {
		t.Error("n3 reads what was written after it was removed")
	}
	lab.WaitFor(t, 30*time.Second, "the removed member announces nothing and runs no instance", func() error {
		if routes := w.lab.MustNode(t, "r1").MustExec(t, "ip", "route", "show", "proto", "bgp"); strings.Contains(routes, "192.0.2.13") {
			return fmt.Errorf("r1 has routes by it:\n%s", routes)
		}
		processes, err := w.lab.MustNode(t, "n3").Processes()
		if err != nil {
			return err
		}
		for _, p := range processes {
			if p.Name == "lxc-monitor" {
				return fmt.Errorf("an instance runs: %s", p.Command)
			}
		}
		return nil
	})
	t.Logf("n3 says:\n%s", w.try(t, "n3", "cluster list").stdout)
}
