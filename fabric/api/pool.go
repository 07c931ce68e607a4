package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetPools lists the storage pools.
func (c *Client) GetPools(ctx context.Context) ([]incusapi.StoragePool, error) {
	return list[incusapi.StoragePool](ctx, c, "/1.0/storage-pools")
}

// GetPool finds a storage pool. With Target its config has the keys of that member too.
func (c *Client) GetPool(ctx context.Context, name string) (*incusapi.StoragePool, string, error) {
	return one[incusapi.StoragePool](ctx, c, "/1.0/storage-pools/"+seg(name))
}

// CreatePool makes a storage pool on all members. With Target it only notes the member's own config: a call without Target then creates it.
func (c *Client) CreatePool(ctx context.Context, post incusapi.StoragePoolsPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/storage-pools", post, "")
	return err
}

// UpdatePool replaces the config of a pool; with Target, the member's own config.
func (c *Client) UpdatePool(ctx context.Context, name string, put incusapi.StoragePoolPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/storage-pools/"+seg(name), put, etag)
	return err
}

// DeletePool removes a pool that nothing uses.
func (c *Client) DeletePool(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/storage-pools/"+seg(name), nil, "")
	return err
}

// GetVolumes lists the volumes of a pool: the root disks of instances.
func (c *Client) GetVolumes(ctx context.Context, pool string) ([]incusapi.StorageVolume, error) {
	return list[incusapi.StorageVolume](ctx, c, "/1.0/storage-pools/"+seg(pool)+"/volumes")
}
