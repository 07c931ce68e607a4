package api

import (
	"context"

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
