package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) routeCommand() *cobra.Command {
	return group("route", "See what is announced, and why", a.routeList(), a.routeExplain(), a.routeReasons())
}

func (a *app) routeList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Aliases: []string{"ls"},
		Short:   "List what the members announce or could, to whom, or why not",
		Long: `List the prefixes that the members of the cluster announce or could announce: what each is for, to whom it is announced, or why it is not.

With a PREFIX, or an address, only what overlaps it is listed.`,
		Example: `  fabricctl route list
  fabricctl route list 203.0.113.53
  fabricctl route list 10.0.0.0/8 -f json`,
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var within netip.Prefix
		if len(args) == 1 {
			var err error
			if within, err = fabric.ParsePrefix(args[0]); err != nil {
				return usagef(cmd, "%v", err)
			}
		}
		all, err := a.client().GetRoutes(cmd.Context())
		if err != nil {
			return err
		}
		if within.IsValid() {
			all = slices.DeleteFunc(all, func(r api.Route) bool { return !r.Prefix.Overlaps(within) })
		}
		return list(a.out, *f, all, routeColumns)
	}
	return cmd
}

var routeColumns = []column[api.Route]{
	{"PREFIX", func(r api.Route) string { return r.Prefix.String() }},
	{"KIND", func(r api.Route) string { return string(r.Kind) }},
	{"OWNER", func(r api.Route) string { return r.Owner.Name }},
	{"MEMBER", func(r api.Route) string { return r.Member }},
	{"ANNOUNCED TO", func(r api.Route) string {
		var peers []string
		for _, p := range r.Peers {
			if p.Announced {
				peers = append(peers, p.Peer)
			}
		}
		slices.Sort(peers)
		return strings.Join(peers, "\n")
	}},
	{"STATE", routeState},
}

// routeState says in words whether a prefix is announced, and why not.
func routeState(r api.Route) string {
	switch {
	case r.Stale:
		return "unknown: member offline"
	case !r.Up:
		return "no: " + why(r.Message, r.Reason)
	}
	var missing []string
	announced, no := 0, "no: "+why(r.Message, r.Reason)
	for _, p := range r.Peers {
		if p.Announced {
			announced++
			continue
		}
		if r.Message == p.Peer+": "+p.Message {
			no = "no" // what is said of the peer says it
		}
		missing = append(missing, fmt.Sprintf("not to %s: %s", p.Peer, why(p.Message, p.Reason)))
	}
	slices.Sort(missing)
	switch {
	case announced == 0:
		return strings.Join(append([]string{no}, missing...), "\n")
	case len(missing) > 0:
		return strings.Join(append([]string{"announced"}, missing...), "\n")
	}
	return "announced"
}

// why is a message, or else a slug in words.
func why(message, slug string) string {
	if slug == "" {
		return cmp.Or(message, "not known why")
	}
	return cmp.Or(message, fabric.TextOfReason(slug).Cause)
}
