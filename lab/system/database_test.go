package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// TestDatabase takes leaders and the quorum away.
func TestDatabase(t *testing.T) {
	w := newWorld(t)
	w.define(t)
	w.serve(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"leader killed", func(t *testing.T, w *world) {
			loseLeader(t, w, func(n *lab.Node) error {
				kill(t, n, "fabric-node")
				return nil
			}, func(n *lab.Node) error { return n.StartDaemon(t.Context(), "fabric-node") })
		}},
		{"leader without power", func(t *testing.T, w *world) {
			loseLeader(t, w, func(n *lab.Node) error { return n.Kill(t.Context()) }, func(n *lab.Node) error { return n.Boot(t.Context()) })
		}},
		{"alone", alone},
		{"quorum lost for good", recoverQuorum},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, w) }) {
			return
		}
	}
}

// member is what the tests read of a member.
type member struct {
	Name    string `json:"server_name"`
	Roles   []string
	Status  string
	Message string
}

func (w *world) leader(t *testing.T, ask string) string {
	t.Helper()
	var name string
	lab.WaitFor(t, 20*time.Second, "a database leader", func() error {
		list, err := ctlJSON[[]member](t, w, ask, "cluster list")
		if err != nil {
			return err
		}
		for _, m := range list {
			if slices.Contains(m.Roles, "database-leader") {
				name = m.Name
				return nil
			}
		}
		return errors.New("none")
	})
	return name
}

// allOnline waits until every member sees every member as online.
func (w *world) allOnline(t *testing.T) {
	t.Helper()
	lab.WaitFor(t, 30*time.Second, "all members to be online", func() error {
		for _, ask := range members {
			list, err := ctlJSON[[]member](t, w, ask, "cluster list")
			if err != nil {
				return err
			}
			for _, m := range list {
				if m.Status != "Online" {
					return fmt.Errorf("%s sees %s as %s: %s", ask, m.Name, m.Status, m.Message)
				}
			}
		}
		return nil
	})
}

// write is one command that writes.
type write struct {
	key       string
	sent, end time.Duration
	failure   string // empty: acknowledged
}

// loop runs a command on a member over and over, until stopped.
type loop struct {
	stop context.CancelFunc
	done chan struct{}

	mu  sync.Mutex
	all []write
}

// loop starts it; line makes the n-th command.
func (w *world) loop(t *testing.T, node string, line func(n int) (key, words string)) *loop {
	ctx, stop := context.WithCancel(t.Context())
	l := &loop{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for n := 0; ctx.Err() == nil; n++ {
			key, words := line(n)
			x := write{key: key, sent: probe.Now()}
			// A command under way is left to end.
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			r, err := w.command(bounded, node, "", append([]string{"fabricctl"}, strings.Fields(words)...)...)
			cancel()
			x.end = probe.Now()
			if err != nil {
				x.failure = err.Error()
			} else if r.code != 0 {
				x.failure = fmt.Sprintf("exit code %d: %s", r.code, r.stderr)
			}
			l.mu.Lock()
			l.all = append(l.all, x)
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		stop()
		<-l.done
	})
	return l
}

func (l *loop) runs() []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// succeeded waits until a command that was sent after a time has succeeded, and gives it.
func (l *loop) succeeded(t *testing.T, after time.Duration, bound time.Duration) write {
	t.Helper()
	var found write
	lab.WaitFor(t, bound, "a command to succeed", func() error {
		all := l.runs()
		for _, x := range all {
			if x.sent > after && x.failure == "" {
				found = x
				return nil
			}
		}
		if len(all) == 0 {
			return errors.New("none has ended")
		}
		return errors.New(all[len(all)-1].failure)
	})
	return found
}

