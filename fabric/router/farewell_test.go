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
