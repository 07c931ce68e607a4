package cluster

import (
	"context"
	"errors"
	"time"

	"netfabric/fabric"
)

const (
	housekeepingPeriod = 30 * time.Second
	// keptRevisions is how many of the newest revisions keep their tombstones. A member that was away for longer reads everything anew.
	keptRevisions = 10000
)

// keepHouse removes what has become useless, on one member at a time.
func (n *Node) keepHouse(ctx context.Context, _ uint64) {
	for {
		for _, work := range []func(context.Context) error{
			func(ctx context.Context) error { return n.dropExpiredTokens(ctx, time.Now()) },
			func(ctx context.Context) error { return n.prune(ctx, keptRevisions) },
			func(ctx context.Context) error { return n.run(ctx, clearStrangers) },
			n.dropStrangersWords,
		} {
			if err := work(ctx); err != nil {
				n.log.Debug("housekeeping", "error", err)
			}
		}
		select {
		case <-time.After(housekeepingPeriod):
		case <-ctx.Done():
			return
		}
	}
}

func expired(s *fabric.Snapshot, now time.Time) (keys []fabric.Key) {
	for _, t := range s.Tokens() {
		if !now.Before(t.Expires) {
			keys = append(keys, fabric.KeyOf(t))
		}
	}
	return keys
}

func (n *Node) dropExpiredTokens(ctx context.Context, now time.Time) error {
	if len(expired(n.Snapshot(), now)) == 0 {
		return nil
	}
	_, err := n.Apply(ctx, func(tx *fabric.Tx) error {
		for _, key := range expired(tx.Snapshot(), now) {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// prune removes tombstones of other than the newest revisions and counts, and records up to where.
func (n *Node) prune(ctx context.Context, keep uint64) error {
	return n.run(ctx, func(ctx context.Context, c *conn) error {
		m, err := readMeta(ctx, c)
		if err != nil {
			return err
		}
		s := new(script)
		if m.revision > keep {
			s.add("DELETE FROM objects WHERE deleted = 1 AND revision <= ?", m.revision-keep)
			s.add("UPDATE meta SET floor = ?", m.revision-keep)
		}
		if m.counter > keep {
			s.add("DELETE FROM conditions WHERE deleted = 1 AND counter <= ?", m.counter-keep)
			s.add("UPDATE meta SET status_floor = ?", m.counter-keep)
		}
		return s.run(ctx, c)
	})
}

// dropStrangersWords removes what members said that are gone.
func (n *Node) dropStrangersWords(ctx context.Context) error {
	var gone []string
	err := n.run(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.query(ctx, "SELECT DISTINCT member FROM conditions WHERE deleted = 0 AND member NOT IN "+currentMembers)
		gone = nil
		for _, r := range rows {
			gone = append(gone, r.text(0))
		}
		return err
	})
	for _, member := range gone {
		err = errors.Join(err, n.Report(ctx, member, nil))
	}
	return err
}
