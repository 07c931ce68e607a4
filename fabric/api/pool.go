package api

import (
	"context"
	"net/http"
	"slices"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
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

func (s *Server) getPools(r *request) (reply, error) {
	users := deviceUsers(r.snap, fabric.KindPool)
	return r.list(items("/1.0/storage-pools/", r.snap.Pools(), objectName, func(p *fabric.Pool) any { return s.showPool(r, p, users) }))
}

func (s *Server) getPool(r *request) (reply, error) {
	p, err := findPool(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: s.showPool(r, p, deviceUsers(r.snap, fabric.KindPool)), etag: etagOf(p)}, nil
}

func findPool(r *request) (*fabric.Pool, error) {
	p, ok := r.snap.Pool(r.PathValue("name"))
	if !ok {
		return nil, notFound(fabric.Key{Kind: fabric.KindPool, Name: r.PathValue("name")})
	}
	return p, nil
}

func (s *Server) showPool(r *request, p *fabric.Pool, users map[string][]string) incusapi.StoragePool {
	target, _ := r.target() // checked when the request was admitted
	status, _ := readiness(r.reports(), fabric.KeyOf(p), p.Pending, target)
	return incusapi.StoragePool{
		StoragePoolPut: poolPut(p, target), Name: p.Name, Driver: p.Driver, Status: status,
		UsedBy: append([]string{}, users[p.Name]...), Locations: memberNames(r.snap),
	}
}

func poolPut(p *fabric.Pool, target string) incusapi.StoragePoolPut {
	return incusapi.StoragePoolPut{Description: p.Description, Config: incusapi.ConfigMap(clean(p.On(target)))}
}

func (s *Server) postPools(r *request) (reply, error) {
	var post incusapi.StoragePoolsPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	target, err := r.target()
	if err != nil {
		return reply{}, err
	}
	what, keys := "storage pool "+post.Name, fabric.PoolKeys[post.Driver]
	_, err = s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		p := &fabric.Pool{Header: fabric.Header{Name: post.Name}, Driver: post.Driver}
		if old, ok := tx.Snapshot().Pool(post.Name); ok {
			if !old.Pending {
				return exists(fabric.KeyOf(old))
			}
			if p = fabric.Clone(old); p.Driver != post.Driver {
				return fabric.Conflictf("driver", "%s was defined with driver %q, not %q", what, p.Driver, post.Driver)
			}
		}
		wanted := clean(post.Config)
		var err error
		if target == "" {
			p.Pending, p.Description = false, post.Description
			p.Config, p.MemberConfig, err = forAll(what, keys, tx.Snapshot(), p.MemberConfig, wanted)
		} else {
			p.Pending = true
			p.MemberConfig, err = definePending(what, p.MemberConfig, target, wanted)
		}
		if err != nil {
			return err
		}
		return tx.Put(p)
	})
	return createdAt("/1.0/storage-pools/"+seg(post.Name), err)
}

func (s *Server) putPool(r *request) (reply, error) {
	c, err := r.change(incusapi.StoragePoolPut{})
	if err != nil {
		return reply{}, err
	}
	target, err := r.target()
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindPool, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(tx *fabric.Tx, p *fabric.Pool) error {
		put := poolPut(p, target)
		if err := c.onto(&put); err != nil {
			return err
		}
		return changePool(tx.Snapshot(), p, put, target)
	})
	return done(err)
}

func changePool(snap *fabric.Snapshot, p *fabric.Pool, put incusapi.StoragePoolPut, target string) error {
	what, keys, wanted := "storage pool "+p.Name, fabric.PoolKeys[p.Driver], clean(put.Config)
	if err := keys.Check(what, wanted); err != nil {
		return err
	}
	before := fabric.Clone(p)
	var err error
	if target == "" {
		p.Description = put.Description
		p.Config, p.MemberConfig, err = forAll(what, keys, snap, p.MemberConfig, wanted)
	} else {
		if p.MemberConfig == nil {
			p.MemberConfig = map[string]fabric.Config{}
		}
		p.MemberConfig[target], err = forMember(what, keys, p.Config, wanted)
	}
	if err != nil || p.Pending {
		return err
	}
	for _, m := range snap.Members() {
		if was, is := before.On(m.Name)["source"], p.On(m.Name)["source"]; was != is {
			return fabric.Conflictf("read-only", "%s: source on member %q is %q and can't be changed", what, m.Name, was).WithFix("create another pool")
		}
	}
	return nil
}

func (s *Server) deletePool(r *request) (reply, error) {
	return done(remove(s, r, fabric.Key{Kind: fabric.KindPool, Name: r.PathValue("name")}))
}

// volumeType is the type of all volumes so far: root disks of containers.
const volumeType = "container"

func (s *Server) getVolumes(r *request) (reply, error) {
	p, err := findPool(r)
	if err != nil {
		return reply{}, err
	}
	var all []*fabric.Instance
	if t := r.PathValue("type"); t == "" || t == volumeType {
		all = poolVolumes(r.snap, p.Name)
	}
	prefix := "/1.0/storage-pools/" + seg(p.Name) + "/volumes/" + volumeType + "/"
	return r.list(items(prefix, all, objectName, func(i *fabric.Instance) any { return showVolume(i) }))
}

func (s *Server) getVolume(r *request) (reply, error) {
	p, err := findPool(r)
	if err != nil {
		return reply{}, err
	}
	for _, i := range poolVolumes(r.snap, p.Name) {
		if r.PathValue("type") == volumeType && i.Name == r.PathValue("volume") {
			return reply{metadata: showVolume(i)}, nil
		}
	}
	return reply{}, fabric.NotFoundf("storage pool %q has no %s volume %q", p.Name, r.PathValue("type"), r.PathValue("volume"))
}

func poolVolumes(snap *fabric.Snapshot, pool string) []*fabric.Instance {
	return slices.DeleteFunc(snap.Instances(), func(i *fabric.Instance) bool { return i.Pool != pool })
}

func showVolume(i *fabric.Instance) incusapi.StorageVolume {
	return incusapi.StorageVolume{
		StorageVolumePut: incusapi.StorageVolumePut{Config: incusapi.ConfigMap{}},
		Name:             i.Name, Type: volumeType, ContentType: "filesystem", Location: i.Member, Project: "default", CreatedAt: i.Created,
		UsedBy: []string{"/1.0/instances/" + seg(i.Name)},
	}
}
