package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// roomy is the memory in bytes up to which there may be as much garbage as there is in use. Above it there may be a quarter as much. Most of the time
// nothing changes, and there is none. A table of 100,000 paths leaves much while it is made: if there might always be as much as is in use, it
// would take more than twice its size.
const roomy = 200 << 20

// overhead is what the runtime needs beside the heap.
const overhead = 16 << 20

// limitGarbage bounds garbage, unless somebody who knows better has said how.
func limitGarbage() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		followHeap()
	}
}

// followHeap has the limit follow what is in use, after each collection: a limit below that would have the collector run without end.
func followHeap() {
	debug.SetMemoryLimit(limitFor(liveHeap()))
	atNextCollection(followHeap)
}

func limitFor(live uint64) int64 { return int64(max(roomy, live+live/4+overhead)) }

// liveHeap is what was in use at the end of the last collection, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// atNextCollection calls f after the next collection.
func atNextCollection(f func()) {
	runtime.AddCleanup(new([64]byte), func(f func()) { f() }, f)
}
