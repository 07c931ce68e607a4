package cluster

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestNothingIsLeftOpen checks that goroutines and file descriptors are back to where they were once members are closed. The library has four
// threads that stay, which count as goroutines once they have called back; and it may drop a connection that comes up just as its node stops.
func TestNothingIsLeftOpen(t *testing.T) {
	const threads, clusters, size = 4, 2, 3
	t.Run("warm up", func(t *testing.T) { startCluster(t, 1) }) // whatever is made once for the process
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range clusters {
		t.Run("cluster", func(t *testing.T) { startCluster(t, size) }) // ends when its members are closed
	}
	var now, open int
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if now, open = runtime.NumGoroutine(), openFiles(t); now <= goroutines+threads && open <= files+clusters*size {
			t.Logf("goroutines went from %d to %d, open files from %d to %d", goroutines, now, files, open)
			return
		}
	}
	buffer := make([]byte, 1<<20)
	t.Errorf("goroutines went from %d to %d, open files from %d to %d\n%s", goroutines, now, files, open, buffer[:runtime.Stack(buffer, true)])
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
