// Package probe measures what a client loses: it sends requests at a fixed rate and says of each whether it was answered, when, and by whom.
package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is one request. Times are on CLOCK_MONOTONIC, which all processes of a machine share: they compare with Now anywhere on it.
type Sample struct {
	Sent   time.Duration `json:"sent"`
	Took   time.Duration `json:"took"`
	Target string        `json:"target"`
	From   string        `json:"from,omitempty"`  // first line of the answer
	Error  string        `json:"error,omitempty"` // empty: answered
}

// Now is the time that samples are stamped with.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // the clock is always there: clock_gettime(2)
	}
	return time.Duration(ts.Nano())
}

// Options say what to ask and how often.
type Options struct {
	Targets  []string      // URLs, asked in turn
	Interval time.Duration // between two requests
	Timeout  time.Duration // after which a request is lost
}

// Run sends requests until ctx ends, without waiting for the answers of earlier ones, and writes a Sample as a line of JSON for each. Every
// request opens a connection of its own: a new flow, which routers with several next hops place anew.
func Run(ctx context.Context, w io.Writer, o Options) error {
	client := &http.Client{
		Timeout:   o.Timeout,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: o.Timeout}).DialContext},
	}
	var write sync.Mutex
	var failed error
	encoder := json.NewEncoder(w)
	var group sync.WaitGroup
	defer group.Wait()
	ticker := time.NewTicker(o.Interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		target := o.Targets[n%len(o.Targets)]
		group.Go(func() {
			s := ask(client, target)
			write.Lock()
			defer write.Unlock()
			if err := encoder.Encode(s); err != nil && failed == nil {
				failed = fmt.Errorf("write sample: %w", err)
			}
		})
		select {
		case <-ctx.Done():
			group.Wait()
			return failed
		case <-ticker.C:
		}
	}
}

func ask(client *http.Client, target string) Sample {
	s := Sample{Sent: Now(), Target: target}
	answer, err := client.Get(target)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(io.LimitReader(answer.Body, 4096))
		answer.Body.Close()
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", answer.Status)
		}
		s.From, _, _ = strings.Cut(strings.TrimSpace(string(body)), "\n")
	}
	s.Took = Now() - s.Sent
	if err != nil {
		s.Error = err.Error()
	}
	return s
}
