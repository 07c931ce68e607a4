package main

import (
	"net/netip"
	"slices"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) peerSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change some of what is set of a BGP neighbour",
		Long: `Change what the given flags say of a BGP neighbour, and nothing else. A number of 0 is the default. What belongs to what a flag takes away goes with it:
table and metric with --install none, action and restart with --max-prefix 0.

Policies, what is installed, members, BFD and the description change while the session goes on. What the two ends agree on when it begins, the
password, and a limit of prefixes that ends it set the session up anew.`,
		Example:           "  fabricctl bgp peer set tor1 --export own\n  fabricctl bgp peer set tor1 --disabled=false --hold-time 3\n  fabricctl bgp peer set tor1 --address 192.0.2.253 --asn 65002",
		ValidArgsFunction: a.complete(peers),
	}
	f := a.peerFlags(cmd)
	address := cmd.Flags().String("address", "", "`ADDRESS` of the neighbour, in place of an interface or a prefix")
	asn := cmd.Flags().String("asn", "", "AS `NUMBER` of the neighbour, internal or external")
	_ = cmd.RegisterFlagCompletionFunc("asn", cobra.FixedCompletions([]string{fabric.ASNInternal.String(), fabric.ASNExternal.String()}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := somethingSet(cmd); err != nil {
			return err
		}
		if err := atMostOne(cmd, "address", "interface", "dynamic"); err != nil {
			return err
		}
		password, err := a.password(cmd, f.fromStdin, f.fromFile)
		if err != nil {
			return err
		}
		p, etag, err := a.client().GetBGPPeer(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		f.onto(cmd, &p.BGPPeerPut)
		if cmd.Flags().Changed("address") {
			p.Interface, p.Dynamic, p.MaxSessions = "", netip.Prefix{}, 0
			if p.Address, err = netip.ParseAddr(*address); err != nil {
				return usagef(cmd, "--address %q is not an IP address", *address)
			}
		}
		if cmd.Flags().Changed("asn") {
			if p.ASN, err = fabric.ParsePeerASN(*asn); err != nil {
				return usagef(cmd, "--asn %v", err)
			}
		}
		f.takeAlong(cmd, &p.BGPPeerPut)
		p.Password = password
		if err := a.client().UpdateBGPPeer(cmd.Context(), args[0], p.BGPPeerPut, etag); err != nil {
			return err
		}
		peerObject.warn(cmd.Context(), a, args[0])
		return nil
	}
	return cmd
}

// takeAlong takes away what makes no sense without what flags took away, unless flags say it themselves.
func (f *peerFlags) takeAlong(cmd *cobra.Command, put *api.BGPPeerPut) {
	without := func(gone bool, flag string, clear func()) {
		if gone && !cmd.Flags().Changed(flag) {
			clear()
		}
	}
	installs := put.Install != "" && put.Install != fabric.InstallNone
	without(cmd.Flags().Changed("install") && !installs, "table", func() { put.Table = "" })
	without(cmd.Flags().Changed("install") && !installs, "metric", func() { put.Metric = 0 })
	unlimited := cmd.Flags().Changed("max-prefix") && put.MaxPrefix.Limit == 0
	without(unlimited, "max-prefix-action", func() { put.MaxPrefix.Action = "" })
	without(unlimited, "max-prefix-restart", func() { put.MaxPrefix.Restart = 0 })
	without(cmd.Flags().Changed("max-prefix-action") && put.MaxPrefix.Action == fabric.MaxPrefixWarn, "max-prefix-restart", func() { put.MaxPrefix.Restart = 0 })
}

// somethingSet refuses a command line that changes nothing: a flag is most likely forgotten.
func somethingSet(cmd *cobra.Command) error {
	given := false
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { given = given || f.Changed })
	if !given {
		return usagef(cmd, "there is nothing to change: say with flags what shall be so")
	}
	return nil
}

// atMostOne refuses flags that exclude each other.
func atMostOne(cmd *cobra.Command, flags ...string) error {
	var given []string
	for _, f := range flags {
		if cmd.Flags().Changed(f) {
			given = append(given, "--"+f)
		}
	}
	if len(given) > 1 {
		return usagef(cmd, "%s exclude each other", strings.Join(given, " and "))
	}
	return nil
}

// noZeros refuses numbers and times of 0 for something new: 0 stands for the default there, which is not what it says. except are flags for which it is
// a value.
func noZeros(cmd *cobra.Command, except ...string) (err error) {
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed || slices.Contains(except, f.Name) {
			return
		}
		switch kind, zero := f.Value.Type(), f.Value.String(); {
		case (kind == "int" || kind == "uint32" || kind == "uint16") && zero == "0":
			err = usagef(cmd, "--%s 0: want a number above 0; leave it out for the default", f.Name)
		case kind == "duration" && zero == "0s":
			err = usagef(cmd, "--%s 0: want a time above 0; leave it out for the default", f.Name)
		}
	})
	return err
}
