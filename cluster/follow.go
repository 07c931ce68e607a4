package cluster

import (
	"context"
	"errors"
	"time"

	"netfabric/fabric"
)

// Other members tell when they wrote; looking by itself now and then is for what they could not tell.
const (
	lookPeriod  = time.Second
	lookTimeout = 2 * time.Second
	lookAgain   = 100 * time.Millisecond // after a failure
)

// follow keeps the state in memory up to date until ctx ends.
func (s *store) follow(ctx context.Context) {
	var c *conn
	defer func() { c.close() }()
	for {
		pause := lookPeriod
		if !c.goodFor(s.database()) {
			c.close()
			c = nil
		}
		if next, err := s.lookOnce(ctx, c); err != nil {
			c.close()
			c = nil
			var e *fabric.Error
			if !errors.As(err, &e) { // otherwise it is no failure: the member is in no cluster
				s.health.failed(err)
				pause = lookAgain
			}
		} else {
			c = next
			s.health.ok()
		}
		select {
		case <-time.After(pause):
		case <-s.look:
		case <-ctx.Done():
			return
		}
	}
}

// lookOnce reads what is new. It opens a session where it is given none, and returns the session.
func (s *store) lookOnce(ctx context.Context, c *conn) (*conn, error) {
	if c == nil {
		var err error
		if c, err = s.connect(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	m, beats, err := readSigns(ctx, c)
	if err != nil {
		return c, err
	}
	known, reports, foreign := s.knownOf(c.database)
	snapshot, err := readNewer(ctx, c, known, m)
	if err != nil {
		return c, err
	}
	if m.counter > reports.Counter {
		if reports, err = readConditions(ctx, c, reports, m); err != nil {
			return c, err
		}
	}
	s.publish(snapshot, reports, foreign)
	s.observe(beats)
	return c, nil
}

// readNewer reads what is newer than the snapshot. A read may come from a leader that was deposed and does not know yet: being behind
// means nothing.
func readNewer(ctx context.Context, c *conn, s *fabric.Snapshot, m meta) (*fabric.Snapshot, error) {
	if m.revision <= s.Revision {
		return s, nil
	}
	return readObjects(ctx, c, s, m)
}

// beat shows a sign of life of this member about every second until ctx ends.
func (s *store) beat(ctx context.Context) {
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, lookTimeout)
		err := s.runAlone(once, func(ctx context.Context, c *conn) error {
			return c.exec(ctx, "INSERT INTO beats (member, beat) VALUES (?, 1) ON CONFLICT (member) DO UPDATE SET beat = beat + 1", s.self())
		})
		cancel()
		if err != nil {
			s.log.Debug("no sign of life", "error", err)
		}
		select {
		case <-tick.C:
		case <-s.pulse:
		case <-ctx.Done():
			return
		}
	}
}
