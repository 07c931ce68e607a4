package cluster

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"netfabric/fabric"
)

// flaky is a connection on which commits, or the answers to them, get lost.
type flaky struct {
	net.Conn
	faults *atomic.Int32
}

var errFlaky = &net.OpError{Op: "write", Net: "tcp", Err: errors.New("lost on purpose")}

func (f *flaky) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("COMMIT")) {
		return f.Conn.Write(b)
	}
	kind := rand.IntN(6)
	if kind > 2 {
		return f.Conn.Write(b)
	}
	f.faults.Add(1)
	defer f.Conn.Close()
	if kind == 0 { // the commit is lost
		return 0, errFlaky
	}
	if _, err := f.Conn.Write(b); err != nil {
		return 0, err
	}
	if kind == 1 { // its answer is lost; with kind 2, nobody waits for whether it was made
		f.Conn.Read(make([]byte, 1))
	}
	return 0, errFlaky
}

// TestLostAnswers loses many commits and answers: every change must be applied exactly once all the same.
func TestLostAnswers(t *testing.T) {
	m := startCluster(t, 3)[0]
	var faults atomic.Int32
	s := newStore(nil, logger(t, "flaky"))
	s.database = func() string { return "" }
	s.self = func() string { return "flaky" }
	s.writer = func() uint64 { return 99 }
	s.connect = func(ctx context.Context) (*conn, error) {
		leader, err := m.engine.findLeader(ctx, m.databaseAddresses(m.current()))
		if err != nil {
			return nil, err
		}
		return openConn(ctx, leader, func(ctx context.Context, address string) (net.Conn, error) {
			c, err := m.engine.dial(ctx, address)
			return &flaky{c, &faults}, err
		}, m.engine.clientLog)
	}
	s.explain = func(why error) error { return why }
	s.told, s.changed, s.observe = func(commit) {}, func(*fabric.Snapshot) {}, func(map[string]uint64) {}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { s.write(ctx) })
	defer writer.Wait()
	defer stop()

	l := &ledger{acked: map[string]bool{}, unknown: map[string]bool{}}
	const writers, each = 4, 40
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			for j := range each {
				name := "w-" + strconv.Itoa(i) + "-" + strconv.Itoa(j)
				_, err := s.Apply(t.Context(), create(name, "count-"+strconv.Itoa(i)))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				l.ack(name, err)
			}
		})
	}
	wait.Wait()
	l.audit(t, m)
	t.Logf("%d of the commits or their answers were lost", faults.Load())
	if len(l.acked) != writers*each || faults.Load() == 0 {
		t.Errorf("%d writes acknowledged with %d faults", len(l.acked), faults.Load())
	}
}

