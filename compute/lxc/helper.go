package lxc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	liblxc "github.com/lxc/go-lxc"
	"golang.org/x/sys/unix"

	"netfabric/compute"
)

// HelperCommand is the first argument of a helper process.
const HelperCommand = "forkstart"

// What a helper process does: its second argument. The third is the container's directory.
const (
	modeStart = "start" // start a container
	modeBoot  = "boot"  // hook of liblxc: init is about to begin
	modeExec  = "exec"  // run a command in a container
)

// HelperMain is the main function of helper processes. args are those after HelperCommand; the result is the exit status.
func HelperMain(args []string) int {
	if len(args) != 2 {
		fmt.Fprintln(os.Stderr, "this command is for the daemon's own use")
		return 2
	}
	var err error
	switch args[0] {
	case modeStart:
		err = helpStart(args[1])
	case modeBoot:
		err = helpBoot(args[1])
	case modeExec:
		return helpExec(args[1])
	default:
		err = fmt.Errorf("no helper does %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// openContainer gives liblxc's view of the container in a directory.
func openContainer(dir string) (*liblxc.Container, error) {
	c, err := liblxc.NewContainer(filepath.Base(dir), filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("open container %s: %w", dir, err)
	}
	return c, nil
}

// monitorName is what the kernel calls the process that watches a container's init, at most 15 bytes and a zero: prctl(2).
var monitorName = []byte("lxc-monitor\x00")

func helpStart(dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another start is going on: %w", err)
	}
	// Unlocked by hand: a process that liblxc forks may hold on to the file.
	defer func() { _ = unix.Flock(int(lock.Fd()), unix.LOCK_UN) }()

	request, err := readJSON[startRequest](filepath.Join(dir, startFile))
	if err != nil {
		return err
	}
	if request.HideIDTools {
		// Root may write id maps itself, and liblxc has it do so where it does not find newuidmap(1).
		if err := os.Setenv("PATH", dir); err != nil {
			return err
		}
	}
	c, err := openContainer(dir)
	if err != nil {
		return err
	}
	for _, i := range request.Items {
		if err := c.SetConfigItem(i.Key, i.Value); err != nil {
			return fmt.Errorf("liblxc refuses %s = %s: %w", i.Key, i.Value, err)
		}
	}
	if err := errors.Join(c.WantDaemonize(true), c.WantCloseAllFds(true)); err != nil {
		return err
	}
	// The monitor gets the name of the thread that forks it. Under the daemon's name a killall of the daemon would hit it too.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&monitorName[0])), 0, 0, 0); err != nil {
		return fmt.Errorf("name the container's monitor: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("liblxc: %w", err)
	}
	return nil
}

// helpBoot is run by the container's monitor each time that its init is about to begin, also when a guest reboots itself: it plugs the NICs
// in and sets addresses and routes, so that they are there before the first program, and notes the processes.
func helpBoot(dir string) (err error) {
	defer func() {
		if err != nil {
			// What a hook says liblxc does not pass on.
			if f, e := os.OpenFile(filepath.Join(dir, helperLog), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); e == nil {
				fmt.Fprintln(f, err)
				_ = f.Close()
			}
		}
	}()
	pid, err := strconv.Atoi(os.Getenv("LXC_PID"))
	if err != nil {
		return fmt.Errorf("LXC_PID of the hook: %w", err)
	}
	r := run{BootID: bootID(), StartedAt: time.Now().UTC().Truncate(time.Millisecond)}
	if r.Init, err = identify(pid); err != nil {
		return fmt.Errorf("find init: %w", err)
	}
	if r.Monitor, err = identify(os.Getppid()); err != nil {
		return fmt.Errorf("find the monitor: %w", err)
	}
	request, err := readJSON[startRequest](filepath.Join(dir, startFile))
	if err != nil {
		return err
	}
	r.Boots = request.Boots
	network, err := readJSON[compute.Network](filepath.Join(dir, networkFile))
	if err != nil {
		return err
	}
	if err := plugIn(network); err != nil {
		return err
	}
	if err := applyNetwork(r.Init, compute.Network{}, network); err != nil {
		return err
	}
	limits, err := readJSON[limits](filepath.Join(dir, limitsFile))
	if err != nil {
		return err
	}
	if limits.Cgroup != "" { // liblxc gives a guest that reboots itself the limits of its start again
		if err := limits.apply(r.Init.PID); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, runFile), r)
}

// execRequest begins a conversation with an exec helper.
type execRequest struct {
	Command     []string `json:"command"`
	Environment []string `json:"environment"`
	Cwd         string   `json:"cwd"`
	UID         uint32   `json:"uid"`
	GID         uint32   `json:"gid"`
}

// execControl is a message to an exec helper whose command runs.
type execControl struct {
	Signal int `json:"signal"`
}

// execAnswer is what an exec helper says: once that the command runs, and once how it ended; or only why it was not run.
type execAnswer struct {
	Runs   bool   `json:"runs,omitempty"`
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
}

// execSocket is the file descriptor of the conversation.
const execSocket = 3

func helpExec(dir string) int {
	unix.CloseOnExec(execSocket)
	socket := os.NewFile(execSocket, "daemon")
	in, out := json.NewDecoder(socket), json.NewEncoder(socket)
	var request execRequest
	if err := in.Decode(&request); err != nil {
		return 1 // nobody is there to tell
	}
	var answer execAnswer
	status, err := runCommand(dir, request, in, out)
	if answer.Status = status; err != nil {
		answer.Error = err.Error()
	}
	if err := out.Encode(answer); err != nil {
		return 1
	}
	return 0
}
