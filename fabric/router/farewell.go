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
	installBound  = time.Second
	gatewaysBound = 2 * time.Second
	ceaseBound    = 2 * time.Second
	bfdBound      = time.Second
	filterBound   = time.Second
)

// farewells are those of the worker.
func (w *Worker) farewells() []farewell {
	return []farewell{
		{installBound, w.installer.await}, // what peers take back then stays in the kernel
		{gatewaysBound, w.leaveGateways},  // while BGP still brings the routes
		{ceaseBound, w.speaker.Stop},
		{bfdBound, w.bfd.Stop},
		{filterBound, func(context.Context) {
			if err := w.filter.remove(); err != nil {
				w.log.Warn("the packet filter stays", "error", err)
			}
		}},
	}
}

// inTurn does one after the other. One that hangs, whether it looks at its context or not, takes nothing from the time of the next. What the goroutine of Run is called for meanwhile is dropped,
// as it is once Run is over: who calls must not wait in the way of what is done here.
func inTurn(ctx context.Context, calls <-chan func(), all ...farewell) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range all {
			f.within(ctx)
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

// within does it, and waits no longer than its bound: a call of the kernel can't be told to end.
func (f farewell) within(ctx context.Context) {
	bound, cancel := context.WithTimeout(ctx, f.bound)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.do(bound)
	}()
	select {
	case <-done:
	case <-bound.Done():
	}
}
