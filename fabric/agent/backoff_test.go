package agent

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b backoff
	for i, step := range []struct {
		waited bool
		want   time.Duration
	}{
		{false, time.Second},
		{false, time.Second}, // woken early, ten times if need be
		{true, 2 * time.Second},
		{false, 2 * time.Second},
		{true, 4 * time.Second},
		{true, 8 * time.Second},
		{true, 8 * time.Second},
	} {
		if got := b.failed(step.waited, lastPublishWait); got != step.want {
			t.Fatalf("step %d: %s, want %s", i, got, step.want)
		}
	}
	b.succeeded()
	if got := b.failed(true, lastPublishWait); got != time.Second {
		t.Errorf("after a success: %s", got)
	}
}
