package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// requestTimeout is after how long a request of the client counts as lost.
const requestTimeout = time.Second

// running is a probe in the client's namespaces: this program once more, so that it has its own sockets there.
type running struct {
	cmd  *lab.Cmd
	once sync.Once
	done chan struct{} // closed when its output has ended

	mu      sync.Mutex
	samples []probe.Sample
	broken  error
}

func (d *demo) startProbe(ctx context.Context) (*running, error) {
	client, err := d.lab.Node("client")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &running{done: make(chan struct{})}
	p.cmd = client.Command(ctx, self, "probe", "--timeout", requestTimeout.String(), "http://"+service4+"/", "http://["+service6+"]/")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(out)
	return p, nil
}

func (p *running) read(out io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var s probe.Sample
		err := json.Unmarshal(lines.Bytes(), &s)
		p.mu.Lock()
		if err != nil {
			p.broken = fmt.Errorf("probe wrote %q: %w", lines.Text(), err)
		} else {
			p.samples = append(p.samples, s)
		}
		p.mu.Unlock()
	}
}

// settle lets some requests pass and insists that none is lost: what is measured later is then due to the fault.
func (p *running) settle(ctx context.Context) error {
	start := probe.Now()
	r, err := p.since(ctx, start, 2*time.Second)
	if err == nil && (r.Lost > 0 || r.Sent == 0) {
		err = fmt.Errorf("the client lost %d of %d requests before anything was broken: %s", r.Lost, r.Sent, p.firstError(start))
	}
	return err
}

// firstError is the error of a lost request.
func (p *running) firstError(after time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.samples {
		if s.Sent >= after && s.Error != "" {
			return s.Error
		}
	}
	return "no request was answered"
}

// since waits until span after the event has passed and its requests have been decided, and reports on them.
func (p *running) since(ctx context.Context, event, span time.Duration) (probe.Report, error) {
	end := event + span
	select {
	case <-ctx.Done():
		return probe.Report{}, ctx.Err()
	case <-p.done:
		return probe.Report{}, fmt.Errorf("the probe has ended: %w", p.failure())
	case <-time.After(end + requestTimeout + 100*time.Millisecond - probe.Now()):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return probe.Since(p.samples, event, end), p.broken
}

func (p *running) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	return io.ErrUnexpectedEOF
}

// stop ends the probe and gives all its samples.
func (p *running) stop() ([]probe.Sample, error) {
	var err error
	p.once.Do(func() {
		if err = p.cmd.Process.Signal(os.Interrupt); err != nil {
			return
		}
		<-p.done
		err = p.cmd.Wait()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = p.broken
	}
	return p.samples, err
}
