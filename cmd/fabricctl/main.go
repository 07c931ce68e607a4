// Command fabricctl drives a cluster through its REST API, with the nouns and verbs of lxc.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	a := &app{ctx: ctx, in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for s := range signals {
			if a.concerns(s) {
				cancel()
				signal.Stop(signals) // the next one ends the program at once
			}
		}
	}()
	os.Exit(a.run(os.Args[1:]))
}
