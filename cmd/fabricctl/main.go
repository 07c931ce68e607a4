// Command fabricctl drives a cluster through its REST API, with the nouns and verbs of lxc.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{ctx: ctx, in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv}
	status := a.run(os.Args[1:])
	stop()
	os.Exit(status)
}
