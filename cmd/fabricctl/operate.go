package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"netfabric/fabric"
	"netfabric/fabric/api"
)

// interrupted says that the user stopped waiting for something that goes on all the same.
type interrupted struct {
	message string
	cause   error
}

func (e *interrupted) Error() string { return e.message }
func (e *interrupted) Unwrap() error { return e.cause }

// settle waits for an operation that was just started; with --no-wait it prints the operation's id instead. done tells that it has ended.
// err is the error of starting it.
func (a *app) settle(ctx context.Context, op *api.Operation, err error) (done bool, _ error) {
	if err != nil || op == nil {
		return err == nil, err
	}
	if a.noWait {
		a.printing.Lock()
		defer a.printing.Unlock()
		fmt.Fprintln(a.out, op.ID)
		return false, nil
	}
	if err := op.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return false, &interrupted{fmt.Sprintf("interrupted; operation %s goes on, see \"fabricctl operation show %s\"", op.ID, op.ID), err}
		}
		return false, err
	}
	return true, nil
}

// finished is settle for those who have nothing to say afterwards.
func (a *app) finished(ctx context.Context, op *api.Operation, err error) error {
	_, err = a.settle(ctx, op, err)
	return err
}

// forEach does something with each name, all at the same time. Its error names every one that failed.
func forEach(names []string, do func(name string) error) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = do(name) })
	}
	wg.Wait()
	var failed []error
	for _, err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) < 2 {
		return errors.Join(failed...)
	}
	var lines []string
	for _, err := range failed {
		lines = append(lines, err.Error())
	}
	return fmt.Errorf("%d of %d failed: %s%w", len(failed), len(names), strings.Join(lines, "; "), silent{errors.Join(failed...)})
}

// silent adds causes to an error without adding to its text.
type silent struct{ cause error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.cause }

// maxTries bounds how often change starts over.
const maxTries = 5

// change reads an object, changes it and writes it back, and starts over when somebody else changed it in between.
func change[T any](ctx context.Context, read func(context.Context) (T, string, error), modify func(*T) error, write func(context.Context, T, string) error) error {
	for try := 1; ; try++ {
		v, etag, err := read(ctx)
		if err != nil {
			return err
		}
		if err := modify(&v); err != nil {
			return err
		}
		if err := write(ctx, v, etag); fabric.CodeOf(err) != fabric.CodeStale || try == maxTries {
			return err
		}
	}
}
