package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Files of the helper beside the standard ones.
const (
	pidfdFile   = 3
	outcomeFile = 4
)

// Helper is the process between Run and the command: it does what it is told on its standard input, says what came
// of it on file 4, and gives its own exit status.
func Helper() int {
	runtime.LockOSThread() // what limits a process limits a thread first
	// Those that this process was started with, whoever left them open, among them.
	if err := unix.CloseRange(pidfdFile, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, "keep files from the command:", err)
		return 1
	}
	say := os.NewFile(outcomeFile, "outcome")
	status, err := help()
	o := outcome{Status: status}
	if err != nil {
		o.Error = err.Error()
	}
	if err := json.NewEncoder(say).Encode(o); err != nil || o.Error != "" {
		return 1
	}
	return 0
}

func help() (status int, err error) {
	var o order
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("read order: %w", err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return 0, fmt.Errorf("read order: %w", err)
	}
	if len(o.Command) == 0 {
		return 0, errors.New("there is no command")
	}
	if err := o.limit(); err != nil {
		return 0, err
	}
	image, err := o.image()
	if err != nil {
		return 0, err
	}
	defer image.reports.Close()
	middle, err := image.fork()
	if err != nil {
		return 0, fmt.Errorf("fork: %w", err)
	}
	time.AfterFunc(time.Duration(o.Bound)*time.Millisecond, func() { os.Exit(1) })
	return image.wait(middle)
}

// limit has this process, and all that comes of it, be limited as the instance is, as far as that can be done before its namespaces are entered.
func (o *order) limit() error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), 0, 0); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	for _, file := range o.Groups {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil { // 0 is the writer
			return fmt.Errorf("join control group: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit core dumps: %w", err)
	}
	// Nobody inside may trace the process, or open its files or its program, before it is the command (ptrace(2), proc(5)).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	if o.Label != "" {
		// It is inherited by the children, and takes hold when one of them becomes another program.
		if err := os.WriteFile("/proc/thread-self/attr/apparmor/exec", []byte("exec "+o.Label), 0); err != nil {
			return fmt.Errorf("take on AppArmor profile %q: %w", o.Label, err)
		}
	}
	return filterSystemCalls()
}

// image makes ready all that the child needs: it can't allocate.
func (o *order) image() (*image, error) {
	i := &image{namespaces: uintptr(o.Namespaces), bounding: o.Bounding}
	var err error
	for _, c := range candidates(o.Command[0], o.Env) {
		p, err := unix.BytePtrFromString(c)
		if err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		i.paths = append(i.paths, p)
	}
	if i.argv, err = pointers(o.Command); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if i.env, err = pointers(o.Env); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if i.reports, i.report, err = os.Pipe(); err != nil {
		return nil, err
	}
	return i, nil
}

// defaultPath is where programs are looked for, as LXD does.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// candidates are the files that a command may be, in their order.
func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path := defaultPath
	for _, e := range env {
		if p, ok := strings.CutPrefix(e, "PATH="); ok {
			path = p
		}
	}
	var all []string
	for dir := range strings.SplitSeq(path, ":") {
		if strings.HasPrefix(dir, "/") {
			all = append(all, dir+"/"+name)
		}
	}
	return all
}

// pointers are texts as execve(2) takes them, with nothing behind the last.
func pointers(texts []string) ([]*byte, error) {
	all := make([]*byte, 0, len(texts)+1)
	for _, t := range texts {
		p, err := unix.BytePtrFromString(t)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return append(all, nil), nil
}

// wait waits for the command, whose parent became this process, and gives its status.
func (i *image) wait(middle int) (status int, err error) {
	i.report.Close()
	var failure [2]byte // step and error number, of whoever failed
	n, _ := io.ReadFull(i.reports, failure[:])
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			if n == len(failure) {
				return 0, fmt.Errorf("%s: %w", steps[failure[0]], unix.Errno(failure[1]))
			}
			return status, nil
		case err != nil:
			return 0, fmt.Errorf("wait for the command: %w", err)
		case pid == middle:
		case ws.Signaled():
			status = 128 + int(ws.Signal())
		default:
			status = ws.ExitStatus()
		}
	}
}
