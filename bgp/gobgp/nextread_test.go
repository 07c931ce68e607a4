package gobgp

import (
	"testing"
	"time"
)

func TestNextRead(t *testing.T) {
	const ms = time.Millisecond
	now := time.Now()
	for name, x := range map[string]struct {
		ago, took time.Duration
		moved     bool
		want      time.Duration
	}{
		"never read":                           {time.Hour, 0, false, readAfter},
		"quickly read":                         {10 * ms, ms, false, 10 * ms},
		"slowly read":                          {10 * ms, 50 * ms, false, 990 * ms},
		"slowly read, and a session has gone":  {10 * ms, 50 * ms, true, 190 * ms},
		"slowly read long ago, and it has too": {time.Second, 50 * ms, true, readAfter},
	} {
		s := &Speaker{looked: now.Add(-x.ago), took: x.took, moved: x.moved}
		if got := s.nextRead(now).Sub(now); got != x.want {
			t.Errorf("%s: read in %s, want %s", name, got, x.want)
		}
	}
}
