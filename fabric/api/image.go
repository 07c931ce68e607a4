package api

import (
	"context"
	"maps"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
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

func (s *Server) getImages(r *request) (reply, error) {
	return r.list(items("/1.0/images/", r.snap.Images(), objectName, func(i *fabric.Image) any { return showImage(r.snap, i) }))
}

func (s *Server) getImage(r *request) (reply, error) {
	i, err := findImage(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: showImage(r.snap, i), etag: etagOf(i)}, nil
}

func findImage(r *request) (*fabric.Image, error) {
	return byPrefix("image", r.snap.Images(), r.PathValue("fingerprint"))
}

func showImage(snap *fabric.Snapshot, i *fabric.Image) incusapi.Image {
	shown := incusapi.Image{
		ImagePut: imagePut(i), Aliases: []incusapi.ImageAlias{}, Architecture: i.Architecture, Filename: i.Filename, Fingerprint: i.Name, Size: i.Size,
		Type: i.Type, CreatedAt: i.MadeAt, UploadedAt: i.Created, Project: "default",
	}
	for _, a := range snap.Aliases() {
		if a.Target == i.Name {
			shown.Aliases = append(shown.Aliases, incusapi.ImageAlias{Name: a.Name, Description: a.Description})
		}
	}
	return shown
}

func imagePut(i *fabric.Image) incusapi.ImagePut {
	put := incusapi.ImagePut{AutoUpdate: i.AutoUpdate, Properties: map[string]string{}, Public: i.Public, ExpiresAt: i.ExpiresAt, Profiles: append([]string{}, i.Profiles...)}
	maps.Copy(put.Properties, i.Properties)
	return put
}

func (s *Server) putImage(r *request) (reply, error) {
	c, err := r.change(incusapi.ImagePut{})
	if err != nil {
		return reply{}, err
	}
	found, err := findImage(r)
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, fabric.KeyOf(found), func(tx *fabric.Tx, i *fabric.Image) error {
		put := imagePut(i)
		if err := c.onto(&put); err != nil {
			return err
		}
		if put.AutoUpdate {
			return fabric.Errorf(fabric.CodeNotSupported, "auto-update", "image %.12s: images are not updated by themselves", i.Name)
		}
		for _, p := range put.Profiles {
			if _, ok := tx.Snapshot().Profile(p); !ok {
				return fabric.Invalidf("missing-reference", "image %.12s: profile %q does not exist", i.Name, p)
			}
		}
		i.Properties, i.Public, i.ExpiresAt, i.Profiles = put.Properties, put.Public, put.ExpiresAt, put.Profiles
		return nil
	})
	return done(err)
}

func (s *Server) deleteImage(r *request) (reply, error) {
	i, err := findImage(r)
	if err != nil {
		return reply{}, err
	}
	key := fabric.KeyOf(i)
	_, err = s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		o, ok := tx.Snapshot().Get(key)
		if !ok {
			return notFound(key)
		}
		if err := r.match(etagOf(o)); err != nil {
			return err
		}
		for _, a := range tx.Snapshot().Aliases() {
			if a.Target == key.Name {
				if err := tx.Delete(fabric.KeyOf(a)); err != nil {
					return err
				}
			}
		}
		return tx.Delete(key)
	})
	if err != nil {
		return reply{}, err
	}
	op, err := s.operations.start(job{
		description: "Deleting image", resources: map[string][]string{"images": {"/1.0/images/" + key.Name}}, location: r.status.Self,
		run: func(context.Context, *operation) error { return nil }, // members drop the files by themselves
	})
	return reply{op: op}, err
}
