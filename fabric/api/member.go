package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// ClusterMember is a member of the cluster.
type ClusterMember struct {
	incusapi.ClusterMember
	Number int    `json:"number"`                 // for bgp.asn_template; 0: it joined before members had any, and gets one when bgp.asn_template is set
	ASN    uint32 `json:"bgp_asn"`                // with which it speaks BGP; 0: it does not
	From   string `json:"bgp_asn_from,omitempty"` // config key that the AS number comes from
}

// GetMembers lists the members of the cluster.
func (c *Client) GetMembers(ctx context.Context) ([]ClusterMember, error) {
	return list[ClusterMember](ctx, c, "/1.0/cluster/members")
}

// GetMember finds a member.
func (c *Client) GetMember(ctx context.Context, name string) (*ClusterMember, string, error) {
	return one[ClusterMember](ctx, c, "/1.0/cluster/members/"+seg(name))
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

func (s *Server) getMembers(r *request) (reply, error) {
	return r.list(items("/1.0/cluster/members/", r.snap.Members(), objectName, func(m *fabric.Member) any { return showMember(r, m) }))
}

func (s *Server) getMember(r *request) (reply, error) {
	m, ok := r.snap.Member(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(fabric.Key{Kind: fabric.KindMember, Name: r.PathValue("name")})
	}
	return reply{metadata: showMember(r, m), etag: etagOf(m)}, nil
}

// databaseRoles are the roles of the database in the words of the dialect.
var databaseRoles = map[string]string{"voter": "database", "stand-by": "database-standby"}

func showMember(r *request, m *fabric.Member) ClusterMember {
	shown := ClusterMember{Number: m.Number, ClusterMember: incusapi.ClusterMember{
		ClusterMemberPut: memberPut(m), ServerName: m.Name, URL: "https://" + m.Address,
		Status: "Offline", Message: "no sign of life since this daemon started",
	}}
	shown.ASN, shown.From = r.snap.ASNFrom(m.Name)
	i := slices.IndexFunc(r.status.Members, func(st fabric.MemberStatus) bool { return st.Name == m.Name })
	if m.Name == r.status.Self {
		shown.Architecture = architecture()
		shown.Status, shown.Message = "Online", "fully operational"
	}
	if i < 0 {
		return shown
	}
	st := r.status.Members[i]
	if role := databaseRoles[st.Role]; role != "" {
		shown.Roles, shown.Database = append(shown.Roles, role), st.Role == "voter"
	}
	if st.Leader {
		shown.Roles = append(shown.Roles, "database-leader")
	}
	if st.Online {
		shown.Status, shown.Message = "Online", "fully operational"
		if m.Drain() != nil {
			shown.Message = "drained: announces nothing by BGP, and hands over gateways (bgp.drained)"
		}
	} else {
		shown.Status, shown.Message = "Offline", "no sign of life for "+st.LastSeen.Round(time.Second).String()
	}
	shown.Message = cmp.Or(st.Message, shown.Message)
	return shown
}

func memberPut(m *fabric.Member) incusapi.ClusterMemberPut {
	return incusapi.ClusterMemberPut{
		Roles: []string{}, Groups: slices.Clone(m.AllGroups()), FailureDomain: m.Domain(), Description: m.Description, Config: incusapi.ConfigMap(clean(m.Config)),
	}
}

func (s *Server) putMember(r *request) (reply, error) {
	c, err := r.change(incusapi.ClusterMemberPut{})
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindMember, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(tx *fabric.Tx, m *fabric.Member) error {
		roles := showMember(r, m).Roles
		put := memberPut(m)
		put.Roles = roles
		if err := c.onto(&put); err != nil {
			return err
		}
		if put.Roles != nil && !slices.Equal(slices.Sorted(slices.Values(put.Roles)), slices.Sorted(slices.Values(roles))) {
			return fabric.Errorf(fabric.CodeNotSupported, "roles", "member %q: roles are given by the cluster itself and can't be set", m.Name)
		}
		if err := assign(tx, m, put.Groups); err != nil {
			return err
		}
		m.Description, m.Config, m.FailureDomain = put.Description, clean(put.Config), put.FailureDomain
		if m.FailureDomain == "default" {
			m.FailureDomain = ""
		}
		return nil
	})
	return done(err)
}

// assign puts a member into exactly these groups. Those that it comes into or leaves are another version afterwards, for whoever edits them.
func assign(tx *fabric.Tx, m *fabric.Member, groups []string) error {
	before := m.AllGroups()
	m.SetGroups(groups)
	for _, g := range append(slices.Clone(before), m.AllGroups()...) {
		if slices.Contains(before, g) == m.InGroup(g) || g == fabric.DefaultGroup {
			continue
		}
		group, ok := tx.Snapshot().Group(g)
		if !ok {
			return fabric.Invalidf("no-group", "member %q: there is no cluster group %q", m.Name, g).WithFix("make it: fabricctl cluster group create %s", g)
		}
		if err := tx.Put(fabric.Clone(group)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) postMembers(r *request) (reply, error) {
	var post incusapi.ClusterMembersPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	if err := fabric.CheckHostname("member", post.ServerName); err != nil {
		return reply{}, err
	}
	if key := (fabric.Key{Kind: fabric.KindMember, Name: post.ServerName}); has(r.snap, key) {
		return reply{}, exists(key)
	}
	return s.addToken(r, post.ServerName, s.Cluster.AddToken)
}

func (s *Server) deleteMember(r *request) (reply, error) {
	key := fabric.Key{Kind: fabric.KindMember, Name: r.PathValue("name")}
	if !has(r.snap, key) {
		return reply{}, notFound(key)
	}
	force := r.query("force")
	return done(s.Cluster.Remove(r.Context(), key.Name, force == "1" || force == "true"))
}

// objectName is the name of any object, for items.
func objectName[T fabric.Object](o T) string { return o.Head().Name }
