package main

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	cmd := group("config", "Configure the server and instances",
		a.configSet(), a.configGet(), a.configUnset(), a.configShow(), a.configEdit(),
		a.deviceCommand(a.instanceDevices()), a.trustCommand(), a.keysCommand())
	cmd.Long = `Configure the server, or an instance where one is named.

"fabricctl config keys" lists every key with its type, default and meaning.`
	return cmd
}

// isServerKey tells the server's keys from names of instances.
func isServerKey(word string) bool {
	_, cluster := fabric.ClusterKeys.Lookup(word)
	_, member := fabric.MemberKeys.Lookup(word)
	return cluster || member
}

// serverKeys are the keys that the server's config has: those of the cluster and those of its members.
func serverKeys() fabric.KeyTable {
	return append(append(fabric.KeyTable{}, fabric.ClusterKeys...), fabric.MemberKeys...)
}

// completeConfig offers names of instances and the server's keys, and after a name the keys of instances, after a key of the server the others.
func (a *app) completeConfig(suffix string) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		server, directive := a.completeKeys(nil, serverKeys(), suffix)(cmd, nil, typed)
		switch {
		case len(args) == 0:
			names, _ := a.offer(cmd, instances, nil)
			return append(names, server...), directive
		case strings.Contains(args[0], "="):
			return server, directive
		}
		return a.completeKeys(nil, fabric.InstanceKeys, suffix)(cmd, args, typed)
	}
}

// configTarget gives a command --target, for the server's keys that differ from member to member.
func (a *app) configTarget(cmd *cobra.Command) *string {
	target := cmd.Flags().String("target", "", "`MEMBER` whose own keys are meant, where no instance is named")
	a.flagNames(cmd, "target", members)
	return target
}

func (a *app) configSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set [NAME] KEY=VALUE...",
		Short: "Set config keys",
		Long:  "Set config keys of the server, or of an instance. A value of \"-\" is read from stdin.",
		Example: `  fabricctl config set core.bgp_asn=65000
  fabricctl config set web1 limits.memory=256MiB user.owner=alice
  fabricctl config set core.bgp_routerid=192.0.2.1 --target n1`,
		ValidArgsFunction: a.completeConfig("="),
	}
	target := a.configTarget(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, rest := named(args, isServerKey)
		if len(rest) == 0 {
			return usagef(cmd, "KEY=VALUE is missing")
		}
		values, err := a.config(cmd, rest)
		if err != nil {
			return err
		}
		return a.changeConfig(cmd, name, *target, func(c map[string]string) error {
			maps.Copy(c, values)
			return nil
		})
	}
	return cmd
}

func (a *app) configUnset() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unset [NAME] KEY",
		Short: "Give a config key its default again",
		Example: `  fabricctl config unset core.bgp_asn
  fabricctl config unset web1 limits.memory`,
		ValidArgsFunction: a.completeConfig(""),
	}
	target := a.configTarget(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, key := lastOf(args)
		return a.changeConfig(cmd, name, *target, func(c map[string]string) error { return unset(c, key) })
	}
	return cmd
}

// lastOf splits "[NAME] KEY".
func lastOf(args []string) (name, key string) {
	if len(args) == 2 {
		return args[0], args[1]
	}
	return "", args[0]
}

// unset removes a key that must be there: a key that is not is most likely misspelt.
func unset(c map[string]string, key string) error {
	if _, ok := c[key]; !ok {
		return fabric.NotFoundf("key %q is not set", key)
	}
	delete(c, key)
	return nil
}

// changeConfig changes the config of an instance, or of the server where name is empty.
func (a *app) changeConfig(cmd *cobra.Command, name, target string, modify func(map[string]string) error) error {
	client := a.client()
	if name != "" {
		if target != "" {
			return usagef(cmd, "--target is for the server's own keys, not for an instance's")
		}
		return a.changeInstance(cmd.Context(), client, name, func(i *incusapi.InstancePut) error {
			if i.Config == nil {
				i.Config = incusapi.ConfigMap{}
			}
			return modify(i.Config)
		})
	}
	client = client.Target(target)
	return change(cmd.Context(), readServer(client), func(s *incusapi.ServerPut) error {
		if s.Config == nil {
			s.Config = incusapi.ConfigMap{}
		}
		return modify(s.Config)
	}, client.UpdateServer)
}

