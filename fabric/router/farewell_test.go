package router

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestFarewellThatHangsDoesNotKeepTheNextFromBeingDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{calls: make(chan func(), 2), over: make(chan struct{})}
		began, said := time.Now(), []string{}
		inTurn(t.Context(), w.calls,
			farewell{2 * time.Second, func(ctx context.Context) {
				<-ctx.Done() // a process that does not answer
			}},
			farewell{2 * time.Second, func(ctx context.Context) {
				for range 10 * cap(w.calls) {
					w.post(func() { t.Error("done though the worker leaves") })
				}
				if ctx.Err() == nil {
					said = append(said, "cease")
				}
			}},
			farewell{time.Second, func(ctx context.Context) {
				if at, ok := ctx.Deadline(); ok && time.Until(at) == time.Second {
					said = append(said, "bfd")
				}
			}},
		)
		if !slices.Equal(said, []string{"cease", "bfd"}) || time.Since(began) != 2*time.Second {
			t.Errorf("said %q after %v", said, time.Since(began))
		}
	})
}

// hungKernel does not answer before it is let go.
type hungKernel struct {
	*fakeKernel
	letGo chan struct{}
}

func (k hungKernel) load() (map[fibKey][]hop, error) {
	<-k.letGo
	return nil, nil
}

func TestKernelThatHangsDoesNotKeepTheWorkerFromLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, k := newBench(), hungKernel{letGo: make(chan struct{})}
		w := &Worker{installer: b.installer, log: b.log}
		ctx, stop := context.WithCancel(t.Context())
		go w.installer.Run(ctx, k)
		w.installer.Apply(b.peers)
		synctest.Wait()
		stop()
		first, said := w.farewells()[0], time.Time{}
		began := time.Now()
		inTurn(t.Context(), w.calls, first,
			farewell{time.Second, func(context.Context) { <-k.letGo }}, // it does not look at its context
			farewell{time.Second, func(context.Context) { said = time.Now() }},
		)
		if took := said.Sub(began); took != installBound+time.Second {
			t.Errorf("the Cease would have been said after %v", took)
		}
		close(k.letGo)
		<-w.installer.over
	})
}

// A detector that has taken the word that it is to stop, and then hangs, is not waited for either.
func TestStopOfBFDIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &detectors{stop: make(chan chan struct{}, 1)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d.Stop(ctx)
		if ctx.Err() == nil {
			t.Error("it is said to have stopped")
		}
	})
}
