package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
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

func (s *Server) getProfiles(r *request) (reply, error) {
	users := profileUsers(r.snap)
	return r.list(items("/1.0/profiles/", r.snap.Profiles(), objectName, func(p *fabric.Profile) any { return showProfile(p, users) }))
}

func (s *Server) getProfile(r *request) (reply, error) {
	p, ok := r.snap.Profile(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(fabric.Key{Kind: fabric.KindProfile, Name: r.PathValue("name")})
	}
	return reply{metadata: showProfile(p, profileUsers(r.snap)), etag: etagOf(p)}, nil
}

// profileUsers lists the addresses of the instances of each profile.
func profileUsers(snap *fabric.Snapshot) map[string][]string {
	users := map[string][]string{}
	for _, i := range snap.Instances() {
		for _, p := range i.Profiles {
			users[p] = append(users[p], "/1.0/instances/"+seg(i.Name))
		}
	}
	return users
}

func showProfile(p *fabric.Profile, users map[string][]string) incusapi.Profile {
	return incusapi.Profile{ProfilePut: profilePut(p), Name: p.Name, UsedBy: append([]string{}, users[p.Name]...), Project: "default"}
}

func profilePut(p *fabric.Profile) incusapi.ProfilePut {
	return incusapi.ProfilePut{Description: p.Description, Config: incusapi.ConfigMap(clean(p.Config)), Devices: showDevices(p.Devices)}
}

func (s *Server) postProfiles(r *request) (reply, error) {
	var post incusapi.ProfilesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	p := &fabric.Profile{
		Header: fabric.Header{Name: post.Name}, Description: post.Description, Config: clean(post.Config), Devices: cleanDevices(post.Devices),
	}
	_, err := create(s, r, p, nil)
	return createdAt("/1.0/profiles/"+seg(p.Name), err)
}

func (s *Server) putProfile(r *request) (reply, error) {
	c, err := r.change(incusapi.ProfilePut{})
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindProfile, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(tx *fabric.Tx, p *fabric.Profile) error {
		put := profilePut(p)
		if err := c.onto(&put); err != nil {
			return err
		}
		p.Description, p.Config, p.Devices = put.Description, clean(put.Config), cleanDevices(put.Devices)
		if err := tx.Put(p); err != nil {
			return err
		}
		return resolveAgain(tx, func(i *fabric.Instance) bool { return slices.Contains(i.Profiles, p.Name) })
	})
	return done(err)
}

func (s *Server) deleteProfile(r *request) (reply, error) {
	name := r.PathValue("name")
	if name == "default" {
		return reply{}, fabric.Errorf(fabric.CodeForbidden, "default-profile", "the profile \"default\" can't be deleted").WithFix("change it instead")
	}
	return done(remove(s, r, fabric.Key{Kind: fabric.KindProfile, Name: name}))
}

// resolveAgain gives the NICs of instances what they need after something that they follow has changed. Instances to which that makes no
// difference are not written.
func resolveAgain(tx *fabric.Tx, affected func(*fabric.Instance) bool) error {
	for _, i := range tx.Snapshot().Instances() {
		if i.Deleting || !affected(i) {
			continue
		}
		next := fabric.Clone(i)
		if err := tx.ResolveNICs(next); err != nil {
			return err
		}
		if reflect.DeepEqual(next.NICs, i.NICs) {
			continue
		}
		if err := tx.Put(next); err != nil {
			return err
		}
	}
	return nil
}

func showDevices(devices fabric.Devices) incusapi.DevicesMap {
	shown := incusapi.DevicesMap{}
	for name, d := range devices {
		shown[name] = d
	}
	return shown
}

func cleanDevices(devices incusapi.DevicesMap) fabric.Devices {
	cleaned := fabric.Devices{}
	for name, d := range devices {
		cleaned[name] = clean(d)
	}
	return cleaned
}
