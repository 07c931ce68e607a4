package fabric

import (
	"cmp"
	"fmt"
	"strconv"
)

// Which of the routes that are taken of a peer go into the kernel.
const (
	InstallNone    = "none"    // the default
	InstallDefault = "default" // 0.0.0.0/0 and ::/0
	InstallAll     = "all"
)

// PeerInstall is what becomes of the routes that are taken of a peer.
type PeerInstall struct {
	Install string `json:"install,omitempty"` // InstallNone, InstallDefault or InstallAll; empty is none
	Table   string `json:"table,omitempty"`   // of the kernel's routing tables: a number, or a name that the member has in rt_tables; empty is main
	Metric  int    `json:"metric,omitempty"`  // of the kernel routes, 1-4294967295, the lowest is used; 0 is DefaultInstallMetric
}

// DefaultInstallMetric is the metric of kernel routes that come from peers. Routes that people, DHCP or router advertisements make have lower ones
// (0 for IPv4, 1024 for IPv6, if nothing is said), and are used before them.
const DefaultInstallMetric = 2000

// DefaultInstallTable is the table of kernel routes that come from peers.
const DefaultInstallTable = "main"

// localTable is the number of the table in which the kernel keeps its own addresses.
const localTable = 255

// Wanted tells whether anything goes into the kernel.
func (p PeerInstall) Wanted() bool { return p.Install != "" && p.Install != InstallNone }

// Full is p with defaults filled in, and nothing in it where nothing goes into the kernel.
func (p PeerInstall) Full() PeerInstall {
	if !p.Wanted() {
		return PeerInstall{}
	}
	return PeerInstall{p.Install, cmp.Or(p.Table, DefaultInstallTable), cmp.Or(p.Metric, DefaultInstallMetric)}
}

// Validate checks words and ranges.
func (p PeerInstall) Validate(peer string) error {
	switch p.Install {
	case "", InstallNone, InstallDefault, InstallAll:
	default:
		return Invalidf("bad-value", "BGP peer %q: install=%q is not one of none, default and all", peer, p.Install)
	}
	if p.Metric < 0 || p.Metric > 1<<32-1 {
		return Invalidf("bad-value", "BGP peer %q: metric=%d is not in 1-4294967295", peer, p.Metric)
	}
	if err := checkTable(p.Table); err != nil {
		return Invalidf("bad-value", "BGP peer %q: table=%q %w", peer, p.Table, err)
	}
	if !p.Wanted() && (p.Table != "" || p.Metric != 0) {
		return Invalidf("bad-value", "BGP peer %q: table and metric are for routes that are installed", peer).WithFix("set install to default or all as well")
	}
	return nil
}

// checkTable refuses what can't be the number or the name of a routing table for routes to other places.
func checkTable(t string) error {
	if t == "" {
		return nil
	}
	if n, err := strconv.ParseUint(t, 10, 64); err == nil {
		switch {
		case n == localTable:
			return fmt.Errorf("is the kernel's own table of local addresses")
		case n == 0 || n > 1<<32-1:
			return fmt.Errorf("is not in 1-4294967295")
		}
		return nil
	}
	if t == "local" || t == "unspec" {
		return fmt.Errorf("is no table for routes to other places")
	}
	if len(t) > 32 {
		return fmt.Errorf("is longer than 32 characters")
	}
	for i, c := range t {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')) {
			return fmt.Errorf("is neither a number nor a name of letters, digits, - _ and . that begins with a letter")
		}
	}
	return nil
}
