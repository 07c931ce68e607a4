package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) launchCommand() *cobra.Command {
	return a.createCommand(&cobra.Command{
		Use:   "launch IMAGE NAME",
		Short: "Create an instance and start it",
		Example: `  fabricctl launch alpine web1
  fabricctl launch alpine web1 --target n2 -n lan0 -s local
  fabricctl launch alpine dns1 -c anycast=dns -c limits.memory=256MiB
  fabricctl launch alpine web2 -n lan0 -d eth0,ipv4.address=10.1.0.80`,
	}, true)
}

func (a *app) initCommand() *cobra.Command {
	return a.createCommand(&cobra.Command{
		Use:     "init IMAGE NAME",
		Aliases: []string{"create"},
		Short:   "Create an instance",
		Example: `  fabricctl init alpine web1
  fabricctl init alpine web1 -p default -p web -n lan0`,
	}, false)
}

// creation is what the flags of launch and init ask for.
type creation struct {
	target      string
	profiles    []string
	noProfiles  bool
	config      []string
	devices     []string
	network     string
	pool        string
	description string
	ephemeral   bool
}

func (a *app) createCommand(cmd *cobra.Command, start bool) *cobra.Command {
	cmd.Long = cmd.Short + `. IMAGE is an alias or the beginning of a fingerprint. Without --target the cluster places the instance.

A device given with -d that a profile has too is the profile's with the given keys changed.`
	var want creation
	flags := cmd.Flags()
	flags.StringVar(&want.target, "target", "", "`MEMBER` to create it on, or @GROUP for one of a cluster group")
	flags.StringArrayVarP(&want.profiles, "profile", "p", nil, "`PROFILE` to apply, in this order (default \"default\")")
	flags.BoolVar(&want.noProfiles, "no-profiles", false, "apply no profile at all")
	flags.StringArrayVarP(&want.config, "config", "c", nil, "config `KEY=VALUE`")
	flags.StringArrayVarP(&want.devices, "device", "d", nil, "`DEVICE,KEY=VALUE[,KEY=VALUE]` to add, or to change if a profile has it")
	flags.StringVarP(&want.network, "network", "n", "", "`NETWORK` for the NIC eth0")
	flags.StringVarP(&want.pool, "storage", "s", "", "storage `POOL` for the root disk")
	flags.StringVar(&want.description, "description", "", "`TEXT` that describes it")
	flags.BoolVarP(&want.ephemeral, "ephemeral", "e", false, "delete it when it stops")
	a.flagNames(cmd, "target", members)
	a.flagNames(cmd, "profile", profiles)
	a.flagNames(cmd, "network", networks)
	a.flagNames(cmd, "storage", pools)
	cmd.ValidArgsFunction = a.complete(images)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, client := cmd.Context(), a.client()
		post, err := a.instancesPost(cmd, client, args[1], want)
		if err != nil {
			return err
		}
		post.Start = start
		if post.Source.Fingerprint, err = resolveImage(ctx, client, args[0]); err != nil {
			return err
		}
		op, err := client.Target(want.target).CreateInstance(ctx, post)
		done, err := a.settle(ctx, op, err)
		if err != nil || !done {
			return err
		}
		verb := "created"
		if start {
			verb = "started"
		}
		made, _, err := client.GetInstance(ctx, args[1])
		if err != nil {
			return err
		}
		a.say("Instance %s %s on %s", made.Name, verb, made.Location)
		return nil
	}
	return cmd
}

// instancesPost makes the request of the flags; the image is still missing in it.
func (a *app) instancesPost(cmd *cobra.Command, client *api.Client, name string, want creation) (api.InstancesPost, error) {
	post := api.InstancesPost{}
	config, err := a.config(cmd, want.config)
	if err != nil {
		return post, err
	}
	if want.noProfiles && len(want.profiles) > 0 {
		return post, usagef(cmd, "--profile and --no-profiles exclude each other")
	}
	given := map[string]map[string]string{}
	if want.network != "" {
		given["eth0"] = map[string]string{"type": "nic", "network": want.network, "name": "eth0"}
	}
	if want.pool != "" {
		given["root"] = map[string]string{"type": "disk", "path": "/", "pool": want.pool}
	}
	overrides, err := deviceFlags(cmd, want.devices)
	if err != nil {
		return post, err
	}
	post.Name, post.Type = name, incusapi.InstanceTypeContainer
	post.Description, post.Config, post.Ephemeral = want.description, config, want.ephemeral
	switch {
	case want.noProfiles:
		post.Profiles = []string{}
	case len(want.profiles) > 0:
		post.Profiles = want.profiles
	}
	if len(overrides) > 0 {
		if err := overrideDevices(cmd.Context(), client, post.Profiles, given, overrides); err != nil {
			return post, err
		}
	}
	post.Devices = given
	post.Source.Type = "image"
	return post, nil
}

// deviceFlags reads the values of --device.
func deviceFlags(cmd *cobra.Command, values []string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	for _, v := range values {
		name, rest, ok := strings.Cut(v, ",")
		if !ok || name == "" || strings.Contains(name, "=") {
			return nil, usagef(cmd, "--device %q is not DEVICE,KEY=VALUE", v)
		}
		if all[name] == nil {
			all[name] = map[string]string{}
		}
		for pair := range strings.SplitSeq(rest, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok || key == "" {
				return nil, usagef(cmd, "--device %q: %q is not KEY=VALUE", v, pair)
			}
			all[name][key] = value
		}
	}
	return all, nil
}

// overrideDevices lays device keys over the devices given, and over those that the profiles have.
func overrideDevices(ctx context.Context, client *api.Client, names []string, given, overrides map[string]map[string]string) error {
	if names == nil {
		names = []string{"default"}
	}
	inherited := map[string]map[string]string{}
	for _, name := range names {
		p, _, err := client.GetProfile(ctx, name)
		if err != nil {
			return err
		}
		maps.Copy(inherited, p.Devices)
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if given[name] == nil {
			given[name] = map[string]string{}
			maps.Copy(given[name], inherited[name])
		}
		maps.Copy(given[name], overrides[name])
	}
	return nil
}

// resolveImage finds the fingerprint of an image by alias, or by the beginning of the fingerprint.
func resolveImage(ctx context.Context, client *api.Client, name string) (string, error) {
	alias, _, err := client.GetImageAlias(ctx, name)
	if err == nil {
		return alias.Target, nil
	}
	if code := fabric.CodeOf(err); code != fabric.CodeNotFound && code != fabric.CodeInvalid {
		return "", err
	}
	if strings.Trim(name, "0123456789abcdefABCDEF") == "" {
		image, _, err := client.GetImage(ctx, strings.ToLower(name))
		if err == nil {
			return image.Fingerprint, nil
		}
		if fabric.CodeOf(err) != fabric.CodeNotFound {
			return "", err
		}
	}
	return "", fabric.NotFoundf("there is no image %q", name).WithFix("see \"fabricctl image list\", or import it with \"fabricctl image import\"")
}
