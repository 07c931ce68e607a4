package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"netfabric/lab"
)

func inspectCommand() *cobra.Command {
	var name, format string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show the nodes of a running lab",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "table" && format != "json" {
				return fmt.Errorf("inspect: format %q is not known; it must be table or json", format)
			}
			l, err := open(args[0], name)
			if err != nil {
				return err
			}
			nodes, err := l.Inspect()
			if err != nil {
				return err
			}
			if format == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(nodes)
			}
			return writeTable(cmd.OutOrStdout(), nodes)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the name the lab was started under")
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

func writeTable(w io.Writer, nodes []lab.NodeStatus) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tROLE\tSTATE\tPID\tPROCESSES\tNAMESPACE\tADDRESSES")
	for _, node := range nodes {
		pid := "-"
		if node.PID != 0 {
			pid = fmt.Sprint(node.PID)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t", node.Name, node.Role, node.State, pid, node.Processes, node.Netns)
		// One line per address keeps the table within a terminal.
		fmt.Fprintln(table, strings.Join(node.Addresses, "\n\t\t\t\t\t\t"))
	}
	return table.Flush()
}

func graphCommand() *cobra.Command {
	var output, format string
	cmd := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a topology as Mermaid or SVG",
		Example: `  lab graph lab/topologies/anycast.clab.yml                      # Mermaid, for a Markdown page
  lab graph lab/topologies/anycast.clab.yml --output anycast.svg`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "" {
				format = "mermaid"
				if strings.HasSuffix(output, ".svg") {
					format = "svg"
				}
			}
			draw := map[string]func(*lab.Topology) string{"mermaid": lab.Mermaid, "svg": lab.SVG}[format]
			if draw == nil {
				return fmt.Errorf("graph: format %q is not known; it must be mermaid or svg", format)
			}
			topology, err := lab.Load(args[0])
			if err != nil {
				return err
			}
			if output == "" || output == "-" {
				_, err = io.WriteString(cmd.OutOrStdout(), draw(topology))
				return err
			}
			if err := os.WriteFile(output, []byte(draw(topology)), 0o644); err != nil {
				return fmt.Errorf("graph: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file instead of standard output")
	cmd.Flags().StringVar(&format, "format", "", "mermaid or svg (default: by the ending of --output, else mermaid)")
	return cmd
}
