package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"netfabric/fabric"
)

// request is one write that somebody waits for.
type request struct {
	// One of these is what to write.
	change     func(*fabric.Tx) error
	report     *report
	statements func(context.Context, *conn) error
	alone      bool // it is one statement that needs no transaction

	fence  *fence
	queued time.Time
	state  atomic.Int32

	// The writer sets these before it closes done.
	done     chan struct{}
	revision uint64
	err      error
}

type report struct {
	member string
	all    []fabric.Condition
}

// The states of a request. The waiter may abandon it at any time and learns from the state it was in whether it may have been written.
const (
	waiting    int32 = iota // also while it is run: nothing of it has been sent that could be committed
	committing              // a commit with it in it has been sent
	finished
	abandoned
)

func (r *request) finish(revision uint64, err error) {
	if s := r.state.Swap(finished); s == abandoned || s == finished {
		return // nobody waits, or waits any more: what needs no transaction may fail after the rest of its batch was made
	}
	r.revision, r.err = revision, err
	close(r.done)
}

// Bounds on trying again.
const (
	maxBatch        = 128
	busyPause       = 2 * time.Millisecond  // at most: somebody else's transaction takes about as long
	lostPause       = 30 * time.Millisecond // doubled up to lostPauses times
	lostPauses      = 2
	minPatience     = time.Second     // that a write has even when the database has been away for long
	quorumPatience  = 5 * time.Second // without an answer from the database
	firstAttempt    = time.Second     // for one transaction; doubled when it is not enough
	longestAttempt  = 8 * time.Second
	electionsFactor = 100 // latencies in quorumPatience, where these are long
)

// writer puts the writes of this member into transactions, one after the other: many writers at once only make each other busy.
type writer struct {
	*store
	conn    *conn
	unsure  []*attempt // of the batch at hand, whose commits have not been answered: at most one of them was made
	timeout time.Duration
}

// attempt is one run of a batch, up to its commit.
type attempt struct {
	id       int64
	base     meta // what it was made on
	snapshot *fabric.Snapshot
	reports  *fabric.Reports
	rows     []fabric.Row
	said     []reported
	wrote    bool // statements were run
	force    bool // the database is older than what is known here
	results  map[*request]result
}

type result struct {
	revision uint64
	err      error
}

// write runs the writer until ctx ends.
func (s *store) write(ctx context.Context) {
	w := &writer{store: s, timeout: firstAttempt}
	defer func() { w.conn.close() }()
	for {
		select {
		case r := <-s.requests:
			w.commit(ctx, w.gather([]*request{r}))
		case <-ctx.Done():
			return
		}
	}
}

