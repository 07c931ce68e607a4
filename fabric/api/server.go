package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// GetServer reads what the server says of itself: its environment and, to those it trusts, the config of cluster and member.
func (c *Client) GetServer(ctx context.Context) (*incusapi.Server, string, error) {
	return one[incusapi.Server](ctx, c, "/1.0")
}

// UpdateServer replaces the config of the cluster and of the member that is asked (or of the target).
func (c *Client) UpdateServer(ctx context.Context, put incusapi.ServerPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0", put, etag)
	return err
}

// PatchServer sets the given config keys and leaves the others; an empty value unsets a key.
func (c *Client) PatchServer(ctx context.Context, put incusapi.ServerPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPatch, "/1.0", put, etag)
	return err
}

// extensions are the parts of the dialect beyond 1.0 that work here. A client refuses by itself what needs another.
var extensions = []string{
	"api_filtering",
	"certificate_token",
	"certificate_update",
	"clustering",
	"clustering_config",
	"clustering_description",
	"clustering_edit_roles",
	"clustering_failure_domains",
	"clustering_groups",
	"clustering_join",
	"clustering_join_token",
	"clustering_roles",
	"clustering_update_cert",
	"container_exec_signal_handling",
	"container_exec_user_group_cwd",
	"container_full",
	"etag",
	"event_lifecycle",
	"event_lifecycle_name_and_project",
	"event_location",
	"event_project",
	"image_profiles",
	"instance_all_projects",
	"instance_get_full",
	"instances",
	"network",
	"network_leases",
	"network_leases_location",
	"network_state",
	"operation_description",
	"patch",
	"storage",
}

// memberKey tells whether a key of a member is shown and set as config of the server. Its others are config of the cluster member.
func memberKey(name string) bool {
	_, known := fabric.MemberKeys.Lookup(name)
	return known && strings.HasPrefix(name, "core.")
}

// serverKeys are the config keys of the server.
var serverKeys = func() fabric.KeyTable {
	keys := slices.Clone(fabric.ClusterKeys)
	for _, k := range fabric.MemberKeys {
		if memberKey(k.Name) {
			keys = append(keys, k)
		}
	}
	return keys
}()

func (s *Server) getServer(r *request) (reply, error) {
	untrusted := incusapi.ServerUntrusted{
		APIExtensions: extensions, APIStatus: "stable", APIVersion: "1.0", Auth: "untrusted", AuthMethods: []string{incusapi.AuthenticationMethodTLS},
	}
	if !r.trusted {
		return reply{metadata: untrusted}, nil
	}
	untrusted.Auth = "trusted"
	shown := incusapi.Server{ServerUntrusted: untrusted, AuthUserMethod: "unix", Environment: s.environment(r)}
	if r.TLS != nil {
		shown.AuthUserMethod, shown.AuthUserName = incusapi.AuthenticationMethodTLS, connFingerprint(*r.TLS)
	}
	config, etag := serverConfig(r.snap, r.subject())
	shown.Config = incusapi.ConfigMap(config)
	return reply{metadata: shown, etag: etag}, nil
}

// serverConfig is the config of cluster and member together.
func serverConfig(snap *fabric.Snapshot, member string) (fabric.Config, string) {
	config := fabric.Config{}
	maps.Copy(config, snap.Cluster().Config)
	m, ok := snap.Member(member)
	if !ok {
		return config, etagOf(snap.Cluster())
	}
	for k, v := range m.Config {
		if memberKey(k) {
			config[k] = v
		}
	}
	return config, etagOf(snap.Cluster(), m)
}

func (s *Server) putServer(r *request) (reply, error) {
	c, err := r.change(incusapi.ServerPut{})
	if err != nil {
		return reply{}, err
	}
	member := r.subject()
	_, err = s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		snap := tx.Snapshot()
		config, etag := serverConfig(snap, member)
		if err := r.match(etag); err != nil {
			return err
		}
		put := incusapi.ServerPut{Config: incusapi.ConfigMap(config)}
		if err := c.onto(&put); err != nil {
			return err
		}
		wanted := clean(put.Config)
		if err := serverKeys.Check("the server", wanted); err != nil {
			return err
		}
		return setServerConfig(tx, member, wanted)
	})
	return done(err)
}

// setServerConfig writes those of the two objects that differ.
func setServerConfig(tx *fabric.Tx, member string, wanted fabric.Config) error {
	snap := tx.Snapshot()
	forCluster, forMember := fabric.Config{}, fabric.Config{}
	for k, v := range wanted {
		if memberKey(k) {
			forMember[k] = v
		} else {
			forCluster[k] = v
		}
	}
	m, ok := snap.Member(member)
	if !ok {
		return fabric.NotFoundf("member %q does not exist", member)
	}
	for k, v := range m.Config {
		if !memberKey(k) {
			forMember[k] = v
		}
	}
	cluster := snap.Cluster()
	if !maps.Equal(forMember, clean(m.Config)) {
		next := fabric.Clone(m)
		next.Config = forMember
		if err := tx.Put(next); err != nil {
			return err
		}
	}
	if maps.Equal(forCluster, clean(cluster.Config)) {
		return nil
	}
	next := fabric.Clone(cluster)
	next.Config = forCluster
	return tx.Put(next)
}
