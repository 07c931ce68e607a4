package inside

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// Runner runs commands. Its methods are safe for concurrent use.
type Runner struct {
	helper func() *exec.Cmd // a command that runs Helper
	prefix string           // of the control groups of this run of the program
	count  atomic.Uint64

	mu    sync.Mutex
	swept map[fabric.Process]bool // instances from which leftovers of earlier runs are gone
	stuck map[fabric.Process]int  // commands that could not be ended
}

// NewRunner makes a runner. helper makes the command of a process that runs Helper.
func NewRunner(helper func() *exec.Cmd) *Runner {
	return &Runner{
		helper: helper, prefix: fmt.Sprintf("%s%d-%d-", groupPrefix, os.Getpid(), time.Now().UnixNano()),
		swept: map[fabric.Process]bool{}, stuck: map[fabric.Process]int{},
	}
}

const (
	groupPrefix = "fabric-inside-"
	killBound   = 2 * time.Second // that killed processes take to be gone
	helperGrace = 5 * time.Second // that a helper outlives its command's time when its parent is gone
)

// Run runs a command in the instance whose init is p, and gives its exit status (128 and the signal's number when it was killed) and the last
// line that it wrote, without what can't be printed. When the time is over all that has come of it is killed: ErrTimeout. Another error tells
// why it could not be run.
func (r *Runner) Run(p fabric.Process, command, env []string, timeout time.Duration) (status int, line string, err error) {
	began := time.Now()
	r.mu.Lock()
	stuck := r.stuck[p]
	r.mu.Unlock()
	if stuck > 0 {
		return 0, "", errors.New("an earlier command in the instance could not be ended: is it frozen?")
	}
	pidfd, o, parent, err := look(p)
	if err != nil {
		return 0, "", err
	}
	defer pidfd.Close()
	r.sweep(p, parent)
	o.Command, o.Env, o.Bound = command, env, int((timeout + helperGrace).Milliseconds())
	group, err := makeGroup(filepath.Join(parent, r.prefix+strconv.FormatUint(r.count.Add(1), 10)))
	if err != nil {
		return 0, "", err
	}
	x, err := start(r.helper(), o, pidfd, group)
	if err != nil {
		group.remove()
		return 0, "", err
	}
	timer := time.NewTimer(max(0, timeout-time.Since(began)))
	defer timer.Stop()
	select {
	case <-x.done:
	case <-timer.C:
		err = ErrTimeout
	}
	group.kill()
	gone := time.NewTimer(killBound)
	defer gone.Stop()
	select {
	case <-x.over:
		group.remove()
	case <-gone.C:
		r.leave(p, x, group)
		return 0, "", ErrTimeout
	}
	line = x.out.String()
	if err != nil {
		return 0, line, err
	}
	status, err = x.result()
	return status, line, err
}

// leave has what can't be ended now be buried when it ends.
func (r *Runner) leave(p fabric.Process, x *execution, g group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck[p]++
	go func() {
		<-x.over
		g.remove()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.stuck[p]--; r.stuck[p] == 0 {
			delete(r.stuck, p)
		}
	}()
}

// sweep ends what commands of an earlier run of this program have left of themselves, which nobody waits for any more.
func (r *Runner) sweep(p fabric.Process, parent string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.swept[p] {
		return
	}
	r.swept[p] = true
	dirs, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*")) // the pattern is well-formed
	for _, dir := range dirs {
		maker, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		if _, err := os.Stat("/proc/" + maker); maker != "" && errors.Is(err, os.ErrNotExist) {
			g := group{path: dir}
			g.kill()
			g.remove()
		}
	}
}

// Forget drops what is known of an instance's run.
func (r *Runner) Forget(p fabric.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.swept, p)
}

// execution is a helper at work.
type execution struct {
	out  *tail
	said bytes.Buffer  // its outcome
	done chan struct{} // closed when the helper has ended
	over chan struct{} // closed when nothing is left that could write, either
	exit error
}

func start(cmd *exec.Cmd, o order, pidfd *os.File, g group) (*execution, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, w)
		}
		return r, w, err
	}
	out, outWriter, err := pipe()
	if err != nil {
		return nil, err
	}
	said, saidWriter, err := pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), outWriter, outWriter
	cmd.ExtraFiles = []*os.File{pidfd, saidWriter}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(g.dir.Fd())}
	if err := cmd.Start(); err != nil {
		out.Close()
		said.Close()
		return nil, fmt.Errorf("start helper: %w", err)
	}
	x := &execution{out: &tail{}, done: make(chan struct{}), over: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() {
		_, _ = io.Copy(x.out, out) // it ends when all who could write have
		out.Close()
	})
	reading.Go(func() {
		_, _ = x.said.ReadFrom(io.LimitReader(said, 4096))
		said.Close()
	})
	go func() {
		x.exit = cmd.Wait()
		close(x.done)
		reading.Wait()
		close(x.over)
	}()
	return x, nil
}

// result is how the command ended; only after over.
func (x *execution) result() (int, error) {
	var o outcome
	if err := json.Unmarshal(x.said.Bytes(), &o); err != nil {
		return 0, fmt.Errorf("the helper ended without a word: %w", errors.Join(x.exit, err))
	}
	if o.Error != "" {
		return 0, errors.New(o.Error)
	}
	return o.Status, nil
}

// look takes hold of an init and finds out what a process in its place may do. parent is its control group.
func look(p fabric.Process) (pidfd *os.File, o order, parent string, err error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil, o, "", fmt.Errorf("process %d: %w", p.PID, err)
	}
	pidfd = os.NewFile(uintptr(fd), "pidfd")
	proc := "/proc/" + strconv.Itoa(p.PID)
	if err = o.inspect(proc); err == nil {
		parent, o.Groups, err = groupsOf(proc)
	}
	// What was read is of the process that is meant if it is the one that has the number now, and lives.
	if err == nil {
		err = same(proc, p, fd)
	}
	if err != nil {
		pidfd.Close()
		return nil, o, "", err
	}
	return pidfd, o, parent, nil
}

func same(proc string, p fabric.Process, pidfd int) error {
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start = 22 - 3 // proc_pid_stat(5)
	if len(fields) <= start || string(fields[start]) != strconv.FormatUint(p.Start, 10) {
		return fmt.Errorf("process %d is another one by now", p.PID)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0); err != nil || n > 0 {
		return fmt.Errorf("process %d has ended", p.PID)
	}
	return nil
}

// namespaces are those that a process is put into.
var namespaces = map[string]int{
	"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID,
	"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
}

// inspect reads what limits a process.
func (o *order) inspect(proc string) error {
	for name, flag := range namespaces {
		own, err := os.Stat("/proc/self/ns/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		its, err := os.Stat(proc + "/ns/" + name)
		if err != nil {
			return err
		}
		if !os.SameFile(own, its) {
			o.Namespaces |= flag
		}
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return err
	}
	_, after, found := strings.Cut(string(status), "\nCapBnd:")
	if o.Bounding, err = strconv.ParseUint(strings.TrimSpace(firstLine(after)), 16, 64); !found || err != nil {
		return fmt.Errorf("%s/status tells no capabilities", proc)
	}
	// Where there is no security module, there is no such file or it can't be read.
	label, _ := os.ReadFile(proc + "/attr/apparmor/current")
	if name, _, _ := strings.Cut(firstLine(string(label)), " ("); name != "unconfined" {
		o.Label = name
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
