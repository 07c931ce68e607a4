package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is one process of a node, as seen from this machine.
type Process struct {
	PID     int    // in this machine's numbering
	Name    string // as the kernel has it: at most 15 bytes
	Command string // with arguments; empty for a kernel-side zombie
	start   uint64
}

func (p Process) identity() identity { return identity{PID: p.PID, Start: p.start} }

// Alive reports whether the very same process still runs; a zombie does not.
func (p Process) Alive() bool { return p.identity().alive() }

// Signal sends a signal; a process that has ended is an error.
func (p Process) Signal(signal syscall.Signal) error {
	pidfd, err := openProcess(p.identity())
	if err != nil {
		return fmt.Errorf("signal %s (process %d): it has ended", p.Name, p.PID)
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, signal, nil, 0); err != nil {
		return fmt.Errorf("signal %s (process %d): %w", p.Name, p.PID, err)
	}
	return nil
}

// Kill sends SIGKILL and returns when the process has ended.
func (p Process) Kill(ctx context.Context) error { return killAndWait(ctx, p.identity()) }

// Stop sends SIGTERM and returns when the process has ended; when ctx ends first it is killed.
func (p Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.Wait(ctx) == nil {
		return nil
	}
	return p.Kill(context.WithoutCancel(ctx))
}

// Wait returns when the process has ended.
func (p Process) Wait(ctx context.Context) error {
	pidfd, err := openProcess(p.identity())
	if err != nil {
		return nil
	}
	defer unix.Close(pidfd)
	return waitGone(ctx, pidfd, p.identity())
}

// A background process gets the node's init as its parent, which reaps it: a child of ours would, when we end, become a
// child of this machine's init, and the node's PID namespace could not end before that one cares. A shell leaves SIGINT
// and SIGQUIT ignored in what it starts with &, and env sets that right.
const startScript = `env --default-signal=INT,QUIT "$@" 3>&- & echo $! >&3`

// Start starts args in the background. Its output goes to the node's log of that name, and it is recorded, so that it
// ends with the lab even if this program crashes. A process that has ended already is no error; it is not Alive.
func (n *Node) Start(name string, args ...string) (Process, error) {
	fail := func(err error) (Process, error) {
		return Process{}, fmt.Errorf("node %s: start %s: %w", n.spec.Name, name, err)
	}
	if len(args) == 0 {
		return fail(errEmptyCommand)
	}
	path, err := n.lookPath(args[0])
	if err != nil {
		return fail(err)
	}
	log, err := n.openLog(name)
	if err != nil {
		return fail(err)
	}
	defer log.Close()
	answer, answerWriter, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer answer.Close()
	defer answerWriter.Close()
	shell := n.Command(context.Background(), append([]string{"/bin/sh", "-c", startScript, "lab-start", path}, args[1:]...)...)
	shell.Stdout, shell.Stderr, shell.ExtraFiles = log, log, []*os.File{answerWriter}
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := shell.Run(); err != nil {
		return fail(err)
	}
	answerWriter.Close()
	var inner int
	if _, err := fmt.Fscan(answer, &inner); err != nil {
		return fail(fmt.Errorf("read its process id: %w", err))
	}
	holder, err := n.holder()
	if err != nil {
		return fail(err)
	}
	process := Process{Name: name, Command: strings.Join(args, " ")}
	process.PID, process.start = hostPID(holder, inner)
	return process, n.lab.update(func(s *state) error {
		node := s.Nodes[n.spec.Name]
		node.Processes = append(slices.DeleteFunc(node.Processes, func(r processRecord) bool { return !r.alive() }),
			processRecord{Name: name, identity: process.identity()})
		s.Nodes[n.spec.Name] = node
		return nil
	})
}

// hostPID translates a process id of the node; zero when the process is gone.
func hostPID(holder identity, inner int) (pid int, start uint64) {
	pids, err := allPIDs()
	if err != nil {
		return 0, 0
	}
	for _, pid := range pids {
		stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || stat.parent != holder.PID {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, line, _ := strings.Cut(string(status), "NSpid:")
		line, _, _ = strings.Cut(line, "\n")
		// The holder's namespace is where its children live: theirs is the last number.
		if numbers := strings.Fields(line); len(numbers) > 0 && numbers[len(numbers)-1] == fmt.Sprint(inner) {
			return pid, stat.start
		}
	}
	return 0, 0
}

// Processes lists what runs in the node, its containers included, but not its init. It is empty when the node is off.
func (n *Node) Processes() ([]Process, error) {
	holder, err := n.holder()
	if errors.Is(err, errNodeOff) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return processesUnder(holder)
}

// Process finds what Start started under that name while it runs, else the oldest process that the kernel calls so (it cuts names to 15 bytes).
func (n *Node) Process(name string) (Process, error) {
	list, err := n.Processes()
	if err != nil {
		return Process{}, err
	}
	given, err := n.started(name)
	if err != nil {
		return Process{}, err
	}
	short := name[:min(len(name), 15)]
	i := slices.IndexFunc(list, func(p Process) bool { return p.identity() == given })
	if i < 0 {
		i = slices.IndexFunc(list, func(p Process) bool { return p.Name == short })
	}
	if i < 0 {
		return Process{}, fmt.Errorf("node %s: no process %s runs", n.spec.Name, name)
	}
	return list[i], nil
}

// started is what Start last started under that name; it may have ended. Zero when there was nothing.
func (n *Node) started(name string) (identity, error) {
	s, err := readState(n.lab.name)
	if err != nil || s == nil {
		return identity{}, err
	}
	for _, r := range slices.Backward(s.Nodes[n.spec.Name].Processes) {
		if r.Name == name {
			return r.identity, nil
		}
	}
	return identity{}, nil
}

// processesUnder lists the living processes in the holder's PID namespace and those below it, oldest first.
func processesUnder(holder identity) ([]Process, error) {
	target, err := namespaceInode(fmt.Sprintf("/proc/%d/ns/pid", holder.PID))
	if err != nil {
		return nil, nil // it went away meanwhile
	}
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	own, err := namespaceInode("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, pid := range pids {
		if pid == holder.PID || !inPIDNamespace(pid, target, own) {
			continue
		}
		stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || stat.state == "Z" || stat.state == "X" {
			continue
		}
		if stat.parent == holder.PID && (stat.comm == "sleep" || stat.comm == "cat" || stat.comm == "sh") && holderHelper(pid) {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		command := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		out = append(out, Process{PID: pid, Name: stat.comm, Command: command, start: stat.start})
	}
	slices.SortFunc(out, func(a, b Process) int {
		if a.start != b.start {
			return int(int64(a.start - b.start))
		}
		return a.PID - b.PID
	})
	return out, nil
}

// holderHelper is true for what the holder itself waits for: it has the holder's environment and nothing of a node's.
func holderHelper(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains(string(env), holderMark)
}

// inPIDNamespace walks from the process's namespace up to ours.
func inPIDNamespace(pid int, target, own uint64) bool {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return false
	}
	defer func() { file.Close() }()
	for range 32 { // the kernel's own limit of nesting
		var stat unix.Stat_t
		if err := unix.Fstat(int(file.Fd()), &stat); err != nil || stat.Ino == own {
			return false
		}
		if stat.Ino == target {
			return true
		}
		parent, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_PARENT)
		if err != nil {
			return false
		}
		file.Close()
		file = os.NewFile(uintptr(parent), "pid namespace")
	}
	return false
}

func namespaceInode(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, err
	}
	return stat.Ino, nil
}
