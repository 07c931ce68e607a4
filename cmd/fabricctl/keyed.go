package main

import (
	"context"
	"maps"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// keyedObject is a sort of object with config keys. T is what can be changed of it.
type keyedObject[T any] struct {
	command  string // path of the command above
	noun     string // what one of them is called
	sample   string // a name, for examples
	setting  string // a KEY=VALUE, for examples
	key      string // a KEY, for examples
	names    source
	keys     fabric.KeyTable
	targeted bool // some keys differ from member to member
	shown    any  // a zero one as show shows it
	config   func(*T) *incusapi.ConfigMap
	read     func(ctx context.Context, c *api.Client, name string) (T, string, error)
	write    func(ctx context.Context, c *api.Client, name string, put T, etag string) error
}

// commands are edit, set, get and unset.
func (k keyedObject[T]) commands(a *app) []*cobra.Command {
	prefix := "  fabricctl " + k.command + " "
	set := &cobra.Command{
		Use: "set NAME KEY=VALUE...", Short: "Set config keys of a " + k.noun,
		Long:              "Set config keys of a " + k.noun + ". A value of \"-\" is read from stdin.",
		Example:           prefix + "set " + k.sample + " " + k.setting,
		ValidArgsFunction: a.completeKeys(k.names, k.keys, "="),
	}
	client := k.client(a, set)
	set.RunE = func(cmd *cobra.Command, args []string) error {
		values, err := a.config(cmd, pair(args[1:]))
		if err != nil {
			return err
		}
		return k.change(cmd.Context(), client(), args[0], func(c incusapi.ConfigMap) error {
			maps.Copy(c, values)
			return nil
		})
	}
	return []*cobra.Command{set, k.get(a, prefix), k.unset(a, prefix), k.edit(a, prefix)}
}

// client gives a command --target where that makes sense, and the client that minds it.
func (k keyedObject[T]) client(a *app, cmd *cobra.Command) func() *api.Client {
	if !k.targeted {
		return a.client
	}
	target := a.targetFlag(cmd)
	return func() *api.Client { return a.client().Target(*target) }
}

func (k keyedObject[T]) change(ctx context.Context, c *api.Client, name string, modify func(incusapi.ConfigMap) error) error {
	return change(ctx, func(ctx context.Context) (T, string, error) { return k.read(ctx, c, name) },
		func(put *T) error {
			config := k.config(put)
			if *config == nil {
				*config = incusapi.ConfigMap{}
			}
			return modify(*config)
		},
		func(ctx context.Context, put T, etag string) error { return k.write(ctx, c, name, put, etag) })
}

func (k keyedObject[T]) get(a *app, prefix string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get NAME KEY", Short: "Show the value of a config key of a " + k.noun,
		Example:           prefix + "get " + k.sample + " " + k.key,
		ValidArgsFunction: a.completeKeys(k.names, k.keys, ""),
	}
	client := k.client(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		put, _, err := k.read(cmd.Context(), client(), args[0])
		if err != nil {
			return err
		}
		return a.printValue(k.keys, k.noun+" "+args[0], *k.config(&put), args[1])
	}
	return cmd
}

func (k keyedObject[T]) unset(a *app, prefix string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "unset NAME KEY", Short: "Give a config key of a " + k.noun + " its default again",
		Example:           prefix + "unset " + k.sample + " " + k.key,
		ValidArgsFunction: a.completeKeys(k.names, k.keys, ""),
	}
	client := k.client(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return k.change(cmd.Context(), client(), args[0], func(c incusapi.ConfigMap) error { return unset(c, args[1]) })
	}
	return cmd
}

func (k keyedObject[T]) edit(a *app, prefix string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "edit NAME", Short: "Edit a " + k.noun + " as YAML",
		Long:              "Edit a " + k.noun + " as YAML in $VISUAL or $EDITOR, or replace it by YAML from stdin.",
		Example:           prefix + "edit " + k.sample + "\n" + prefix + "edit " + k.sample + " < " + k.sample + ".yaml",
		ValidArgsFunction: a.complete(k.names),
	}
	client := k.client(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := client()
		return edit(cmd.Context(), a, k.noun+" "+args[0], args[0], k.shown,
			func(ctx context.Context) (T, string, error) { return k.read(ctx, c, args[0]) },
			func(ctx context.Context, put T, etag string) error { return k.write(ctx, c, args[0], put, etag) })
	}
	return cmd
}
