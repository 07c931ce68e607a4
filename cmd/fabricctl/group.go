package main

import (
	"slices"
	"strings"

	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// groups names the groups of members.
var groups = collection("/1.0/cluster/groups")

func (a *app) clusterGroupCommand() *cobra.Command {
	return group("group", "Manage groups of members", a.groupCreate(), a.groupList(), groupObject.show(a, "Show a group of members"), groupObject.edit(a, ""), a.groupRename(), a.groupDelete(),
		a.regroup("assign MEMBER GROUP[,GROUP...]", "Put a member into exactly these groups", "  fabricctl cluster group assign n1 edge,rack1\n  fabricctl cluster group assign n1 default",
			func(_, given []string) []string { return given }),
		a.regroup("add MEMBER GROUP[,GROUP...]", "Put a member into groups besides those that it is in", "  fabricctl cluster group add n1 edge",
			func(had, given []string) []string {
				return append(slices.DeleteFunc(had, func(g string) bool { return g == "default" }), given...)
			}),
		a.regroup("remove MEMBER GROUP[,GROUP...]", "Take a member out of groups; one that is in none then is in default", "  fabricctl cluster group remove n1 edge",
			func(had, given []string) []string {
				return slices.DeleteFunc(had, func(g string) bool { return slices.Contains(given, g) })
			}))
}

func (a *app) groupCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a group of members",
		Long: "Make a group of members. BGP peers can be for a group (--members group:NAME), and instances be placed in one (--target @NAME). Members that\n" +
			"are in no group are in the group default.",
		Example: "  fabricctl cluster group create edge --members n1,n2",
	}
	members := cmd.Flags().StringSlice("members", nil, "`MEMBERS` to put into it")
	description := cmd.Flags().String("description", "", "`TEXT` that describes it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := a.client().CreateClusterGroup(cmd.Context(), api.ClusterGroup{Name: args[0], ClusterGroupPut: api.ClusterGroupPut{Description: *description, Members: *members}})
		if err != nil {
			return err
		}
		a.say("Cluster group %s created", args[0])
		return nil
	}
	return cmd
}

func (a *app) groupList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the groups of members", Example: "  fabricctl cluster group list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetClusterGroups(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.ClusterGroup]{
			{"NAME", func(g api.ClusterGroup) string { return g.Name }},
			{"DESCRIPTION", func(g api.ClusterGroup) string { return g.Description }},
			{"MEMBERS", func(g api.ClusterGroup) string { return strings.Join(g.Members, "\n") }},
		})
	}
	return cmd
}

var groupObject = plainObject[api.ClusterGroup, api.ClusterGroupPut]{
	command: "cluster group", noun: "cluster group", what: "a group of members", sample: "edge", names: groups,
	read: (*api.Client).GetClusterGroup, put: func(o *api.ClusterGroup) api.ClusterGroupPut { return o.ClusterGroupPut }, write: (*api.Client).UpdateClusterGroup,
}

func (a *app) groupRename() *cobra.Command {
	return &cobra.Command{
		Use: "rename NAME NEW-NAME", Aliases: []string{"mv"}, Short: "Rename a group of members, also where it is used",
		Example: "  fabricctl cluster group rename edge border", ValidArgsFunction: a.complete(groups),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.client().RenameClusterGroup(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			a.say("Cluster group %s is called %s now", args[0], args[1])
			return nil
		},
	}
}

func (a *app) groupDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete groups that no member is in and nothing uses",
		Example: "  fabricctl cluster group delete edge", ValidArgsFunction: a.completeAll(groups),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteEach("Cluster group", args, func(name string) error { return a.client().DeleteClusterGroup(cmd.Context(), name) })
		},
	}
}

// regroup is a command that changes the groups of a member.
func (a *app) regroup(use, short, example string, change func(had, given []string) []string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, ValidArgsFunction: a.complete(members, groups),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, etag, err := a.client().GetMember(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var put incusapi.ClusterMemberPut = m.Writable()
			if put.Groups = slices.Compact(slices.Sorted(slices.Values(change(put.Groups, strings.Split(args[1], ","))))); len(put.Groups) == 0 {
				put.Groups = []string{"default"}
			}
			if err := a.client().UpdateMember(cmd.Context(), args[0], put, etag); err != nil {
				return err
			}
			a.say("Member %s is in %s now", args[0], strings.Join(put.Groups, ", "))
			return nil
		},
	}
}
