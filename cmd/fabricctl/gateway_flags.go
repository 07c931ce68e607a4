package main

import (
	"fmt"
	"net/netip"

	"netfabric/fabric"
	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

// protocolFlags are the flags for how a gateway speaks VRRP. What they return reads those that are not plain text.
func protocolFlags(cmd *cobra.Command, post *api.GatewaysPost) func() error {
	flags := cmd.Flags()
	flags.StringVar((*string)(&post.Checksum), "checksum", string(fabric.ChecksumRFC5798), "`FORM` of the checksum of IPv4 advertisements that are sent: rfc5798 (with pseudo-header) or rfc9568")
	flags.BoolVar(&post.Unicast, "unicast", false, "advertise to each member's own address, for networks without multicast")
	peers := flags.StringSlice("peer", nil, "`ADDRESS` of a router that is no member, with --unicast; may be repeated")
	flags.BoolVar(&post.NoAccept, "no-accept", false, "drop what is sent to the addresses themselves, such as pings: the gateway only forwards")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("checksum", cobra.FixedCompletions([]string{string(fabric.ChecksumRFC5798), string(fabric.ChecksumRFC9568)}, cobra.ShellCompDirectiveNoFileComp))
	return func() error {
		var err error
		post.Peers, err = parseAddresses("--peer", *peers)
		return err
	}
}

// parseAddresses reads the values of a flag.
func parseAddresses(flag string, list []string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%s %q is not an address", flag, text)
		}
		all = append(all, a)
	}
	return all, nil
}
