package main

import (
	"net/http"
	"net/url"
	"slices"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) startCommand() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "start [NAME...]",
		Short: "Start instances",
		Example: `  fabricctl start web1 web2
  fabricctl start --all`,
	}, "start", func(i instance) bool { return !i.IsActive() })
}

func (a *app) stopCommand() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "stop [NAME...]",
		Short: "Stop instances",
		Example: `  fabricctl stop web1
  fabricctl stop web1 --timeout 30
  fabricctl stop -f web1 web2
  fabricctl stop --all`,
	}, "stop", func(i instance) bool { return i.IsActive() })
}

func (a *app) restartCommand() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "restart [NAME...]",
		Short: "Restart instances",
		Example: `  fabricctl restart web1
  fabricctl restart -f web1`,
	}, "restart", func(i instance) bool { return i.IsActive() })
}

// powerCommand is start, stop or restart. concerns tells which instances --all means.
func (a *app) powerCommand(cmd *cobra.Command, action string, concerns func(instance) bool) *cobra.Command {
	var put incusapi.InstanceStatePut
	var all bool
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all instances of the cluster that this makes a difference to")
	put.Timeout = -1
	if action != "start" {
		flags.BoolVarP(&put.Force, "force", "f", false, "do not ask the guest")
		flags.IntVar(&put.Timeout, "timeout", -1, "`SECONDS` that the guest has before it is killed (-1: as configured)")
	}
	cmd.ValidArgsFunction = a.completeAll(instances)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if all == (len(names) > 0) {
			return usagef(cmd, "give the NAME of one or more instances, or --all")
		}
		if put.Timeout < -1 {
			return usagef(cmd, "--timeout %d is negative", put.Timeout)
		}
		ctx, client := cmd.Context(), a.client()
		if all {
			list, err := client.GetInstances(ctx, "")
			if err != nil {
				return err
			}
			for _, i := range list {
				if concerns(i) {
					names = append(names, i.Name)
				}
			}
		}
		put.Action = action
		return forEach(names, func(name string) error {
			op, err := client.UpdateInstanceState(ctx, name, put)
			return a.finished(ctx, op, err)
		})
	}
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete instances",
		Example: `  fabricctl delete web1
  fabricctl delete -f web1 web2`,
		ValidArgsFunction: a.completeAll(instances),
	}
	force := cmd.Flags().BoolP("force", "f", false, "stop what runs, without asking the guest")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		ctx, client := cmd.Context(), a.client()
		slices.Sort(names)
		query := ""
		if *force {
			query = "?force=1"
		}
		return forEach(slices.Compact(names), func(name string) error {
			op, err := client.Send(ctx, http.MethodDelete, "/1.0/instances/"+url.PathEscape(name)+query, nil, "")
			return a.finished(ctx, op, err)
		})
	}
	return cmd
}
