package api

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

func TestOperationsAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ops := newOperations(ctx, NewHub())
	for range maxFinished + 10 {
		op, err := ops.start(job{run: func(context.Context, *operation) error { return nil }})
		must(t, err)
		<-op.done
	}
	ops.wait()
	if n := len(ops.list()); n != maxFinished {
		t.Fatalf("%d ended operations are kept", n)
	}
	for range maxRunning {
		_, err := ops.start(job{run: func(ctx context.Context, _ *operation) error { <-ctx.Done(); return ctx.Err() }})
		must(t, err)
	}
	_, err := ops.start(job{})
	refused(t, err, fabric.CodeUnavailable, "too-many-operations")
	cancel()
	ops.wait()
	for _, op := range ops.list() {
		if op.StatusCode != incusapi.Success && op.StatusCode != incusapi.Cancelled {
			t.Fatalf("got %+v", op)
		}
	}
}

func TestOperationOutcomes(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	start := func(j job) *Operation {
		op, err := m.server.operations.start(j)
		must(t, err)
		found, err := m.unix.GetOperation(t.Context(), op.api.ID)
		must(t, err)
		return found
	}
	block := func(ctx context.Context, _ *operation) error { <-ctx.Done(); return ctx.Err() }

	cancellable := start(job{cancellable: true, run: block})
	resp, e := m.raw(t, "GET", "/1.0/operations/"+cancellable.ID+"/wait?timeout=0", "")
	op, err := e.MetadataAsOperation()
	must(t, err)
	if resp.StatusCode != http.StatusOK || op.StatusCode != incusapi.Running {
		t.Fatalf("got %+v", op)
	}
	must(t, cancellable.Cancel(t.Context()))
	refused(t, cancellable.Wait(t.Context()), fabric.CodeConflict, "cancelled")

	refused(t, start(job{run: block}).Cancel(t.Context()), fabric.CodeConflict, "not-cancellable")

	failed := start(job{run: func(context.Context, *operation) error { return errors.New("disk on fire") }})
	err = failed.Wait(t.Context())
	refused(t, err, fabric.CodeInternal, "internal")
	if err.Error() != "disk on fire" || failed.Err != "disk on fire" {
		t.Fatalf("got %q and %q", err, failed.Err)
	}
	if resp, e := m.raw(t, "GET", "/1.0/operations/"+failed.ID+"/wait?timeout=x", ""); resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("status %d: %s", resp.StatusCode, e.Error)
	}
	if resp, e := m.raw(t, "GET", "/1.0/operations/"+failed.ID+"/websocket", ""); resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("status %d: %s", resp.StatusCode, e.Error)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := start(job{run: block}).Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestAwaitHearsThisMember sees that the member's own word ends a wait at once, before it is in the store.
func TestAwaitHearsThisMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		news := make(chan struct{})
		s := &Server{Options: Options{Store: fabrictest.NewMemory(), Changed: func() <-chan struct{} { return news }}}
		time.AfterFunc(10*time.Millisecond, func() { close(news) })
		start := time.Now()
		must(t, s.await(t.Context(), func() (bool, error) { return time.Since(start) >= 10*time.Millisecond, nil }))
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Fatalf("took %s", took)
		}
	})
}
