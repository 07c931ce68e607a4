package api

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// ClusterPut forms a cluster (enabled, no token), joins one (enabled, token) or leaves it.
type ClusterPut struct {
	incusapi.ClusterPut
	ClusterPassword string `json:"cluster_password"` // LXD's older name of the token
}

// GetCluster tells whether the member is in a cluster.
func (c *Client) GetCluster(ctx context.Context) (*incusapi.Cluster, string, error) {
	return one[incusapi.Cluster](ctx, c, "/1.0/cluster")
}

// UpdateCluster forms or joins a cluster.
func (c *Client) UpdateCluster(ctx context.Context, put ClusterPut, etag string) (*Operation, error) {
	return c.Send(ctx, http.MethodPut, "/1.0/cluster", put, etag)
}

// Bootstrap makes the daemon the first member of a new cluster. address is the ADDRESS:PORT at which the others will reach it.
func (c *Client) Bootstrap(ctx context.Context, name, address string) (*Operation, error) {
	return c.UpdateCluster(ctx, ClusterPut{ClusterPut: incusapi.ClusterPut{
		Cluster: incusapi.Cluster{ServerName: name, Enabled: true}, ServerAddress: address,
	}}, "")
}

// Join makes the daemon a member of the cluster that gave out the token. address is the ADDRESS:PORT at which the others will reach it.
func (c *Client) Join(ctx context.Context, token, address string) (*Operation, error) {
	return c.UpdateCluster(ctx, ClusterPut{ClusterPut: incusapi.ClusterPut{
		Cluster: incusapi.Cluster{Enabled: true}, ServerAddress: address, ClusterToken: token,
	}}, "")
}

func (s *Server) getCluster(r *request) (reply, error) {
	c := incusapi.Cluster{Enabled: r.status.Bootstrapped, MemberConfig: []incusapi.ClusterMemberConfigKey{}}
	if c.Enabled {
		c.ServerName = r.status.Self
	}
	return reply{metadata: c}, nil
}

// UpdateClusterCertificate replaces the certificate that all members show, in PEM form; with neither it nor a key a new one is made.
func (c *Client) UpdateClusterCertificate(ctx context.Context, certificate, key string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/cluster/certificate", incusapi.ClusterCertificatePut{ClusterCertificate: certificate, ClusterCertificateKey: key}, "")
	return err
}

func (s *Server) putClusterCertificate(r *request) (reply, error) {
	var put incusapi.ClusterCertificatePut
	if err := r.decode(&put); err != nil {
		return reply{}, err
	}
	return reply{}, s.Cluster.UpdateCertificate(r.Context(), put.ClusterCertificate, put.ClusterCertificateKey)
}

func (s *Server) putCluster(r *request) (reply, error) {
	var put ClusterPut
	if err := r.decode(&put); err != nil {
		return reply{}, err
	}
	if !put.Enabled {
		return reply{}, fabric.Errorf(fabric.CodeNotSupported, "leave", "a member can't take itself out of its cluster").
			WithFix("on another member: fabricctl cluster remove %s", cmp.Or(r.status.Self, "NAME"))
	}
	token := cmp.Or(put.ClusterToken, put.ClusterPassword)
	if r.status.Bootstrapped && (token == "" || !r.status.Removed) {
		return reply{}, fabric.Conflictf("already-in-cluster", "this daemon is member %q of a cluster already", r.status.Self)
	}
	if len(put.MemberConfig) > 0 {
		return reply{}, fabric.Errorf(fabric.CodeNotSupported, "member-config", "member_config can't be given with the request to join").
			WithFix("set the keys afterwards, with the member as target")
	}
	if put.ServerAddress != "" {
		if a, err := netip.ParseAddrPort(put.ServerAddress); err != nil || a.Addr().IsUnspecified() || a.Port() == 0 {
			return reply{}, fabric.Invalidf("bad-address", "server address %q is not ADDRESS:PORT at which others can reach this daemon", put.ServerAddress).
				WithFix("for example 192.0.2.1:8443")
		}
	}
	j := job{description: "Forming a cluster", run: func(ctx context.Context, _ *operation) error {
		return s.Cluster.Bootstrap(ctx, put.ServerName, put.ServerAddress)
	}}
	if token == "" {
		if err := fabric.CheckHostname("member", put.ServerName); err != nil {
			return reply{}, err
		}
	} else {
		text, ok := parseToken(token)
		if !ok {
			return reply{}, fabric.Invalidf("bad-token", "the join token is not one").WithFix("give it as fabricctl cluster add printed it, in one piece")
		}
		if err := readOnly("join", "the member's name in the token", text.ServerName, put.ServerName); err != nil {
			return reply{}, err
		}
		j = job{description: "Joining a cluster", run: func(ctx context.Context, _ *operation) error {
			return s.Cluster.Join(ctx, token, put.ServerAddress)
		}}
	}
	op, err := s.operations.start(j)
	return reply{op: op}, err
}
