package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"netfabric/fabric"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// deviceOwner is a sort of object that has devices: instances, profiles.
type deviceOwner struct {
	noun   string // "instance"
	path   string // of the command above, for examples
	sample string // a name, for examples
	names  source
	// read gives the devices of one of them.
	read func(ctx context.Context, name string) (incusapi.DevicesMap, error)
	// inherited gives all devices of one of them, those of its profiles among them; nil where nothing is inherited.
	inherited func(ctx context.Context, name string) (incusapi.DevicesMap, error)
	// change changes the devices of one of them.
	change func(ctx context.Context, name string, modify func(incusapi.DevicesMap) error) error
}

func (a *app) instanceDevices() deviceOwner {
	return deviceOwner{
		noun: "instance", path: "config", sample: "web1", names: instances,
		read: func(ctx context.Context, name string) (incusapi.DevicesMap, error) {
			i, _, err := readInstance(a.client(), name)(ctx)
			return i.Devices, err
		},
		inherited: func(ctx context.Context, name string) (incusapi.DevicesMap, error) {
			i, _, err := a.client().GetInstance(ctx, name)
			if err != nil {
				return nil, err
			}
			return i.ExpandedDevices, nil
		},
		change: func(ctx context.Context, name string, modify func(incusapi.DevicesMap) error) error {
			return a.changeInstance(ctx, a.client(), name, func(i *incusapi.InstancePut) error {
				if i.Devices == nil {
					i.Devices = incusapi.DevicesMap{}
				}
				return modify(i.Devices)
			})
		},
	}
}

