package gobgp

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	api "github.com/osrg/gobgp/v3/api"

	"netfabric/fabric"
)

// meshPeers are the other members that a config has sessions with.
func meshPeers(c *Config) []fabric.RoutingPeer {
	return slices.DeleteFunc(slices.Clone(c.Peers), func(p fabric.RoutingPeer) bool { return !p.Mesh })
}

// meshKey tells apart what configs tell other members of.
func meshKey(c *Config) string {
	members := meshPeers(c)
	if len(members) == 0 {
		return ""
	}
	text, err := json.Marshal([]any{members, c.NextHops})
	if err != nil {
		panic(err) // it consists of numbers, addresses and texts
	}
	return string(text)
}

// meshExports: another member is told all that we announce, with ourselves as next hop, and what comes from outside, so that it can leave by us. What comes from
// another member goes on only where one of the two is a client of ours (RFC 4456), as it is: GoBGP sees to the former, and the policy to the latter. lists
// are the classes that it is told of, by what sets says that it is told beside the prefix.
func (b *builder) meshExports(c *Config, p fabric.RoutingPeer, lists map[string][]string, sets map[string]fabric.PolicySet, number int) []*api.Statement {
	var all []*api.Statement
	add := func(kind api.Conditions_RouteType, family *api.Family, communities []string, actions *api.Actions) {
		conditions := &api.Conditions{RouteType: kind, NeighborSet: b.neighbour(p)}
		if family != nil {
			conditions.AfiSafiIn = []*api.Family{family}
		}
		if communities != nil {
			conditions.CommunitySet = b.set(api.DefinedType_COMMUNITY, communities)
		}
		actions.RouteAction = api.RouteAction_ACCEPT
		all = append(all, &api.Statement{Name: fmt.Sprintf("out-%d", number+len(all)), Conditions: conditions, Actions: actions})
	}
	for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		hop, ok := meshHop(c, p, a)
		if !ok {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(lists)) {
			slices.Sort(lists[key])
			actions := exportActions(sets[key], p.ASN)
			actions.Nexthop = hop
			add(api.Conditions_ROUTE_TYPE_LOCAL, familyOf(a), lists[key], actions)
		}
		add(api.Conditions_ROUTE_TYPE_EXTERNAL, familyOf(a), nil, &api.Actions{Nexthop: hop})
	}
	if slices.ContainsFunc(c.Peers, func(p fabric.RoutingPeer) bool { return p.ReflectorID.IsValid() }) {
		add(api.Conditions_ROUTE_TYPE_INTERNAL, nil, nil, &api.Actions{})
	}
	return all
}

// meshHop is the next hop of prefixes of the IP version of a for another member; false: there is none, and it is told of no such prefix.
func meshHop(c *Config, p fabric.RoutingPeer, a netip.Addr) (*api.NexthopAction, bool) {
	if a.Is4() || p.Address.Is6() {
		return &api.NexthopAction{Self: true}, true
	}
	h, ok := c.NextHops[p.Name]
	return &api.NexthopAction{Address: h.String()}, ok
}

// hopless are the names of other members that are told of no IPv6 prefix.
func hopless(c *Config) map[string]bool {
	all := map[string]bool{}
	for _, p := range meshPeers(c) {
		if _, ok := meshHop(c, p, netip.IPv6Unspecified()); !ok {
			all[p.Name] = true
		}
	}
	return all
}
