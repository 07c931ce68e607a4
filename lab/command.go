package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/frr"

// waitDelay bounds how long a command that has ended is waited for because something it left in the background still has
// its output open.
const waitDelay = 500 * time.Millisecond

// Cmd is an exec.Cmd that starts in a node. Set its streams before Start, Run, Output or CombinedOutput, as with exec.Cmd.
type Cmd struct {
	*exec.Cmd
	node *Node
}

// Command prepares args to be run in the node: all its namespaces, its environment, its root directory. It is killed when
// ctx ends.
func (n *Node) Command(ctx context.Context, args ...string) *Cmd {
	if len(args) == 0 {
		args = []string{""}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = n.environment()
	cmd.WaitDelay = waitDelay
	// The node's PATH counts, not ours.
	cmd.Path, cmd.Err = n.lookPath(args[0])
	return &Cmd{Cmd: cmd, node: n}
}

func (n *Node) environment() []string {
	env := map[string]string{"PATH": n.searchPath(), "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
	if term := os.Getenv("TERM"); term != "" {
		env["TERM"] = term
	}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env["GOCOVERDIR"] = dir
	}
	if n.spec.Role == RoleExaBGP {
		maps.Copy(env, exabgpEnv)
	}
	maps.Copy(env, n.spec.Env)
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}

func (n *Node) searchPath() string {
	if n.lab.binary == "" {
		return systemPath
	}
	return n.lab.binary + ":" + systemPath
}

func (n *Node) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := n.searchPath()
	if own := n.spec.Env["PATH"]; own != "" {
		path = own
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	hint := "install it on this machine"
	if strings.HasPrefix(name, "fabric") {
		hint = "build it (make build), or name its directory with LAB_BIN"
	}
	return name, fmt.Errorf("%s is not in %s: %s", name, path, hint)
}

// Start starts the command in the node.
func (c *Cmd) Start() error {
	holder, err := c.node.holder()
	if err != nil {
		return err
	}
	if c.Cmd.Err != nil {
		return fmt.Errorf("node %s: %w", c.node.spec.Name, c.Cmd.Err)
	}
	cgroup, err := openCgroup(c.node.lab.name, c.node.spec.Name)
	if err != nil {
		return fmt.Errorf("node %s: %w", c.node.spec.Name, err)
	}
	defer cgroup.Close()
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, int(cgroup.Fd())
	if err := inNode(holder, c.Cmd.Start); err != nil {
		return fmt.Errorf("node %s: start %s: %w", c.node.spec.Name, c.Args[0], err)
	}
	return nil
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to standard output and standard error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Exec runs args in the node and returns its standard output. An error carries the exit code (as *exec.ExitError) and
// what the command wrote to standard error. What the command leaves in the background should have its output elsewhere:
// half a second after the command has ended nobody reads it any more.
func (n *Node) Exec(ctx context.Context, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := n.Command(ctx, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return string(out), nil
	}
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		return string(out), err
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	said := strings.TrimSpace(stderr.String())
	if said == "" {
		said = strings.TrimSpace(string(out))
	}
	return string(out), fmt.Errorf("node %s: %s: %w: %s", n.spec.Name, strings.Join(args, " "), err, said)
}
