package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestLimitFollowsWhatIsInUse(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetMemoryLimit(math.MaxInt64)
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	limitGarbage()
	if limit() != roomy {
		t.Fatalf("limit with next to nothing in use: %d", limit())
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); {
			if time.Now().After(end) {
				t.Fatalf("%s: the limit is %d", what, limit())
			}
			runtime.GC()
			<-time.After(time.Millisecond)
		}
	}
	table := make([]byte, 300<<20)
	await("300 MiB in use", func() bool { return limit() >= 375<<20 })
	runtime.KeepAlive(table)
	table = nil
	await("nothing in use any more", func() bool { return limit() == roomy })
}