// TestPrune checks that a member that missed pruned tombstones reads everything anew.
func TestPrune(t *testing.T) {
	m := startCluster(t, 1)[0]
	ctx := t.Context()
	apply := func(change func(tx *fabric.Tx) error) {
		t.Helper()
		if _, err := m.Apply(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	apply(create("w-a", "count"))
	condition := fabric.Condition{Object: fabric.Key{Kind: fabric.KindProfile, Name: "w-a"}, Member: "n1", Type: fabric.ConditionReady}
	if err := m.Report(ctx, "n1", []fabric.Condition{condition}); err != nil {
		t.Fatal(err)
	}
	behind, behindReports := m.Snapshot(), m.Reports()
	apply(func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindProfile, Name: "w-a"}) })
	apply(create("w-b", "count"))
	if err := m.Report(ctx, "n1", nil); err != nil {
		t.Fatal(err)
	}
	for _, pruned := range []bool{false, true} {
		if pruned {
			if err := m.prune(ctx, 0); err != nil {
				t.Fatal(err)
			}
		}
		err := m.run(ctx, func(ctx context.Context, c *conn) error {
			tombstones, err := c.query(ctx, "SELECT 1 FROM objects WHERE deleted = 1 UNION ALL SELECT 1 FROM conditions WHERE deleted = 1")
			if err != nil {
				return err
			}
			if pruned != (len(tombstones) == 0) {
				t.Errorf("pruned %v: %d tombstones", pruned, len(tombstones))
			}
			meta, err := readMeta(ctx, c)
			if err != nil {
				return err
			}
			s, err := readObjects(ctx, c, behind, meta)
			if err != nil {
				return err
			}
			r, err := readConditions(ctx, c, behindReports, meta)
			if err != nil {
				return err
			}
			if _, there := s.Profile("w-a"); there || s.Revision != m.Snapshot().Revision {
				t.Errorf("pruned %v: the deletion was missed", pruned)
			}
			if _, there := s.Profile("w-b"); !there {
				t.Errorf("pruned %v: an object was missed", pruned)
			}
			if len(r.Of(condition.Object)) != 0 {
				t.Errorf("pruned %v: a condition is still there", pruned)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestExpiredTokensGo checks the housekeeping of tokens, and that a clock that is ahead fails closed.
func TestExpiredTokensGo(t *testing.T) {
	m := startCluster(t, 1)[0]
	for _, use := range []func(context.Context, string) (string, error){m.AddToken, m.AddClientToken} {
		if _, err := use(t.Context(), "someone"); err != nil {
			t.Fatal(err)
		}
		if _, err := use(t.Context(), "someone"); err != nil { // replaces
			t.Fatal(err)
		}
	}
	if n := len(m.Snapshot().Tokens()); n != 2 {
		t.Fatalf("%d tokens, want 2", n)
	}
	if err := m.dropExpiredTokens(t.Context(), m.Snapshot().Tokens()[0].Created); err != nil || len(m.Snapshot().Tokens()) != 2 {
		t.Fatalf("%d tokens after nothing expired, %v", len(m.Snapshot().Tokens()), err)
	}
	later := m.Snapshot().Tokens()[0].Expires
	_, err := m.Apply(t.Context(), func(tx *fabric.Tx) error {
		if err := tx.Put(&fabric.Token{Header: fabric.Header{Name: "x"}, Use: fabric.TokenJoin, For: "y", Hash: fabric.HashSecret("s"), Expires: later}); err != nil {
			return err
		}
		_, err := fabric.ConsumeToken(tx, fabric.TokenJoin, "s", later)
		return err
	})
	if fabric.ReasonOf(err) != "token-expired" {
		t.Errorf("token at its end: %v", err)
	}
	if err := m.dropExpiredTokens(t.Context(), later.AddDate(0, 0, 1)); err != nil || len(m.Snapshot().Tokens()) != 0 {
		t.Fatalf("%d tokens after all expired, %v", len(m.Snapshot().Tokens()), err)
	}
}

// TestStatementAlone checks that a statement which needs no transaction waits for nobody's if it reads, and is made after it if it writes.
func TestStatementAlone(t *testing.T) {
	m := startCluster(t, 1)[0]
	s := newStore(nil, logger(t, "alone")) // one that nobody else gives work to
	s.database = func() string { return "" }
	s.self, s.writer, s.connect = func() string { return "alone" }, func() uint64 { return 99 }, m.connect
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { s.write(ctx) })
	defer writer.Wait()
	defer stop()
	count := func() (n uint64) {
		t.Helper()
		if err := s.runAlone(t.Context(), func(ctx context.Context, c *conn) error {
			rows, err := c.query(ctx, "SELECT count(*) FROM beats WHERE member = 'nobody'")
			if err == nil {
				n = rows[0].number(0)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	other, err := m.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	eventually(t, "the write lock", func() bool { // the member itself writes now and then
		err := other.exec(t.Context(), "BEGIN; UPDATE meta SET writes = writes + 1")
		if err != nil {
			_ = other.exec(t.Context(), "ROLLBACK")
		}
		return err == nil
	})
	if n := count(); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	refused, written := make(chan error, 100), make(chan error, 1)
	go func() {
		written <- s.runAlone(t.Context(), func(ctx context.Context, c *conn) error {
			err := c.exec(ctx, "INSERT INTO beats (member, beat) VALUES ('nobody', 1)")
			select {
			case refused <- err:
			default:
			}
			return err
		})
	}()
	if err := <-refused; !isBusy(err) {
		t.Errorf("a write during that of somebody else: %v", err)
	}
	if err := other.exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d rows after a write", n)
	}
}
