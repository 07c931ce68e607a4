package api

import (
	"cmp"
	"context"
	"slices"

	"netfabric/fabric"
)

// Route is a prefix that a member announces, or could, and why, and why not.
type Route struct {
	Member string `json:"member"`
	fabric.RouteState
	Stale bool `json:"stale,omitempty"` // the member is offline: this is its last word
}

// GetRoutes lists the prefixes of all members.
func (c *Client) GetRoutes(ctx context.Context) ([]Route, error) {
	var all []Route
	_, err := c.Get(ctx, "/1.0/routes", &all)
	return all, err
}

func (s *Server) getRoutes(r *request) (reply, error) {
	all := []Route{}
	for _, c := range r.reports().All(fabric.ConditionRoutes) {
		for _, state := range fabric.JSON[[]fabric.RouteState](c.Data) {
			all = append(all, Route{Member: c.Member, RouteState: state, Stale: offline(r.status, c.Member)})
		}
	}
	slices.SortStableFunc(all, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Member, b.Member))
	})
	// A route has no address of its own: the list always has the routes in it.
	return r.listDeep(items("", all, func(rt Route) string { return rt.Prefix.String() }, func(rt Route) any { return rt }), 1)
}
