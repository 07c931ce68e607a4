package system

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// nextHops counts the next hops of a prefix in a node's kernel table.
func (w *world) nextHops(t testing.TB, node, family, prefix string) int {
	t.Helper()
	text := w.lab.MustNode(t, node).MustExec(t, "ip", "-json", family, "route", "show", prefix)
	var routes []struct {
		Gateway  string
		NextHops []json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &routes); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	count := 0
	for _, r := range routes {
		count += len(r.NextHops)
		if r.Gateway != "" {
			count++
		}
	}
	return count
}

// waitNextHops waits until both routers have so many next hops for the service, in both families.
func (w *world) waitNextHops(t testing.TB, want int, bound time.Duration) {
	t.Helper()
	lab.WaitFor(t, bound, fmt.Sprintf("%d next hops on both routers", want), func() error {
		for _, router := range []string{"r1", "r2"} {
			for family, address := range map[string]string{"-4": service4, "-6": service6} {
				if have := w.nextHops(t, router, family, address); have != want {
					return fmt.Errorf("%s has %d for %s", router, have, address)
				}
			}
		}
		return nil
	})
}

// watch follows the next hops of the service in a router's kernel.
type watch struct {
	cmd     *lab.Cmd
	changes chan probe.NextHops
	stop    func()
}

// watchNextHops returns when the first count, which must be want, has been read.
func (w *world) watchNextHops(t testing.TB, router, prefix string, want int) *watch {
	t.Helper()
	x := &watch{changes: make(chan probe.NextHops, 256)}
	x.cmd, x.stop = w.inside(t, router, func(lines *bufio.Scanner) {
		defer close(x.changes)
		for lines.Scan() {
			var n probe.NextHops
			if json.Unmarshal(lines.Bytes(), &n) == nil {
				x.changes <- n
			}
		}
	}, watchWord, prefix)
	if n := x.until(t, func(probe.NextHops) bool { return true }); n.Count != want {
		t.Fatalf("%s has %d next hops for %s, want %d", router, n.Count, prefix, want)
	}
	return x
}

// until gives the first change that f accepts.
func (x *watch) until(t testing.TB, f func(probe.NextHops) bool) probe.NextHops {
	t.Helper()
	bound := time.NewTimer(30 * time.Second)
	defer bound.Stop()
	for {
		select {
		case n, ok := <-x.changes:
			if !ok {
				t.Fatal("the watch on routes has ended")
			}
			if f(n) {
				return n
			}
		case <-bound.C:
			t.Fatal("waited 30 s for a change of the next hops")
		}
	}
}

// inside starts the test program once more in a node and hands its output to read, in a goroutine. stop ends it and returns when all has been
// read; the test's end does so too.
func (w *world) inside(t testing.TB, node string, read func(*bufio.Scanner), args ...string) (*lab.Cmd, func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return w.background(t, node, read, append([]string{self}, args...)...)
}

func (w *world) background(t testing.TB, node string, read func(*bufio.Scanner), args ...string) (*lab.Cmd, func()) {
	t.Helper()
	cmd := w.lab.MustNode(t, node).Command(t.Context(), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		read(bufio.NewScanner(out))
	}()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		<-done
		_ = cmd.Wait() // ended by the signal
	}
	t.Cleanup(stop)
	return cmd, stop
}

// monitorRoutes follows every change of any route on some routers. The function it gives ends that and returns the changes; routes of the
// kernel's own (neighbours, multicast, router advertisements) are none.
func (w *world) monitorRoutes(t testing.TB, routers ...string) func() []string {
	t.Helper()
	var mu sync.Mutex
	var changes []string
	var stops []func()
	for _, router := range routers {
		_, stop := w.background(t, router, func(lines *bufio.Scanner) {
			for lines.Scan() {
				if line := lines.Text(); strings.Contains(line, "proto bgp") {
					mu.Lock()
					changes = append(changes, router+": "+line)
					mu.Unlock()
				}
			}
		}, "ip", "-o", "monitor", "route")
		stops = append(stops, stop)
	}
	return func() []string {
		for _, stop := range stops {
			stop()
		}
		mu.Lock()
		defer mu.Unlock()
		return changes
	}
}

// innerPID is the number that a node's own processes know a process by.
func innerPID(n *lab.Node, pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(status), "NSpid:")
	line, _, _ = strings.Cut(line, "\n")
	// The first number is this machine's, the second the node's.
	numbers := strings.Fields(line)
	if len(numbers) < 2 {
		return 0, fmt.Errorf("process %d is not in a node", pid)
	}
	return strconv.Atoi(numbers[1])
}
