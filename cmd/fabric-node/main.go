// Command fabric-node is the daemon of one cluster member.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"netfabric/compute/lxc"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "unknown"

func main() {
	// The daemon starts itself once more for everything that touches a container: see package lxc.
	if len(os.Args) > 1 && os.Args[1] == lxc.HelperCommand {
		os.Exit(lxc.HelperMain(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fabric-node:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "fabric-node",
		Short: "The daemon of one cluster member",
		Long: `The daemon of one cluster member: the replicated database, the REST API, and what makes this host match the database.

It may be stopped, started and upgraded at any time: instances, routes and the routing worker go on without it. A member that
was never in a cluster waits for "fabricctl cluster bootstrap" or "fabricctl cluster join".

"fabric-node cluster" has the tools for a cluster that has lost more than half of its database members; for everything else
there is fabricctl.`,
		Args:          cobra.NoArgs,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return run(c.Context(), o)
		},
	}
	c.PersistentFlags().StringVar(&o.dir, "dir", env("FABRIC_DIR", "/var/lib/fabric"), "directory of everything that is kept ($FABRIC_DIR)")
	c.CompletionOptions.DisableDefaultCmd = true
	c.AddCommand(clusterCommand(&o.dir))
	f := c.Flags()
	f.StringVar(&o.socket, "socket", env("FABRIC_SOCKET", ""), "unix socket of the API ($FABRIC_SOCKET; default DIR/unix.socket)")
	f.StringVar(&o.group, "group", "fabric", "group that may use the socket, if there is one of that name")
	f.StringVar(&o.router, "router", "", `the routing worker's program; "none" when somebody else starts it (default: fabric-router beside this program)`)
	f.TextVar(&o.level, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn, error")
	return c
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// options are the daemon's flags.
type options struct {
	dir    string
	socket string
	group  string
	router string
	level  slog.Level
	gid    int // of group; -1 where there is none
	self   string
}

// complete fills in what depends on other flags and on the host.
func (o *options) complete() error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root: it makes containers, bridges and routes")
	}
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.socket == "" {
		o.socket = filepath.Join(o.dir, "unix.socket")
	}
	if o.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program's file: %w", err)
	}
	switch {
	case o.router == "none":
		o.router = ""
	case o.router == "":
		o.router = filepath.Join(filepath.Dir(o.self), "fabric-router")
		fallthrough
	default:
		if _, err := os.Stat(o.router); err != nil {
			return fmt.Errorf("the routing worker is not there: %w; install it beside fabric-node, or name it with --router", err)
		}
	}
	o.gid = -1
	if g, err := user.LookupGroup(o.group); err == nil {
		if o.gid, err = strconv.Atoi(g.Gid); err != nil {
			return fmt.Errorf("group %s: %w", o.group, err)
		}
	}
	return nil
}
