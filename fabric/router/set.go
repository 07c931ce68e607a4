package router

import (
	"context"
	"fmt"
	"time"

	"netfabric/fabric"
)

// Set makes r what the worker does. It returns when kernel routes are as they can be, peers have been told or are soon to be, and r is on disk;
// that it can't be written there is told by State. By the token Patch knows r again.
func (w *Worker) Set(ctx context.Context, r fabric.Routing) (token string, err error) {
	w.setting.Lock()
	defer w.setting.Unlock()
	return w.setNow(ctx, r)
}

// Patch is Set of r with more announcements: those of the value with the token base that are not between, at head and tail. The error has reason
// "other-base" where that is not the value that was set last.
func (w *Worker) Patch(ctx context.Context, base string, b between, r fabric.Routing) (token string, err error) {
	w.setting.Lock()
	defer w.setting.Unlock()
	if base != w.token() {
		return "", fabric.Conflictf(reasonOtherBase, "the routing value is not the one of which announcements are to stay")
	}
	var current []fabric.Announcement
	if err := w.do(ctx, func() { current = w.routing.Announcements }); err != nil {
		return "", err
	}
	all, ok := splice(current, b, r.Announcements)
	if !ok {
		return "", fabric.Invalidf("bad-value", "%d announcements at the head and %d at the tail are to stay, of %d", b.head, b.tail, len(current))
	}
	r.Announcements = all
	return w.setNow(ctx, r)
}

// token is of the value that was set last, and of no other that any worker has ever taken.
func (w *Worker) token() string { return fmt.Sprintf("%d.%d", w.started.UnixNano(), w.values) }

func (w *Worker) setNow(ctx context.Context, r fabric.Routing) (token string, err error) {
	if err := validate(r); err != nil {
		return "", err
	}
	w.values++
	var version uint64
	err = w.do(ctx, func() {
		w.fromDisk = false
		w.take(r)
		w.step(time.Now())
		version = w.version
	})
	if err != nil {
		return "", err
	}
	// After it is in force: no route has to wait for a disk. If the worker dies in between, it goes on with the value before until it is told again.
	kept := w.disk.keep(r)
	bound, cancel := context.WithTimeout(ctx, sayBound)
	w.speaker.Await(bound, version)
	cancel()
	return w.token(), w.do(ctx, func() {
		if (kept == nil) != (w.keepErr == nil) {
			w.bump()
		}
		w.keepErr = kept
	})
}
