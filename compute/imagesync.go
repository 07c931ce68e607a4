package compute

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"netfabric/fabric"
)

// fetch is an image that is being got from another member, or could not be got.
type fetch struct {
	done     chan struct{} // closed at the end; nil: none goes on
	err      error
	failures int
	retryAt  time.Time
}

const (
	fetchTimeout = 20 * time.Minute
	// importGrace is how long an image that is not desired is kept: its import may not be in the database yet.
	importGrace = time.Hour
)

// reconcileImages gets the images of which this member keeps a copy and drops those that nobody desires any more. m.mu is held.
func (m *Module) reconcileImages(v fabric.View, now time.Time, report *fabric.Report) error {
	here, err := m.o.Images.list()
	if err != nil {
		return err
	}
	members, replicas := memberNames(v.Desired), v.Desired.Cluster().ImageReplicas()
	for _, i := range v.Desired.Images() {
		m.desired[i.Name] = true
		c := fabric.Condition{Object: fabric.KeyOf(i), Member: v.Member, Type: fabric.ConditionPresent, OK: true, Observed: i.Revision}
		if _, ok := here[i.Name]; ok {
			report.Conditions = append(report.Conditions, c)
			continue
		}
		f := m.fetches[i.Name]
		wanted := keepsCopy(i.Name, v.Member, members, replicas)
		if wanted && (f == nil || f.done == nil && !now.Before(f.retryAt)) {
			m.beginFetch(i.Name)
		} else if wanted && f.done == nil {
			if wait := f.retryAt.Sub(now); report.Again == 0 || wait < report.Again {
				report.Again = wait
			}
		}
		if f != nil && f.err != nil {
			c.OK, c.Reason, c.Message = false, fabric.ReasonOf(f.err), f.err.Error()
			report.Conditions = append(report.Conditions, c)
		}
	}
	if v.Desired.Revision == 0 {
		return nil
	}
	var errs []error
	for _, fingerprint := range slices.Sorted(maps.Keys(here)) {
		if _, ok := v.Desired.Image(fingerprint); ok || !m.desired[fingerprint] && now.Sub(here[fingerprint]) < importGrace {
			continue
		}
		errs = append(errs, m.o.Images.Delete(fingerprint))
		delete(m.desired, fingerprint)
	}
	for fingerprint, f := range m.fetches {
		if _, ok := v.Desired.Image(fingerprint); !ok && f.done == nil {
			delete(m.fetches, fingerprint)
		}
	}
	return errors.Join(errs...)
}

// beginFetch gets an image from another member, once at a time. m.mu is held.
func (m *Module) beginFetch(fingerprint string) *fetch {
	f := m.fetches[fingerprint]
	if f == nil {
		f = &fetch{}
		m.fetches[fingerprint] = f
	}
	if f.done != nil {
		return f
	}
	done := make(chan struct{})
	f.done = done
	v := m.view
	m.work.Go(func() {
		ctx, cancel := context.WithTimeoutCause(m.ctx, fetchTimeout, fmt.Errorf("it took longer than %s", fetchTimeout))
		defer cancel()
		err := m.fetch(ctx, v, fingerprint)
		m.mu.Lock()
		if f.err = err; err == nil {
			f.failures = 0
		} else {
			f.failures++
			f.retryAt = time.Now().Add(backoff(f.failures))
		}
		f.done = nil
		m.mu.Unlock()
		close(done)
		m.signal()
	})
	return f
}

// ensureImage waits until an image is here.
func (m *Module) ensureImage(ctx context.Context, fingerprint string) error {
	if m.o.Images.Has(fingerprint) {
		return nil
	}
	m.mu.Lock()
	f := m.beginFetch(fingerprint)
	done := f.done
	m.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return f.err
}

// fetch tries the members that may have an image, one after the other.
func (m *Module) fetch(ctx context.Context, v fabric.View, fingerprint string) error {
	unavailable := func(why string) error {
		return fabric.Errorf(fabric.CodeUnavailable, "image-unavailable", "image %.12s can't be had: %s", fingerprint, why)
	}
	image, ok := v.Desired.Image(fingerprint)
	if !ok {
		return unavailable("it was deleted")
	}
	var why []string
	for _, member := range sources(v, image) {
		files, err := m.o.Fetcher.Fetch(ctx, member, fingerprint)
		if err == nil {
			_, err = m.o.Images.take(ctx, files, fingerprint)
		}
		if err == nil {
			m.o.Log.Info("fetched image", "image", fingerprint, "from", member)
			return nil
		}
		why = append(why, fmt.Sprintf("%s: %v", member, err))
	}
	if len(why) == 0 {
		return unavailable("no other member has it")
	}
	return unavailable(strings.Join(why, "; "))
}
