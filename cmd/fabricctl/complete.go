package main

import (
	"context"
	"strings"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

// source lists the names that an argument may have.
type source func(context.Context, *api.Client) ([]string, error)

// completion is the type of cobra's completion functions.
type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completionTime bounds how long a shell waits for names.
const completionTime = 2 * time.Second

// complete offers names for the arguments of a command, the n-th from the n-th source; nil stands for nothing to offer.
func (a *app) complete(sources ...source) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(sources) || sources[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.offer(cmd, sources[len(args)], nil)
	}
}

// completeAll offers the names of one source for each argument, once each.
func (a *app) completeAll(s source) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.offer(cmd, s, args)
	}
}

// completeKeys offers a name and then the keys of a table, with "=" behind them where a value follows.
func (a *app) completeKeys(names source, keys fabric.KeyTable, suffix string) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 && names != nil {
			return a.offer(cmd, names, nil)
		}
		var all []string
		for _, k := range keys {
			all = append(all, strings.TrimSuffix(k.Name, "*")+suffix+"\t"+k.Help)
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func (a *app) offer(cmd *cobra.Command, s source, without []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	names, err := s(ctx, a.client())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveError
	}
	given := map[string]bool{}
	for _, n := range without {
		given[n] = true
	}
	var left []string
	for _, n := range names {
		if !given[n] {
			left = append(left, n)
		}
	}
	return left, cobra.ShellCompDirectiveNoFileComp
}

// collection is the source of the names in a collection of the API, whose URLs end in them.
func collection(path string) source {
	return func(ctx context.Context, c *api.Client) ([]string, error) {
		var urls, names []string
		if _, err := c.Get(ctx, path, &urls); err != nil {
			return nil, err
		}
		for _, u := range urls {
			names = append(names, last(u))
		}
		return names, nil
	}
}

// The sources of names.
func instances(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/instances")(ctx, c)
}

func networks(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/networks")(ctx, c)
}

func pools(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/storage-pools")(ctx, c)
}

func profiles(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/profiles")(ctx, c)
}

func members(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/cluster/members")(ctx, c)
}

func peers(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/bgp/peers")(ctx, c)
}

func policies(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/bgp/policies")(ctx, c)
}

func bfdProfiles(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/bgp/bfd-profiles")(ctx, c)
}

func anycasts(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/anycast")(ctx, c)
}

func gateways(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/gateways")(ctx, c)
}

func certificates(ctx context.Context, c *api.Client) ([]string, error) {
	return collection("/1.0/certificates")(ctx, c)
}

func aliases(ctx context.Context, c *api.Client) ([]string, error) {
	all, err := c.GetImageAliases(ctx)
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names, err
}

// images are the aliases, and the fingerprints of images that have none.
func images(ctx context.Context, c *api.Client) ([]string, error) {
	all, err := c.GetImages(ctx)
	var names []string
	for _, i := range all {
		if len(i.Aliases) == 0 {
			names = append(names, short(i.Fingerprint))
		}
		for _, alias := range i.Aliases {
			names = append(names, alias.Name)
		}
	}
	return names, err
}

func operations(ctx context.Context, c *api.Client) ([]string, error) {
	all, err := c.GetOperations(ctx)
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return ids, err
}

// flagNames offers names for the value of a flag.
func (a *app) flagNames(cmd *cobra.Command, flag string, s source) {
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.offer(cmd, s, nil)
	})
}
