package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/canonical/go-dqlite"
	"github.com/canonical/go-dqlite/client"
)

// raftLog is how many entries the raft log grows by before it is snapshotted, and how many it keeps then: the library wants no fewer. Memory
// follows it, and a member that was away for longer is sent the whole database instead.
const raftLog = 256

// multiThread makes SQLite safe for more than one node in a process, or any other user of it there: go-dqlite sets it up for a single thread,
// in which its memory is shared without locks. It has to come before the first node.
var multiThread = sync.OnceValue(dqlite.ConfigMultiThread)

// engine is the dqlite node of this member, with the way in and out of it.
//
// go-dqlite's own helper (package app) does this as well, but ends the whole process when a connection breaks just after it was accepted,
// probes nodes one after the other, and takes no timeouts: only its rules for roles are used.
type engine struct {
	id      uint64
	address string
	socket  string // abstract; dqlite lets nobody but its own process in
	latency time.Duration
	node    *dqlite.Node
	dialTLS client.DialFunc
	log     *slog.Logger

	ctx  context.Context
	stop context.CancelFunc
	wait sync.WaitGroup

	mu    sync.Mutex
	links map[*link]bool
}

// link is a connection from another member's node or client.
type link struct {
	fingerprint string
	conn        net.Conn
}

// startEngine starts the node on a directory. With dqlite.BootstrapID and an empty directory it starts a database, otherwise the node waits
// until it is added to one.
func startEngine(dir string, id uint64, address string, latency time.Duration, dialTLS client.DialFunc, log *slog.Logger) (*engine, error) {
	if err := multiThread(); err != nil {
		return nil, fmt.Errorf("set up SQLite: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	e := &engine{id: id, address: address, socket: "@netfabric-" + rand.Text(), latency: latency, dialTLS: dialTLS, log: log, links: map[*link]bool{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	node, err := dqlite.New(id, address, dir,
		dqlite.WithBindAddress(e.socket),
		dqlite.WithDialFunc(e.dialRaft),
		dqlite.WithNetworkLatency(latency),
		dqlite.WithSnapshotParams(dqlite.SnapshotParams{Threshold: raftLog, Trailing: raftLog}))
	if err != nil {
		return nil, fmt.Errorf("open the database in %s: %w", dir, err)
	}
	if err := node.Start(); err != nil {
		node.Close()
		return nil, fmt.Errorf("start the database in %s: %w", dir, err)
	}
	e.node = node
	return e, nil
}

// close stops the node without ceremony.
func (e *engine) close() error {
	e.stop()
	e.closeLinks(func(string) bool { return true })
	err := e.node.Close()
	e.wait.Wait()
	return err
}

// dialTimeout bounds one connection attempt, handshake included.
func (e *engine) dialTimeout() time.Duration { return max(400*time.Millisecond, 8*e.latency) }

// attemptTimeout bounds asking one node something.
func (e *engine) attemptTimeout() time.Duration { return max(600*time.Millisecond, 12*e.latency) }

// dial reaches a node.
func (e *engine) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.dialTimeout())
	defer cancel()
	if address == e.address {
		return new(net.Dialer).DialContext(ctx, "unix", e.socket)
	}
	return e.dialTLS(ctx, address)
}

// dialClient reaches a node as a client.
func (e *engine) dialClient(ctx context.Context, address string) (net.Conn, error) {
	c, err := e.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &wholeRequests{Conn: c}, nil
}

// dialRaft reaches a node for this one. It answers at once and connects behind that answer: go-dqlite dials for all nodes of a process under
// one lock, so that a single peer that swallows packets would stall the others.
func (e *engine) dialRaft(_ context.Context, address string) (net.Conn, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	e.wait.Go(func() {
		defer near.Close()
		remote, err := e.dial(e.ctx, address)
		if err != nil {
			// A closed connection is retried at the next heartbeat: hold the failure back, to spare a peer that is down. One that has another
			// database does not change its mind, but gives it up or has this one given up.
			pause := 5 * e.latency
			if refusedByOther(err) {
				pause = max(pause, time.Second)
			}
			select {
			case <-time.After(pause):
			case <-e.ctx.Done():
			}
			return
		}
		splice(e.ctx, near, remote)
	})
	return far, nil
}

