package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) infoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info [NAME]",
		Short: "Show how an instance is, or the server",
		Example: `  fabricctl info web1
  fabricctl info web1 --show-log
  fabricctl info`,
		ValidArgsFunction: a.complete(instances),
	}
	showLog := cmd.Flags().Bool("show-log", false, "show the log of the instance's start and end too")
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, client := cmd.Context(), a.client()
		if len(args) == 0 {
			if *showLog {
				return usagef(cmd, "--show-log needs the NAME of an instance")
			}
			server, _, err := client.GetServer(ctx)
			if err != nil {
				return err
			}
			return show(a.out, orYAML(*f), server)
		}
		i, _, err := client.GetInstanceFull(ctx, args[0])
		if err != nil {
			return err
		}
		if *f != "table" {
			return show(a.out, *f, i)
		}
		describeInstance(a.out, *i)
		if !*showLog {
			return nil
		}
		log, err := client.GetInstanceLog(ctx, args[0])
		if err != nil {
			return err
		}
		defer log.Close()
		fmt.Fprintln(a.out, "\nLog:")
		_, err = io.Copy(a.out, log)
		return err
	}
	return cmd
}

// orYAML is what a table would not be good for.
func orYAML(f format) format {
	if f == "table" {
		return "yaml"
	}
	return f
}

// describeInstance writes what a person wants to know of an instance.
func describeInstance(w io.Writer, i instance) {
	d := description{w}
	d.line(0, "Name", i.Name)
	d.line(0, "Description", i.Description)
	d.line(0, "Status", strings.ToUpper(i.Status))
	if i.Reason != "" || i.Message != "" {
		d.line(0, "Why", why(i.Message, i.Reason))
	}
	d.line(0, "Type", i.Type)
	d.line(0, "Architecture", i.Architecture)
	d.line(0, "Location", i.Location)
	d.line(0, "Created", date(i.CreatedAt))
	d.line(0, "Profiles", strings.Join(i.Profiles, ", "))
	d.line(0, "Anycast", i.ExpandedConfig["anycast"])
	s := i.State
	if s == nil {
		return
	}
	d.line(0, "PID", number(i, func(s *incusapi.InstanceState) int64 { return s.Pid }))
	d.line(0, "Started", date(s.StartedAt))
	if s.Processes > 0 || s.Memory.Usage > 0 {
		d.line(0, "Resources", "\n")
		d.line(1, "Processes", number(i, func(s *incusapi.InstanceState) int64 { return s.Processes }))
		if s.Memory.Usage > 0 {
			d.line(1, "Memory", size(s.Memory.Usage))
		}
	}
	if len(s.Network) > 0 {
		d.line(0, "Network", "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Network)) {
		n := s.Network[name]
		d.line(1, name, "\n")
		d.line(2, "State", strings.ToUpper(n.State))
		d.line(2, "Host interface", n.HostName)
		d.line(2, "MAC address", n.Hwaddr)
		if n.Mtu > 0 {
			d.line(2, "MTU", fmt.Sprint(n.Mtu))
		}
		slices.SortFunc(n.Addresses, func(a, b incusapi.InstanceStateNetworkAddress) int {
			return cmp.Or(cmp.Compare(a.Family, b.Family), natural(a.Address, b.Address))
		})
		for _, address := range n.Addresses {
			text := address.Address
			if address.Netmask != "" {
				text += "/" + address.Netmask
			}
			d.line(2, address.Family, text+" ("+cmp.Or(address.Scope, "global")+")")
		}
	}
}

// description writes "Name: value" lines, and leaves out what has no value. A value of one line feed is a heading.
type description struct{ w io.Writer }

func (d description) line(depth int, name, value string) {
	switch value {
	case "":
	case "\n":
		fmt.Fprintf(d.w, "%s%s:\n", strings.Repeat("  ", depth), printable(name))
	default:
		fmt.Fprintf(d.w, "%s%s: %s\n", strings.Repeat("  ", depth), printable(name), printable(value))
	}
}
