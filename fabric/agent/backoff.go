package agent

import "time"

// The shortest wait after a failure, and the longest ones.
const (
	firstWait       = time.Second
	lastWait        = time.Minute
	lastPublishWait = 8 * time.Second
)

// backoff is how long to wait after a failure: twice as long as before each time that the wait has passed in vain. What wakes a goroutine earlier
// is a reason to try, not to wait longer. It is the one place of back-off for all modules.
type backoff struct{ wait time.Duration }

// failed gives the next wait; waited tells whether the one before has passed.
func (b *backoff) failed(waited bool, last time.Duration) time.Duration {
	switch {
	case b.wait == 0:
		b.wait = firstWait
	case waited:
		b.wait = min(2*b.wait, last)
	}
	return b.wait
}

func (b *backoff) succeeded() { b.wait = 0 }
