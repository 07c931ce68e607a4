// Keys of TCP MD5 (RFC 2385) can't be set on multipath TCP sockets, which Go listens on by default.
//
//go:debug multipathtcp=0

// Command fabric-router is the routing worker of a cluster member.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"netfabric/fabric/inside"
	"netfabric/fabric/router"
)

// version is set by the build.
var version = "unknown"

const usage = `fabric-router makes the BGP sessions, announcements and kernel routes of this host what it is told over its socket.

It is told everything at once and keeps it on disk. When it starts, it goes on with what it was told last, before anybody tells it again.

Signals:
  TERM, INT  leave for good: peers are told (BGP Cease) and drop the routes they have from here at once
  HUP, USR2  leave to come back: peers keep the routes for the graceful restart time of the session; so do they after a crash
  Routes in the kernel stay in any case, until the next start finds that they are not wanted any more.
Kernel routes to instances have protocol %d, those that BGP peers told have %d: "ip route show proto %d" lists them. Routes with another one are
never touched.

Usage: fabric-router [flags]

`

func main() {
	if len(os.Args) == 2 && os.Args[1] == router.BFDCommand {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := router.ServeBFD(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "fabric-router bfd:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == inside.HelperCommand {
		os.Exit(inside.Helper())
	}
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), usage, router.Protocol, router.ProtocolBGP, router.Protocol)
		flag.PrintDefaults()
	}
	socket := flag.String("socket", "/var/lib/fabric/router.socket", "`file` of the unix socket on which to be told, for root only")
	state := flag.String("state", "/var/lib/fabric/router", "`directory` that keeps what was told last, for root only (it has the passwords of BGP sessions)")
	level := slog.LevelInfo
	flag.TextVar(&level, "log", level, "least important `level` to log: DEBUG, INFO, WARN or ERROR")
	printVersion := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *printVersion {
		fmt.Println("fabric-router", version)
		return
	}
	if flag.Arg(0) == "vrrp" && flag.NArg() == 1 { // started by the worker itself
		level := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
		if err := runGateways(slog.New(level), *state, *socket); err != nil {
			slog.New(level).Error("fabric-router vrrp ends", "error", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "fabric-router: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	limitGarbage()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := run(log, *socket, *state); err != nil {
		log.Error("fabric-router ends", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger, socket, state string) error {
	again := func(word string) func() *exec.Cmd {
		return func() *exec.Cmd { return exec.Command("/proc/self/exe", word) }
	}
	worker, err := router.New(log, state, again(router.BFDCommand), again(inside.HelperCommand))
	if err != nil {
		return err
	}
	listener, err := router.Listen(socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: worker.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("socket", "error", err)
		}
	}()
	defer server.Close()
	ctx, leave := signal.NotifyContext(context.Background(), syscall.SIGHUP, syscall.SIGUSR2)
	defer leave()
	polite, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log.Info("fabric-router starts", "version", version, "socket", socket, "state", state)
	return worker.Run(ctx, polite.Done())
}

// runGateways is the process of the gateways: it outlives the worker, and hands over when it is told to end.
func runGateways(log *slog.Logger, state, socket string) error {
	listener, err := router.Listen(socket)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return router.ServeGateways(ctx, log, state, listener)
}
