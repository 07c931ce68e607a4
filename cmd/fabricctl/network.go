package main

import (
	"context"
	"fmt"
	"strconv"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) networkCommand() *cobra.Command {
	keyed := keyedObject[incusapi.NetworkPut]{
		command: "network", noun: "network", sample: "lan0", setting: "ipv4.nat=true", key: "ipv4.nat", names: networks, targeted: true,
		shown:  incusapi.Network{},
		keys:   fabric.NetworkKeys,
		config: func(put *incusapi.NetworkPut) *incusapi.ConfigMap { return &put.Config },
		read: func(ctx context.Context, c *api.Client, name string) (incusapi.NetworkPut, string, error) {
			n, etag, err := c.GetNetwork(ctx, name)
			if err != nil {
				return incusapi.NetworkPut{}, "", err
			}
			return n.Writable(), etag, nil
		},
		write: func(ctx context.Context, c *api.Client, name string, put incusapi.NetworkPut, etag string) error {
			return c.UpdateNetwork(ctx, name, put, etag)
		},
	}
	commands := append([]*cobra.Command{a.networkCreate(), a.networkList(), a.networkShow(), a.networkInfo(), a.networkLeases(), a.networkDelete()}, keyed.commands(a)...)
	return group("network", "Manage networks", commands...)
}

func (a *app) networkCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME [KEY=VALUE...]",
		Short: "Create a network",
		Long: `Create a network on all members. With --target only that member's own keys are noted: give them for the members that differ, then create
the network without --target.`,
		Example: `  fabricctl network create lan0
  fabricctl network create lan0 ipv4.address=10.1.0.1/24 ipv6.address=none
  fabricctl network create lan0 bridge.external_interfaces=eth2 --target n1`,
		ValidArgsFunction: a.completeKeys(nil, fabric.NetworkKeys, "="),
	}
	kind := cmd.Flags().StringP("type", "t", fabric.NetworkBridge, "`TYPE` of the network")
	description := cmd.Flags().String("description", "", "`TEXT` that describes it")
	target := a.targetFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := a.config(cmd, args[1:])
		if err != nil {
			return err
		}
		post := incusapi.NetworksPost{Name: args[0], Type: *kind}
		post.Config, post.Description = config, *description
		if err := a.client().Target(*target).CreateNetwork(cmd.Context(), post); err != nil {
			return err
		}
		a.sayCreated("Network", args[0], *target)
		return nil
	}
	return cmd
}

// targetFlag gives a command the --target of things that may differ from member to member.
func (a *app) targetFlag(cmd *cobra.Command) *string {
	target := cmd.Flags().String("target", "", "`MEMBER` whose own config is meant")
	a.flagNames(cmd, "target", members)
	return target
}

// sayCreated tells of the creation of something that is on all members, or of its definition for one.
func (a *app) sayCreated(noun, name, target string) {
	if target != "" {
		a.say("%s %s pending on member %s", noun, name, target)
		return
	}
	a.say("%s %s created", noun, name)
}

func (a *app) networkList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List networks", Example: "  fabricctl network list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetNetworks(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.Network]{
			{"NAME", func(n incusapi.Network) string { return n.Name }},
			{"TYPE", func(n incusapi.Network) string { return n.Type }},
			{"MANAGED", func(n incusapi.Network) string { return yesNo(n.Managed) }},
			{"IPV4", func(n incusapi.Network) string { return n.Config["ipv4.address"] }},
			{"IPV6", func(n incusapi.Network) string { return n.Config["ipv6.address"] }},
			{"DESCRIPTION", func(n incusapi.Network) string { return n.Description }},
			{"USED BY", func(n incusapi.Network) string { return strconv.Itoa(len(n.UsedBy)) }},
			{"STATE", func(n incusapi.Network) string { return upper(n.Status) }},
		})
	}
	return cmd
}

func (a *app) networkShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a network",
		Example: "  fabricctl network show lan0\n  fabricctl network show lan0 --target n1", ValidArgsFunction: a.complete(networks),
	}
	target := a.targetFlag(cmd)
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, _, err := a.client().Target(*target).GetNetwork(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, n)
	}
	return cmd
}

func (a *app) networkInfo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Show how a network is on a member",
		Example: "  fabricctl network info lan0\n  fabricctl network info lan0 --target n2", ValidArgsFunction: a.complete(networks),
	}
	target := a.targetFlag(cmd)
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.client().Target(*target).GetNetworkState(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *f != "table" {
			return show(a.out, *f, s)
		}
		d := description{a.out}
		d.line(0, "Name", args[0])
		d.line(0, "MAC address", s.Hwaddr)
		d.line(0, "MTU", fmt.Sprint(s.Mtu))
		d.line(0, "State", upper(s.State))
		d.line(0, "Type", s.Type)
		if len(s.Addresses) > 0 {
			d.line(0, "Addresses", "\n")
		}
		for _, address := range s.Addresses {
			d.line(1, address.Family, address.Address+"/"+address.Netmask+" ("+address.Scope+")")
		}
		if c := s.Counters; c != nil {
			d.line(0, "Traffic", "\n")
			d.line(1, "Received", fmt.Sprintf("%s in %d packets", size(c.BytesReceived), c.PacketsReceived))
			d.line(1, "Sent", fmt.Sprintf("%s in %d packets", size(c.BytesSent), c.PacketsSent))
		}
		return nil
	}
	return cmd
}

func (a *app) networkLeases() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list-leases NAME", Short: "List the addresses in use in a network",
		Example: "  fabricctl network list-leases lan0", ValidArgsFunction: a.complete(networks),
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := a.client().GetNetworkLeases(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.NetworkLease]{
			{"HOSTNAME", func(l incusapi.NetworkLease) string { return l.Hostname }},
			{"MAC ADDRESS", func(l incusapi.NetworkLease) string { return l.Hwaddr }},
			{"IP ADDRESS", func(l incusapi.NetworkLease) string { return l.Address }},
			{"TYPE", func(l incusapi.NetworkLease) string { return upper(l.Type) }},
			{"LOCATION", func(l incusapi.NetworkLease) string { return l.Location }},
		})
	}
	return cmd
}

func (a *app) networkDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete networks that nothing uses",
		Example: "  fabricctl network delete lan0", ValidArgsFunction: a.completeAll(networks),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Network", args, func(name string) error { return a.client().DeleteNetwork(cmd.Context(), name) })
		},
	}
}

// deleteEach deletes things by name, one after the other, and tells of each.
func (a *app) deleteEach(noun string, names []string, remove func(name string) error) error {
	for _, name := range names {
		if err := remove(name); err != nil {
			return err
		}
		a.say("%s %s deleted", noun, name)
	}
	return nil
}
