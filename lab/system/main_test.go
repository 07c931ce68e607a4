// Package system tests the three programs together, as their users see them: members, routers and a client in network namespaces, driven by
// fabricctl.
package system

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/lab/probe"
)

// binDir has the programs under test, built from this tree.
var binDir string

// The test program starts itself once more inside nodes, under these names: it needs sockets of its own there.
const (
	probeWord = "system-probe" // URLs follow
	watchWord = "system-watch" // a prefix follows
	serveWord = "system-serve" // an address follows
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case probeWord:
			os.Exit(inside(func(ctx context.Context) error {
				return probe.Run(ctx, os.Stdout, probe.Options{Targets: os.Args[2:], Interval: 5 * time.Millisecond, Timeout: requestTimeout})
			}))
		case serveWord:
			os.Exit(inside(func(ctx context.Context) error {
				server := &http.Server{Addr: os.Args[2], Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "served") })}
				defer context.AfterFunc(ctx, func() { server.Close() })()
				fmt.Println("serving")
				if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
					return err
				}
				return nil
			}))
		case speakerWord:
			os.Exit(inside(func(ctx context.Context) error { return bareSpeaker(ctx, os.Stdin, os.Stdout, os.Args[2:]) }))
		case watchWord:
			os.Exit(inside(func(ctx context.Context) error {
				prefix, err := netip.ParsePrefix(os.Args[2])
				if err != nil {
					return err
				}
				return probe.WatchNextHops(ctx, os.Stdout, prefix)
			}))
		}
	}
	os.Exit(testMain(m))
}

func inside(f func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := f(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: network namespaces need root")
		return 0
	}
	var err error
	if binDir, err = os.MkdirTemp("", "fabric-system-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binDir)
	if err := build(binDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the programs as make build does.
func build(dir string) error {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	for program, cgo := range map[string]string{"cmd/fabric-node": "1", "cmd/fabric-router": "0", "cmd/fabricctl": "0", "lab/cmd/demo": "0", "lab/cmd/echo": "0"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, filepath.Base(program)), "./"+program)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "CGO_LDFLAGS_ALLOW=-Wl,-z,now")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
