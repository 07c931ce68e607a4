package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Manage BGP policies", a.policyCreate(), a.policyList(), policyObject.show(a, "Show a BGP policy"), policyObject.edit(a, "; \"fabricctl bgp policy create --help\" tells what rules consist of."), a.policyDelete())
}

func (a *app) policyCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a BGP policy",
		Long: `Create a BGP policy from YAML on stdin: rules, of which the first that matches a route decides. What no rule matches is rejected; without YAML
there is no rule. Peers name the policy as --export (what they are told) or --import (what is taken from them).

A rule has an action, accept or reject, and may have:
  match   prefixes (PREFIX [ge LENGTH] [le LENGTH]), family (ipv4, ipv6)
          for export: kinds (network, instance, anycast, gateway), owners (anycast/dns), labels (user.KEY=VALUE)
          for import: communities, as_path (a regular expression; _ is a boundary), next_hops, validation (valid, invalid, not-found; see "fabricctl bgp rpki")
  set     add_communities, remove_communities (65000:1, 65000:1:2, no-export, graceful-shutdown, …), local_pref, med, prepend, next_hop,
          for export: link_bandwidth (Mbit/s)`,
		Example: `  fabricctl bgp policy create ix < ix.yaml

  # ix.yaml: only anycast, a little less preferred
  rules:
  - {match: {kinds: [anycast]}, action: accept, set: {med: 100, add_communities: ["65000:100"]}}`,
	}
	description := cmd.Flags().String("description", "", "`TEXT` that describes it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		post := api.BGPPoliciesPost{Name: args[0]}
		post.Rules = []api.BGPPolicyRule{}
		if terminal(a.in) == nil {
			data, err := io.ReadAll(a.in)
			if err != nil {
				return fmt.Errorf("read the policy from stdin: %w", err)
			}
			if len(strings.TrimSpace(string(data))) > 0 {
				if err := readYAML(data, &post.BGPPolicyPut, onlyShown(api.BGPPolicy{}, api.BGPPolicyPut{}), ""); err != nil {
					return fabric.Invalidf("bad-yaml", "the policy from stdin: %w", err)
				}
			}
		}
		if *description != "" {
			post.Description = *description
		}
		if err := a.client().CreateBGPPolicy(cmd.Context(), post); err != nil {
			return err
		}
		a.say("BGP policy %s created", post.Name)
		return nil
	}
	return cmd
}

func (a *app) policyList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List BGP policies", Example: "  fabricctl bgp policy list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetBGPPolicies(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.BGPPolicy]{
			{"NAME", func(p api.BGPPolicy) string { return p.Name }},
			{"RULES", func(p api.BGPPolicy) string { return strconv.Itoa(len(p.Rules)) }},
			{"BUILT IN", func(p api.BGPPolicy) string { return yesNo(p.Builtin) }},
			{"USED BY", func(p api.BGPPolicy) string { return joined(p.UsedBy, last) }},
			{"DESCRIPTION", func(p api.BGPPolicy) string { return p.Description }},
		})
	}
	return cmd
}

var policyObject = plainObject[api.BGPPolicy, api.BGPPolicyPut]{
	command: "bgp policy", noun: "BGP policy", what: "a BGP policy", sample: "ix", names: policies,
	read: (*api.Client).GetBGPPolicy, put: func(o *api.BGPPolicy) api.BGPPolicyPut { return o.BGPPolicyPut }, write: (*api.Client).UpdateBGPPolicy,
}

func (a *app) policyDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete BGP policies that no peer uses",
		Example: "  fabricctl bgp policy delete ix", ValidArgsFunction: a.completeAll(policies),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().DeleteBGPPolicy(cmd.Context(), name); err != nil {
					return err
				}
				a.say("BGP policy %s deleted", name)
			}
			return nil
		},
	}
}