// gather adds what else waits to a batch.
func (w *writer) gather(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-w.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit brings a batch into the database, or tells each waiter why not.
func (w *writer) commit(ctx context.Context, batch []*request) {
	w.unsure, w.timeout = nil, firstAttempt
	for try := 0; ; try++ {
		batch = unfinished(batch)
		if len(batch) == 0 {
			return
		}
		err := w.attempt(ctx, batch)
		if err == nil {
			w.health.ok()
			return
		}
		pause := lostPause << min(try, lostPauses)
		switch {
		case errors.Is(err, errAgain):
			pause = 0
		case isBusy(err):
			pause = time.Duration(1 + rand.Int64N(int64(busyPause)))
		case isConstraint(err):
			w.fail(batch, fabric.Errorf(fabric.CodeInternal, "constraint", "write to the database: %w", err))
			w.disconnect()
			return
		default:
			w.disconnect()
			if batch = w.giveUp(batch, err); len(batch) == 0 {
				return
			}
		}
		w.log.Debug("write to the database again", "try", try, "because", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			w.fail(batch, fabric.Errorf(fabric.CodeUnavailable, "stopping", "write to the database: this member is stopping"))
			return
		}
		if w.unsure == nil {
			batch = w.gather(batch) // a sign of life that has to wait for its turn holds up nobody
		}
	}
}

// unfinished are the requests of a batch that somebody still waits for.
func unfinished(batch []*request) []*request {
	var rest []*request
	for _, r := range batch {
		if s := r.state.Load(); s != abandoned && s != finished {
			rest = append(rest, r)
		}
	}
	return rest
}

// giveUp fails the requests that have waited long enough for a database that does not answer, and returns the others.
func (w *writer) giveUp(batch []*request, err error) []*request {
	var e *fabric.Error
	final := errors.As(err, &e)
	if !final {
		w.health.failed(err)
	}
	if away, _ := w.health.failingFor(); !final && away < w.patience() {
		return batch
	}
	var rest, over []*request
	for _, r := range batch {
		if final || time.Since(r.queued) >= minPatience {
			over = append(over, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(over) > 0 {
		if !final {
			err = w.explain(err)
		}
		w.fail(over, err)
	}
	return rest
}

// patience is how long the database may be away before writes fail.
func (w *writer) patience() time.Duration {
	return max(quorumPatience, electionsFactor*w.Snapshot().Cluster().NetworkLatency())
}

// fail tells waiters that nothing was written, or that it is not known when a commit of theirs went unanswered.
func (w *writer) fail(batch []*request, err error) {
	for _, r := range batch {
		if slices.ContainsFunc(w.unsure, func(a *attempt) bool { res, ok := a.results[r]; return ok && res.err == nil }) {
			r.finish(0, outcomeUnknown(err))
			continue
		}
		r.finish(0, err)
	}
}

func (w *writer) disconnect() {
	w.conn.close()
	w.conn = nil
}

// errAgain asks for another attempt at once.
var errAgain = errors.New("a waiter left before the commit")

// attempt runs the batch in one transaction, and what needs none after it. Without an error all its requests are finished.
func (w *writer) attempt(ctx context.Context, batch []*request) error {
	if !w.conn.goodFor(w.database()) {
		w.disconnect()
		c, err := w.connect(ctx)
		if err != nil {
			return err
		}
		w.conn = c
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	var together, single []*request
	for _, r := range batch {
		if r.alone && r.fence == nil {
			single = append(single, r)
		} else {
			together = append(together, r)
		}
	}
	if len(together) == 0 {
		return w.oneByOne(ctx, single)
	}
	err := w.transaction(ctx, together)
	if err == nil {
		return w.oneByOne(ctx, single)
	}
	switch {
	case errors.Is(err, errAgain) || isBusy(err):
		if rerr := w.conn.exec(ctx, "ROLLBACK"); rerr != nil {
			w.disconnect()
		}
	case ctx.Err() != nil: // too much for the time, or nobody there: the first cures itself
		w.timeout = min(2*w.timeout, longestAttempt)
	}
	return err
}

// oneByOne runs a batch of which nothing needs a transaction: one request to the database for each, in place of five.
func (w *writer) oneByOne(ctx context.Context, batch []*request) error {
	for _, r := range batch {
		if err := r.statements(ctx, w.conn); err != nil {
			return err
		}
	}
	for _, r := range batch {
		r.finish(w.Snapshot().Revision, nil)
	}
	return nil
}

func (w *writer) transaction(ctx context.Context, batch []*request) error {
	if done, err := w.guess(ctx, batch); done || err != nil {
		return err
	}
	// The first statement writes, so that the lock is held and what is read after it is the newest there is.
	if err := w.conn.exec(ctx, "BEGIN; UPDATE meta SET writes = writes + 1"); err != nil {
		return err
	}
	rows, err := w.conn.query(ctx, selectMeta)
	if err != nil {
		return err
	}
	m, err := metaOf(rows)
	if err != nil {
		return err
	}
	if w.unsure != nil {
		switch done, err := w.applied(ctx); {
		case err != nil:
			return err
		case done != nil:
			return w.settle(ctx, done)
		}
	}
	a, s, err := w.prepare(ctx, m, batch)
	if err != nil {
		return err
	}
	if len(s.requests) == 0 && !a.wrote && !a.force && w.unsure == nil { // nothing to write
		if err := w.conn.exec(ctx, "ROLLBACK"); err != nil {
			return err
		}
		w.deliver(a)
		return nil
	}
	// Numbers, and no arguments: so that these ride along with the last of the others.
	s.add(fmt.Sprintf("INSERT OR REPLACE INTO applied (writer, batch) VALUES (%d, %d)", w.writer(), a.id))
	s.add(fmt.Sprintf("UPDATE meta SET revision = %d, counter = %d", a.snapshot.Revision, a.reports.Counter))
	s.add("COMMIT")
	for _, r := range batch {
		if !r.state.CompareAndSwap(waiting, committing) && r.state.Load() != committing {
			return errAgain
		}
	}
	w.unsure = append(w.unsure, a)
	if err := s.run(ctx, w.conn); err != nil {
		return err
	}
	w.deliver(a)
	if a.snapshot.Revision != m.revision || a.reports.Counter != m.counter { // otherwise others have nothing to learn
		w.told(a.commit())
	}
	return nil
}

// applied finds the commit that went unanswered and was made after all.
func (w *writer) applied(ctx context.Context) (*attempt, error) {
	rows, err := w.conn.query(ctx, "SELECT batch FROM applied WHERE writer = ?", w.writer())
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if i := slices.IndexFunc(w.unsure, func(a *attempt) bool { return a.id == int64(rows[0].number(0)) }); i >= 0 {
		return w.unsure[i], nil
	}
	return nil, nil
}

// settle finishes a batch whose commit was made although it went unanswered.
func (w *writer) settle(ctx context.Context, a *attempt) error {
	if err := w.conn.exec(ctx, "ROLLBACK"); err != nil {
		return err
	}
	w.deliver(a)
	w.told(a.commit())
	return nil
}

// prepare runs the requests on the newest state and collects what has to be written.
func (w *writer) prepare(ctx context.Context, m meta, batch []*request) (*attempt, *script, error) {
	known, knownReports, foreign := w.knownOf(w.conn.database)
	base, err := readObjects(ctx, w.conn, known, m)
	if err != nil {
		return nil, nil, err
	}
	reports, err := readConditions(ctx, w.conn, knownReports, m)
	if err != nil {
		return nil, nil, err
	}
	force := foreign || m.revision < known.Revision || m.counter < knownReports.Counter
	if !force {
		w.publish(base, reports, false)
	}
	return w.compose(ctx, &attempt{id: rand.Int64(), base: m, snapshot: base, reports: reports, results: map[*request]result{}, force: force}, batch)
}

// compose is prepare on the state that an attempt begins with.
func (w *writer) compose(ctx context.Context, a *attempt, batch []*request) (*attempt, *script, error) {
	s, base, reports := new(script), a.snapshot, a.reports
	var err error
	for _, r := range batch {
		res := result{revision: a.snapshot.Revision}
		if r.fence != nil {
			if res.err, err = r.fence.check(ctx, w.conn); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case res.err != nil:
		case r.change != nil:
			var rows []fabric.Row
			if rows, res.err = a.change(r.change, base.Revision+1); res.err == nil {
				a.rows = append(a.rows, rows...)
				res.revision = a.snapshot.Revision
			}
		case r.report != nil:
			set, gone := a.reports.Diff(r.report.member, r.report.all)
			if len(set)+len(gone) > 0 {
				a.reports = a.reports.With(reports.Counter+1, set, gone)
				a.said = append(a.said, reported{set, gone})
				err = writeConditions(s, reports.Counter+1, set, gone)
			}
		case r.statements != nil:
			err = r.statements(ctx, w.conn)
			a.wrote = true
		}
		if err != nil {
			return nil, nil, err
		}
		a.results[r] = res
	}
	a.rows = lastOfEach(a.rows)
	writeObjects(s, base, a.snapshot, a.rows)
	return a, s, nil
}

// commit is the attempt, made, as others are told of it.
func (a *attempt) commit() commit {
	return commit{
		Revision: a.snapshot.Revision, Counter: a.reports.Counter, FromRevision: a.base.revision, FromCounter: a.base.counter,
		Rows: a.rows, Reports: a.said,
	}
}

// change runs one change on top of those before it in the batch.
func (a *attempt) change(change func(*fabric.Tx) error, revision uint64) ([]fabric.Row, error) {
	tx := fabric.NewTx(a.snapshot)
	if err := recovered(change, tx); err != nil {
		return nil, err
	}
	rows, _, err := tx.Finish(revision)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	// The rows, not the objects of the change: whoever made the change may still hold these.
	next, err := a.snapshot.Advance(revision, rows)
	if err != nil {
		return nil, fabric.Errorf(fabric.CodeInternal, "internal", "read back what is to be written: %w", err)
	}
	a.snapshot = next
	return rows, nil
}

func recovered(change func(*fabric.Tx) error, tx *fabric.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fabric.Errorf(fabric.CodeInternal, "panic", "a change to the database panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return change(tx)
}

// lastOfEach drops rows that a later change of the batch replaced.
func lastOfEach(rows []fabric.Row) []fabric.Row {
	last := map[fabric.Key]int{}
	for i, r := range rows {
		last[fabric.Key{Kind: r.Kind, Name: r.Name}] = i
	}
	var kept []fabric.Row
	for i, r := range rows {
		if last[fabric.Key{Kind: r.Kind, Name: r.Name}] == i {
			kept = append(kept, r)
		}
	}
	return kept
}

// deliver makes the state after an attempt the newest known, and only then lets the waiters go.
func (w *writer) deliver(a *attempt) {
	w.publish(a.snapshot, a.reports, a.force)
	for r, res := range a.results {
		r.finish(res.revision, res.err)
	}
	w.unsure = nil
}
