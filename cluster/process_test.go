package cluster

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test binary that is started with this variable is a member of its own, so that it can be killed for real.
const processEnv = "CLUSTER_TEST_PROCESS" // "DIR NAME ADDRESS TOKEN", TOKEN "-" to bootstrap

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(processEnv)); len(args) == 4 {
		if err := beMember(args[0], args[1], args[2], args[3]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beMember(dir, name, address, token string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := Open(ctx, Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	go http.Serve(n.HTTPListener(), n.InternalHandler())
	switch {
	case n.Name() != "":
	case token == "-":
		err = n.Bootstrap(ctx, name, address)
	default:
		err = n.Join(ctx, token, address)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return n.Close(context.Background())
}

// process is a member in a process of its own.
type process struct {
	dir, name, address string
	env                []string // besides that of the tests
	cmd                *exec.Cmd
}

// start runs the member and waits until it is one.
func (p *process) start(t *testing.T, token string) {
	t.Helper()
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(append(os.Environ(), p.env...), processEnv+"="+strings.Join([]string{p.dir, p.name, p.address, token}, " "))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getenv(insideEnv) != "" {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Gid: blackholeGID} // for the packet filter to know it by
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the member's process says %q, %v", line, err)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if s == syscall.SIGKILL {
		p.cmd.Wait()
	}
}

// startWithProcess makes a cluster of one member in a process of its own and two in this one. Leadership is with the former.
func startWithProcess(t *testing.T) (*process, []*member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := openMember(t, "n2", t.TempDir(), nil)
	second := openMember(t, "n3", t.TempDir(), nil)
	p := &process{dir: t.TempDir(), name: "n1", address: freeAddress(t)}
	t.Cleanup(func() { // the process last: members are closed in good order while there is a leader
		second.close(t)
		first.close(t)
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if err := first.Bootstrap(ctx, "n2", freeAddress(t)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n1", "n3"} {
		token, err := first.AddToken(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "n1" {
			p.start(t, token)
		} else if err := second.Join(ctx, token, freeAddress(t)); err != nil {
			t.Fatal(err)
		}
	}
	members := []*member{first, second}
	p.lead(t, members)
	return p, members
}

// lead makes the process lead the database, as soon as it votes.
func (p *process) lead(t *testing.T, members []*member) {
	t.Helper()
	m := members[0]
	addresses := []string{p.address}
	for _, m := range members {
		addresses = append(addresses, m.Address())
	}
	eventually(t, "three members vote", func() bool { return voters(m) == 3 })
	eventually(t, "the process leads", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		self, ok := m.Snapshot().Member(p.name)
		if !ok {
			return false
		}
		address, err := m.engine.findLeader(ctx, addresses)
		if err != nil {
			return false
		}
		if address == p.address {
			return true
		}
		c, err := m.engine.client(ctx, address)
		if err != nil {
			return false
		}
		defer c.Close()
		c.Transfer(ctx, self.NodeID) // not before it votes: asked again
		return false
	})
}
