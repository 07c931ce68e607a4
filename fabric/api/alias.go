package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

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

func (s *Server) getAliases(r *request) (reply, error) {
	return r.list(items("/1.0/images/aliases/", r.snap.Aliases(), objectName, func(a *fabric.Alias) any { return showAlias(a) }))
}

func (s *Server) getAlias(r *request) (reply, error) {
	a, ok := r.snap.Alias(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(aliasKey(r))
	}
	return reply{metadata: showAlias(a), etag: etagOf(a)}, nil
}

func aliasKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindAlias, Name: r.PathValue("name")}
}

func showAlias(a *fabric.Alias) incusapi.ImageAliasesEntry {
	return incusapi.ImageAliasesEntry{ImageAliasesEntryPut: incusapi.ImageAliasesEntryPut{Description: a.Description, Target: a.Target}, Name: a.Name, Type: "container"}
}

func (s *Server) postAliases(r *request) (reply, error) {
	var post incusapi.ImageAliasesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	a := &fabric.Alias{Header: fabric.Header{Name: post.Name}, Description: post.Description}
	_, err := create(s, r, a, func(tx *fabric.Tx) error { return pointAlias(tx, a, post.Target) })
	return createdAt("/1.0/images/aliases/"+seg(a.Name), err)
}

func (s *Server) putAlias(r *request) (reply, error) {
	c, err := r.change(incusapi.ImageAliasesEntryPut{})
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, aliasKey(r), func(tx *fabric.Tx, a *fabric.Alias) error {
		put := showAlias(a).ImageAliasesEntryPut
		if err := c.onto(&put); err != nil {
			return err
		}
		a.Description = put.Description
		return pointAlias(tx, a, put.Target)
	})
	return done(err)
}

// pointAlias makes an alias stand for the image whose fingerprint begins as given.
func pointAlias(tx *fabric.Tx, a *fabric.Alias, target string) error {
	image, err := byPrefix("image", tx.Snapshot().Images(), target)
	if err != nil {
		return err
	}
	a.Target = image.Name
	return nil
}

func (s *Server) deleteAlias(r *request) (reply, error) {
	return done(remove(s, r, aliasKey(r)))
}
