package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"netfabric/fabric"

	"golang.org/x/sys/unix"
)

func TestRelay(t *testing.T) {
	keys, tty := pty(t)
	if err := unix.IoctlSetWinsize(int(keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 100, Row: 30}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	received, control := make(chan os.Signal, 8), make(chan fabric.ExecControl)
	go relay(ctx, func() { t.Error("it gave up") }, received, control, tty)
	for s, want := range map[os.Signal]fabric.ExecControl{
		syscall.SIGINT:   {Signal: 2},
		syscall.SIGTERM:  {Signal: 15},
		syscall.SIGWINCH: {Width: 100, Height: 30},
	} {
		received <- s
		if got := <-control; got != want {
			t.Errorf("%v is passed on as %+v, want %+v", s, got, want)
		}
	}
}

// A signal that no command takes, because there is no connection to it yet or any more, ends the program. A new window size does not.
func TestRelayToNobody(t *testing.T) {
	_, tty := pty(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		received := make(chan os.Signal, 8)
		go relay(ctx, cancel, received, make(chan fabric.ExecControl), tty)
		received <- syscall.SIGWINCH
		time.Sleep(2 * relayTime)
		if ctx.Err() != nil {
			t.Error("a new window size ended the program")
		}
		received <- syscall.SIGINT
		time.Sleep(relayTime / 2)
		if ctx.Err() != nil {
			t.Error("the command had no time to take the signal")
		}
		time.Sleep(relayTime)
		if ctx.Err() == nil {
			t.Error("Ctrl-C did nothing")
		}
	})
}

// A command that could not be run has said nothing: fabricctl has to. One that ran and ended the same way has had its say.
func TestCommandThatWasNotRun(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		output string
		want   string
	}{
		"not found":            {status: 127, want: "Error: exec in instance \"web1\": command \"nosuch\" not found\n"},
		"not executable":       {status: 126, want: "Error: exec in instance \"web1\": \"nosuch\" can't be executed\n"},
		"a shell that told it": {status: 127, output: "sh: nosuch: not found\n"},
		"another status":       {status: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr, out strings.Builder
			said := &spoken{}
			if test.output != "" {
				fmt.Fprint(said.listen(&out), test.output)
			}
			a := &app{err: &stderr, ctx: t.Context()}
			if status := a.fail(execEnded("web1", "nosuch", test.status, said.anything.Load())); status != test.status {
				t.Errorf("fabricctl ends with status %d, want %d", status, test.status)
			}
			if stderr.String() != test.want || out.String() != test.output {
				t.Errorf("it says %q after %q, want %q after %q", stderr.String(), out.String(), test.want, test.output)
			}
		})
	}
}
