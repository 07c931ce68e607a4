package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// Operation is something that goes on in the background at the member that took the request.
type Operation struct {
	incusapi.Operation
	client *Client
}

// Wait blocks until the operation has ended and brings the value up to date. A failure of the operation is a *fabric.Error. When ctx ends
// first the operation goes on.
func (o *Operation) Wait(ctx context.Context) error {
	for !o.StatusCode.IsFinal() {
		if _, err := o.client.Get(ctx, "/1.0/operations/"+seg(o.ID)+"/wait?timeout=30", &o.Operation); err != nil {
			return err
		}
	}
	return o.failure()
}

// Refresh brings the value up to date.
func (o *Operation) Refresh(ctx context.Context) error {
	_, err := o.client.Get(ctx, "/1.0/operations/"+seg(o.ID), &o.Operation)
	return err
}

// Cancel asks for the end of the operation; its Wait then fails.
func (o *Operation) Cancel(ctx context.Context) error {
	return o.client.DeleteOperation(ctx, o.ID)
}

// failure is why an operation that has ended failed, nil where it did not.
func (o *Operation) failure() error {
	switch o.StatusCode {
	case incusapi.Success:
		return nil
	case incusapi.Cancelled:
		return fabric.Errorf(fabric.CodeConflict, "cancelled", "operation %s (%s) was cancelled", o.ID, o.Description)
	}
	if raw, err := json.Marshal(o.Metadata["error"]); err == nil {
		var d ErrorDetail
		if json.Unmarshal(raw, &d) == nil && d.Message != "" {
			return d.err()
		}
	}
	return fabric.Errorf(fabric.CodeInternal, "remote", "%s", o.Err)
}

// GetOperations lists the operations of the member that is asked.
func (c *Client) GetOperations(ctx context.Context) ([]incusapi.Operation, error) {
	var byStatus map[string][]incusapi.Operation
	_, err := c.Get(ctx, "/1.0/operations?recursion=1", &byStatus)
	var all []incusapi.Operation
	for _, list := range byStatus {
		all = append(all, list...)
	}
	return all, err
}

// GetOperation finds an operation of the member that is asked.
func (c *Client) GetOperation(ctx context.Context, id string) (*Operation, error) {
	op := &Operation{client: c}
	_, err := c.Get(ctx, "/1.0/operations/"+seg(id), &op.Operation)
	return op, err
}

// DeleteOperation cancels an operation, or revokes the token that it stands for.
func (c *Client) DeleteOperation(ctx context.Context, id string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/operations/"+seg(id), nil, "")
	return err
}

func (s *Server) getOperations(r *request) (reply, error) {
	byStatus := map[string][]any{}
	for _, op := range append(tokenOperations(r), s.operations.list()...) {
		var entry any = op
		if r.recursion() == 0 {
			entry = "/1.0/operations/" + op.ID
		}
		status := strings.ToLower(op.Status)
		byStatus[status] = append(byStatus[status], entry)
	}
	return reply{metadata: byStatus}, nil
}

func (s *Server) getOperation(r *request) (reply, error) {
	id := r.PathValue("id")
	for _, op := range tokenOperations(r) {
		if op.ID == id {
			return reply{metadata: op}, nil
		}
	}
	op, err := s.operations.get(id)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: op.render()}, nil
}

func (s *Server) waitOperation(r *request) (reply, error) {
	op, err := s.operations.get(r.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	var timeout <-chan time.Time
	if v := r.query("timeout"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < -1 || n > 1<<30 {
			return reply{}, fabric.Invalidf("bad-value", "timeout=%q: want seconds, or -1 for ever", v)
		}
		if n >= 0 {
			t := time.NewTimer(time.Duration(n) * time.Second)
			defer t.Stop()
			timeout = t.C
		}
	}
	select {
	case <-op.done:
	case <-timeout:
	case <-r.Context().Done():
	}
	return reply{metadata: op.render()}, nil
}

func (s *Server) deleteOperation(r *request) (reply, error) {
	id := r.PathValue("id")
	for _, t := range r.snap.Tokens() {
		if tokenOperationID(t) == id {
			return done(remove(s, r, fabric.KeyOf(t)))
		}
	}
	op, err := s.operations.get(id)
	if err != nil {
		return reply{}, err
	}
	if shown := op.render(); !shown.MayCancel {
		return reply{}, fabric.Conflictf("not-cancellable", "operation %s (%s) can't be cancelled", shown.ID, shown.Description)
	}
	op.cancel()
	return done(nil)
}

func (s *Server) operationWebsocket(r *request) (reply, error) {
	op, err := s.operations.get(r.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	if op.connect == nil {
		return reply{}, fabric.Invalidf("no-websocket", "operation %s has no websockets", r.PathValue("id"))
	}
	return reply{stream: func(w http.ResponseWriter) {
		if err := op.connect(r.query("secret"), w, r.Request); err != nil {
			writeError(w, err)
		}
	}}, nil
}
