package inside

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// image is what the child of the helper needs, in memory that stays where it is.
type image struct {
	namespaces uintptr
	bounding   uint64
	paths      []*byte
	argv, env  []*byte
	reports    *os.File // what the children have to say, see wait
	report     *os.File
}

// Steps of the children, of which one can fail.
const (
	stepEnter = iota
	stepFork
	stepGroups
	stepGID
	stepUID
	stepDirectory
	stepRun
)

var steps = map[byte]string{
	stepEnter: "enter the instance", stepFork: "fork inside the instance", stepGroups: "drop groups", stepGID: "become group root", stepUID: "become user root",
	stepDirectory: "go to the root directory", stepRun: "run the command",
}

// fork makes the child that becomes the command, by way of one that enters the namespaces: only children of that are in its pid namespace.
func (i *image) fork() (middle int, err error) {
	report := int(i.report.Fd())
	// No handler of this process may run in the children, which have a copy of it but none of its threads.
	var all, old unix.Sigset_t
	for n := range all.Val {
		all.Val[n] = ^all.Val[n]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, err
	}
	pid, errno := i.clone(uintptr(report))
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return 0, err
	}
	runtime.KeepAlive(i)
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

// clone makes the child, which never returns from here. What runs in it, here and in become, may only make system calls: the rest of the
// runtime is not there.
//
//go:norace
//go:nosplit
func (i *image) clone(report uintptr) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	if i.namespaces != 0 {
		if _, _, e := syscall.RawSyscall(unix.SYS_SETNS, pidfdFile, i.namespaces, 0); e != 0 {
			fail(report, stepEnter, e)
		}
	}
	// The parent of the second child is that of the first.
	child, _, e := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		fail(report, stepFork, e)
	}
	if child == 0 {
		i.become(report)
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// become makes the process the command.
//
//go:norace
//go:nosplit
func (i *image) become(report uintptr) {
	syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	if _, _, e := syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(&root[0])), 0, 0); e != 0 {
		fail(report, stepDirectory, e)
	}
	for c := uintptr(0); c < 64; c++ {
		if i.bounding&(1<<c) == 0 {
			// What the kernel does not know can't be dropped and need not be.
			syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0)
		}
	}
	// A user namespace may forbid it, and the process has no groups of the outside that mean anything there.
	if _, _, e := syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 && e != unix.EPERM {
		fail(report, stepGroups, e)
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); e != 0 {
		fail(report, stepGID, e)
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != 0 {
		fail(report, stepUID, e)
	}
	none := uint64(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, unsafe.Sizeof(none), 0, 0)
	last := syscall.Errno(unix.ENOENT)
	for n := range i.paths {
		_, _, e := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(i.paths[n])), uintptr(unsafe.Pointer(&i.argv[0])), uintptr(unsafe.Pointer(&i.env[0])))
		if e != unix.ENOENT && e != unix.ENOTDIR {
			last = e
		}
	}
	fail(report, stepRun, last)
}

var root = [2]byte{'/', 0}

// fail tells which step failed, and ends the process.
//
//go:norace
//go:nosplit
func fail(report, step uintptr, e syscall.Errno) {
	words := [2]byte{byte(step), byte(e)}
	syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&words[0])), 2)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
