package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// Bounds of what is kept of operations.
const (
	keepFinished = time.Minute // after the end of an operation
	maxFinished  = 1000
	maxRunning   = 1000
)

// operations are those of this member: they end with the daemon.
type operations struct {
	ctx    context.Context
	events *Hub
	all    sync.WaitGroup

	mu       sync.Mutex
	byID     map[string]*operation
	finished []*operation // oldest first
}

func newOperations(ctx context.Context, events *Hub) *operations {
	return &operations{ctx: ctx, events: events, byID: map[string]*operation{}}
}

// operation is something that goes on in the background.
type operation struct {
	cancel context.CancelFunc
	done   chan struct{}
	// connect takes over a websocket that was opened with a secret; nil where there are none.
	connect func(secret string, w http.ResponseWriter, r *http.Request) error

	mu  sync.Mutex
	api incusapi.Operation
}

// job describes an operation to start.
type job struct {
	class       string // default: task
	description string
	resources   map[string][]string // addresses by sort of object
	metadata    map[string]any
	cancellable bool
	location    string
	connect     func(secret string, w http.ResponseWriter, r *http.Request) error
	run         func(ctx context.Context, op *operation) error
}

// start begins an operation. It goes on after the request that asked for it.
func (o *operations) start(j job) (*operation, error) {
	now := time.Now().UTC()
	ctx, cancel := context.WithCancel(o.ctx)
	op := &operation{cancel: cancel, done: make(chan struct{}), connect: j.connect, api: incusapi.Operation{
		ID: uuid.NewString(), Class: j.class, Description: j.description, CreatedAt: now, UpdatedAt: now,
		Status: incusapi.Running.String(), StatusCode: incusapi.Running,
		Resources: j.resources, Metadata: maps.Clone(j.metadata), MayCancel: j.cancellable, Location: j.location,
	}}
	if op.api.Class == "" {
		op.api.Class = incusapi.OperationClassTask
	}
	if op.api.Metadata == nil {
		op.api.Metadata = map[string]any{}
	}
	if err := o.add(op); err != nil {
		cancel()
		return nil, err
	}
	o.events.operation(op.render())
	o.all.Go(func() {
		defer cancel()
		o.finish(op, j.run(ctx, op), ctx.Err() != nil)
	})
	return op, nil
}

func (o *operations) add(op *operation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.byID)-len(o.finished) >= maxRunning || o.ctx.Err() != nil {
		return fabric.Errorf(fabric.CodeUnavailable, "too-many-operations", "this member has %d operations running and takes no more", len(o.byID)-len(o.finished)).
			WithFix("wait for some to end, or ask another member")
	}
	o.byID[op.api.ID] = op
	return nil
}

func (o *operations) finish(op *operation, err error, cancelled bool) {
	op.mu.Lock()
	op.api.StatusCode = incusapi.Success
	switch {
	case err != nil && cancelled && errors.Is(err, context.Canceled):
		op.api.StatusCode, op.api.Err = incusapi.Cancelled, "the operation was cancelled"
	case err != nil:
		d := detailOf(err)
		op.api.StatusCode, op.api.Err = incusapi.Failure, d.text()
		op.setLocked("error", d)
	}
	op.api.Status = op.api.StatusCode.String()
	op.api.MayCancel = false
	op.api.UpdatedAt = time.Now().UTC()
	op.mu.Unlock()

	o.mu.Lock()
	o.finished = append(o.finished, op)
	if len(o.finished) > maxFinished {
		delete(o.byID, o.finished[0].api.ID)
		o.finished = slices.Delete(o.finished, 0, 1)
	}
	o.mu.Unlock()
	close(op.done)
	o.events.operation(op.render())
	time.AfterFunc(keepFinished, func() { o.forget(op) })
}

func (o *operations) forget(op *operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, op.api.ID)
	o.finished = slices.DeleteFunc(o.finished, func(f *operation) bool { return f == op })
}

func (o *operations) get(id string) (*operation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op, ok := o.byID[id]; ok {
		return op, nil
	}
	return nil, fabric.NotFoundf("operation %q does not exist on this member", id).
		WithFix("ask the member that took the request; ended operations are kept for %s", keepFinished)
}

// list gives all operations, oldest first.
func (o *operations) list() []incusapi.Operation {
	o.mu.Lock()
	all := slices.Collect(maps.Values(o.byID))
	o.mu.Unlock()
	var list []incusapi.Operation
	for _, op := range all {
		list = append(list, op.render())
	}
	slices.SortFunc(list, func(a, b incusapi.Operation) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list
}

// wait blocks until all have ended.
func (o *operations) wait() { o.all.Wait() }

// render is the operation as everybody may see it.
func (op *operation) render() incusapi.Operation {
	op.mu.Lock()
	defer op.mu.Unlock()
	c := op.api
	c.Metadata = maps.Clone(op.api.Metadata)
	return c
}

// set adds to the metadata.
func (op *operation) set(key string, value any) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.setLocked(key, value)
}

func (op *operation) setLocked(key string, value any) {
	op.api.Metadata[key] = value
	op.api.UpdatedAt = time.Now().UTC()
}

// newSecret is a secret that nobody can guess.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}
