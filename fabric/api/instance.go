package api

import (
	"context"
	"net/http"
	"net/url"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetInstances lists the instances with their state. filter, such as "status eq Running and location eq n1", may be empty.
func (c *Client) GetInstances(ctx context.Context, filter string) ([]incusapi.InstanceFull, error) {
	path := "/1.0/instances?recursion=2"
	if filter != "" {
		path += "&filter=" + url.QueryEscape(filter)
	}
	var all []incusapi.InstanceFull
	_, err := c.Get(ctx, path, &all)
	return all, err
}

// GetInstance finds an instance.
func (c *Client) GetInstance(ctx context.Context, name string) (*incusapi.Instance, string, error) {
	return one[incusapi.Instance](ctx, c, "/1.0/instances/"+seg(name))
}

// GetInstanceFull finds an instance with its state.
func (c *Client) GetInstanceFull(ctx context.Context, name string) (*incusapi.InstanceFull, string, error) {
	return one[incusapi.InstanceFull](ctx, c, "/1.0/instances/"+seg(name)+"?recursion=1")
}

// CreateInstance makes an instance; on a member of choice through Target. The operation ends when its root disk is there, and when it runs
// if post.Start is set.
func (c *Client) CreateInstance(ctx context.Context, post InstancesPost) (*Operation, error) {
	return c.Send(ctx, http.MethodPost, "/1.0/instances", post, "")
}

// UpdateInstance replaces profiles, config and devices of an instance.
func (c *Client) UpdateInstance(ctx context.Context, name string, put incusapi.InstancePut, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/instances/"+seg(name), put, etag)
}

// PatchInstance sets the given parts of an instance and leaves the others.
func (c *Client) PatchInstance(ctx context.Context, name string, patch map[string]any, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPatch, "/1.0/instances/"+seg(name), patch, etag)
}

// DeleteInstance removes a stopped instance; the operation ends when nothing is left of it.
func (c *Client) DeleteInstance(ctx context.Context, name string) (*Operation, error) {
	return c.Send(ctx, http.MethodDelete, "/1.0/instances/"+seg(name), nil, "")
}

// GetInstanceState reads how an instance is.
func (c *Client) GetInstanceState(ctx context.Context, name string) (*incusapi.InstanceState, error) {
	state, _, err := one[incusapi.InstanceState](ctx, c, "/1.0/instances/"+seg(name)+"/state")
	return state, err
}

// UpdateInstanceState starts, stops or restarts an instance; the operation ends when it has happened.
func (c *Client) UpdateInstanceState(ctx context.Context, name string, put incusapi.InstanceStatePut) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/instances/"+seg(name)+"/state", put, "")
}
