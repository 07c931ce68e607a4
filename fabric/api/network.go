package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// GetNetworks lists the networks.
func (c *Client) GetNetworks(ctx context.Context) ([]incusapi.Network, error) {
	return list[incusapi.Network](ctx, c, "/1.0/networks")
}

// GetNetwork finds a network. With Target its config has the keys of that member too.
func (c *Client) GetNetwork(ctx context.Context, name string) (*incusapi.Network, string, error) {
	return one[incusapi.Network](ctx, c, "/1.0/networks/"+seg(name))
}

// CreateNetwork makes a network on all members. With Target it only notes the member's own config: a call without Target then creates it.
func (c *Client) CreateNetwork(ctx context.Context, post incusapi.NetworksPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/networks", post, "")
	return err
}

// UpdateNetwork replaces the config of a network; with Target, the member's own config.
func (c *Client) UpdateNetwork(ctx context.Context, name string, put incusapi.NetworkPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/networks/"+seg(name), put, etag)
	return err
}

// DeleteNetwork removes a network that nothing uses.
func (c *Client) DeleteNetwork(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/networks/"+seg(name), nil, "")
	return err
}

// GetNetworkState reads how a network is on the member that is asked, or on the target.
func (c *Client) GetNetworkState(ctx context.Context, name string) (*incusapi.NetworkState, error) {
	state, _, err := one[incusapi.NetworkState](ctx, c, "/1.0/networks/"+seg(name)+"/state")
	return state, err
}

// GetNetworkLeases lists the addresses that are in use in a network.
func (c *Client) GetNetworkLeases(ctx context.Context, name string) ([]incusapi.NetworkLease, error) {
	var leases []incusapi.NetworkLease
	_, err := c.Get(ctx, "/1.0/networks/"+seg(name)+"/leases", &leases)
	return leases, err
}

func (s *Server) getNetworks(r *request) (reply, error) {
	users := deviceUsers(r.snap, fabric.KindNetwork)
	return r.list(items("/1.0/networks/", r.snap.Networks(), objectName, func(n *fabric.Network) any { return s.showNetwork(r, n, users) }))
}

func (s *Server) getNetwork(r *request) (reply, error) {
	n, err := findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: s.showNetwork(r, n, deviceUsers(r.snap, fabric.KindNetwork)), etag: etagOf(n)}, nil
}

func findNetwork(r *request) (*fabric.Network, error) {
	n, ok := r.snap.Network(r.PathValue("name"))
	if !ok {
		return nil, notFound(fabric.Key{Kind: fabric.KindNetwork, Name: r.PathValue("name")})
	}
	return n, nil
}

// deviceUsers lists the addresses of instances and profiles that refer to each object of a kind.
func deviceUsers(snap *fabric.Snapshot, kind fabric.Kind) map[string][]string {
	users := map[string][]string{}
	add := func(o fabric.Object, address string) {
		for _, ref := range o.Refs() {
			if ref.Kind == kind && !slices.Contains(users[ref.Name], address) {
				users[ref.Name] = append(users[ref.Name], address)
			}
		}
	}
	for _, i := range snap.Instances() {
		add(i, "/1.0/instances/"+seg(i.Name))
	}
	for _, p := range snap.Profiles() {
		add(p, "/1.0/profiles/"+seg(p.Name))
	}
	return users
}

func (s *Server) showNetwork(r *request, n *fabric.Network, users map[string][]string) incusapi.Network {
	target, _ := r.target() // checked when the request was admitted
	status, _ := readiness(r.reports(), fabric.KeyOf(n), n.Pending, target)
	return incusapi.Network{
		NetworkPut: networkPut(n, target), Name: n.Name, Type: n.Type, Managed: true, Status: status,
		UsedBy: append([]string{}, users[n.Name]...), Locations: memberNames(r.snap), Project: "default",
	}
}

func networkPut(n *fabric.Network, target string) incusapi.NetworkPut {
	config := clean(n.Config)
	maps.Copy(config, n.MemberConfig[target])
	return incusapi.NetworkPut{Description: n.Description, Config: incusapi.ConfigMap(config)}
}

