package lxc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"netfabric/compute"
	"netfabric/fabric"
)

// startRequest is what the helper needs to start a container.
type startRequest struct {
	Name        string `json:"name"`
	Items       []item `json:"items"`
	Boots       uint64 `json:"boots"`
	HideIDTools bool   `json:"hide_id_tools"`
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Start implements compute.Runtime.
func (r *Runtime) Start(ctx context.Context, spec compute.Spec) error {
	if err := fabric.CheckHostname("instance", spec.Name); err != nil {
		return err
	}
	if err := os.MkdirAll(r.path(spec.Name), 0o700); err != nil {
		return fmt.Errorf("start instance %q: %w", spec.Name, err)
	}
	c, err := r.container(spec.Name)
	if err != nil {
		return err
	}
	if c.State != compute.ContainerStopped {
		return fabric.Conflictf("not-stopped", "start instance %q: it is %s", spec.Name, c.State)
	}
	// A crash may have left what is in the way of a start.
	if err := errors.Join(r.clear(ctx, spec.Name), dropLinks(spec.Network)); err != nil {
		return fmt.Errorf("start instance %q: %w", spec.Name, err)
	}
	request := startRequest{Name: spec.Name, Items: items(spec, r.look(spec.Name)), Boots: spec.Boots, HideIDTools: !delegated(spec.IDs)}
	for _, log := range []string{lxcLog, helperLog} {
		if err := os.Rename(r.path(spec.Name, log), r.path(spec.Name, log+".old")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("start instance %q: %w", spec.Name, err)
		}
	}
	if err := errors.Join(writeJSON(r.path(spec.Name, networkFile), spec.Network), writeJSON(r.path(spec.Name, limitsFile), limits{Resources: spec.Resources}), writeJSON(r.path(spec.Name, startFile), request)); err != nil {
		return fmt.Errorf("start instance %q: %w", spec.Name, err)
	}
	if err := r.runStart(ctx, spec.Name); err != nil {
		return r.startFailed(ctx, spec.Name, err)
	}
	if _, err := r.container(spec.Name); err != nil { // begins to watch it
		return err
	}
	return nil
}

// runStart lets a helper start the container; it ends before init has done much.
func (r *Runtime) runStart(ctx context.Context, name string) error {
	// A file, not a pipe: liblxc's monitor may hold on to it. The boot hook appends to it as well.
	output, err := os.OpenFile(r.path(name, helperLog), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, r.helper, HelperCommand, modeStart, r.path(name))
	cmd.Stdout, cmd.Stderr, cmd.Dir = output, output, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("it took too long: %w", context.Cause(ctx))
		}
		return err
	}
	return nil
}

// startFailed clears away what a start left and tells why it failed, in the words of whoever knows best.
func (r *Runtime) startFailed(ctx context.Context, name string, cause error) error {
	why := []string{cause.Error()}
	for _, log := range []string{helperLog, lxcLog} {
		why = append(why, tail(r.path(name, log))...)
	}
	clear, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	err := fabric.Errorf(fabric.CodeInternal, "start-failed", "start instance %q: %s", name, strings.Join(why, "; "))
	return errors.Join(err, r.Stop(clear, name, 0))
}

var logPrefix = regexp.MustCompile(`^lxc (?:\S+ )?\d+\.\d+ (WARN|ERROR|CRIT|FATAL)\s+\S+ - \S+:\S+:\d+ - `)

// tail gives the last complaints in a log, without times and places, so that the same failure reads the same each time.
func tail(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if match := logPrefix.FindStringSubmatch(text); match != nil {
			if match[1] == "WARN" {
				continue
			}
			text = text[len(match[0]):]
		}
		if text != "" {
			lines = append(lines, text)
		}
	}
	const most = 4
	return lines[max(0, len(lines)-most):]
}

// delegated tells whether the ids of a map are given to root in /etc/subuid and /etc/subgid. Where newuidmap(1) is installed liblxc has it
// write the map, and it refuses ranges that these files do not give.
func delegated(ids compute.IDMap) bool {
	has := func(file string, base uint32) bool {
		data, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, fmt.Sprintf("root:%d:", base)) || strings.HasPrefix(line, fmt.Sprintf("0:%d:", base)) {
				return true
			}
		}
		return false
	}
	return has("/etc/subuid", ids.UID) && has("/etc/subgid", ids.GID)
}
