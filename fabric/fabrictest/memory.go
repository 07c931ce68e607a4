// Package fabrictest has an in-memory Store, and the suite of tests that every Store must pass.
package fabrictest

import (
	"context"
	"fmt"
	"sync"

	"netfabric/fabric"
)

// Memory is a Store of one process: the semantics of the replicated one without its durability.
type Memory struct {
	write sync.Mutex // one change at a time

	mu          sync.Mutex
	snapshot    *fabric.Snapshot
	reports     *fabric.Reports
	subscribers map[chan struct{}]bool
	refuse      error
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		snapshot:    fabric.EmptySnapshot(),
		reports:     fabric.EmptyReports(),
		subscribers: map[chan struct{}]bool{},
	}
}

// Refuse makes every write fail with err from now on, as a database without quorum does; nil makes writes work again.
func (m *Memory) Refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

// Apply implements fabric.Store.
func (m *Memory) Apply(ctx context.Context, change func(*fabric.Tx) error) (uint64, error) {
	m.write.Lock()
	defer m.write.Unlock()
	if err := m.refused(ctx); err != nil {
		return 0, err
	}
	base := m.Snapshot()
	tx := fabric.NewTx(base)
	if err := change(tx); err != nil {
		return 0, err
	}
	rows, _, err := tx.Finish(base.Revision + 1)
	if err != nil || len(rows) == 0 {
		return base.Revision, err
	}
	// The rows, not the objects of the change: whoever made the change may still hold these.
	next, err := base.Advance(base.Revision+1, rows)
	if err != nil {
		return 0, fmt.Errorf("read back what was written: %w", err)
	}
	m.mu.Lock()
	m.snapshot = next
	m.mu.Unlock()
	m.signal()
	return next.Revision, nil
}

func (m *Memory) refused(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fabric.Errorf(fabric.CodeUnavailable, "no-quorum", "write to the database: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refuse
}

// Snapshot implements fabric.Store.
func (m *Memory) Snapshot() *fabric.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot
}

// Report implements fabric.Store.
func (m *Memory) Report(ctx context.Context, member string, all []fabric.Condition) error {
	m.write.Lock()
	defer m.write.Unlock()
	if err := m.refused(ctx); err != nil {
		return err
	}
	for _, c := range all {
		if c.Member != member {
			return fmt.Errorf("report of %s: condition of %s speaks for member %q", member, c.Object, c.Member)
		}
	}
	m.mu.Lock()
	set, gone := m.reports.Diff(member, all)
	if len(set)+len(gone) > 0 {
		m.reports = m.reports.With(m.reports.Counter+1, set, gone)
	}
	m.mu.Unlock()
	if len(set)+len(gone) > 0 {
		m.signal()
	}
	return nil
}

// Reports implements fabric.Store.
func (m *Memory) Reports() *fabric.Reports {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reports
}

// Subscribe implements fabric.Store.
func (m *Memory) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers[ch] = true
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subscribers, ch)
	}
}

func (m *Memory) signal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ch := range m.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
