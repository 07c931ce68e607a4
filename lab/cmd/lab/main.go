// Command lab starts containerlab topologies in network namespaces of this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command().ExecuteContext(ctx)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		// The command in the node has said what was wrong; its exit code is ours, a signal as a shell counts it.
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			os.Exit(128 + int(status.Signal()))
		}
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		text := err.Error()
		if strings.HasPrefix(text, "unknown command") {
			text = strings.Join(strings.Fields(text), " ") // cobra spreads its suggestion over four lines
		}
		fmt.Fprintln(os.Stderr, "lab:", text)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "Run containerlab topologies in network namespaces, with the programs of this machine",
		Long: `Run containerlab topologies in network namespaces, with the programs of this machine.

Each node is a machine of its own: processes, network, host name, /etc, /var and /run. The image
name selects what it runs: frr, fabric, bird, keepalived, client, switch; anything else is linux.`,
		Example: `  lab up lab/topologies/anycast.clab.yml
  lab exec lab/topologies/anycast.clab.yml r1 -- vtysh -c 'show ip route'
  lab inspect lab/topologies/anycast.clab.yml
  lab down lab/topologies/anycast.clab.yml`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(upCommand(), downCommand(), execCommand(), inspectCommand(), graphCommand())
	return root
}
