package lxc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	liblxc "github.com/lxc/go-lxc"
	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/fabric"
)

// runCommand is the helper's half: it runs a command in a container and waits for it, passing signals on. When the daemon is gone so is
// the command.
func runCommand(dir string, request execRequest, in *json.Decoder, out *json.Encoder) (status int, err error) {
	// Keys of the terminal are for the command, which has the same process group; the helper lives on to tell how it ended. Notify, not
	// Ignore: that would be inherited.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTERM)
	c, err := openContainer(dir)
	if err != nil {
		return 0, err
	}
	o := liblxc.DefaultAttachOptions
	o.ClearEnv, o.Env, o.Cwd, o.UID, o.GID = true, request.Environment, request.Cwd, int(request.UID), int(request.GID)
	o.StdinFd, o.StdoutFd, o.StderrFd = 0, 1, 2
	pid, err := c.RunCommandNoWait(request.Command, o)
	if err != nil {
		return 0, fmt.Errorf("liblxc: %w", err)
	}
	// A copy that stays open here would keep readers from seeing the command's end of output.
	for fd := range 3 {
		_ = unix.Close(fd)
	}
	if err := errors.Join(awaitExec(pid), out.Encode(execAnswer{Runs: true})); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, err
	}
	go func() {
		for {
			var m execControl
			if err := in.Decode(&m); err != nil {
				_ = unix.Kill(pid, unix.SIGKILL)
				return
			}
			_ = unix.Kill(pid, unix.Signal(m.Signal))
		}
	}()
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for the command: %w", err)
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
}

// awaitExec waits until a child runs another program than this one, or has ended: before, it would swallow signals as this one does.
func awaitExec(pid int) error {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		its, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || !os.SameFile(self, its) {
			return nil
		}
	}
	return fmt.Errorf("the command was not run within %s", settle)
}

// Exec implements compute.Runtime. It may leave a goroutine in r.Stdin.Read until that returns.
func (r *Runtime) Exec(ctx context.Context, name string, request fabric.ExecRequest) (status int, err error) {
	if err := fabric.CheckHostname("instance", name); err != nil {
		return 0, err
	}
	if len(request.Command) == 0 || request.Command[0] == "" {
		return 0, fabric.Invalidf("bad-command", "exec in instance %q: no command was given", name)
	}
	c, err := r.container(name)
	if err != nil {
		return 0, err
	}
	if c.State != compute.ContainerRunning {
		return 0, fabric.Conflictf("not-running", "exec in instance %q: it is %s", name, c.State).WithFix("start it first")
	}
	s, err := openStreams(c.Process, request)
	if err != nil {
		return 0, fmt.Errorf("exec in instance %q: %w", name, err)
	}
	defer s.close()
	status, err = r.converse(ctx, name, request, s)
	if err != nil {
		return 0, fmt.Errorf("exec in instance %q: %w", name, err)
	}
	return status, nil
}

