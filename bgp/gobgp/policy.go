package gobgp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"

	"netfabric/fabric"
)

// classes number the sets of peers that paths go to. A path carries the number of its set as community 0:N, of the range that RFC 1997
// reserves, so that one policy tells for every path and peer what to do; the community is taken off before the path is sent.
type classes struct {
	ids  map[string]uint16
	last uint16
}

func newClasses() *classes { return &classes{ids: map[string]uint16{}} }

// classKey names a set of peers; empty for the empty set.
func classKey(peers []string) string { return strings.Join(sortedPeers(peers), ",") }

func (c *classes) id(key string) (uint16, bool) {
	id, ok := c.ids[key]
	return id, ok
}

// need makes sure that the class has a number. It tells whether that is new.
func (c *classes) need(key string) bool {
	if _, ok := c.ids[key]; ok || key == "" {
		return false
	}
	taken := map[uint16]bool{0: true}
	for _, id := range c.ids {
		taken[id] = true
	}
	for c.last++; taken[c.last]; c.last++ {
	}
	c.ids[key] = c.last
	return true
}

// setPolicies makes the export policy fit for the peers and the classes of c, before paths or sessions need it.
func (s *Speaker) setPolicies(ctx context.Context, c *Config) error {
	fresh := len(c.Peers) != len(s.sessions) || slices.ContainsFunc(c.Peers, func(p fabric.RoutingPeer) bool { return s.sessions[p.Name] == nil })
	needed := map[string]bool{}
	for _, p := range c.Paths {
		needed[classKey(p.Peers)] = true
	}
	for key := range needed {
		fresh = s.classes.need(key) || fresh
	}
	if !fresh {
		return nil
	}
	for _, key := range s.paths {
		needed[key] = true
	}
	for key := range s.classes.ids {
		if !needed[key] {
			delete(s.classes.ids, key)
		}
	}
	if err := s.server.SetPolicies(ctx, policies(c.Peers, s.classes)); err != nil {
		return fmt.Errorf("set BGP policies: %w", err)
	}
	return nil
}

const (
	importPolicy = "import"
	exportPolicy = "export"
)

// policies: of what comes in, only what we announce ourselves is used; to a peer goes what is of a class that it is in.
func policies(peers []fabric.RoutingPeer, c *classes) *api.SetPoliciesRequest {
	own := &api.Policy{Name: importPolicy, Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT},
	}}}
	out := &api.Policy{Name: exportPolicy}
	r := &api.SetPoliciesRequest{}
	for _, p := range peers {
		var list []string
		for key, id := range c.ids {
			if slices.Contains(strings.Split(key, ","), p.Name) {
				list = append(list, fmt.Sprintf("^0:%d$", id))
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		r.DefinedSets = append(r.DefinedSets,
			&api.DefinedSet{DefinedType: api.DefinedType_NEIGHBOR, Name: "peer-" + p.Name, List: []string{fmt.Sprintf("%s/%d", p.Address, p.Address.BitLen())}},
			&api.DefinedSet{DefinedType: api.DefinedType_COMMUNITY, Name: "classes-" + p.Name, List: list})
		out.Statements = append(out.Statements, &api.Statement{
			Name: "to-" + p.Name,
			Conditions: &api.Conditions{
				NeighborSet:  &api.MatchSet{Type: api.MatchSet_ANY, Name: "peer-" + p.Name},
				CommunitySet: &api.MatchSet{Type: api.MatchSet_ANY, Name: "classes-" + p.Name},
			},
			Actions: &api.Actions{
				Community:   &api.CommunityAction{Type: api.CommunityAction_REMOVE, Communities: []string{`^0:\d+$`}},
				RouteAction: api.RouteAction_ACCEPT,
			},
		})
	}
	if len(out.Statements) == 0 {
		out.Statements = []*api.Statement{{Name: "none", Actions: &api.Actions{RouteAction: api.RouteAction_REJECT}}}
	}
	r.Policies = []*api.Policy{own, out}
	return r
}

// assignPolicies puts the policies in force: without a word in them, nothing comes in and nothing goes out (RFC 8212).
func (s *Speaker) assignPolicies(ctx context.Context) error {
	if err := s.server.SetPolicies(ctx, policies(nil, s.classes)); err != nil {
		return fmt.Errorf("set BGP policies: %w", err)
	}
	for name, direction := range map[string]api.PolicyDirection{importPolicy: api.PolicyDirection_IMPORT, exportPolicy: api.PolicyDirection_EXPORT} {
		err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: direction, DefaultAction: api.RouteAction_REJECT, Policies: []*api.Policy{{Name: name}},
		}})
		if err != nil {
			return fmt.Errorf("assign BGP %s policy: %w", name, err)
		}
	}
	return nil
}
