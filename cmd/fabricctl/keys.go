package main

import (
	"maps"
	"slices"
	"strings"

	"netfabric/fabric"

	"github.com/spf13/cobra"
)

// keyTables are the config keys of everything that has any, by the word that "config keys" knows it by.
func keyTables() map[string]fabric.KeyTable {
	all := map[string]fabric.KeyTable{
		"server":   fabric.ClusterKeys,
		"member":   fabric.MemberKeys,
		"instance": fabric.InstanceKeys,
		"network":  fabric.NetworkKeys,
	}
	for driver, keys := range fabric.PoolKeys {
		all["storage-"+driver] = keys
	}
	for device, keys := range fabric.DeviceKeys {
		all["device-"+device] = keys
	}
	return all
}

// configKey is a config key as "config keys" shows it.
type configKey struct {
	Object  string       `json:"object"`
	Key     string       `json:"key"`
	Type    string       `json:"type"`
	Default string       `json:"default"`
	Scope   fabric.Scope `json:"scope"`
	Help    string       `json:"help"`
}

func (a *app) keysCommand() *cobra.Command {
	tables := keyTables()
	objects := slices.Sorted(maps.Keys(tables))
	cmd := &cobra.Command{
		Use:   "keys [OBJECT...]",
		Short: "List config keys and what they mean",
		Long: `List config keys with type, default, scope and meaning. No server is needed for it.

OBJECT is one of ` + strings.Join(objects, ", ") + `. Profiles have the keys of instances.`,
		Example: `  fabricctl config keys
  fabricctl config keys instance
  fabricctl config keys network -f compact`,
		ValidArgs: objects,
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var all []configKey
		for _, object := range args {
			if tables[object] == nil {
				return usagef(cmd, "there are no config keys of %q; want one of %s", object, strings.Join(objects, ", "))
			}
		}
		if len(args) == 0 {
			args = objects
		}
		for _, object := range args {
			for _, k := range tables[object] {
				all = append(all, configKey{object, k.Name, k.Type.Name, k.Default, k.Scope, k.Help})
			}
		}
		return list(a.out, *f, all, []column[configKey]{
			{"OBJECT", func(k configKey) string { return k.Object }},
			{"KEY", func(k configKey) string { return k.Key }},
			{"TYPE", func(k configKey) string { return k.Type }},
			{"DEFAULT", func(k configKey) string { return k.Default }},
			{"SCOPE", func(k configKey) string { return string(k.Scope) }},
			{"MEANING", func(k configKey) string { return k.Help }},
		})
	}
	return cmd
}
