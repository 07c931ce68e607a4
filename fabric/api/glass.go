package api

import (
	"context"

	"netfabric/fabric"
)

// GetBGPRoutes lists paths of a BGP table of the member that is asked, or of the target.
func (c *Client) GetBGPRoutes(ctx context.Context, q fabric.BGPQuery) (*fabric.BGPRoutes, error) {
	routes, _, err := one[fabric.BGPRoutes](ctx, c, "/1.0/bgp/routes?"+q.Values().Encode())
	return routes, err
}

// getBGPRoutes is a looking glass: tables are with the members' routing workers, and nowhere else.
func (s *Server) getBGPRoutes(r *request) (reply, error) {
	q, err := fabric.ParseBGPQuery(r.URL.Query())
	if err != nil {
		return reply{}, err
	}
	if member := r.subject(); member != r.status.Self {
		if offline(r.status, member) {
			return reply{}, fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonMemberOffline, "BGP routes of %s: the member is offline", member)
		}
		remote, err := s.Remote(member)
		if err != nil {
			return reply{}, err
		}
		routes, err := remote.GetBGPRoutes(r.Context(), q)
		return reply{metadata: routes}, err
	}
	if s.Glass == nil {
		return reply{}, fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonWorkerDown, "BGP routes: this member has no routing worker")
	}
	routes, err := s.Glass(r.Context(), q)
	return reply{metadata: routes}, err
}
