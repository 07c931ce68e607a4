package router

import (
	"cmp"
	"fmt"
	"time"

	"netfabric/fabric"
)

// rpkiCondition says how it stands with a cache on this member. What it has of the cache is used also while the cache can't be reached.
func rpkiCondition(r *fabric.RPKI, state *fabric.RoutingState, speaks bool, down string) fabric.Condition {
	c := fabric.Condition{Object: fabric.KeyOf(r), Type: fabric.ConditionRPKI, Observed: r.Revision}
	if down != "" {
		c.Reason, c.Message = fabric.ReasonWorkerDown, down
		return c
	}
	if !speaks {
		c.Reason, c.Message = fabric.ReasonNoASN, "the member speaks no BGP: set core.bgp_asn"
		return c
	}
	if state == nil {
		c.Reason, c.Message = fabric.ReasonRPKIDown, "it is not asked yet"
		return c
	}
	for _, s := range state.RPKI {
		if s.Name != r.Name {
			continue
		}
		why := cmp.Or(s.LastError, "it has not told anything yet")
		switch {
		case s.Updated.IsZero():
			c.Reason, c.Message = fabric.ReasonRPKINoData, why+"; without its data, routes that only it knows of are not-found"
		case !s.Connected:
			c.Reason, c.Message = fabric.ReasonRPKIDown, fmt.Sprintf("%s; what it said last is used until %s", why, s.Expires.UTC().Format(time.RFC3339))
		default:
			c.OK = true
		}
		// Each confirmation moves the times: that of the last is not worth a write to the database.
		s.Updated, s.Expires = time.Time{}, time.Time{}
		return c.WithData(s)
	}
	c.Reason, c.Message = fabric.ReasonRPKIDown, "it is not asked yet"
	return c
}
