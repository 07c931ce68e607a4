package router

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
)

// supervised is a supervisor with the real program in the namespace of the test, and its worker.
type supervised struct {
	t      *testing.T
	s      *Supervisor
	client *Client
	end    func() // ends the supervisor and waits for it
}

func supervise(t *testing.T, dir string) *supervised {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out := io.Writer(io.Discard)
	if os.Getenv("BGPTEST_LOG") != "" {
		out = os.Stderr
	}
	s := &Supervisor{
		Path: path, Socket: filepath.Join(dir, "router.sock"), State: filepath.Join(dir, "state"),
		Log: slog.New(slog.NewTextHandler(out, nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	x := &supervised{t, s, NewClient(s.Socket), func() { cancel(); <-done }}
	t.Cleanup(func() {
		x.end()
		if pid := x.pid(); pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return x
}

// pid is that of the worker that answers, 0 where none does.
func (x *supervised) pid() int {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	state, err := x.client.State(ctx)
	if err != nil {
		return 0
	}
	return state.Worker.PID
}

// worker waits for one other than a given one.
func (x *supervised) worker(not int, bound time.Duration) (pid int) {
	x.t.Helper()
	bgptest.Eventually(x.t, bound, func() string {
		if pid = x.pid(); pid == 0 || pid == not {
			return fmt.Sprintf("worker %d answers", pid)
		}
		return ""
	})
	return pid
}

func TestSupervisorStartsTheWorkerAgain(t *testing.T) {
	x := supervise(t, t.TempDir())
	pid := x.worker(0, 5*time.Second)
	for range 3 {
		began := time.Now()
		syscall.Kill(pid, syscall.SIGKILL)
		pid = x.worker(pid, 2*time.Second)
		t.Logf("back after %s", time.Since(began))
	}
}

func TestWorkerOutlivesItsSupervisor(t *testing.T) {
	dir := t.TempDir()
	x := supervise(t, dir)
	pid := x.worker(0, 5*time.Second)
	if session, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0); int(session) != pid {
		t.Errorf("the worker %d is in session %d: it would end with ours", pid, session)
	}
	x.end()
	if got := x.pid(); got != pid {
		t.Fatalf("worker %d, then %d after its supervisor ended", pid, got)
	}
	y := supervise(t, dir)
	// The one that it found is the one that it starts again when that dies, and only then.
	syscall.Kill(pid, syscall.SIGSTOP)
	began := time.Now()
	next := y.worker(pid, 15*time.Second)
	if took := time.Since(began); took < hungAfter-lookEvery {
		t.Errorf("a worker that runs was replaced after %s", took)
	} else {
		t.Logf("hung worker replaced after %s", took)
	}
	syscall.Kill(next, syscall.SIGKILL)
	y.worker(next, 2*time.Second)
}

func TestSupervisorIgnoresNamesakes(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A record of an earlier boot, whose number is now that of somebody else.
	record := fmt.Sprintf(`{"pid": %d, "start": 1}`, os.Getpid())
	if err := os.WriteFile(filepath.Join(dir, "state", "worker.json"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	x := supervise(t, dir)
	if pid := x.worker(0, 5*time.Second); pid == os.Getpid() {
		t.Error("a test was taken for the worker")
	}
}
