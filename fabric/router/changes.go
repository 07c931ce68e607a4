package router

import (
	"encoding/json"
	"net/http"
	"sync"
)

// changes counts changes of a state and wakes those who wait for the next. The zero value is ready.
type changes struct {
	mu      sync.Mutex
	count   uint64
	waiting chan struct{} // closed at the next change
}

// bump tells those who wait that the state changed.
func (c *changes) bump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// next is the number of changes so far, and a channel that is closed at the next.
func (c *changes) next() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = make(chan struct{})
	}
	return c.count, c.waiting
}

// serve answers with a line for each change, beginning at once, until the reader has gone or over is closed.
func (c *changes) serve(rw http.ResponseWriter, r *http.Request, over <-chan struct{}) {
	rw.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(rw)
	for {
		change, next := c.next()
		if err := lines.Encode(Event{change}); err != nil {
			return
		}
		if err := http.NewResponseController(rw).Flush(); err != nil {
			return
		}
		select {
		case <-next:
		case <-over:
			return
		case <-r.Context().Done():
			return
		}
	}
}
