package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"netfabric/fabric"
)

// store keeps the newest known state in memory and hands writes to the writer.
type store struct {
	self     func() string                            // name of this member
	writer   func() uint64                            // database node of this member
	database func() string                            // lineage of the database of this member
	connect  func(ctx context.Context) (*conn, error) // opens a session with the leader of the database
	explain  func(why error) error                    // what a user is told when the database can't be reached
	observe  func(beats map[string]uint64)            // called with the signs of life of all members, about every second
	told     func(commit)                             // called after each commit of this member
	changed  func(s *fabric.Snapshot)                 // called with each new snapshot, in order
	log      *slog.Logger
	health   health

	requests chan *request // to the writer
	look     chan struct{} // to the follower
	pulse    chan struct{} // to the heart

	mu          sync.Mutex
	snapshot    *fabric.Snapshot
	reports     *fabric.Reports
	subscribers map[chan struct{}]bool
}

func newStore(initial *fabric.Snapshot, log *slog.Logger) *store {
	if initial == nil {
		initial = fabric.EmptySnapshot()
	}
	return &store{
		log:         log,
		requests:    make(chan *request),
		look:        make(chan struct{}, 1),
		pulse:       make(chan struct{}, 1),
		snapshot:    initial,
		reports:     fabric.EmptyReports(),
		subscribers: map[chan struct{}]bool{},
	}
}

// defaultPatience bounds a write whose caller set no deadline.
const defaultPatience = 10 * time.Second

// Apply implements fabric.Store.
func (s *store) Apply(ctx context.Context, change func(*fabric.Tx) error) (uint64, error) {
	return s.submit(ctx, &request{change: change})
}

// Report implements fabric.Store. For this member itself, which is the only one to speak for it, a repeat costs nothing.
func (s *store) Report(ctx context.Context, member string, all []fabric.Condition) error {
	for _, c := range all {
		if c.Member != member {
			return fabric.Errorf(fabric.CodeInternal, "bad-report", "report of %s: condition of %s speaks for member %q", member, c.Object, c.Member)
		}
	}
	if reports := s.Reports(); member == s.self() && reports.Counter > 0 {
		if set, gone := reports.Diff(member, all); len(set)+len(gone) == 0 {
			return nil
		}
	}
	_, err := s.submit(ctx, &request{report: &report{member, all}})
	return err
}

// run makes statements part of a transaction. They may be run more than once, and more than once successfully.
func (s *store) run(ctx context.Context, statements func(ctx context.Context, c *conn) error) error {
	_, err := s.submit(ctx, &request{statements: statements})
	return err
}

// runAlone runs one statement, with no transaction around it unless there is one to share. It may be run more than once, and more than once
// successfully. Nothing is committed for one that only reads, so that a leader that was deposed and does not know yet may answer.
func (s *store) runAlone(ctx context.Context, statement func(ctx context.Context, c *conn) error) error {
	_, err := s.submit(ctx, &request{statements: statement, alone: true})
	return err
}

func (s *store) submit(ctx context.Context, r *request) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultPatience) // keeps an earlier deadline
	defer cancel()
	r.fence, _ = ctx.Value(fenceKey{}).(*fence)
	r.queued, r.done = time.Now(), make(chan struct{})
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return 0, s.ended(ctx, false)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if state := r.state.Swap(abandoned); state != finished {
			return 0, s.ended(ctx, state == committing)
		}
		<-r.done
	}
	return r.revision, r.err
}

// ended is the error of a write whose context ended first.
func (s *store) ended(ctx context.Context, unknown bool) error {
	if unknown {
		return outcomeUnknown(context.Cause(ctx))
	}
	if s.health.failing() {
		return s.explain(context.Cause(ctx))
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fabric.Errorf(fabric.CodeUnavailable, "canceled", "write to the database: %w", context.Cause(ctx))
	}
	return fabric.Errorf(fabric.CodeUnavailable, "busy", "write to the database: not done in time: %w", context.Cause(ctx)).WithFix("try again")
}

// outcomeUnknown is the error of a write whose commit was sent and not answered.
func outcomeUnknown(why error) error {
	if e := (*fabric.Error)(nil); errors.As(why, &e) {
		why = errors.New(e.Message) // its fix is not that of this error
	}
	return fabric.Errorf(fabric.CodeUnavailable, "outcome-unknown", "a write was sent and may or may not have been made: %w", why).WithFix("look before doing it again")
}

// Snapshot implements fabric.Store.
func (s *store) Snapshot() *fabric.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot
}

// Reports implements fabric.Store.
func (s *store) Reports() *fabric.Reports {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports
}

// Subscribe implements fabric.Store.
func (s *store) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, ch)
	}
}

// publish makes newer state the current one; older state is ignored unless it is known to be all there is.
func (s *store) publish(snapshot *fabric.Snapshot, reports *fabric.Reports, force bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := false
	if snapshot.Revision > s.snapshot.Revision || force && snapshot != s.snapshot {
		s.snapshot, news = snapshot, true
		s.changed(snapshot)
	}
	if reports.Counter > s.reports.Counter || force && reports != s.reports {
		s.reports, news = reports, true
	}
	if !news {
		return
	}
	for ch := range s.subscribers {
		wake(ch)
	}
}

// knownOf is what is known of a database: nothing, where what is known here is of another one.
func (s *store) knownOf(database string) (snapshot *fabric.Snapshot, reports *fabric.Reports, foreign bool) {
	snapshot, reports = s.Snapshot(), s.Reports()
	if snapshot.Database == database {
		return snapshot, reports, false
	}
	foreign = snapshot.Revision > 0
	snapshot = fabric.EmptySnapshot()
	snapshot.Database = database
	return snapshot, fabric.EmptyReports(), foreign
}

// reset forgets everything, when the member left its cluster.
func (s *store) reset() { s.publish(fabric.EmptySnapshot(), fabric.EmptyReports(), true) }

// wake signals a channel of one slot.
func wake(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// health is whether the database answers.
type health struct {
	mu    sync.Mutex
	since time.Time // of the first failure after the last answer; zero while it answers
	why   error
}

func (h *health) ok() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.why = time.Time{}, nil
}

func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		h.since = time.Now()
	}
	h.why = err
}

func (h *health) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.since.IsZero()
}

// failingFor is how long the database has not answered, and why it did not the last time.
func (h *health) failingFor() (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		return 0, nil
	}
	return time.Since(h.since), h.why
}
