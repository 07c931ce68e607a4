package lab

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"time"
)

// TB is the part of testing.TB that the lab needs.
type TB interface {
	Helper()
	Name() string
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

const (
	upBound   = 60 * time.Second
	downBound = 30 * time.Second
)

// Run starts a topology for one test under a name of the test's own, so that tests may run in parallel, and takes it down
// when the test ends; if that failed, the logs of the lab are written to the test's log first. The lab never outlives the
// test process.
func Run(t TB, path string, opts ...Option) *Lab {
	t.Helper()
	topology, err := Load(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	own := fmt.Sprintf("%s-%08x-%d", topology.Name, crc32.ChecksumIEEE([]byte(t.Name())), os.Getpid())
	ctx, cancel := context.WithTimeoutCause(context.Background(), upBound, fmt.Errorf("not up within %s", upBound))
	defer cancel()
	lab, err := Up(ctx, path, append([]Option{WithName(own), EndWithProcess()}, opts...)...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		if t.Failed() {
			t.Logf("logs of lab %s:\n%s", lab.Name(), lab.Logs())
		}
		ctx, cancel := context.WithTimeout(context.Background(), downBound)
		defer cancel()
		if err := lab.Down(ctx); err != nil {
			t.Fatalf("%v", err)
		}
	})
	return lab
}

// MustNode is Node for tests.
func (l *Lab) MustNode(t TB, name string) *Node {
	t.Helper()
	node, err := l.Node(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return node
}

// MustExec is Exec for tests; it gives the command half a minute.
func (n *Node) MustExec(t TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := n.Exec(ctx, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// WaitFor calls f until it returns nil, and fails the test with f's last error when that has not happened within bound.
func WaitFor(t TB, bound time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var last error
	if pollLevel(ctx, func() bool { last = f(); return last == nil }) != nil {
		t.Fatalf("waited %s for %s: %v", bound, what, last)
	}
}
