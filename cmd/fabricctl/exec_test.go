package main

import (
	"context"
	"os"
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
