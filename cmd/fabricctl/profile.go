package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) profileCommand() *cobra.Command {
	keyed := keyedObject[incusapi.ProfilePut]{
		command: "profile", noun: "profile", sample: "web", setting: "limits.memory=256MiB", key: "limits.memory", names: profiles, keys: fabric.InstanceKeys,
		shown:  incusapi.Profile{},
		config: func(put *incusapi.ProfilePut) *incusapi.ConfigMap { return &put.Config },
		read:   readProfile,
		write: func(ctx context.Context, c *api.Client, name string, put incusapi.ProfilePut, etag string) error {
			return c.UpdateProfile(ctx, name, put, etag)
		},
	}
	commands := append([]*cobra.Command{a.profileCreate(), a.profileList(), a.profileShow(), a.profileDelete(), a.deviceCommand(a.profileDevices()), a.profileAssign(), a.profileAdd(), a.profileRemove()}, keyed.commands(a)...)
	return group("profile", "Manage profiles", commands...)
}

func readProfile(ctx context.Context, c *api.Client, name string) (incusapi.ProfilePut, string, error) {
	p, etag, err := c.GetProfile(ctx, name)
	if err != nil {
		return incusapi.ProfilePut{}, "", err
	}
	return p.Writable(), etag, nil
}

func (a *app) profileDevices() deviceOwner {
	return deviceOwner{
		noun: "profile", path: "profile", sample: "web", names: profiles,
		read: func(ctx context.Context, name string) (incusapi.DevicesMap, error) {
			p, _, err := readProfile(ctx, a.client(), name)
			return p.Devices, err
		},
		change: func(ctx context.Context, name string, modify func(incusapi.DevicesMap) error) error {
			c := a.client()
			return change(ctx, func(ctx context.Context) (incusapi.ProfilePut, string, error) { return readProfile(ctx, c, name) },
				func(put *incusapi.ProfilePut) error {
					if put.Devices == nil {
						put.Devices = incusapi.DevicesMap{}
					}
					return modify(put.Devices)
				},
				func(ctx context.Context, put incusapi.ProfilePut, etag string) error {
					return c.UpdateProfile(ctx, name, put, etag)
				})
		},
	}
}

func (a *app) profileCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME [KEY=VALUE...]", Short: "Create a profile",
		Example:           "  fabricctl profile create web limits.memory=256MiB",
		ValidArgsFunction: a.completeKeys(nil, fabric.InstanceKeys, "="),
	}
	description := cmd.Flags().String("description", "", "`TEXT` that describes it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := a.config(cmd, args[1:])
		if err != nil {
			return err
		}
		post := incusapi.ProfilesPost{Name: args[0]}
		post.Config, post.Devices, post.Description = config, incusapi.DevicesMap{}, *description
		if err := a.client().CreateProfile(cmd.Context(), post); err != nil {
			return err
		}
		a.say("Profile %s created", args[0])
		return nil
	}
	return cmd
}

func (a *app) profileList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List profiles", Example: "  fabricctl profile list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetProfiles(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.Profile]{
			{"NAME", func(p incusapi.Profile) string { return p.Name }},
			{"DESCRIPTION", func(p incusapi.Profile) string { return p.Description }},
			{"USED BY", func(p incusapi.Profile) string { return strconv.Itoa(len(p.UsedBy)) }},
		})
	}
	return cmd
}

func (a *app) profileShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a profile",
		Example: "  fabricctl profile show default", ValidArgsFunction: a.complete(profiles),
	}
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, _, err := a.client().GetProfile(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, p)
	}
	return cmd
}

func (a *app) profileDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete profiles that no instance has",
		Example: "  fabricctl profile delete web", ValidArgsFunction: a.completeAll(profiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Profile", args, func(name string) error { return a.client().DeleteProfile(cmd.Context(), name) })
		},
	}
}

// changeProfiles changes which profiles an instance has.
func (a *app) changeProfiles(ctx context.Context, name string, modify func([]string) ([]string, error)) error {
	return a.changeInstance(ctx, a.client(), name, func(i *incusapi.InstancePut) (err error) {
		i.Profiles, err = modify(i.Profiles)
		return err
	})
}

func (a *app) profileAssign() *cobra.Command {
	return &cobra.Command{
		Use: "assign INSTANCE PROFILE...", Short: "Give an instance exactly these profiles",
		Example: "  fabricctl profile assign web1 default web", ValidArgsFunction: a.complete(instances, profiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			var want []string // lxc has them between commas
			for _, arg := range args[1:] {
				want = append(want, strings.Split(arg, ",")...)
			}
			if err := a.changeProfiles(cmd.Context(), args[0], func([]string) ([]string, error) { return want, nil }); err != nil {
				return err
			}
			a.say("Profiles %s applied to %s", strings.Join(want, ", "), args[0])
			return nil
		},
	}
}

func (a *app) profileAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add INSTANCE PROFILE", Short: "Give an instance one more profile",
		Example: "  fabricctl profile add web1 web", ValidArgsFunction: a.complete(instances, profiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.changeProfiles(cmd.Context(), args[0], func(have []string) ([]string, error) {
				if slices.Contains(have, args[1]) {
					return nil, fabric.Conflictf("exists", "instance %q has profile %q already", args[0], args[1])
				}
				return append(have, args[1]), nil
			}); err != nil {
				return err
			}
			a.say("Profile %s added to %s", args[1], args[0])
			return nil
		},
	}
}

func (a *app) profileRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove INSTANCE PROFILE", Short: "Take a profile from an instance",
		Example: "  fabricctl profile remove web1 web", ValidArgsFunction: a.complete(instances, profiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.changeProfiles(cmd.Context(), args[0], func(have []string) ([]string, error) {
				left := slices.DeleteFunc(slices.Clone(have), func(p string) bool { return p == args[1] })
				if len(left) == len(have) {
					return nil, fabric.NotFoundf("instance %q has no profile %q", args[0], args[1])
				}
				return left, nil
			}); err != nil {
				return err
			}
			a.say("Profile %s removed from %s", args[1], args[0])
			return nil
		},
	}
}
