package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGarbageFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 1: 100, 50 << 20: 100, 100 << 20: 100, 125 << 20: 60, 160 << 20: 25, 180 << 20: 25, 200 << 20: 25, 1 << 40: 25} {
		if got := garbageFor(live); got != want {
			t.Errorf("%d MiB in use: %d %%, want %d", live>>20, got, want)
		}
	}
}

func TestGarbageFollowsWhatIsInUse(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetGCPercent(mostGarbage)
	defer debug.SetGCPercent(before)
	percent := func() uint64 { return read("/gc/gogc:percent") }
	await := func(what string, collect bool, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); {
			if time.Now().After(end) {
				t.Fatalf("%s: garbage is bound to %d %%, %d MiB are free", what, percent(), read("/memory/classes/heap/free:bytes")>>20)
			}
			if collect {
				runtime.GC()
			}
			<-time.After(time.Millisecond)
		}
	}
	limitGarbage()
	table := make([]byte, 300<<20)
	await("300 MiB in use", true, func() bool { return percent() == leastGarbage })
	runtime.KeepAlive(table)
	table = nil
	await("nothing in use any more", true, func() bool { return percent() == mostGarbage })
	await("in quiet", false, func() bool { return read("/memory/classes/heap/free:bytes") <= 16<<20 })
}
