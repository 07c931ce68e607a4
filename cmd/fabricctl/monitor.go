package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// eventTypes are the types of events that can be asked for.
var eventTypes = []string{incusapi.EventTypeLifecycle, incusapi.EventTypeLogging, incusapi.EventTypeOperation, api.EventRouting}

func (a *app) monitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Show events as they happen",
		Long:  "Show events as they happen, until Ctrl-C. Lifecycle and routing events are those of the whole cluster; operations and logs those of the member that is asked.",
		Example: `  fabricctl monitor --pretty
  fabricctl monitor --type routing --pretty
  fabricctl monitor --type lifecycle -f json`,
	}
	types := cmd.Flags().StringSlice("type", nil, "`TYPE` of events: "+strings.Join(eventTypes, ", ")+" (default all)")
	pretty := cmd.Flags().Bool("pretty", false, "one line for people per event")
	f := cmd.Flags().StringP("format", "f", "yaml", "yaml, json (one event per line) or pretty")
	// The only errors are that there are no such flags.
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(eventTypes, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"yaml", "json", "pretty"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, t := range *types {
			if !slices.Contains(eventTypes, t) {
				return usagef(cmd, "there are no events of type %q; want one of %s", t, strings.Join(eventTypes, ", "))
			}
		}
		if *pretty {
			*f = "pretty"
		}
		write, ok := map[string]func(io.Writer, incusapi.Event) error{"yaml": eventYAML, "json": eventJSON, "pretty": eventLine}[*f]
		if !ok {
			return usagef(cmd, "--format %q: want yaml, json or pretty", *f)
		}
		ctx := cmd.Context()
		stream, err := a.client().Events(ctx, *types...)
		if err != nil {
			return err
		}
		defer stream.Close()
		for {
			event, err := stream.Next()
			if ctx.Err() != nil {
				return nil // Ctrl-C is how one leaves
			}
			if err != nil {
				return fabric.Errorf(fabric.CodeUnavailable, "stream-ended", "the stream of events has ended: %w", err)
			}
			if err := write(a.out, event); err != nil {
				return err
			}
		}
	}
	return cmd
}

func eventYAML(w io.Writer, e incusapi.Event) error {
	if err := writeYAML(w, e); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func eventJSON(w io.Writer, e incusapi.Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// eventLine is an event in one line: when, where, what, and everything else there is to it.
func eventLine(w io.Writer, e incusapi.Event) error {
	node, err := yamlNode(e.Metadata)
	if err != nil {
		return err
	}
	values := map[string]string{}
	var rest []string
	first := map[string][]string{
		incusapi.EventTypeLifecycle: {"action", "source"},
		incusapi.EventTypeLogging:   {"level", "message"},
		incusapi.EventTypeOperation: {"description", "status", "err"},
		api.EventRouting:            {"action", "source", "message"},
	}[e.Type]
	for _, field := range flatten(nil, "", node) {
		values[field[0]] = field[1]
		if !slices.Contains(first, field[0]) && field[1] != "" {
			rest = append(rest, field[0]+"="+field[1])
		}
	}
	line := []string{e.Timestamp.UTC().Format("15:04:05.000"), e.Type}
	if e.Location != "" {
		line = append(line, "["+e.Location+"]")
	}
	for _, key := range first {
		if values[key] != "" {
			line = append(line, values[key])
		}
	}
	_, err = fmt.Fprintln(w, oneLine(strings.Join(append(line, rest...), " ")))
	return err
}
