package main

import (
	"fmt"
	"net/netip"
	"time"

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
	flags.StringVar(&post.Sync, "sync", "", "`SET` of gateways that are Active together on one member")
	flags.StringVar(&post.Spread, "spread", "", "`SET` of gateways that are best on a different member each, so that members share the load")
	router := advertisingFlags(cmd, &post.RA)
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("checksum", cobra.FixedCompletions([]string{string(fabric.ChecksumRFC5798), string(fabric.ChecksumRFC9568)}, cobra.ShellCompDirectiveNoFileComp))
	return func() error {
		var err error
		if post.Peers, err = parseAddresses("--peer", *peers); err != nil {
			return err
		}
		return router()
	}
}

// advertisingFlags are the flags for the router advertisements of a gateway. What they return reads those that are not plain text.
func advertisingFlags(cmd *cobra.Command, ra *fabric.GatewayRA) func() error {
	flags := cmd.Flags()
	flags.BoolVar(&ra.Off, "no-ra", false, "send no router advertisements")
	lifetime := flags.Duration("ra-lifetime", 0, fmt.Sprintf("`TIME` for which hosts take the gateway as an IPv6 default router (default %v)", fabric.DefaultRALifetime*time.Second))
	interval := flags.Duration("ra-interval", 0, "`TIME` between router advertisements at most, 4s to 30m (default a third of the lifetime, at most 10m)")
	flags.BoolVar(&ra.NoDefault, "ra-no-default", false, "be no default router, only tell of prefixes and DNS")
	flags.BoolVar(&ra.Managed, "ra-managed", false, "tell hosts to get addresses by DHCPv6 (M)")
	flags.BoolVar(&ra.Other, "ra-other", false, "tell hosts to get other settings by DHCPv6 (O)")
	flags.BoolVar(&ra.NoSLAAC, "ra-no-slaac", false, "tell hosts to make no addresses by themselves")
	flags.StringVar((*string)(&ra.Preference), "ra-preference", "", "`PREFERENCE` among default routers: low, medium or high (default medium)")
	flags.IntVar(&ra.MTU, "ra-mtu", 0, "`BYTES` of the MTU that hosts are told")
	dns := flags.StringSlice("ra-dns", nil, "`ADDRESS` of a resolver that hosts are told; may be repeated")
	trusted := flags.StringSlice("ra-trust", nil, "link-local `ADDRESS` of another router that may advertise there as well; may be repeated")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("ra-preference", cobra.FixedCompletions([]string{"low", "medium", "high"}, cobra.ShellCompDirectiveNoFileComp))
	return func() error {
		var err error
		if ra.Lifetime, err = seconds("--ra-lifetime", *lifetime); err != nil {
			return err
		}
		if ra.Interval, err = seconds("--ra-interval", *interval); err != nil {
			return err
		}
		if ra.DNS, err = parseAddresses("--ra-dns", *dns); err != nil {
			return err
		}
		ra.Trusted, err = parseAddresses("--ra-trust", *trusted)
		return err
	}
}

// seconds reads the value of a flag that counts in whole seconds.
func seconds(flag string, d time.Duration) (int, error) {
	if d%time.Second != 0 {
		return 0, fmt.Errorf("%s %v: want whole seconds", flag, d)
	}
	return int(d / time.Second), nil
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
