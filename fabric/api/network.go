package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetNetworks lists the networks.
func (c *Client) GetNetworks(ctx context.Context) ([]incusapi.Network, error) {
	return list[incusapi.Network](ctx, c, "/1.0/networks")
}

// GetNetwork finds a network. With Target its config has the keys of that member too.
func (c *Client) GetNetwork(ctx context.Context, name string) (*incusapi.Network, string, error) {
	return one[incusapi.Network](ctx, c, "/1.0/networks/"+seg(name))
}

// CreateNetwork makes a network on all members. With Target it only notes the member's own config: a call without Target then creates it.
func (c *Client) CreateNetwork(ctx context.Context, post incusapi.NetworksPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/networks", post, "")
	return err
}

// UpdateNetwork replaces the config of a network; with Target, the member's own config.
func (c *Client) UpdateNetwork(ctx context.Context, name string, put incusapi.NetworkPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/networks/"+seg(name), put, etag)
	return err
}

// DeleteNetwork removes a network that nothing uses.
func (c *Client) DeleteNetwork(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/networks/"+seg(name), nil, "")
	return err
}

// GetNetworkState reads how a network is on the member that is asked, or on the target.
func (c *Client) GetNetworkState(ctx context.Context, name string) (*incusapi.NetworkState, error) {
	state, _, err := one[incusapi.NetworkState](ctx, c, "/1.0/networks/"+seg(name)+"/state")
	return state, err
}

// GetNetworkLeases lists the addresses that are in use in a network.
func (c *Client) GetNetworkLeases(ctx context.Context, name string) ([]incusapi.NetworkLease, error) {
	var leases []incusapi.NetworkLease
	_, err := c.Get(ctx, "/1.0/networks/"+seg(name)+"/leases", &leases)
	return leases, err
}
