package bfd

import (
	"slices"
	"sync"
)

// eventBuffer is how many events wait for a watcher; then the oldest are dropped.
const eventBuffer = 64

// watchers are who wants to know of events.
type watchers struct {
	mu    sync.Mutex
	byKey map[Key][]chan Event
	all   chan Event // optional: gets the events of all sessions
}

// watch returns the events of a session from now on. stop ends it; the channel is never closed.
func (w *watchers) watch(k Key) (events <-chan Event, stop func()) {
	k = Peer{Key: k}.normal().Key
	c := make(chan Event, eventBuffer)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[Key][]chan Event{}
	}
	w.byKey[k] = append(w.byKey[k], c)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.byKey[k] = slices.DeleteFunc(w.byKey[k], func(o chan Event) bool { return o == c }); len(w.byKey[k]) == 0 {
			delete(w.byKey, k)
		}
	}
}

// publish never blocks.
func (w *watchers) publish(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byKey[e.Key] {
		put(c, e)
	}
	if w.all != nil {
		put(w.all, e)
	}
}

// put drops the oldest event where there is no room.
func put(c chan Event, e Event) {
	for {
		select {
		case c <- e:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}
