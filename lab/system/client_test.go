package system

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// requestTimeout is after how long a request of the client counts as lost.
const requestTimeout = time.Second

// serviceURLs are those of the anycast service.
var serviceURLs = []string{"http://" + service4 + "/", "http://[" + service6 + "]/"}

// servicePackets are for its port of echoes: each packet comes back from whichever copy it is led to, whatever there was before.
var servicePackets = []string{"udp://" + service4 + ":7", "udp://[" + service6 + "]:7"}

// client asks URLs in turn for as long as it runs, 200 times a second.
type client struct {
	stop func()

	mu      sync.Mutex
	samples []probe.Sample
}

// startClient returns when all URLs have answered.
func (w *world) startClient(t testing.TB, urls ...string) *client {
	t.Helper()
	return w.startClientAt(t, "client", urls...)
}

// startClientAt is startClient in another node.
func (w *world) startClientAt(t testing.TB, node string, urls ...string) *client {
	t.Helper()
	c := &client{}
	_, c.stop = w.inside(t, node, c.read, append([]string{probeWord}, urls...)...)
	lab.WaitFor(t, 10*time.Second, "answers of all URLs", func() error {
		targets := map[string]bool{}
		for _, s := range c.all() {
			if s.Error == "" {
				targets[s.Target] = true
			}
		}
		if len(targets) < len(urls) {
			return fmt.Errorf("answers of %v only:%s", targets, c.lost(0))
		}
		return nil
	})
	return c
}

func (c *client) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var s probe.Sample
		if json.Unmarshal(lines.Bytes(), &s) == nil {
			c.mu.Lock()
			c.samples = append(c.samples, s)
			c.mu.Unlock()
		}
	}
}

func (c *client) all() []probe.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.samples)
}

// since waits until the fate of the requests sent up to span after an event is known, and reports on them.
func (c *client) since(t testing.TB, event, span time.Duration) probe.Report {
	t.Helper()
	end := event + span
	lab.WaitFor(t, span+requestTimeout+5*time.Second, "the fate of requests", func() error {
		if late := probe.Now() - end - requestTimeout - 100*time.Millisecond; late < 0 {
			return fmt.Errorf("%s to go", -late)
		}
		return nil
	})
	return probe.Since(c.all(), event, end)
}

// lost describes the requests that were lost after an event, some of them.
func (c *client) lost(event time.Duration) string {
	var out strings.Builder
	for _, s := range c.all() {
		if s.Sent+s.Took < event || s.Error == "" {
			continue
		}
		if out.Len() > 4000 {
			out.WriteString("...")
			break
		}
		fmt.Fprintf(&out, "\n%s, sent %.1f ms after, took %.1f ms: %s", s.Target, (s.Sent-event).Seconds()*1000, s.Took.Seconds()*1000, s.Error)
	}
	return out.String()
}

func describe(r probe.Report) string {
	return fmt.Sprintf("client lost %d of %d requests, the last %d ms after; %d were moved", r.Lost, r.Sent, r.Outage.Milliseconds(), r.Moved)
}