func (s *Server) postNetworks(r *request) (reply, error) {
	var post incusapi.NetworksPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	target, err := r.target()
	if err != nil {
		return reply{}, err
	}
	what, typ := "network "+post.Name, cmp.Or(post.Type, fabric.NetworkBridge)
	_, err = s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		n := &fabric.Network{Header: fabric.Header{Name: post.Name}, Type: typ}
		if old, ok := tx.Snapshot().Network(post.Name); ok {
			if !old.Pending {
				return exists(fabric.KeyOf(old))
			}
			if n = fabric.Clone(old); n.Type != typ {
				return fabric.Conflictf("type", "%s was defined with type %q, not %q", what, n.Type, typ)
			}
		}
		wanted := clean(post.Config)
		var err error
		if target != "" {
			if err := fabric.NetworkKeys.CheckMember(what+" on "+target, wanted); err != nil {
				return err
			}
			n.Pending = true
			if n.MemberConfig, err = definePending(what, n.MemberConfig, target, wanted); err != nil {
				return err
			}
			return tx.Put(n)
		}
		n.Pending, n.Description = false, post.Description
		if n.Config, n.MemberConfig, err = forAll(what, fabric.NetworkKeys, tx.Snapshot(), n.MemberConfig, wanted); err != nil {
			return err
		}
		if err := n.Validate(); err != nil { // before a subnet is chosen: the name may be none
			return err
		}
		if err := tx.ResolveSubnets(n); err != nil {
			return err
		}
		return tx.Put(n)
	})
	return createdAt("/1.0/networks/"+seg(post.Name), err)
}

func (s *Server) putNetwork(r *request) (reply, error) {
	c, err := r.change(incusapi.NetworkPut{})
	if err != nil {
		return reply{}, err
	}
	target, err := r.target()
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindNetwork, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(tx *fabric.Tx, n *fabric.Network) error {
		put := networkPut(n, target)
		if err := c.onto(&put); err != nil {
			return err
		}
		return changeNetwork(tx, n, put, target)
	})
	return done(err)
}

func changeNetwork(tx *fabric.Tx, n *fabric.Network, put incusapi.NetworkPut, target string) error {
	what, wanted := "network "+n.Name, clean(put.Config)
	if err := fabric.NetworkKeys.Check(what, wanted); err != nil {
		return err
	}
	if target != "" {
		own, err := forMember(what, fabric.NetworkKeys, n.Config, wanted)
		if err != nil {
			return err
		}
		if n.MemberConfig == nil {
			n.MemberConfig = map[string]fabric.Config{}
		}
		n.MemberConfig[target] = own
		return nil
	}
	// An address that is chosen once stays: leaving it out does not number a running network anew.
	for _, k := range []string{"ipv4.address", "ipv6.address"} {
		if was := n.Config[k]; (wanted[k] == "" || wanted[k] == "auto") && was != "" && was != "none" {
			wanted[k] = was
		}
	}
	var err error
	if n.Config, n.MemberConfig, err = forAll(what, fabric.NetworkKeys, tx.Snapshot(), n.MemberConfig, wanted); err != nil {
		return err
	}
	n.Description = put.Description
	if n.Pending {
		return nil
	}
	if err := tx.ResolveSubnets(n); err != nil {
		return err
	}
	if err := tx.Put(n); err != nil {
		return err
	}
	return resolveAgain(tx, func(i *fabric.Instance) bool {
		_, devices := i.Expanded(tx.Snapshot())
		for _, d := range devices {
			if d["type"] == "nic" && d["network"] == n.Name {
				return true
			}
		}
		return false
	})
}

func (s *Server) deleteNetwork(r *request) (reply, error) {
	return done(remove(s, r, fabric.Key{Kind: fabric.KindNetwork, Name: r.PathValue("name")}))
}

func (s *Server) getNetworkState(r *request) (reply, error) {
	n, err := findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	state := incusapi.NetworkState{Addresses: []incusapi.NetworkStateAddress{}, Mtu: n.MTU(), State: "down", Type: "broadcast"}
	c, ok := r.reports().Get(fabric.KeyOf(n), r.subject(), fabric.ConditionReady)
	if !ok || !c.OK {
		return reply{metadata: state}, nil
	}
	state.State = "up"
	for _, p := range n.Subnets() {
		state.Addresses = append(state.Addresses, incusapi.NetworkStateAddress{
			Family: family(p.Addr()), Address: p.Addr().String(), Netmask: strconv.Itoa(p.Bits()), Scope: "global",
		})
	}
	return reply{metadata: state}, nil
}

// family is the family of an address in the words of the dialect.
func family(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}

func (s *Server) getNetworkLeases(r *request) (reply, error) {
	n, err := findNetwork(r)
	if err != nil {
		return reply{}, err
	}
	leases := []incusapi.NetworkLease{}
	for _, p := range n.Subnets() {
		leases = append(leases, incusapi.NetworkLease{Hostname: n.Name + ".gw", Address: p.Addr().String(), Type: "gateway"})
	}
	for _, i := range r.snap.Instances() {
		_, devices := i.Expanded(r.snap)
		for _, nic := range i.NICs {
			if nic.Network != n.Name {
				continue
			}
			for _, a := range nic.Addresses {
				d, typ := devices[nic.Device], "dynamic"
				if d["ipv4.address"] == a.String() || d["ipv6.address"] == a.String() {
					typ = "static"
				}
				leases = append(leases, incusapi.NetworkLease{Hostname: i.Name, Hwaddr: nic.MAC, Address: a.String(), Type: typ, Location: i.Member})
			}
		}
	}
	return reply{metadata: leases}, nil
}
