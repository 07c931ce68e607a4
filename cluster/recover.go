package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/canonical/go-dqlite"
	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// RecoverOptions is what PrepareRecovery needs.
type RecoverOptions struct {
	Dir        string // of a member, see Options
	Known      uint64 // revision that this member has seen; zero: unknown
	AcceptLoss bool   // go on where it is known that another copy of the database has more
}

// Recovery is a database that was made of a member's copy, with this member deciding alone. Until Commit it is not used.
type Recovery struct {
	Name     string
	Revision uint64   // of the copy it was made from
	Others   []string // the other members
	Silent   []string // those of them that don't answer

	dir, work string
	id        identity
	next      identity
	peers     peers
	lock      *os.File
}

// recoveredBy is how far numbers are raised in a recovered database: revisions, counters and terms of leases are then higher than any that was
// given out by the one before, also those that the recovered copy has not seen. Members thereby read it as a whole, and mix nothing.
const recoveredBy = 1_000_000

// PrepareRecovery makes a database of which this member is the only node, from its copy of the one that lost its quorum, beside it. It refuses where
// nothing was lost, and changes nothing that the member uses.
func PrepareRecovery(ctx context.Context, o RecoverOptions) (*Recovery, error) {
	lock, err := lockExisting(o.Dir)
	if err != nil {
		return nil, err
	}
	r, err := prepare(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	r.lock = lock
	return r, nil
}

func lockExisting(dir string) (*os.File, error) {
	lock, err := lockDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fabric.Errorf(fabric.CodeInvalid, "not-in-cluster", "%s is not there: no fabric-node ever ran on it", dir).WithFix("name the directory of a member with --dir")
	}
	return lock, err
}

func prepare(ctx context.Context, o RecoverOptions) (*Recovery, error) {
	m, err := loadMembership(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := m.checkRecoverable(o.AcceptLoss); err != nil {
		return nil, err
	}
	p, err := newProof(m.id)
	if err != nil {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-directory", "read %s: %w", filepath.Join(o.Dir, identityFile), err)
	}
	silent, err := p.askOthers(ctx, m.known)
	if err != nil {
		return nil, err
	}
	if err := m.checkLost(silent); err != nil {
		return nil, err
	}
	r := &Recovery{Name: m.id.Name, Silent: silent, dir: o.Dir, id: m.id, next: m.id}
	for _, other := range m.copy().Others {
		r.Others = append(r.Others, other.Name)
	}
	r.next.Lineage = m.id.Lineage.next()
	if r.work, err = r.copyDatabase(); err != nil {
		return nil, err
	}
	err = r.transform(ctx)
	if err == nil && r.Revision < o.Known && !o.AcceptLoss {
		err = fabric.Conflictf("older-copy", "the database of member %q is at revision %d, and it has seen revision %d: another member that survived may have what is missing", r.Name, r.Revision, o.Known).
			WithFix("compare with fabric-node cluster list-database on each, and recover where term and index are highest; if it is this one, --accept-loss goes on")
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(r.work))
	}
	return r, nil
}

// copyDatabase copies the database to a directory beside it.
func (r *Recovery) copyDatabase() (string, error) {
	left, err := filepath.Glob(filepath.Join(r.dir, workPattern)) // by one that was killed
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(r.dir, workPattern)
	if err != nil {
		return "", err
	}
	from := filepath.Join(r.dir, r.id.Lineage.name())
	if err := os.CopyFS(work, os.DirFS(from)); err != nil {
		return "", errors.Join(fmt.Errorf("copy the database: %w", err), os.RemoveAll(work))
	}
	return work, nil
}

// transform makes the copy a database of its own.
func (r *Recovery) transform(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*defaultPatience)
	defer cancel()
	if err := multiThread(); err != nil {
		return fmt.Errorf("set up SQLite: %w", err)
	}
	if err := dqlite.ReconfigureMembershipExt(r.work, []dqlite.NodeInfo{{ID: r.id.NodeID, Address: r.id.Address, Role: client.Voter}}); err != nil {
		return fmt.Errorf("make this member the only one to decide in a copy of the database: %w", err)
	}
	nobody := func(context.Context, string) (net.Conn, error) { return nil, errors.New("the database is offline") }
	e, err := startEngine(r.work, r.id.NodeID, r.id.Address, new(fabric.Cluster).NetworkLatency(), nobody, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = r.renumber(ctx, e)
	return errors.Join(err, e.close())
}

// renumber raises the numbers of the database, and gives the other members new nodes in it: what is left of the old ones has no part in it.
func (r *Recovery) renumber(ctx context.Context, e *engine) error {
	c, err := e.connect(ctx, []string{r.id.Address})
	for ; err != nil; c, err = e.connect(ctx, []string{r.id.Address}) {
		select {
		case <-time.After(lostPause):
		case <-ctx.Done():
			return fmt.Errorf("open the copy of the database: %w", err)
		}
	}
	defer c.close()
	m, err := readMeta(ctx, c)
	if err != nil {
		return err
	}
	base, err := readObjects(ctx, c, emptyOf(c), m)
	if err != nil {
		return err
	}
	r.Revision = m.revision
	rows, next, err := newNodes(base, r.id.NodeID, m.revision+recoveredBy)
	if err != nil {
		return err
	}
	r.peers = peersOf(next)
	r.peers.Revision = m.revision + recoveredBy
	s := new(script)
	s.add("BEGIN")
	writeObjects(s, base, next, rows)
	s.add(fmt.Sprintf("UPDATE lease SET holder = '', term = term + %d", recoveredBy))
	s.add(fmt.Sprintf("UPDATE meta SET writes = writes + 1, revision = %d, floor = %[1]d, counter = %d, status_floor = %[2]d", m.revision+recoveredBy, m.counter+recoveredBy))
	s.add("COMMIT")
	return s.run(ctx, c)
}

// newNodes gives every member but the one with a node a new one.
func newNodes(base *fabric.Snapshot, self, revision uint64) ([]fabric.Row, *fabric.Snapshot, error) {
	tx := fabric.NewTx(base)
	there := false
	for _, m := range base.Members() {
		if m.NodeID == self {
			there = true
			continue
		}
		m = fabric.Clone(m)
		m.NodeID, m.Voter = newNodeID(), false
		if err := tx.Put(m); err != nil {
			return nil, nil, err
		}
	}
	if !there {
		return nil, nil, fabric.Conflictf("not-a-member", "this member is not in its own copy of the database: it was removed, or has just joined").WithFix("recover on another member")
	}
	return tx.Finish(revision)
}

// Commit makes the member use the recovered database from its next start on. What it replaces is kept, in the directory that Commit tells.
func (r *Recovery) Commit() (kept string, err error) {
	place := filepath.Join(r.dir, r.next.Lineage.name())
	if err := os.Rename(r.work, place); err != nil {
		return "", errors.Join(err, r.Discard())
	}
	r.work = place
	if err := syncTree(place); err != nil {
		return "", errors.Join(err, r.Discard())
	}
	kept, err = succeed(r.dir, r.id, r.next, r.peers, time.Now())
	return kept, errors.Join(err, r.lock.Close())
}

// Discard leaves everything as it was.
func (r *Recovery) Discard() error { return errors.Join(os.RemoveAll(r.work), r.lock.Close()) }

// syncTree returns once the files of a directory, and their names, are on disk.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncDir(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}
