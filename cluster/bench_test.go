package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netfabric/fabric"
)

// percentiles reports how long single operations took.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "writes/s")
}

func benchMembers(b *testing.B) (leader, follower, third *member) {
	members := startCluster(b, 3)
	for _, m := range members {
		if m.Status().Leader == m.Name() {
			leader = m
		} else {
			follower, third = m, follower
		}
	}
	return leader, follower, third
}

// BenchmarkWrite compares one write through the store with one insert through go-dqlite alone, on the same three nodes in the same run, on
// the member that leads and on one that does not.
func BenchmarkWrite(b *testing.B) {
	leader, follower, third := benchMembers(b)
	ctx := b.Context()
	if err := leader.run(ctx, func(ctx context.Context, c *conn) error {
		return c.exec(ctx, "CREATE TABLE IF NOT EXISTS raw (name TEXT PRIMARY KEY, spec TEXT)")
	}); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	for _, at := range []struct {
		name string
		*member
	}{{"leader", leader}, {"follower", follower}} {
		b.Run("raw-dqlite/"+at.name, func(b *testing.B) {
			c, err := at.connect(ctx)
			if err != nil {
				b.Fatal(err)
			}
			defer c.close()
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				for { // others write, too: the beats of members
					err := c.exec(ctx, "INSERT INTO raw (name, spec) VALUES (?, ?)", fmt.Sprint("r", n.Add(1)), `{"config":{"user.count":"1"},"devices":null}`)
					if err == nil {
						break
					}
					if !isBusy(err) {
						b.Fatal(err)
					}
				}
				took = append(took, time.Since(begin))
			}
			percentiles(b, took)
		})
		b.Run("apply/"+at.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				name := fmt.Sprint("b", n.Add(1))
				begin := time.Now()
				_, err := at.Apply(ctx, func(tx *fabric.Tx) error {
					return tx.Put(&fabric.Profile{Header: fabric.Header{Name: name}, Config: fabric.Config{"user.count": "1"}})
				})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			percentiles(b, took)
		})
	}
	b.Run("apply-12-at-once/all", func(b *testing.B) {
		members := []*member{leader, follower, third}
		var mu sync.Mutex
		var took []time.Duration
		b.SetParallelism(6)
		b.RunParallel(func(pb *testing.PB) {
			m := members[n.Add(1)%3]
			for pb.Next() {
				name := fmt.Sprint("b", n.Add(1))
				begin := time.Now()
				if _, err := m.Apply(ctx, func(tx *fabric.Tx) error {
					return tx.Put(&fabric.Profile{Header: fabric.Header{Name: name}, Config: fabric.Config{"user.count": "1"}})
				}); err != nil {
					b.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(begin))
				mu.Unlock()
			}
		})
		percentiles(b, took)
	})
	b.Run("apply-16-at-once/leader", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				name := fmt.Sprint("b", n.Add(1))
				if _, err := leader.Apply(ctx, func(tx *fabric.Tx) error {
					return tx.Put(&fabric.Profile{Header: fabric.Header{Name: name}, Config: fabric.Config{"user.count": "1"}})
				}); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	})
}
