package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"netfabric/fabric"
)

// member is a node under test with its API served.
type member struct {
	*Node
	dir    string
	server *http.Server
}

func logger(t testing.TB, name string) *slog.Logger {
	level := slog.LevelError + 1
	if os.Getenv("CLUSTER_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("member", name)
}

func openMember(t testing.TB, name, dir string, initial *fabric.Snapshot) *member {
	t.Helper()
	n, err := Open(t.Context(), Options{Dir: dir, Initial: initial, Logger: logger(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{Node: n, dir: dir, server: &http.Server{Handler: n.InternalHandler()}}
	go m.server.Serve(n.HTTPListener())
	return m
}

// kill stops a member without handing anything over, as a crash of its process does.
func (m *member) kill() {
	m.stop()
	m.leads.Wait()
	m.wait.Wait()
	m.server.Close()
	m.shut()
	m.lock.Close()
}

func (m *member) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m.server.Close()
	if err := m.Node.Close(ctx); err != nil {
		t.Error(err)
	}
}

// freeAddress is one on loopback where nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startCluster makes a cluster of members n1, n2, … of which three are voters.
func startCluster(t testing.TB, size int) []*member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var members []*member
	for i := range size {
		name := fmt.Sprint("n", i+1)
		m := openMember(t, name, t.TempDir(), nil)
		t.Cleanup(func() { m.close(t) })
		members = append(members, m)
		if i == 0 {
			if err := m.Bootstrap(ctx, name, freeAddress(t)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		token, err := members[0].AddToken(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Join(ctx, token, freeAddress(t)); err != nil {
			t.Fatal(err)
		}
	}
	if size >= 3 {
		eventually(t, "three members vote", func() bool { return voters(members[0]) == 3 })
	}
	return members
}

// voters counts the members that decide, and are online, as one sees them.
func voters(m *member) (n int) {
	for _, s := range m.Status().Members {
		if s.Role == "voter" && s.Online {
			n++
		}
	}
	return n
}

// eventually waits for a level.
func eventually(t testing.TB, what string, there func() bool) {
	t.Helper()
	const bound = 20 * time.Second
	for end := time.Now().Add(bound); !there(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", bound, what)
		}
	}
}

// leaderOf finds the member that leads the database.
func leaderOf(t testing.TB, members []*member) (leader *member, others []*member) {
	t.Helper()
	eventually(t, "all see one leader", func() bool {
		leader, others = nil, nil
		for _, m := range members {
			if m.Status().Leader == m.Name() {
				leader = m
			} else {
				others = append(others, m)
			}
		}
		return leader != nil && len(others) == len(members)-1
	})
	return leader, others
}
