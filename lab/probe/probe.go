// Package probe measures what a client loses: it sends requests at a fixed rate and says of each whether it was answered, when, and by whom.
package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
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
	// Moved tells that the connection was reset after it had been made, and that another one was answered at once. That is what happens to the flows
	// that a router moves to another next hop when their set changes (RFC 2992): whoever gets them then knows nothing of them, and no server can
	// prevent it. A server that resets its own connections looks the same: where the next hops do not change, a moved request is a lost one.
	Moved bool `json:"moved,omitempty"`
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
	Targets  []string      // asked in turn: URLs, and udp://ADDRESS:PORT, to which numbered packets are sent that shall come back
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
			s := o.ask(client, target, n)
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

func (o Options) ask(client *http.Client, target string, n int) Sample {
	s := Sample{Sent: Now(), Target: target}
	var err error
	if address, ok := strings.CutPrefix(target, "udp://"); ok {
		s.From, err = echo(address, n, o.Timeout)
	} else if s.From, err = get(client, target); errors.Is(err, syscall.ECONNRESET) {
		if from, e := get(client, target); e == nil {
			s.From, s.Moved, err = from, true, nil
		}
	}
	s.Took = Now() - s.Sent
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// get gives the first line of an answer.
func get(client *http.Client, target string) (string, error) {
	answer, err := client.Get(target)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", answer.Status)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return first, err
}

// echo sends one packet with a number and waits for its return, from wherever: of an anycast address the answer may come from another one of the
// server's. It says who that was.
func echo(address string, n int, timeout time.Duration) (string, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", err
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	sent := fmt.Appendf(nil, "packet %d", n)
	if _, err := conn.WriteToUDPAddrPort(sent, to); err != nil {
		return "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	for got := make([]byte, 64); ; {
		n, from, err := conn.ReadFromUDPAddrPort(got)
		if err != nil {
			return "", err
		}
		if bytes.Equal(got[:n], sent) {
			return from.Addr().Unmap().String(), nil
		}
	}
}
