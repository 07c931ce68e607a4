package router

import (
	"context"
	"time"
)

// farewell is something that a worker does when it leaves for good, within bound.
type farewell struct {
	bound time.Duration
	do    func(ctx context.Context)
}

// Bounds of what is done when the worker leaves. Together they are well below the time that fabric-router.service has to stop.
const (
	gatewaysBound = 2 * time.Second
	ceaseBound    = 2 * time.Second
	bfdBound      = time.Second
)

// inTurn does one after the other. One that hangs takes nothing from the time of the next. What the goroutine of Run is called for meanwhile is dropped,
// as it is once Run is over: who calls must not wait in the way of what is done here.
func inTurn(ctx context.Context, calls <-chan func(), all ...farewell) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range all {
			bound, cancel := context.WithTimeout(ctx, f.bound)
			f.do(bound)
			cancel()
		}
	}()
	for {
		select {
		case <-calls:
		case <-done:
			return
		}
	}
}
