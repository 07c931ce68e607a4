package main

import (
	"cmp"
	"fmt"
	"strconv"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func (a *app) bfdProfileCommand() *cobra.Command {
	return group("bfd-profile", "Manage BFD timers that peers name", a.bfdProfileCreate(), a.bfdProfileList(), bfdProfileObject.show(a, "Show a BFD profile and who uses it"), a.bfdProfileSet(), bfdProfileObject.edit(a, ""), a.bfdProfileDelete())
}

func (a *app) bfdProfileCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a BFD profile",
		Long: `Create a BFD profile: timers that peers name with --bfd-profile. To change it re-tunes the BFD sessions of all of them and ends no BGP session.
What a peer says itself (--bfd-interval, --bfd-multiplier) goes before its profile; passive and strict are so where either says it.`,
		Example: "  fabricctl bgp bfd-profile create fast --interval 50\n  fabricctl bgp peer set tor1 --bfd-profile fast",
	}
	post := api.BFDProfilesPost{}
	bfdProfileFlags(cmd, &post.BFDProfilePut)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noZeros(cmd); err != nil {
			return err
		}
		post.Name = args[0]
		if err := a.client().CreateBFDProfile(cmd.Context(), post); err != nil {
			return err
		}
		a.say("BFD profile %s created", post.Name)
		return nil
	}
	return cmd
}

// bfdProfileFlags are the flags of what can be set of a profile.
func bfdProfileFlags(cmd *cobra.Command, put *api.BFDProfilePut) {
	flags := cmd.Flags()
	flags.StringVar(&put.Description, "description", "", "`TEXT` that describes it")
	flags.IntVar(&put.Interval, "interval", 0, "`MILLISECONDS` between BFD packets, 10-10000")
	flags.IntVar(&put.Multiplier, "multiplier", 0, fmt.Sprintf("`NUMBER` of BFD packets in a row that may be lost (default %d)", fabric.DefaultBFDMultiplier))
	flags.BoolVar(&put.Passive, "passive", false, "send no BFD before the neighbour does")
	flags.BoolVar(&put.Strict, "strict", false, "have no BGP session while BFD is not up")
}

func (a *app) bfdProfileSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change some of what is set of a BFD profile",
		Long:    "Change what the given flags say of a BFD profile, and nothing else. The BFD sessions of all that use it are re-tuned; no BGP session ends.",
		Example: "  fabricctl bgp bfd-profile set fast --interval 100", ValidArgsFunction: a.complete(bfdProfiles),
	}
	var given api.BFDProfilePut
	bfdProfileFlags(cmd, &given)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := somethingSet(cmd); err != nil {
			return err
		}
		b, etag, err := a.client().GetBFDProfile(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		for flag, set := range map[string]func(){
			"description": func() { b.Description = given.Description },
			"interval":    func() { b.Interval = given.Interval },
			"multiplier":  func() { b.Multiplier = given.Multiplier },
			"passive":     func() { b.Passive = given.Passive },
			"strict":      func() { b.Strict = given.Strict },
		} {
			if cmd.Flags().Changed(flag) {
				set()
			}
		}
		return a.client().UpdateBFDProfile(cmd.Context(), args[0], b.BFDProfilePut, etag)
	}
	return cmd
}

func (a *app) bfdProfileList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List BFD profiles", Example: "  fabricctl bgp bfd-profile list"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetBFDProfiles(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.BFDProfile]{
			{"NAME", func(b api.BFDProfile) string { return b.Name }},
			{"INTERVAL", func(b api.BFDProfile) string { return fmt.Sprintf("%d ms", b.Interval) }},
			{"MULTIPLIER", func(b api.BFDProfile) string { return strconv.Itoa(cmp.Or(b.Multiplier, fabric.DefaultBFDMultiplier)) }},
			{"PASSIVE", func(b api.BFDProfile) string { return yesNo(b.Passive) }},
			{"STRICT", func(b api.BFDProfile) string { return yesNo(b.Strict) }},
			{"USED BY", func(b api.BFDProfile) string { return joined(b.UsedBy, last) }},
			{"DESCRIPTION", func(b api.BFDProfile) string { return b.Description }},
		})
	}
	return cmd
}

var bfdProfileObject = plainObject[api.BFDProfile, api.BFDProfilePut]{
	command: "bgp bfd-profile", noun: "BFD profile", what: "a BFD profile", sample: "fast", names: bfdProfiles,
	read: (*api.Client).GetBFDProfile, put: func(o *api.BFDProfile) api.BFDProfilePut { return o.BFDProfilePut }, write: (*api.Client).UpdateBFDProfile,
}

func (a *app) bfdProfileDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete BFD profiles that no peer uses",
		Example: "  fabricctl bgp bfd-profile delete fast", ValidArgsFunction: a.completeAll(bfdProfiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().DeleteBFDProfile(cmd.Context(), name); err != nil {
					return err
				}
				a.say("BFD profile %s deleted", name)
			}
			return nil
		},
	}
}