// converse runs the helper and speaks with it until it has told how the command ended.
func (r *Runtime) converse(ctx context.Context, name string, request fabric.ExecRequest, s *streams) (int, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	cmd := exec.Command(r.helper, HelperCommand, modeExec, r.path(name))
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{theirs}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.child[0], s.child[1], s.child[2]
	// The session is the command's: keys of its terminal reach it, and it may have job control.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: request.Terminal}
	err = cmd.Start()
	theirs.Close()
	s.closeChild()
	if err != nil {
		return 0, fmt.Errorf("run the helper: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
			ours.Close() // the helper kills the command
		case <-ended:
		}
	}()
	in, out := json.NewDecoder(ours), json.NewEncoder(ours)
	answer, err := begin(in, out, execRequest{request.Command, environment(request.Environment), request.Cwd, request.UID, request.GID})
	if err == nil {
		// Only now: signals, and keys that a terminal makes into signals, would have hit the helper.
		go control(request.Control, out, s, ended)
		copied := s.copy(request)
		err = in.Decode(&answer)
		s.drain(copied)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	return answer.Status, errors.Join(err, reap(cmd))
}

// begin has the helper run the command.
func begin(in *json.Decoder, out *json.Encoder, request execRequest) (answer execAnswer, err error) {
	if err := out.Encode(request); err != nil {
		return answer, fmt.Errorf("ask the helper: %w", err)
	}
	if err := in.Decode(&answer); err != nil {
		return answer, fmt.Errorf("hear from the helper: %w", err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}

// reap ends a helper; it has little left to do and is not waited for long.
func reap(cmd *exec.Cmd) error {
	timer := time.AfterFunc(settle, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	if errors.As(err, new(*exec.ExitError)) {
		return nil // what it had to say it said before
	}
	return err
}

// control passes on what the caller wants of the running command.
func control(from <-chan fabric.ExecControl, to *json.Encoder, s *streams, ended <-chan struct{}) {
	for {
		select {
		case m, ok := <-from:
			if !ok {
				return
			}
			if m.Signal > 0 {
				if err := to.Encode(execControl{m.Signal}); err != nil {
					return
				}
			}
			if m.Width > 0 && m.Height > 0 {
				s.resize(m.Width, m.Height)
			}
		case <-ended:
			return
		}
	}
}

func environment(variables map[string]string) []string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(variables)) {
		all = append(all, k+"="+variables[k])
	}
	return all
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that closing it ends a read
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "helper"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}

// streams are the command's standard files and our ends of them.
type streams struct {
	child    [3]*os.File
	stdin    *os.File   // we write
	outputs  []*os.File // we read
	terminal *os.File   // nil without one
}

func openStreams(init fabric.Process, request fabric.ExecRequest) (*streams, error) {
	if request.Terminal {
		width, height := request.Width, request.Height
		if width <= 0 || height <= 0 {
			width, height = 80, 25
		}
		master, slave, err := openTerminal(init, width, height)
		if err != nil {
			return nil, err
		}
		return &streams{child: [3]*os.File{slave, slave, slave}, stdin: master, outputs: []*os.File{master}, terminal: master}, nil
	}
	s := &streams{}
	for i := range s.child {
		reader, writer, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, err
		}
		if i == 0 {
			s.child[0], s.stdin = reader, writer
		} else {
			s.child[i], s.outputs = writer, append(s.outputs, reader)
		}
	}
	return s, nil
}

func (s *streams) closeChild() {
	for _, f := range s.child {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (s *streams) close() {
	s.closeChild()
	if s.stdin != nil {
		_ = s.stdin.Close()
	}
	for _, f := range s.outputs {
		_ = f.Close()
	}
}

func (s *streams) resize(width, height int) {
	if s.terminal != nil {
		setSize(s.terminal, width, height)
	}
}

// copy moves data between the caller's streams and the command's. The result is done when all output is.
func (s *streams) copy(request fabric.ExecRequest) *sync.WaitGroup {
	if request.Stdin != nil {
		go func() {
			_, _ = io.Copy(s.stdin, request.Stdin) // either end may go at any time
			if s.terminal == nil {
				_ = s.stdin.Close()
			}
		}()
	} else if s.terminal == nil {
		_ = s.stdin.Close()
	}
	var done sync.WaitGroup
	for i, from := range s.outputs {
		to := request.Stdout
		if i == 1 {
			to = request.Stderr
		}
		if to == nil {
			to = io.Discard
		}
		done.Go(func() { copyOutput(to, from) })
	}
	return &done
}

// quiet is how long an output whose command has ended may say nothing before it counts as ended too: a process that the command left in the
// background may keep it open for ever.
const quiet = 100 * time.Millisecond

// drain waits for the rest of the output.
func (s *streams) drain(copied *sync.WaitGroup) {
	for _, f := range s.outputs {
		_ = f.SetReadDeadline(time.Now().Add(quiet))
	}
	copied.Wait()
}

// copyOutput copies until the end, or until there was nothing for a while after the command ended. Output that its reader no longer takes is
// thrown away, so that the command does not wait for ever.
func copyOutput(to io.Writer, from *os.File) {
	buffer := make([]byte, 32<<10)
	late := false
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			late = false
			if _, err := to.Write(buffer[:n]); err != nil {
				to = io.Discard
			}
		}
		// A slow reader may have used up the deadline while there still is something to read.
		if errors.Is(err, os.ErrDeadlineExceeded) && !late {
			late, err = true, from.SetReadDeadline(time.Now().Add(quiet))
		}
		if err != nil {
			return
		}
	}
}