// accept takes over a connection of another member, which has proved itself with the certificate that has the fingerprint.
func (e *engine) accept(conn *tls.Conn, fingerprint string) {
	l := &link{fingerprint, conn}
	e.mu.Lock()
	if e.ctx.Err() != nil {
		e.mu.Unlock()
		conn.Close()
		return
	}
	e.links[l] = true
	e.wait.Go(func() {
		defer func() {
			e.mu.Lock()
			delete(e.links, l)
			e.mu.Unlock()
		}()
		local, err := new(net.Dialer).DialContext(e.ctx, "unix", e.socket)
		if err != nil {
			conn.Close()
			return
		}
		splice(e.ctx, local, conn)
	})
	e.mu.Unlock()
}

// closeLinks ends the connections of members that are no longer welcome.
func (e *engine) closeLinks(unwelcome func(fingerprint string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.links {
		if unwelcome(l.fingerprint) {
			l.conn.Close()
		}
	}
}

// clientLog passes on what go-dqlite logs.
func (e *engine) clientLog(_ client.LogLevel, format string, args ...any) {
	if e.log.Enabled(e.ctx, slog.LevelDebug) {
		e.log.Debug("dqlite: " + fmt.Sprintf(format, args...))
	}
}

// client opens a session for questions about the cluster.
func (e *engine) client(ctx context.Context, address string) (*client.Client, error) {
	return client.New(ctx, address, client.WithDialFunc(e.dialClient), client.WithLogFunc(e.clientLog))
}

// findLeader asks all given nodes at once who leads. It is the address of a node that says so of itself, or one that others name.
func (e *engine) findLeader(ctx context.Context, addresses []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, e.attemptTimeout())
	defer cancel()
	type answer struct{ address, leader string }
	answers := make(chan answer, len(addresses))
	for _, address := range addresses {
		e.wait.Go(func() { answers <- answer{address, e.askLeader(ctx, address)} })
	}
	named, heard := "", map[string]bool{}
	for range addresses {
		a := <-answers // every question is bounded by ctx
		heard[a.address] = true
		if a.leader == a.address && a.leader != "" {
			return a.leader, nil
		}
		if a.leader != "" {
			named = a.leader
		}
	}
	if named != "" && !heard[named] {
		return named, nil
	}
	return "", errNoLeader
}

var errNoLeader = fmt.Errorf("no database member says that it leads")

func (e *engine) askLeader(ctx context.Context, address string) string {
	c, err := e.client(ctx, address)
	if err != nil {
		e.log.Debug("ask who leads", "address", address, "error", err)
		return ""
	}
	defer c.Close()
	leader, err := c.Leader(ctx)
	if err != nil || leader == nil {
		e.log.Debug("ask who leads", "address", address, "error", err)
		return ""
	}
	return leader.Address
}

// connect opens a session with the leader.
func (e *engine) connect(ctx context.Context, addresses []string) (*conn, error) {
	leader, err := e.findLeader(ctx, addresses)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.attemptTimeout())
	defer cancel()
	return openConn(ctx, leader, e.dialClient, e.clientLog)
}

// splice copies both ways until one side ends or ctx does, and closes both.
func splice(ctx context.Context, a, b net.Conn) {
	closeBoth := func() { a.Close(); b.Close() }
	defer context.AfterFunc(ctx, closeBoth)()
	var wait sync.WaitGroup
	wait.Go(func() { io.Copy(a, b); closeBoth() })
	wait.Go(func() { io.Copy(b, a); closeBoth() })
	wait.Wait()
}

func socketPair() (near, far net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	toConn := func(fd int) (net.Conn, error) {
		f := os.NewFile(uintptr(fd), "dqlite")
		defer f.Close()
		return net.FileConn(f)
	}
	near, err = toConn(fds[0])
	if err != nil {
		syscall.Close(fds[1])
		return nil, nil, err
	}
	if far, err = toConn(fds[1]); err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}