func readServer(client *api.Client) func(context.Context) (incusapi.ServerPut, string, error) {
	return func(ctx context.Context) (incusapi.ServerPut, string, error) {
		s, etag, err := client.GetServer(ctx)
		if err != nil {
			return incusapi.ServerPut{}, "", err
		}
		return s.Writable(), etag, nil
	}
}

func readInstance(client *api.Client, name string) func(context.Context) (incusapi.InstancePut, string, error) {
	return func(ctx context.Context) (incusapi.InstancePut, string, error) {
		i, etag, err := client.GetInstance(ctx, name)
		if err != nil {
			return incusapi.InstancePut{}, "", err
		}
		return i.Writable(), etag, nil
	}
}

func (a *app) writeInstance(client *api.Client, name string) func(context.Context, incusapi.InstancePut, string) error {
	return func(ctx context.Context, put incusapi.InstancePut, etag string) error {
		op, err := client.UpdateInstance(ctx, name, put, etag)
		return a.finished(ctx, op, err)
	}
}

func (a *app) changeInstance(ctx context.Context, client *api.Client, name string, modify func(*incusapi.InstancePut) error) error {
	return change(ctx, readInstance(client, name), modify, a.writeInstance(client, name))
}

func (a *app) configGet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get [NAME] KEY",
		Short: "Show the value of a config key",
		Example: `  fabricctl config get core.bgp_asn
  fabricctl config get web1 limits.memory
  fabricctl config get web1 anycast --expanded`,
		ValidArgsFunction: a.completeConfig(""),
	}
	expanded := cmd.Flags().BoolP("expanded", "e", false, "with what the profiles say")
	target := a.configTarget(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, key := lastOf(args)
		if name == "" {
			s, _, err := a.client().Target(*target).GetServer(cmd.Context())
			if err != nil {
				return err
			}
			return a.printValue(serverKeys(), "the server", s.Config, key)
		}
		i, _, err := a.client().GetInstance(cmd.Context(), name)
		if err != nil {
			return err
		}
		c := i.Config
		if *expanded {
			c = i.ExpandedConfig
		}
		return a.printValue(fabric.InstanceKeys, "instance "+name, c, key)
	}
	return cmd
}

// printValue prints the value of a key: an empty line for one that is not set, an error for one that does not exist.
func (a *app) printValue(keys fabric.KeyTable, what string, c map[string]string, key string) error {
	v, ok := c[key]
	if !ok {
		if err := keys.Check(what, fabric.Config{key: ""}); err != nil {
			return err
		}
	}
	fmt.Fprintln(a.out, v)
	return nil
}

func (a *app) configShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show the config of the server or of an instance",
		Example: `  fabricctl config show
  fabricctl config show web1 --expanded`,
		ValidArgsFunction: a.complete(instances),
	}
	expanded := cmd.Flags().BoolP("expanded", "e", false, "with what the profiles say")
	target := a.configTarget(cmd)
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			s, _, err := readServer(a.client().Target(*target))(cmd.Context())
			if err != nil {
				return err
			}
			return show(a.out, *f, s)
		}
		i, _, err := a.client().GetInstance(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		put := i.Writable()
		if *expanded {
			put.Config, put.Devices = i.ExpandedConfig, i.ExpandedDevices
		}
		return show(a.out, *f, put)
	}
	return cmd
}

func (a *app) configEdit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit [NAME]",
		Short: "Edit the config of the server or of an instance as YAML",
		Example: `  fabricctl config edit
  fabricctl config edit web1
  fabricctl config edit web1 < web1.yaml`,
		ValidArgsFunction: a.complete(instances),
	}
	target := a.configTarget(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client := a.client()
		if len(args) == 0 {
			client = client.Target(*target)
			return edit(cmd.Context(), a, "the server's config", "", nil, readServer(client), client.UpdateServer)
		}
		return edit(cmd.Context(), a, "instance "+args[0], args[0], incusapi.Instance{}, readInstance(client, args[0]), a.writeInstance(client, args[0]))
	}
	return cmd
}
