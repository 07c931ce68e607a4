package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"netfabric/fabric"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses. A command that runs inside an instance passes its own on.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// usageError is a command line that makes no sense. Nothing was asked of the server.
type usageError struct {
	command string // path of the command, to look up its help
	message string
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%s: %s; see %q", e.command, e.message, e.command+" --help")
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Sprintf(format, args...)}
}

// flagError is a flag that does not exist or has a value that is not of its type.
func flagError(cmd *cobra.Command, err error) error {
	e := (*pflag.InvalidValueError)(nil)
	if !errors.As(err, &e) {
		return usagef(cmd, "%v", err)
	}
	want := errors.Unwrap(err).Error()
	switch e.GetFlag().Value.Type() {
	case "int", "uint16", "uint32":
		want = "want a whole number"
	case "bool":
		want = "want true or false"
	case "duration":
		want = "want a time such as 500ms or 1s"
	}
	return usagef(cmd, "--%s %q: %s", e.GetFlag().Name, e.GetValue(), want)
}

// exitStatus ends the program with a status and without a word: the command that ran in the instance has said what there was to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// silentEnd is an exit status of a command in an instance that has said nothing, and why it probably ended so.
type silentEnd struct {
	exitStatus
	why string
}

func (e *silentEnd) Error() string { return e.why }

// Unwrap is the exit status.
func (e *silentEnd) Unwrap() error { return e.exitStatus }

// fail reports an error on stderr, as one line, and gives the exit status for it.
func (a *app) fail(err error) int {
	if err == nil {
		return 0
	}
	status := exitFailed
	text := err.Error()
	if s := exitStatus(0); errors.As(err, &s) {
		status = int(s)
		if e := (*silentEnd)(nil); !errors.As(err, &e) {
			return status
		}
	} else if e := (*usageError)(nil); errors.As(err, &e) {
		status = exitUsage
	} else if errors.Is(err, context.Canceled) && a.ctx.Err() != nil {
		status = exitInterrupted
		if e := (*interrupted)(nil); !errors.As(err, &e) {
			text = "interrupted"
		}
	} else if e := a.noDaemon(err); e != nil {
		text = e.Error()
	}
	fmt.Fprintln(a.err, "Error: "+oneLine(text))
	return status
}

// oneLine joins the lines of a text and drops what a terminal would obey.
func oneLine(s string) string {
	return printable(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

// noDaemon explains why the socket could not be reached; nil where the error is about something else.
func (a *app) noDaemon(err error) *fabric.Error {
	op := (*os.SyscallError)(nil)
	if !errors.As(err, &op) || op.Syscall != "connect" {
		return nil
	}
	unavailable := func(format string, args ...any) *fabric.Error {
		return fabric.Errorf(fabric.CodeUnavailable, "no-daemon", format, args...)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unavailable("fabric-node is not running here: there is no socket %s", a.socket).
			WithFix("start it with \"systemctl start fabric-node\", or name its socket with --socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return unavailable("fabric-node is not running here: nobody answers on %s", a.socket).
			WithFix("start it with \"systemctl start fabric-node\"")
	case errors.Is(err, fs.ErrPermission):
		return fabric.Errorf(fabric.CodeForbidden, "no-permission", "you may not use %s", a.socket).
			WithFix("run fabricctl as root or as a member of group %q", socketGroup(a.socket))
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return unavailable("socket path %s is too long", a.socket)
	}
	return unavailable("connect to fabric-node on %s: %v", a.socket, op.Err)
}

// socketGroup is the group that may use the socket, or the nearest folder above it that can be looked at.
func socketGroup(path string) string {
	for {
		if info, err := os.Stat(path); err == nil {
			stat, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return "fabric"
			}
			gid := strconv.Itoa(int(stat.Gid))
			if g, err := user.LookupGroupId(gid); err == nil {
				return g.Name
			}
			return gid
		}
		if path == filepath.Dir(path) {
			return "fabric"
		}
		path = filepath.Dir(path)
	}
}
