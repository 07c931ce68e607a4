package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetServer reads what the server says of itself: its environment and, to those it trusts, the config of cluster and member.
func (c *Client) GetServer(ctx context.Context) (*incusapi.Server, string, error) {
	return one[incusapi.Server](ctx, c, "/1.0")
}

// UpdateServer replaces the config of the cluster and of the member that is asked (or of the target).
func (c *Client) UpdateServer(ctx context.Context, put incusapi.ServerPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0", put, etag)
	return err
}

// PatchServer sets the given config keys and leaves the others; an empty value unsets a key.
func (c *Client) PatchServer(ctx context.Context, put incusapi.ServerPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPatch, "/1.0", put, etag)
	return err
}
