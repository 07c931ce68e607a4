package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"netfabric/fabric"

	"github.com/spf13/cobra"
)

func (a *app) bgpRoutes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes [PREFIX]",
		Short: "Look into the BGP tables of a member",
		Long: `Look into the BGP tables of a member: without a flag all paths that it has, its own among them; with --best the one of each prefix that it uses;
with --installed what came of peers and was accepted, with the kernel routes that it made, or why it made none;
with --in what a peer told it, before policy, and why some of it is not used; with --out what a peer was told, after policy, and what it is not told.

With a PREFIX, or an address, only what covers it and what is in it is shown. The columns are those of every router: > marks the best path, S one
that is kept while its peer restarts.`,
		Example: `  fabricctl bgp routes
  fabricctl bgp routes --installed
  fabricctl bgp routes --in tor1
  fabricctl bgp routes --out tor1 203.0.113.53 --member n2`,
	}
	flags := cmd.Flags()
	in := flags.String("in", "", "what `PEER` told the member (Adj-RIB-In)")
	out := flags.String("out", "", "what `PEER` was told (Adj-RIB-Out)")
	best := flags.Bool("best", false, "only the best path of each prefix")
	installed := flags.Bool("installed", false, "what peers told that is in the kernel, or why not")
	limit := flags.Int("limit", fabric.DefaultBGPLimit, fmt.Sprintf("show at most `N` paths, up to %d", fabric.MaxBGPLimit))
	member := flags.String("member", "", "`MEMBER` to ask (default the one that this command talks to)")
	f := formatFlag(cmd, "table")
	a.flagNames(cmd, "in", peers)
	a.flagNames(cmd, "out", peers)
	a.flagNames(cmd, "member", members)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := atMostOne(cmd, "in", "out", "best", "installed"); err != nil {
			return err
		}
		q := fabric.BGPQuery{Limit: *limit}
		switch {
		case *in != "":
			q.Table, q.Peer = fabric.BGPIn, *in
		case *out != "":
			q.Table, q.Peer = fabric.BGPOut, *out
		case *best:
			q.Table = fabric.BGPBest
		case *installed:
			q.Table = fabric.BGPInstalled
		}
		if len(args) == 1 {
			var err error
			if q.Prefix, err = fabric.ParsePrefix(args[0]); err != nil {
				return usagef(cmd, "%v", err)
			}
		}
		answer, err := a.client().Target(*member).GetBGPRoutes(cmd.Context(), q)
		if err != nil {
			return err
		}
		if err := list(a.out, *f, answer.Routes, glassColumns(time.Now(), answer.Routes)); err != nil {
			return err
		}
		if answer.More > 0 {
			fmt.Fprintf(a.err, "%d more: give a PREFIX, or a higher --limit\n", answer.More)
		}
		return nil
	}
	return cmd
}

// kernelWords are the next hops of a kernel route, and its table if that is not the usual one.
func kernelWords(r fabric.BGPRoute) string {
	var lines []string
	for _, h := range r.Hops {
		line := fmt.Sprintf("via %s dev %s", h.Gateway, h.Interface)
		if r.Table != fabric.DefaultInstallTable {
			line += " table " + r.Table
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// glassColumns are those of a table of paths; what no path has gets no column.
func glassColumns(now time.Time, all []fabric.BGPRoute) []column[fabric.BGPRoute] {
	number := func(n *uint32) string {
		if n == nil {
			return ""
		}
		return strconv.FormatUint(uint64(*n), 10)
	}
	columns := []column[fabric.BGPRoute]{
		{"PREFIX", func(r fabric.BGPRoute) string { return r.Prefix.String() }},
		{"", func(r fabric.BGPRoute) string {
			return map[bool]string{true: ">"}[r.Best] + map[bool]string{true: "S"}[r.Stale]
		}},
		{"NEXT HOP", func(r fabric.BGPRoute) string {
			if r.NextHop == (netip.Addr{}) {
				return "self"
			}
			return r.NextHop.String()
		}},
		{"PEER", func(r fabric.BGPRoute) string { return r.Peer }},
		{"AS PATH", func(r fabric.BGPRoute) string { return r.ASPath }},
	}
	for _, c := range []column[fabric.BGPRoute]{
		{"MED", func(r fabric.BGPRoute) string { return number(r.MED) }},
		{"LOCAL PREF", func(r fabric.BGPRoute) string { return number(r.LocalPref) }},
		{"COMMUNITIES", func(r fabric.BGPRoute) string {
			return strings.Join(slices.Concat(r.Communities, r.LargeCommunities, r.ExtendedCommunities), "\n")
		}},
		{"VALIDATION", func(r fabric.BGPRoute) string { return r.Validation }},
		{"FOR", func(r fabric.BGPRoute) string {
			if r.Since.IsZero() {
				return ""
			}
			return ago(now.Sub(r.Since))
		}},
		{"OWNER", func(r fabric.BGPRoute) string { return r.Owner }},
		{"KERNEL", kernelWords},
		{"WHY NOT", func(r fabric.BGPRoute) string { return cmp.Or(r.Message, r.Reason) }},
	} {
		if slices.ContainsFunc(all, func(r fabric.BGPRoute) bool { return c.cell(r) != "" }) {
			columns = append(columns, c)
		}
	}
	return columns
}
