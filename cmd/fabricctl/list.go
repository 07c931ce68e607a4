package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// instance is what the API tells of an instance with its state.
type instance = api.InstanceFull

// letterColumn is a column of "list" and the letter that asks for it, as lxc has them.
type letterColumn struct {
	letter rune
	column[instance]
}

var instanceColumns = []letterColumn{
	{'n', column[instance]{"NAME", func(i instance) string { return i.Name }}},
	{'s', column[instance]{"STATE", func(i instance) string { return strings.ToUpper(i.Status) }}},
	{'4', column[instance]{"IPV4", func(i instance) string { return addresses(i, "inet") }}},
	{'6', column[instance]{"IPV6", func(i instance) string { return addresses(i, "inet6") }}},
	{'t', column[instance]{"TYPE", func(i instance) string { return strings.ToUpper(i.Type) }}},
	{'L', column[instance]{"LOCATION", func(i instance) string { return i.Location }}},
	{'a', column[instance]{"ARCHITECTURE", func(i instance) string { return i.Architecture }}},
	{'c', column[instance]{"CREATED AT", func(i instance) string { return date(i.CreatedAt) }}},
	{'d', column[instance]{"DESCRIPTION", func(i instance) string { return i.Description }}},
	{'p', column[instance]{"PID", func(i instance) string { return number(i, func(s *incusapi.InstanceState) int64 { return s.Pid }) }}},
	{'N', column[instance]{"PROCESSES", func(i instance) string {
		return number(i, func(s *incusapi.InstanceState) int64 { return s.Processes })
	}}},
	{'m', column[instance]{"MEMORY USAGE", func(i instance) string {
		if i.State == nil || i.State.Memory.Usage == 0 {
			return ""
		}
		return size(i.State.Memory.Usage)
	}}},
	{'P', column[instance]{"PROFILES", func(i instance) string { return strings.Join(i.Profiles, "\n") }}},
	{'b', column[instance]{"STORAGE POOL", func(i instance) string { return rootPool(i) }}},
	{'A', column[instance]{"ANYCAST", func(i instance) string { return strings.ReplaceAll(i.ExpandedConfig["anycast"], ",", "\n") }}},
}

func (a *app) listCommand() *cobra.Command {
	var letters []string
	for _, c := range instanceColumns {
		letters = append(letters, fmt.Sprintf("  %c  %s", c.letter, strings.ToLower(c.title)))
	}
	cmd := &cobra.Command{
		Use:     "list [FILTER...]",
		Aliases: []string{"ls"},
		Short:   "List instances",
		Long: `List the instances of the cluster.

A FILTER is the beginning of a name, a regular expression for the whole name, or KEY=VALUE, where KEY is name, status, type, location,
architecture, description or a config key. All filters must match.

Columns (-c), as letters; config keys stand between commas, as KEY or KEY:TITLE:
` + strings.Join(letters, "\n"),
		Example: `  fabricctl list
  fabricctl list web status=running
  fabricctl list -c ns46L
  fabricctl list -c n,s,anycast:SERVICE,limits.memory -f csv`,
	}
	wanted := cmd.Flags().StringP("columns", "c", "ns46tL", "`COLUMNS` to show")
	f := formatFlag(cmd, "table")
	cmd.ValidArgsFunction = a.completeAll(instances)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cols, err := parseColumns(cmd, *wanted)
		if err != nil {
			return err
		}
		match, err := parseFilters(cmd, args)
		if err != nil {
			return err
		}
		all, err := a.client().GetInstances(cmd.Context(), "")
		if err != nil {
			return err
		}
		return list(a.out, *f, slices.DeleteFunc(all, func(i instance) bool { return !match(i) }), cols)
	}
	return cmd
}

// parseColumns reads the value of --columns.
func parseColumns(cmd *cobra.Command, spec string) ([]column[instance], error) {
	var cols []column[instance]
	letter := func(r rune) error {
		i := slices.IndexFunc(instanceColumns, func(c letterColumn) bool { return c.letter == r })
		if i < 0 {
			return usagef(cmd, "there is no column %q", string(r))
		}
		cols = append(cols, instanceColumns[i].column)
		return nil
	}
	for field := range strings.SplitSeq(spec, ",") {
		key, title, titled := strings.Cut(field, ":")
		if field == "" || titled && (key == "" || title == "") {
			return nil, usagef(cmd, "columns %q: there is an empty one", spec)
		}
		if titled || strings.Contains(key, ".") || key == "anycast" {
			if !titled {
				title = strings.ToUpper(key)
			}
			cols = append(cols, column[instance]{title, func(i instance) string { return i.ExpandedConfig[key] }})
			continue
		}
		for _, r := range key {
			if err := letter(r); err != nil {
				return nil, err
			}
		}
	}
	return cols, nil
}

// parseFilters gives a function that tells whether an instance passes all filters.
func parseFilters(cmd *cobra.Command, filters []string) (func(instance) bool, error) {
	var all []func(instance) bool
	for _, filter := range filters {
		if key, want, ok := strings.Cut(filter, "="); ok {
			all = append(all, func(i instance) bool {
				have := property(i, key)
				// A list of services has what is one of them.
				return strings.EqualFold(have, want) || key == "anycast" && slices.Contains(strings.Split(have, ","), want)
			})
			continue
		}
		whole, err := regexp.Compile("^(?:" + filter + ")$")
		if err != nil {
			return nil, usagef(cmd, "filter %q is neither a name nor a regular expression", filter)
		}
		all = append(all, func(i instance) bool { return strings.HasPrefix(i.Name, filter) || whole.MatchString(i.Name) })
	}
	return func(i instance) bool {
		for _, match := range all {
			if !match(i) {
				return false
			}
		}
		return true
	}, nil
}

func property(i instance, key string) string {
	switch key {
	case "name":
		return i.Name
	case "status", "state":
		return i.Status
	case "type":
		return i.Type
	case "location":
		return i.Location
	case "architecture":
		return i.Architecture
	case "description":
		return i.Description
	}
	return i.ExpandedConfig[key]
}

// addresses lists the addresses of a family that others can reach, with the interface that has them.
func addresses(i instance, family string) string {
	if i.State == nil {
		return ""
	}
	var all []string
	for name, network := range i.State.Network {
		for _, a := range network.Addresses {
			if a.Family == family && a.Scope != "link" && a.Scope != "local" {
				all = append(all, fmt.Sprintf("%s (%s)", a.Address, name))
			}
		}
	}
	slices.SortFunc(all, natural)
	return strings.Join(all, "\n")
}

func number(i instance, of func(*incusapi.InstanceState) int64) string {
	if i.State == nil || of(i.State) <= 0 {
		return ""
	}
	return strconv.FormatInt(of(i.State), 10)
}

func rootPool(i instance) string {
	for _, d := range i.ExpandedDevices {
		if d["type"] == "disk" && d["path"] == "/" {
			return d["pool"]
		}
	}
	return ""
}
