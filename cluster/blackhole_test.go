package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	insideEnv    = "CLUSTER_TEST_INSIDE" // set in the network namespace that the test made
	blackholeGID = 12345                 // of the process whose packets are dropped
)

// TestLeaderIsBlackholed drops all packets of the leader without a word: no reset, no unreachable, connections just hang.
func TestLeaderIsBlackholed(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		blackhole(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLeaderIsBlackholed$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "no write for") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func blackhole(t *testing.T) {
	run(t, "", "ip", "link", "set", "lo", "up")
	p, members := startWithProcess(t)
	l := &ledger{acked: map[string]bool{}, unknown: map[string]bool{}}
	var stop atomic.Bool
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() { keepWriting(t, members[i%2].Store(), strconv.Itoa(i), l, &stop) })
	}
	defer writers.Wait()
	defer stop.Store(true)
	_, port, _ := strings.Cut(p.address, ":")
	eventually(t, "writes are made", func() bool { return l.count() > 50 })
	l.takeGap()
	before := l.count()
	run(t, fmt.Sprintf(`table inet cut {
		chain out {
			type filter hook output priority 0
			meta skgid %d drop
			tcp sport %s drop
			tcp dport %s drop
		}
	}`, blackholeGID, port, port), "nft", "-f", "-")
	eventually(t, "writes go on", func() bool { return l.count() > before+50 })
	gap := l.takeGap()
	t.Logf("leader blackholed: no write for %s", gap.Round(time.Millisecond))
	if gap > 5*time.Second {
		t.Errorf("no write for %s", gap)
	}
	run(t, "", "nft", "delete", "table", "inet", "cut")
	stop.Store(true)
	writers.Wait()
	eventually(t, "three members vote again", func() bool { return voters(members[0]) == 3 && voters(members[1]) == 3 })
	l.audit(t, members[0])
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
