package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// ClusterPut forms a cluster (enabled, no token), joins one (enabled, token) or leaves it.
type ClusterPut struct {
	incusapi.ClusterPut
	ClusterPassword string `json:"cluster_password"` // LXD's older name of the token
}

// GetCluster tells whether the member is in a cluster.
func (c *Client) GetCluster(ctx context.Context) (*incusapi.Cluster, string, error) {
	return one[incusapi.Cluster](ctx, c, "/1.0/cluster")
}

// UpdateCluster forms or joins a cluster.
func (c *Client) UpdateCluster(ctx context.Context, put ClusterPut, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/cluster", put, etag)
}

// Bootstrap makes the daemon the first member of a new cluster. address is the ADDRESS:PORT at which the others will reach it.
func (c *Client) Bootstrap(ctx context.Context, name, address string) (*Operation, error) {
	return c.UpdateCluster(ctx, ClusterPut{ClusterPut: incusapi.ClusterPut{
		Cluster: incusapi.Cluster{ServerName: name, Enabled: true}, ServerAddress: address,
	}}, "")
}

// Join makes the daemon a member of the cluster that gave out the token. address is the ADDRESS:PORT at which the others will reach it.
func (c *Client) Join(ctx context.Context, token, address string) (*Operation, error) {
	return c.UpdateCluster(ctx, ClusterPut{ClusterPut: incusapi.ClusterPut{
		Cluster: incusapi.Cluster{Enabled: true}, ServerAddress: address, ClusterToken: token,
	}}, "")
}
