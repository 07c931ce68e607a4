package main

import (
	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) operationCommand() *cobra.Command {
	listAll := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List background operations",
		Long: "List the background operations of the member that is asked.", Example: "  fabricctl operation list",
	}
	listFormat := formatFlag(listAll, "table")
	listAll.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetOperations(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *listFormat, all, []column[incusapi.Operation]{
			{"ID", func(o incusapi.Operation) string { return o.ID }},
			{"TYPE", func(o incusapi.Operation) string { return upper(o.Class) }},
			{"DESCRIPTION", func(o incusapi.Operation) string { return o.Description }},
			{"STATE", func(o incusapi.Operation) string { return upper(o.Status) }},
			{"CANCELABLE", func(o incusapi.Operation) string { return yesNo(o.MayCancel) }},
			{"CREATED", func(o incusapi.Operation) string { return date(o.CreatedAt) }},
			{"LOCATION", func(o incusapi.Operation) string { return o.Location }},
		})
	}
	showOne := &cobra.Command{
		Use: "show ID", Short: "Show an operation",
		Example: "  fabricctl operation show \"$(fabricctl start web1 --no-wait)\"", ValidArgsFunction: a.complete(operations),
	}
	showFormat := formatFlag(showOne, "yaml")
	showOne.RunE = func(cmd *cobra.Command, args []string) error {
		op, err := a.client().GetOperation(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *showFormat, op.Operation)
	}
	cancel := &cobra.Command{
		Use: "cancel ID", Aliases: []string{"delete", "rm"}, Short: "Cancel an operation",
		Example: "  fabricctl operation cancel 2ee56e85-6a3c-4c0b-9d36-4d0b5a8b0e4a", ValidArgsFunction: a.complete(operations),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.client().DeleteOperation(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("Operation %s cancelled", args[0])
			return nil
		},
	}
	wait := &cobra.Command{
		Use: "wait ID", Short: "Wait for the end of an operation, and fail if it failed",
		Example: "  fabricctl operation wait \"$(fabricctl start web1 --no-wait)\"", ValidArgsFunction: a.complete(operations),
		RunE: func(cmd *cobra.Command, args []string) error {
			op, err := a.client().GetOperation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return op.Wait(cmd.Context())
		},
	}
	return group("operation", "Look at background operations", listAll, showOne, cancel, wait)
}