// deviceCommand manages the devices of an owner.
func (a *app) deviceCommand(o deviceOwner) *cobra.Command {
	prefix := "  fabricctl " + o.path + " device "
	missing := func(ctx context.Context, name, device string) error {
		err := fabric.NotFoundf("%s %q has no device %q of its own", o.noun, name, device)
		if o.inherited != nil {
			if d, e := o.inherited(ctx, name); e == nil && d[device] != nil {
				return err.WithFix("it is of a profile: change that, or have one in its place with fabricctl %s device override %s %s KEY=VALUE", o.path, name, device)
			}
		}
		return err
	}
	add := &cobra.Command{
		Use: "add NAME DEVICE TYPE [KEY=VALUE...]", Short: "Add a device",
		Example:           prefix + "add " + o.sample + " eth1 nic network=lan0\n" + prefix + "add " + o.sample + " root disk path=/ pool=local",
		ValidArgsFunction: a.completeDevice(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.config(cmd, args[3:])
			if err != nil {
				return err
			}
			d["type"] = args[2]
			if err := o.change(cmd.Context(), args[0], func(devices incusapi.DevicesMap) error {
				if devices[args[1]] != nil {
					return fabric.Conflictf("exists", "%s %q has a device %q already", o.noun, args[0], args[1])
				}
				devices[args[1]] = d
				return nil
			}); err != nil {
				return err
			}
			a.say("Device %s added to %s", args[1], args[0])
			return nil
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME DEVICE...", Aliases: []string{"rm"}, Short: "Remove devices",
		Example: prefix + "remove " + o.sample + " eth1", ValidArgsFunction: a.complete(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.change(cmd.Context(), args[0], func(devices incusapi.DevicesMap) error {
				for _, device := range args[1:] {
					if devices[device] == nil {
						return missing(cmd.Context(), args[0], device)
					}
					delete(devices, device)
				}
				return nil
			}); err != nil {
				return err
			}
			for _, device := range args[1:] {
				a.say("Device %s removed from %s", device, args[0])
			}
			return nil
		},
	}
	set := &cobra.Command{
		Use: "set NAME DEVICE KEY=VALUE...", Short: "Set keys of a device",
		Example: prefix + "set " + o.sample + " eth0 ipv4.address=10.1.0.80", ValidArgsFunction: a.completeDevice(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := a.config(cmd, pair(args[2:]))
			if err != nil {
				return err
			}
			return o.change(cmd.Context(), args[0], func(devices incusapi.DevicesMap) error {
				if devices[args[1]] == nil {
					return missing(cmd.Context(), args[0], args[1])
				}
				maps.Copy(devices[args[1]], values)
				return nil
			})
		},
	}
	unsetKey := &cobra.Command{
		Use: "unset NAME DEVICE KEY", Short: "Give a key of a device its default again",
		Example: prefix + "unset " + o.sample + " eth0 ipv4.address", ValidArgsFunction: a.complete(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.change(cmd.Context(), args[0], func(devices incusapi.DevicesMap) error {
				if devices[args[1]] == nil {
					return missing(cmd.Context(), args[0], args[1])
				}
				return unset(devices[args[1]], args[2])
			})
		},
	}
	get := &cobra.Command{
		Use: "get NAME DEVICE KEY", Short: "Show the value of a key of a device",
		Example: prefix + "get " + o.sample + " eth0 network", ValidArgsFunction: a.complete(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			devices, err := o.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			d := devices[args[1]]
			if d == nil {
				return missing(cmd.Context(), args[0], args[1])
			}
			return a.printValue(fabric.DeviceKeys[d["type"]], "device "+args[1], d, args[2])
		},
	}
	commands := []*cobra.Command{add, remove, set, unsetKey, get, a.deviceList(o, prefix), a.deviceShow(o, prefix)}
	if o.inherited != nil {
		commands = append(commands, a.deviceOverride(o, prefix))
	}
	return group("device", "Manage the devices of "+o.noun+"s", commands...)
}

// deviceOverride gives one of them a copy of an inherited device.
func (a *app) deviceOverride(o deviceOwner, prefix string) *cobra.Command {
	return &cobra.Command{
		Use: "override NAME DEVICE [KEY=VALUE...]", Short: "Copy a device of a profile, to set keys of it for one " + o.noun,
		Example: prefix + "override " + o.sample + " eth0 ipv4.routes.external=203.0.113.16/28", ValidArgsFunction: a.completeDevice(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := a.config(cmd, args[2:])
			if err != nil {
				return err
			}
			all, err := o.inherited(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			d := maps.Clone(all[args[1]])
			if d == nil {
				return fabric.NotFoundf("%s %q has no device %q, and neither has a profile of it", o.noun, args[0], args[1])
			}
			maps.Copy(d, values)
			if err := o.change(cmd.Context(), args[0], func(devices incusapi.DevicesMap) error {
				if devices[args[1]] != nil {
					return fabric.Conflictf("exists", "%s %q has a device %q of its own already", o.noun, args[0], args[1]).WithFix("change it: fabricctl %s device set %s %s KEY=VALUE", o.path, args[0], args[1])
				}
				devices[args[1]] = d
				return nil
			}); err != nil {
				return err
			}
			a.say("Device %s overridden for %s", args[1], args[0])
			return nil
		},
	}
}

func (a *app) deviceList(o deviceOwner, prefix string) *cobra.Command {
	return &cobra.Command{
		Use: "list NAME", Short: "List the names of devices",
		Example: prefix + "list " + o.sample, ValidArgsFunction: a.complete(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			devices, err := o.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(devices)) {
				fmt.Fprintln(a.out, name)
			}
			return nil
		},
	}
}

func (a *app) deviceShow(o deviceOwner, prefix string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show devices with their keys",
		Example: prefix + "show " + o.sample, ValidArgsFunction: a.complete(o.names),
	}
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		devices, err := o.read(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, devices)
	}
	return cmd
}

// completeDevice offers a name, nothing for the new device's own name, then the device's type and the keys of that type.
func (a *app) completeDevice(names source) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return a.offer(cmd, names, nil)
		case len(args) == 2 && cmd.Name() == "add":
			return slices.Sorted(maps.Keys(fabric.DeviceKeys)), cobra.ShellCompDirectiveNoFileComp
		case len(args) > 2 && fabric.DeviceKeys[args[2]] != nil:
			return a.completeKeys(nil, fabric.DeviceKeys[args[2]], "=")(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
