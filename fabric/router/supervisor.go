package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"netfabric/fabric"
)

// Supervisor keeps a fabric-router process running that outlives the process that started it. A worker that runs already, from an earlier run
// of the supervisor, is left alone. Where something else starts the worker, such as systemd, no Supervisor is run.
type Supervisor struct {
	Path   string   // the program
	Args   []string // beyond --socket and --state
	Socket string
	State  string // directory of the worker; "worker.json" in it says which process the worker is, "worker.log" what it wrote
	Log    *slog.Logger
}

// Times of the supervisor.
const (
	lookEvery  = time.Second            // at the worker's socket
	hungAfter  = 5 * time.Second        // without an answer the worker is killed
	restartMin = 100 * time.Millisecond // pause before a worker that died is started again; doubles with each death
	restartMax = 2 * time.Second
	calmAfter  = 10 * time.Second // of life: the pause is short again
	logLimit   = 16 << 20         // bytes of log over which a new one is begun at a start
)

// Run keeps the worker running until ctx ends. The worker stays then.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.State, 0o700); err != nil {
		return fmt.Errorf("make state directory of fabric-router: %w", err)
	}
	pause := restartMin
	for ctx.Err() == nil {
		began := time.Now()
		worker, err := s.adopt()
		if worker == nil && err == nil {
			worker, err = s.start()
		}
		if err != nil {
			s.Log.Error("cannot start fabric-router", "error", err)
		} else {
			s.attend(ctx, worker)
			worker.handle.close()
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > calmAfter {
			pause = restartMin
		}
		s.Log.Warn("fabric-router is started again", "in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, restartMax)
	}
	return nil
}

// child is a running worker.
type child struct {
	fabric.Process
	handle *process
	reap   func() // waits for it where it is a child of ours
}

// adopt takes over the worker of an earlier run; nil where there is none.
func (s *Supervisor) adopt() (*child, error) {
	data, err := os.ReadFile(s.record())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &child{reap: func() {}}
	if err := json.Unmarshal(data, &c.Process); err != nil || c.PID <= 0 {
		return nil, nil // not written to its end: the socket tells whether a worker runs, and a second one does not start beside it
	}
	if c.handle, err = openProcess(c.Process); err != nil {
		return nil, nil // dead
	}
	s.Log.Info("fabric-router runs already", "pid", c.PID)
	return c, nil
}

func (s *Supervisor) record() string { return filepath.Join(s.State, "worker.json") }

// start starts a worker in a session of its own, so that what ends this process does not end it too.
func (s *Supervisor) start() (*child, error) {
	name := filepath.Join(s.State, "worker.log")
	if info, err := os.Stat(name); err == nil && info.Size() > logLimit {
		_ = os.Rename(name, name+".1") // without it the log grows on, which harms less than no worker
	}
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.Path, append([]string{"--socket", s.Socket, "--state", s.State}, s.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{Process: fabric.Process{PID: cmd.Process.Pid}, reap: func() { _ = cmd.Wait() }}
	if c.Start, err = ProcessStart(c.PID); err == nil {
		c.handle, err = openProcess(c.Process)
	}
	if err == nil {
		err = s.note(c.Process)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		c.reap()
		return nil, fmt.Errorf("start %s: %w (see %s)", s.Path, err, name)
	}
	s.Log.Info("fabric-router started", "pid", c.PID)
	return c, nil
}

func (s *Supervisor) note(p fabric.Process) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	next := s.record() + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.record())
}

// attend returns when the worker is dead, or ctx ends. A worker that does not answer is killed: its sessions would only break later.
func (s *Supervisor) attend(ctx context.Context, c *child) {
	dead := make(chan struct{})
	go func() {
		if c.handle.wait() {
			c.reap()
			close(dead)
		}
	}()
	client := NewClient(s.Socket)
	answered := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-dead:
			s.Log.Warn("fabric-router has ended", "pid", c.PID)
			return
		case <-look.C:
		}
		bound, cancel := context.WithTimeout(ctx, lookEvery)
		err := client.Healthy(bound)
		cancel()
		switch {
		case err == nil:
			answered = time.Now()
		case ctx.Err() == nil && time.Since(answered) >= hungAfter:
			s.Log.Error("fabric-router does not answer and is killed", "pid", c.PID, "error", err)
			c.handle.kill()
			answered = time.Now()
		}
	}
}
