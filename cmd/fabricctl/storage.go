package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) storageCommand() *cobra.Command {
	var keys fabric.KeyTable
	for _, driver := range slices.Sorted(maps.Keys(fabric.PoolKeys)) {
		keys = append(keys, fabric.PoolKeys[driver]...)
	}
	keyed := keyedObject[incusapi.StoragePoolPut]{
		command: "storage", noun: "storage pool", sample: "local", setting: "user.owner=alice", key: "user.owner", names: pools, targeted: true, keys: keys,
		shown:  incusapi.StoragePool{},
		config: func(put *incusapi.StoragePoolPut) *incusapi.ConfigMap { return &put.Config },
		read: func(ctx context.Context, c *api.Client, name string) (incusapi.StoragePoolPut, string, error) {
			p, etag, err := c.GetPool(ctx, name)
			if err != nil {
				return incusapi.StoragePoolPut{}, "", err
			}
			return p.Writable(), etag, nil
		},
		write: func(ctx context.Context, c *api.Client, name string, put incusapi.StoragePoolPut, etag string) error {
			return c.UpdatePool(ctx, name, put, etag)
		},
	}
	commands := append([]*cobra.Command{a.storageCreate(keys), a.storageList(), a.storageShow(), a.storageDelete(), a.volumeCommand()}, keyed.commands(a)...)
	return group("storage", "Manage storage pools", commands...)
}

func (a *app) storageCreate(keys fabric.KeyTable) *cobra.Command {
	drivers := slices.Sorted(maps.Keys(fabric.PoolKeys))
	cmd := &cobra.Command{
		Use:   "create NAME DRIVER [KEY=VALUE...]",
		Short: "Create a storage pool",
		Long: "Create a storage pool on all members. DRIVER is one of " + strings.Join(drivers, ", ") + `.

With --target only that member's own keys are noted: give them for the members that differ, then create the pool without --target.`,
		Example: `  fabricctl storage create local dir
  fabricctl storage create local dir source=/srv/pool --target n1`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return nil, cobra.ShellCompDirectiveNoFileComp
			case 1:
				return drivers, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeKeys(nil, keys, "=")(cmd, args, typed)
		},
	}
	description := cmd.Flags().String("description", "", "`TEXT` that describes it")
	target := a.targetFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := a.config(cmd, args[2:])
		if err != nil {
			return err
		}
		post := incusapi.StoragePoolsPost{Name: args[0], Driver: args[1]}
		post.Config, post.Description = config, *description
		if err := a.client().Target(*target).CreatePool(cmd.Context(), post); err != nil {
			return err
		}
		a.sayCreated("Storage pool", args[0], *target)
		return nil
	}
	return cmd
}

func (a *app) storageList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List storage pools", Example: "  fabricctl storage list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetPools(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.StoragePool]{
			{"NAME", func(p incusapi.StoragePool) string { return p.Name }},
			{"DRIVER", func(p incusapi.StoragePool) string { return p.Driver }},
			{"DESCRIPTION", func(p incusapi.StoragePool) string { return p.Description }},
			{"USED BY", func(p incusapi.StoragePool) string { return strconv.Itoa(len(p.UsedBy)) }},
			{"STATE", func(p incusapi.StoragePool) string { return upper(p.Status) }},
		})
	}
	return cmd
}

func (a *app) storageShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Aliases: []string{"info"}, Short: "Show a storage pool",
		Example: "  fabricctl storage show local\n  fabricctl storage show local --target n1", ValidArgsFunction: a.complete(pools),
	}
	target := a.targetFlag(cmd)
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, _, err := a.client().Target(*target).GetPool(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, p)
	}
	return cmd
}

func (a *app) storageDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete storage pools that nothing uses",
		Example: "  fabricctl storage delete local", ValidArgsFunction: a.completeAll(pools),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Storage pool", args, func(name string) error { return a.client().DeletePool(cmd.Context(), name) })
		},
	}
}

func (a *app) volumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list POOL", Aliases: []string{"ls"}, Short: "List the volumes of a pool",
		Example: "  fabricctl storage volume list local", ValidArgsFunction: a.complete(pools),
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := a.client().GetVolumes(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.StorageVolume]{
			{"TYPE", func(v incusapi.StorageVolume) string { return v.Type }},
			{"NAME", func(v incusapi.StorageVolume) string { return v.Name }},
			{"DESCRIPTION", func(v incusapi.StorageVolume) string { return v.Description }},
			{"CONTENT TYPE", func(v incusapi.StorageVolume) string { return v.ContentType }},
			{"USED BY", func(v incusapi.StorageVolume) string { return strconv.Itoa(len(v.UsedBy)) }},
			{"LOCATION", func(v incusapi.StorageVolume) string { return v.Location }},
		})
	}
	return group("volume", "Look at the volumes of storage pools", cmd)
}
