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

// node runs a command of fabric-node and does not mind how it ends.
func (w *world) node(t testing.TB, node, line string) result {
	t.Helper()
	return w.run(t, node, "", append([]string{"fabric-node"}, strings.Fields(line)...)...)
}

// recoverQuorum takes two members of three away and makes the third one's database the cluster's. One of the lost members comes back and is a member
// again, the other one is removed.
func recoverQuorum(t *testing.T, w *world) {
	w.allOnline(t)
	n1, n2, n3 := w.lab.MustNode(t, "n1"), w.lab.MustNode(t, "n2"), w.lab.MustNode(t, "n3")
	w.ctl(t, "n1", "config set user.before=1")
	before := w.running(t, "n1", "web1")
	if r := w.node(t, "n2", "cluster recover-from-quorum-loss --yes"); r.code != 1 || !strings.Contains(r.stderr, "systemctl stop fabric-node") {
		t.Errorf("while the daemon runs: %+v", r)
	}
	for _, n := range []*lab.Node{n2, n3} {
		if err := n.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.waitNextHops(t, 1, 20*time.Second)
	if r := w.node(t, "n1", "cluster list-database"); r.code != 0 || strings.Count(r.stdout, "voter") != 3 || !strings.Contains(r.stdout, "index") {
		t.Errorf("list-database: %+v", r)
	}
	client := w.startClient(t, serviceURLs...)
	from := probe.Now()
	kill(t, n1, "fabric-node")
	if r := w.node(t, "n1", "cluster recover-from-quorum-loss"); r.code != 1 || !strings.Contains(r.stderr, "--yes") {
		t.Errorf("without a terminal: %+v", r)
	}
	r := w.node(t, "n1", "cluster recover-from-quorum-loss --yes")
	if r.code != 0 || !strings.Contains(r.stdout, "/var/lib/fabric/database/backup-") {
		t.Fatalf("%+v", r)
	}
	t.Log(r.stdout)
	if err := n1.StartDaemon(t.Context(), "fabric-node"); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 20*time.Second, "writes", func() error {
		if r := w.try(t, "n1", "config set user.after=1"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	t.Logf("writes again %d ms after the daemon ended", (probe.Now() - from).Milliseconds())
	client.stop()
	seen := probe.Since(client.all(), from, probe.Now())
	if !slices.Contains(seen.From, "web1") || seen.Lost > 0 {
		t.Errorf("the service: %+v", seen)
	}
	if config := w.serverConfig(t, "n1"); config["user.before"] != "1" {
		t.Errorf("lost: %v", config)
	}
	w.ctl(t, "n1", "cluster remove n2 --force")

	if err := n3.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, 30*time.Second, "n3 to have the recovered database", func() error {
		if r := w.try(t, "n3", "config set user.again=1"); r.code != 0 {
			return errors.New(r.stderr)
		}
		if config := w.serverConfig(t, "n3"); config["user.after"] != "1" {
			return fmt.Errorf("%v", config)
		}
		return nil
	})
	w.waitNextHops(t, 2, 30*time.Second)
	if after := w.running(t, "n1", "web1"); after.State.Pid != before.State.Pid {
		t.Errorf("web1 was started anew: process %d, before %d", after.State.Pid, before.State.Pid)
	}
	list, err := ctlJSON[[]member](t, w, "n3", "cluster list")
	if err != nil || len(list) != 2 {
		t.Errorf("members: %+v, %v", list, err)
	}
}
