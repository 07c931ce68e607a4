package router

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultInterfaces are those that the default routes of the main table lead to, of both families, sorted: what comes back from the world for
// hosts behind a gateway comes in there.
func defaultInterfaces(links *links) ([]string, error) {
	var all []string
	for family, p := range map[int]netip.Prefix{unix.AF_INET: netip.PrefixFrom(netip.IPv4Unspecified(), 0), unix.AF_INET6: netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: ipnet(p), Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("look for the route %s: %w", p, err)
		}
		for _, r := range routes {
			indexes := []int{r.LinkIndex}
			for _, hop := range r.MultiPath {
				indexes = append(indexes, hop.LinkIndex)
			}
			for _, index := range indexes {
				if name := links.name(index); name != "" && !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	slices.Sort(all)
	return all, nil
}
