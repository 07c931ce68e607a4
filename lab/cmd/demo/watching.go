package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// watching follows the next hops of the service in the kernel of router r1: this program once more, in the router's namespaces.
type watching struct {
	cmd     *lab.Cmd
	changes chan probe.NextHops
	first   int
}

// watchRoutes returns when the first count has been read.
func (d *demo) watchRoutes(ctx context.Context) (*watching, error) {
	r1, err := d.lab.Node("r1")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &watching{cmd: r1.Command(ctx, self, "watch", service4+"/32"), changes: make(chan probe.NextHops, 64)}
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.changes)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n probe.NextHops
			if json.Unmarshal(lines.Bytes(), &n) != nil {
				return
			}
			w.changes <- n
		}
	}()
	n, err := w.next(ctx)
	if err != nil {
		w.stop()
		return nil, err
	}
	w.first = n.Count
	return w, nil
}

func (w *watching) next(ctx context.Context) (probe.NextHops, error) {
	select {
	case <-ctx.Done():
		return probe.NextHops{}, ctx.Err()
	case n, ok := <-w.changes:
		if !ok {
			return n, fmt.Errorf("the watch on r1's routes has ended")
		}
		return n, nil
	}
}

// drop gives the time, after an event, at which there was a next hop less. It waits for 10 s.
func (w *watching) drop(ctx context.Context, event time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		n, err := w.next(ctx)
		if err != nil {
			return 0, err
		}
		if n.At > event && n.Count < w.first {
			return n.At, nil
		}
	}
}

func (w *watching) stop() {
	if w.cmd.Process.Signal(os.Interrupt) == nil {
		_ = w.cmd.Wait() // it was told to end, and has nothing left to say
	}
}
