// Command demo forms a cluster of three members in network namespaces, breaks it, and shows what a client loses.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"

	"github.com/spf13/cobra"
)

const (
	topology    = "lab/topologies/anycast.clab.yml"
	defaultName = "anycast" // as the topology calls itself
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "demo",
		Short:         "Three members, two FRR routers and a client on this machine: form a cluster, break it, count the loss",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var name, bin string
	root.PersistentFlags().StringVar(&name, "name", defaultName, "run under this name")
	up := &cobra.Command{
		Use: "up", Short: "Start it, or start it anew, and leave it running", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), c.OutOrStdout(), name, bin) },
	}
	up.Flags().StringVar(&bin, "bin", "bin", "directory of the programs")
	down := &cobra.Command{
		Use: "down", Short: "Remove every namespace, process and file of it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return lab.Down(c.Context(), name) },
	}
	o := probe.Options{}
	ask := &cobra.Command{
		Use: "probe URL...", Short: "Ask the URLs in turn at a fixed rate until interrupted; a line of JSON for each request", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, urls []string) error {
			o.Targets = urls
			return probe.Run(c.Context(), c.OutOrStdout(), o)
		},
	}
	ask.Flags().DurationVar(&o.Interval, "interval", 10*time.Millisecond, "time between two requests")
	ask.Flags().DurationVar(&o.Timeout, "timeout", time.Second, "time after which a request is lost")
	watch := &cobra.Command{
		Use: "watch PREFIX", Short: "Tell how many next hops the kernel here has for a prefix, now and at each change", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			prefix, err := netip.ParsePrefix(args[0])
			if err != nil {
				return err
			}
			return probe.WatchNextHops(c.Context(), c.OutOrStdout(), prefix)
		},
	}
	kill := &cobra.Command{
		Use: "kill PID", Short: "Kill a process here and tell when", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[0])
			if err != nil || pid < 2 {
				return fmt.Errorf("%q is not the id of a process that may be killed", args[0])
			}
			at := probe.Now()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), int64(at))
			return err
		},
	}
	root.AddCommand(up, down, ask, watch, kill)
	return root
}
