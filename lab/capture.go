package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Capture is a running packet capture.
type Capture struct {
	Path   string // the pcap file, on this machine; it goes with the lab
	cmd    *Cmd
	drain  chan struct{}
	cancel context.CancelFunc
}

// Capture starts tcpdump on an interface of the node ("any" for all) with a pcap filter, and returns when it listens.
func (n *Node) Capture(ctx context.Context, iface, filter string) (*Capture, error) {
	dir := filepath.Join(diskDir(n.lab.name, n.spec.Name), "capture")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("node %s: capture on %s: %w", n.spec.Name, iface, err)
	}
	file, err := os.CreateTemp(dir, iface+"-*.pcap")
	if err != nil {
		return nil, fmt.Errorf("node %s: capture on %s: %w", n.spec.Name, iface, err)
	}
	defer file.Close()
	// The file is written through its descriptor: in the node its path is another's. -U writes each packet at once.
	ctx, cancel := context.WithCancel(ctx)
	args := []string{"tcpdump", "-i", iface, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", "-"}
	if filter != "" {
		args = append(args, filter)
	}
	cmd := n.Command(ctx, args...)
	cmd.Stdout = file
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("node %s: capture on %s: %w", n.spec.Name, iface, err)
	}
	c := &Capture{Path: file.Name(), cmd: cmd, drain: make(chan struct{}), cancel: cancel}
	listening := make(chan string, 1)
	go func() {
		defer close(c.drain)
		var said []string
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said = append(said, lines.Text())
			if strings.Contains(lines.Text(), "listening on") {
				listening <- ""
			}
		}
		select {
		case listening <- strings.Join(said, "; "):
		default:
		}
	}()
	select {
	case trouble := <-listening:
		if trouble != "" {
			err = fmt.Errorf("node %s: capture on %s: %s", n.spec.Name, iface, trouble)
		}
	case <-ctx.Done():
		err = fmt.Errorf("node %s: capture on %s: %w", n.spec.Name, iface, context.Cause(ctx))
	}
	if err != nil {
		cancel()
		<-c.drain
		_ = cmd.Wait()
		return nil, err
	}
	return c, nil
}

// Stop ends the capture and returns when the file is complete.
func (c *Capture) Stop() error {
	defer c.cancel()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop capture: %w", err)
	}
	kill := time.AfterFunc(5*time.Second, c.cancel)
	defer kill.Stop()
	<-c.drain
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("stop capture: %w", err)
	}
	return nil
}
