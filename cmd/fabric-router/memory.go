package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// roomy is the memory in bytes that heap and garbage may take together, as long as there is no more garbage than there is in use and no less than a
// quarter of that. Most of the time nothing changes, and there is none. With a table of 100,000 paths each change leaves much: if there might always be as
// much as is in use, it would take twice its size.
const roomy = 200 << 20

// Garbage in percent of what is in use.
const (
	mostGarbage  = 100
	leastGarbage = 25
)

// quietAfter is how long after a collection memory is given back, if there is none meanwhile. While a table is made, one follows the other.
const quietAfter = time.Second

// limitGarbage bounds garbage, and gives memory back after a table was made or taken down, unless somebody who knows better has said how.
func limitGarbage() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		h := &heap{}
		h.quiet = time.AfterFunc(quietAfter, h.giveBack)
		h.follow()
	}
}

// heap follows what is in use.
type heap struct {
	quiet   *time.Timer
	settled atomic.Uint64 // what was in use when memory was given back last, in bytes
}

// follow has the bound follow what is in use, after each collection. It is no memory limit: what the runtime can't give back would count, which is more after
// each table that has come and gone, and the collector would run nearly without end.
func (h *heap) follow() {
	debug.SetGCPercent(garbageFor(read("/gc/heap/live:bytes")))
	h.quiet.Reset(quietAfter)
	// Runs after the next collection.
	runtime.AddCleanup(new([64]byte), (*heap).follow, h)
}

func garbageFor(live uint64) int {
	if live >= roomy {
		return leastGarbage
	}
	room := 100 * (roomy - live) / max(live, 1)
	return int(min(max(room, leastGarbage), mostGarbage))
}

// giveBack gives back what is not in use, where it is more than a quarter of what was the last time. The runtime does so by itself, over minutes: what was made
// during its last collection counts as in use until the next.
func (h *heap) giveBack() {
	settled := h.settled.Load()
	if read("/memory/classes/heap/objects:bytes")+read("/memory/classes/heap/free:bytes") > settled+max(settled/4, 16<<20) {
		debug.FreeOSMemory()
		h.settled.Store(read("/gc/heap/live:bytes"))
	}
}

// read reads one of package runtime/metrics.
func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
