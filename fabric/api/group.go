package api

import (
	"context"
	"net/http"
	"slices"

	"netfabric/fabric"
)

// ClusterGroupPut is what can be changed of a group of members.
type ClusterGroupPut struct {
	Description string   `json:"description"`
	Members     []string `json:"members"` // a member that is in no other group afterwards is in the group default
}

// ClusterGroupPost renames a group of members.
type ClusterGroupPost struct {
	Name string `json:"name"`
}

// ClusterGroup is a group of members; to make one, the same.
type ClusterGroup struct {
	ClusterGroupPut
	Name string `json:"name"`
}

// GetClusterGroups lists the groups of members.
func (c *Client) GetClusterGroups(ctx context.Context) ([]ClusterGroup, error) {
	return list[ClusterGroup](ctx, c, "/1.0/cluster/groups")
}

// GetClusterGroup finds a group of members.
func (c *Client) GetClusterGroup(ctx context.Context, name string) (*ClusterGroup, string, error) {
	return one[ClusterGroup](ctx, c, "/1.0/cluster/groups/"+seg(name))
}

// CreateClusterGroup makes a group of members.
func (c *Client) CreateClusterGroup(ctx context.Context, group ClusterGroup) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/cluster/groups", group, "")
	return err
}

// UpdateClusterGroup replaces a group of members.
func (c *Client) UpdateClusterGroup(ctx context.Context, name string, put ClusterGroupPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/cluster/groups/"+seg(name), put, etag)
	return err
}

// RenameClusterGroup gives a group of members another name, also where it is used.
func (c *Client) RenameClusterGroup(ctx context.Context, name, to string) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/cluster/groups/"+seg(name), ClusterGroupPost{to}, "")
	return err
}

// DeleteClusterGroup removes a group that no member is in and nothing uses.
func (c *Client) DeleteClusterGroup(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/cluster/groups/"+seg(name), nil, "")
	return err
}

func (s *Server) getGroups(r *request) (reply, error) {
	return r.list(items("/1.0/cluster/groups/", r.snap.Groups(), objectName, func(g *fabric.Group) any { return showGroup(r.snap, g) }))
}

func (s *Server) getGroup(r *request) (reply, error) {
	g, ok := r.snap.Group(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(groupKey(r))
	}
	return reply{metadata: showGroup(r.snap, g), etag: etagOf(g)}, nil
}

func groupKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindGroup, Name: r.PathValue("name")}
}

func showGroup(snap *fabric.Snapshot, g *fabric.Group) ClusterGroup {
	return ClusterGroup{ClusterGroupPut: groupPut(snap, g), Name: g.Name}
}

func groupPut(snap *fabric.Snapshot, g *fabric.Group) ClusterGroupPut {
	put := ClusterGroupPut{Description: g.Description, Members: []string{}}
	for _, m := range snap.Members() {
		if m.InGroup(g.Name) {
			put.Members = append(put.Members, m.Name)
		}
	}
	return put
}

// regroup makes the members of a group those that are named.
func regroup(tx *fabric.Tx, group string, members []string) error {
	for _, name := range members {
		if _, ok := tx.Snapshot().Member(name); !ok {
			return fabric.Invalidf("no-member", "cluster group %q: there is no member %q", group, name).WithFix("see fabricctl cluster list")
		}
	}
	for _, m := range tx.Snapshot().Members() {
		is, wanted := m.InGroup(group), slices.Contains(members, m.Name)
		if is == wanted {
			continue
		}
		next := fabric.Clone(m)
		groups := slices.DeleteFunc(slices.Clone(m.Groups), func(g string) bool { return g == group })
		if wanted {
			groups = append(groups, group)
		}
		next.SetGroups(groups)
		if err := tx.Put(next); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) postGroups(r *request) (reply, error) {
	var post ClusterGroup
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	g := &fabric.Group{Header: fabric.Header{Name: post.Name}, Description: post.Description}
	if err := g.Validate(); err != nil {
		return reply{}, err
	}
	_, err := create(s, r, g, func(tx *fabric.Tx) error { return regroup(tx, g.Name, post.Members) })
	return createdAt("/1.0/cluster/groups/"+seg(g.Name), err)
}

func (s *Server) putGroup(r *request) (reply, error) {
	c, err := r.change(ClusterGroupPut{})
	if err != nil {
		return reply{}, err
	}
	if err := ownGroup(r); err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, groupKey(r), func(tx *fabric.Tx, g *fabric.Group) error {
		put := groupPut(tx.Snapshot(), g)
		if err := c.onto(&put); err != nil {
			return err
		}
		g.Description = put.Description
		return regroup(tx, g.Name, put.Members)
	})
	return done(err)
}

func (s *Server) postGroup(r *request) (reply, error) {
	var post ClusterGroupPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	if err := ownGroup(r); err != nil {
		return reply{}, err
	}
	from := r.PathValue("name")
	_, err := s.Store.Apply(r.Context(), func(tx *fabric.Tx) error { return renameGroup(tx, from, post.Name) })
	return createdAt("/1.0/cluster/groups/"+seg(post.Name), err)
}

func renameGroup(tx *fabric.Tx, from, to string) error {
	snap := tx.Snapshot()
	g, ok := snap.Group(from)
	if !ok {
		return notFound(fabric.Key{Kind: fabric.KindGroup, Name: from})
	}
	if key := (fabric.Key{Kind: fabric.KindGroup, Name: to}); to == fabric.DefaultGroup || has(snap, key) {
		return exists(key)
	}
	if err := tx.Put(&fabric.Group{Header: fabric.Header{Name: to}, Description: g.Description}); err != nil {
		return err
	}
	for _, m := range snap.Members() {
		if !m.InGroup(from) {
			continue
		}
		next := fabric.Clone(m)
		next.SetGroups(append(slices.DeleteFunc(slices.Clone(m.Groups), func(g string) bool { return g == from }), to))
		if err := tx.Put(next); err != nil {
			return err
		}
	}
	for _, p := range snap.Peers() {
		if list := fabric.RenamedGroup(p.Members, from, to); !slices.Equal(list, p.Members) {
			next := fabric.Clone(p)
			next.Members = list
			if err := tx.Put(next); err != nil {
				return err
			}
		}
	}
	for _, gateway := range snap.Gateways() {
		if list := fabric.RenamedGroup(gateway.Members, from, to); !slices.Equal(list, gateway.Members) {
			next := fabric.Clone(gateway)
			next.Members = list
			if err := tx.Put(next); err != nil {
				return err
			}
		}
	}
	return tx.Delete(fabric.KeyOf(g))
}

func (s *Server) deleteGroup(r *request) (reply, error) {
	if err := ownGroup(r); err != nil {
		return reply{}, err
	}
	return done(remove(s, r, groupKey(r)))
}

// ownGroup refuses to touch the group that is always there.
func ownGroup(r *request) error {
	if name := r.PathValue("name"); name == fabric.DefaultGroup {
		return fabric.Invalidf("builtin-group", "cluster group %q is always there and can't be changed: it has the members that are in no other", name)
	}
	return nil
}
