package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"netfabric/fabric"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NAME -- COMMAND...",
		Short: "Run a command in an instance",
		Long: `Run a command in an instance, wherever in the cluster that is. Its exit status becomes that of fabricctl.

When stdin and stdout are a terminal, the command gets one too. Signals are passed on to the command.`,
		Example: `  fabricctl exec web1 -- sh
  fabricctl exec web1 --env LANG=C --cwd /tmp -- ls -l
  echo hello | fabricctl exec web1 -- cat`,
		ValidArgsFunction: a.complete(instances),
	}
	flags := cmd.Flags()
	force := flags.BoolP("force-interactive", "t", false, "give the command a terminal in any case")
	forbid := flags.BoolP("force-noninteractive", "T", false, "give the command no terminal in any case")
	noStdin := flags.BoolP("disable-stdin", "n", false, "give the command nothing to read")
	env := flags.StringArray("env", nil, "environment variable `KEY=VALUE`")
	cwd := flags.String("cwd", "", "`DIRECTORY` to run it in (default /root)")
	user := flags.Uint32("user", 0, "`UID` to run it as")
	group := flags.Uint32("group", 0, "`GID` to run it as")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) {
			return flagError(cmd, err)
		}
		return usagef(cmd, "%v; put \"--\" before a command that has flags", err)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *force && *forbid {
			return usagef(cmd, "-t and -T exclude each other")
		}
		environment, err := a.config(cmd, *env)
		if err != nil {
			return err
		}
		in, out := terminal(a.in), terminal(a.out)
		r := fabric.ExecRequest{
			Command: args[1:], Environment: environment, Cwd: *cwd, UID: *user, GID: *group,
			Terminal: *force || !*forbid && !*noStdin && in != nil && out != nil,
			Stdout:   a.out, Stderr: a.err,
		}
		if !*noStdin {
			r.Stdin = a.in
		}
		return a.exec(cmd.Context(), args[0], r, in, out)
	}
	return cmd
}

// exec runs a command with the terminal, if it has one, in raw mode: keys are the command's then, those that make signals too.
func (a *app) exec(ctx context.Context, name string, r fabric.ExecRequest, in, out *os.File) error {
	if r.Terminal {
		if term := a.env("TERM"); term != "" && r.Environment["TERM"] == "" {
			r.Environment["TERM"] = term
		}
		if out != nil {
			r.Width, r.Height = terminalSize(out)
		}
		if in != nil {
			restore, err := raw(in)
			if err != nil {
				return err
			}
			defer restore()
		}
	}
	// The signals of this program are the command's: they must not end the connection to it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	control := make(chan fabric.ExecControl)
	r.Control = control
	received := make(chan os.Signal, 8)
	signal.Notify(received, syscall.SIGWINCH, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT)
	defer signal.Stop(received)
	go relay(ctx, cancel, received, control, out)
	said := &spoken{}
	r.Stdout, r.Stderr = said.listen(r.Stdout), said.listen(r.Stderr)
	status, err := a.client().Exec(ctx, name, r)
	if err != nil {
		return err
	}
	if status != 0 {
		return execEnded(name, r.Command[0], status, said.anything.Load())
	}
	return nil
}

// Exit statuses by which a command says that it was not run at all (POSIX, XCU 2.8.2).
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// execEnded is the end of a command with a status that is not 0. One that could not be run could not say so either.
func execEnded(instance, command string, status int, spoke bool) error {
	switch {
	case spoke:
	case status == exitNotFound:
		return &silentEnd{exitStatus(status), fmt.Sprintf("exec in instance %q: command %q not found", instance, command)}
	case status == exitNotExecutable:
		return &silentEnd{exitStatus(status), fmt.Sprintf("exec in instance %q: %q can't be executed", instance, command)}
	}
	return exitStatus(status)
}

// spoken notes whether a command wrote anything.
type spoken struct{ anything atomic.Bool }

// listen is w, with what is written to it noted.
func (s *spoken) listen(w io.Writer) io.Writer { return &listener{w, s} }

type listener struct {
	io.Writer
	spoken *spoken
}

func (l *listener) Write(p []byte) (int, error) {
	l.spoken.anything.Store(true)
	return l.Writer.Write(p)
}

// relayTime is how long a signal may wait for a connection to the command before it ends the program instead.
const relayTime = time.Second

// relay passes signals on to the command, and the new size of the terminal with SIGWINCH.
func relay(ctx context.Context, cancel func(), received <-chan os.Signal, control chan<- fabric.ExecControl, out *os.File) {
	for {
		var c fabric.ExecControl
		select {
		case <-ctx.Done():
			return
		case s := <-received:
			if s == syscall.SIGWINCH {
				if out == nil {
					continue
				}
				c.Width, c.Height = terminalSize(out)
			} else if number, ok := s.(syscall.Signal); ok {
				c.Signal = int(number)
			}
		}
		select {
		case control <- c:
		case <-ctx.Done():
			return
		case <-time.After(relayTime):
			if c.Signal != 0 {
				cancel()
			}
		}
	}
}
