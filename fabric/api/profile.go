package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetProfiles lists the profiles.
func (c *Client) GetProfiles(ctx context.Context) ([]incusapi.Profile, error) {
	return list[incusapi.Profile](ctx, c, "/1.0/profiles")
}

// GetProfile finds a profile.
func (c *Client) GetProfile(ctx context.Context, name string) (*incusapi.Profile, string, error) {
	return one[incusapi.Profile](ctx, c, "/1.0/profiles/"+seg(name))
}

// CreateProfile makes a profile.
func (c *Client) CreateProfile(ctx context.Context, post incusapi.ProfilesPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/profiles", post, "")
	return err
}

// UpdateProfile replaces config and devices of a profile, and so changes the instances that have it.
func (c *Client) UpdateProfile(ctx context.Context, name string, put incusapi.ProfilePut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/profiles/"+seg(name), put, etag)
	return err
}

// DeleteProfile removes a profile that no instance has.
func (c *Client) DeleteProfile(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/profiles/"+seg(name), nil, "")
	return err
}