func loseLeader(t *testing.T, w *world, fail, heal func(*lab.Node) error) {
	w.allOnline(t)
	leader := w.leader(t, "n1")
	others := slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == leader })
	prefix := "user." + strings.ReplaceAll(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "_", "-") + "-"
	writes := w.loop(t, others[0], func(n int) (string, string) {
		key := fmt.Sprintf("%s%d", prefix, n)
		return key, fmt.Sprintf("config set %s=%d", key, n)
	})
	var reads []*loop
	for _, m := range others {
		reads = append(reads, w.loop(t, m, func(int) (string, string) { return "", "list" }))
	}
	for _, l := range append(reads, writes) {
		l.succeeded(t, 0, 10*time.Second)
	}
	at := probe.Now()
	if err := fail(w.lab.MustNode(t, leader)); err != nil {
		t.Fatal(err)
	}
	down := probe.Now()
	first := writes.succeeded(t, down, 30*time.Second)
	writes.succeeded(t, first.end, 10*time.Second)
	gap := longestGap(writes.runs(), at)
	t.Logf("%s led and is gone; writes through %s stood still for %d ms", leader, others[0], gap.Milliseconds())
	if gap > 5*time.Second {
		t.Errorf("writes stood still for %s", gap)
	}
	lab.WaitFor(t, 10*time.Second, "another leader to be shown", func() error {
		if now := w.leader(t, others[0]); now == leader {
			return fmt.Errorf("%s", now)
		}
		return nil
	})
	t.Logf("another leader shown after %d ms", (probe.Now() - at).Milliseconds())
	if err := heal(w.lab.MustNode(t, leader)); err != nil {
		t.Fatal(err)
	}
	w.allOnline(t)
	t.Logf("%s is back and online after %d ms", leader, (probe.Now() - at).Milliseconds())
	for _, l := range append(reads, writes) {
		l.stop()
		<-l.done
	}
	for i, l := range reads {
		all := l.runs()
		slowest := slices.MaxFunc(all, func(a, b write) int { return int((a.end - a.sent) - (b.end - b.sent)) })
		t.Logf("%d reads on %s, the slowest took %d ms", len(all), others[i], (slowest.end - slowest.sent).Milliseconds())
		for _, x := range all {
			if x.failure != "" {
				t.Errorf("read on %s, %d ms after, failed: %s", others[i], (x.sent - at).Milliseconds(), x.failure)
			}
		}
	}
	acknowledged, failed := 0, 0
	for _, m := range members {
		lab.WaitFor(t, 10*time.Second, "all acknowledged writes on "+m, func() error {
			config := w.serverConfig(t, m)
			acknowledged, failed = 0, 0
			for n, x := range writes.runs() {
				if x.failure != "" {
					failed++
				} else if acknowledged++; config[x.key] != fmt.Sprint(n) {
					return fmt.Errorf("%s is %q, want %d", x.key, config[x.key], n)
				}
			}
			return nil
		})
	}
	t.Logf("%d writes were acknowledged and are everywhere, %d failed", acknowledged, failed)
	for _, x := range writes.runs() {
		if x.failure != "" {
			t.Logf("write sent %d ms after, failed %d ms after: %s", (x.sent - at).Milliseconds(), (x.end - at).Milliseconds(), x.failure)
		}
	}
}

// longestGap is the longest time between two acknowledgements that ends after an event.
func longestGap(all []write, event time.Duration) time.Duration {
	var gap, last time.Duration
	for _, x := range all {
		if x.failure != "" {
			continue
		}
		if x.end > event && last > 0 {
			gap = max(gap, x.end-last)
		}
		last = x.end
	}
	return gap
}

func (w *world) serverConfig(t *testing.T, node string) map[string]string {
	t.Helper()
	return ctlQuery[struct{ Config map[string]string }](t, w, node, "/1.0").Config
}

// alone boots one member of three that have lost power.
func alone(t *testing.T, w *world) {
	w.allOnline(t)
	for _, m := range members {
		w.running(t, m, "web1") // each has it on disk
	}
	for _, m := range members {
		if err := w.lab.MustNode(t, m).Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.waitNextHops(t, 0, 20*time.Second)
	at := probe.Now()
	if err := w.lab.MustNode(t, "n1").Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitNextHops(t, 1, 20*time.Second)
	t.Logf("alone, n1 announces its copy %d ms after power on", (probe.Now() - at).Milliseconds())
	if i := w.running(t, "n1", "web1"); i.Location != "n1" {
		t.Errorf("web1 is %+v", i)
	}
	c := w.startClient(t, serviceURLs...)
	if from := probe.Since(c.all(), 0, probe.Now()).From; !slices.Equal(from, []string{"web1"}) {
		t.Errorf("answers are from %v", from)
	}
	c.stop()
	lab.WaitFor(t, 15*time.Second, "cluster list to say that there is no quorum", func() error {
		list, err := ctlJSON[[]member](t, w, "n1", "cluster list")
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.Name == "n1" && strings.Contains(m.Message, "quorum") {
				t.Logf("n1: %s: %s", m.Status, m.Message)
				return nil
			}
		}
		return errors.New(w.ctl(t, "n1", "cluster list"))
	})
	begin := probe.Now()
	r := w.try(t, "n1", "config set user.alone=1")
	took := probe.Now() - begin
	t.Logf("write refused after %d ms with exit code %d: %s", took.Milliseconds(), r.code, strings.TrimSpace(r.stderr))
	if r.code != 1 || oneLine(r.stderr) != nil || !strings.Contains(r.stderr, "quorum") {
		t.Errorf("%+v", r)
	}
	if took > 10*time.Second {
		t.Errorf("a write without quorum took %s", took)
	}
	// Those that need another member say so.
	if r := w.try(t, "n1", "exec web2 -- hostname"); r.code == 0 || oneLine(r.stderr) != nil {
		t.Errorf("exec on a member without power: %+v", r)
	} else {
		t.Logf("exec on a member without power: %s", strings.TrimSpace(r.stderr))
	}
	if out := w.ctl(t, "n1", "exec web1 -- hostname"); out != "web1\n" {
		t.Errorf("exec printed %q", out)
	}
	at = probe.Now()
	for _, m := range members[1:] {
		if err := w.lab.MustNode(t, m).Boot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.waitNextHops(t, 3, 30*time.Second)
	t.Logf("all copies announced %d ms after the others had power", (probe.Now() - at).Milliseconds())
	w.allOnline(t)
	t.Logf("all online after %d ms", (probe.Now() - at).Milliseconds())
	w.ctl(t, "n1", "config set user.alone=2")
	for _, m := range members {
		if got := w.serverConfig(t, m)["user.alone"]; got != "2" && m == "n1" {
			t.Errorf("%s has user.alone=%q", m, got)
		}
	}
}
