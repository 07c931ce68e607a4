package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetMembers lists the members of the cluster.
func (c *Client) GetMembers(ctx context.Context) ([]incusapi.ClusterMember, error) {
	return list[incusapi.ClusterMember](ctx, c, "/1.0/cluster/members")
}

// GetMember finds a member.
func (c *Client) GetMember(ctx context.Context, name string) (*incusapi.ClusterMember, string, error) {
	return one[incusapi.ClusterMember](ctx, c, "/1.0/cluster/members/"+seg(name))
}

// UpdateMember replaces description, failure domain and config of a member.
func (c *Client) UpdateMember(ctx context.Context, name string, put incusapi.ClusterMemberPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/cluster/members/"+seg(name), put, etag)
	return err
}

// AddMember makes a token with which a member of that name can join once.
func (c *Client) AddMember(ctx context.Context, name string) (*incusapi.ClusterMemberJoinToken, error) {
	op, err := c.Send(ctx, http.MethodPost, "/1.0/cluster/members", incusapi.ClusterMembersPost{ServerName: name}, "")
	if err != nil {
		return nil, err
	}
	return op.ToClusterJoinToken()
}

// RemoveMember removes a member from the cluster; with force even when it can't be reached or has instances.
func (c *Client) RemoveMember(ctx context.Context, name string, force bool) error {
	path := "/1.0/cluster/members/" + seg(name)
	if force {
		path += "?force=1"
	}
	_, err := c.Send(ctx, http.MethodDelete, path, nil, "")
	return err
}
