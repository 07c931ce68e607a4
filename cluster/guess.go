package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// guess runs a batch on the state that is known here, in one request to the database: each request wakes a dozen threads on three hosts. Where the
// state is not the newest any more, the database refuses all of it. done is false where the batch is to be run on the newest state instead.
func (w *writer) guess(ctx context.Context, batch []*request) (done bool, err error) {
	known, reports, _ := w.knownOf(w.conn.database)
	if w.unsure != nil || known.Revision == 0 || slices.ContainsFunc(batch, func(r *request) bool { return r.fence != nil || r.statements != nil }) {
		return false, nil
	}
	base := meta{version: schemaVersion, revision: known.Revision, counter: reports.Counter}
	a, s, err := w.compose(ctx, &attempt{id: rand.Int64(), base: base, snapshot: known, reports: reports, results: map[*request]result{}}, batch)
	if err != nil {
		return false, err
	}
	body, ok := s.inline()
	if !ok || body == "" {
		return false, nil
	}
	for _, res := range a.results {
		if res.err != nil {
			return false, nil // it may be right by now
		}
	}
	for _, r := range batch {
		if !r.state.CompareAndSwap(waiting, committing) && r.state.Load() != committing {
			return false, errAgain
		}
	}
	w.unsure = append(w.unsure, a)
	err = w.conn.exec(ctx, fmt.Sprintf("BEGIN; %s; %s; INSERT OR REPLACE INTO applied (writer, batch) VALUES (%d, %d); COMMIT", a.advance(), body, w.writer(), a.id))
	switch {
	case err == nil:
		w.deliver(a)
		w.told(a.commit())
		return true, nil
	case isBusy(err):
		w.unsure = nil // it is the first statement that had to wait
		return false, err
	case isConstraint(err):
		w.unsure = nil
		return false, w.conn.exec(ctx, "ROLLBACK")
	}
	return false, err
}

// advance is the statement that takes the lock and moves meta on from the base of an attempt. With another base it fails, as NULL is no revision.
func (a *attempt) advance() string {
	return fmt.Sprintf("UPDATE meta SET writes = writes + 1, revision = CASE WHEN revision = %d AND counter = %d AND version <= %d THEN %d END, counter = %d",
		a.base.revision, a.base.counter, a.base.version, a.snapshot.Revision, a.reports.Counter)
}
