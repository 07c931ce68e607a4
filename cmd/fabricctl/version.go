package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "unknown"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the versions of client and server", Example: "  fabricctl version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(a.out, "Client version: %s\n", version)
			server, _, err := a.client().GetServer(cmd.Context())
			if err != nil {
				fmt.Fprintln(a.out, "Server version: unreachable")
				return nil
			}
			fmt.Fprintf(a.out, "Server version: %s\n", server.Environment.ServerVersion)
			return nil
		},
	}
}
