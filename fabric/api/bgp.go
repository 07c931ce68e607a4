package api

import (
	"context"

	"netfabric/fabric"
)

// BGP is how this member speaks BGP.
type BGP struct {
	Member string              `json:"member"`
	ASN    uint32              `json:"asn"`    // 0: nothing is announced
	Worker *fabric.WorkerState `json:"worker"` // null: nothing is known of the routing worker
}

// GetBGP reads how the member that is asked speaks BGP.
func (c *Client) GetBGP(ctx context.Context) (*BGP, error) {
	b, _, err := one[BGP](ctx, c, "/1.0/bgp")
	return b, err
}

func (s *Server) getBGP(r *request) (reply, error) {
	b := BGP{Member: r.status.Self, ASN: r.snap.ASN(r.status.Self)}
	if state := s.Routing(); state != nil {
		b.Worker = &state.Worker
	}
	return reply{metadata: b}, nil
}
