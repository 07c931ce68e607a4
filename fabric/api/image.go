package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetImages lists the images.
func (c *Client) GetImages(ctx context.Context) ([]incusapi.Image, error) {
	return list[incusapi.Image](ctx, c, "/1.0/images")
}

// GetImage finds an image by fingerprint, or by the beginning of one.
func (c *Client) GetImage(ctx context.Context, fingerprint string) (*incusapi.Image, string, error) {
	return one[incusapi.Image](ctx, c, "/1.0/images/"+seg(fingerprint))
}

// UpdateImage replaces what can be changed of an image.
func (c *Client) UpdateImage(ctx context.Context, fingerprint string, put incusapi.ImagePut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/images/"+seg(fingerprint), put, etag)
	return err
}

// DeleteImage removes an image and its aliases. Instances made from it are not affected.
func (c *Client) DeleteImage(ctx context.Context, fingerprint string) (*Operation, error) {
	return c.Send(ctx, http.MethodDelete, "/1.0/images/"+seg(fingerprint), nil, "")
}

// GetImageAliases lists the names of images.
func (c *Client) GetImageAliases(ctx context.Context) ([]incusapi.ImageAliasesEntry, error) {
	return list[incusapi.ImageAliasesEntry](ctx, c, "/1.0/images/aliases")
}

// GetImageAlias finds the image that a name stands for.
func (c *Client) GetImageAlias(ctx context.Context, name string) (*incusapi.ImageAliasesEntry, string, error) {
	return one[incusapi.ImageAliasesEntry](ctx, c, "/1.0/images/aliases/"+seg(name))
}

// CreateImageAlias gives an image a name.
func (c *Client) CreateImageAlias(ctx context.Context, post incusapi.ImageAliasesPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/images/aliases", post, "")
	return err
}

// UpdateImageAlias makes a name stand for another image.
func (c *Client) UpdateImageAlias(ctx context.Context, name string, put incusapi.ImageAliasesEntryPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/images/aliases/"+seg(name), put, etag)
	return err
}

// DeleteImageAlias takes a name from its image.
func (c *Client) DeleteImageAlias(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/images/aliases/"+seg(name), nil, "")
	return err
}
