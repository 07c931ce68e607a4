package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"netfabric/fabric"
)

// BGPPolicyPut is what can be changed of a BGP policy.
type BGPPolicyPut struct {
	Description string          `json:"description"`
	Rules       []BGPPolicyRule `json:"rules"` // the first that matches decides; what none matches is rejected
}

// BGPPolicyRule is one step of a BGP policy.
type BGPPolicyRule struct {
	Match  fabric.PolicyMatch  `json:"match,omitzero"` // leaving it out matches everything
	Action fabric.PolicyAction `json:"action"`
	Set    fabric.PolicySet    `json:"set,omitzero"`
}

// BGPPoliciesPost makes a BGP policy.
type BGPPoliciesPost struct {
	BGPPolicyPut
	Name string `json:"name"`
}

// BGPPolicy is a BGP policy and who uses it.
type BGPPolicy struct {
	BGPPolicyPut
	Name    string   `json:"name"`
	Builtin bool     `json:"builtin"` // it is always there and can't be changed
	UsedBy  []string `json:"used_by"` // URLs of peers
}

// GetBGPPolicies lists the BGP policies, built-in ones among them.
func (c *Client) GetBGPPolicies(ctx context.Context) ([]BGPPolicy, error) {
	return list[BGPPolicy](ctx, c, "/1.0/bgp/policies")
}

// GetBGPPolicy finds a BGP policy.
func (c *Client) GetBGPPolicy(ctx context.Context, name string) (*BGPPolicy, string, error) {
	return one[BGPPolicy](ctx, c, "/1.0/bgp/policies/"+seg(name))
}

// CreateBGPPolicy makes a BGP policy.
func (c *Client) CreateBGPPolicy(ctx context.Context, post BGPPoliciesPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/bgp/policies", post, "")
	return err
}

// UpdateBGPPolicy replaces a BGP policy.
func (c *Client) UpdateBGPPolicy(ctx context.Context, name string, put BGPPolicyPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/bgp/policies/"+seg(name), put, etag)
	return err
}

// DeleteBGPPolicy removes a BGP policy that no peer uses.
func (c *Client) DeleteBGPPolicy(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/bgp/policies/"+seg(name), nil, "")
	return err
}

func (s *Server) getPolicies(r *request) (reply, error) {
	all := slices.SortedFunc(slices.Values(append(fabric.BuiltinPolicies(), r.snap.Policies()...)), func(a, b *fabric.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return r.list(items("/1.0/bgp/policies/", all, objectName, func(p *fabric.Policy) any { return showPolicy(r.snap, p) }))
}

func (s *Server) getPolicy(r *request) (reply, error) {
	p, ok := r.snap.Policy(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(policyKey(r))
	}
	return reply{metadata: showPolicy(r.snap, p), etag: etagOf(p)}, nil
}

func policyKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindPolicy, Name: r.PathValue("name")}
}

func showPolicy(snap *fabric.Snapshot, p *fabric.Policy) BGPPolicy {
	shown := BGPPolicy{BGPPolicyPut: policyPut(p), Name: p.Name, Builtin: fabric.IsBuiltinPolicy(p.Name), UsedBy: []string{}}
	for _, peer := range snap.Peers() {
		if peer.Import == p.Name || peer.Export == p.Name {
			shown.UsedBy = append(shown.UsedBy, "/1.0/bgp/peers/"+seg(peer.Name))
		}
	}
	return shown
}

func policyPut(p *fabric.Policy) BGPPolicyPut {
	put := BGPPolicyPut{Description: p.Description, Rules: []BGPPolicyRule{}}
	for _, r := range p.Rules {
		put.Rules = append(put.Rules, BGPPolicyRule(r))
	}
	return put
}

func (put BGPPolicyPut) apply(p *fabric.Policy) {
	p.Description, p.Rules = put.Description, []fabric.PolicyRule{}
	for _, r := range put.Rules {
		p.Rules = append(p.Rules, fabric.PolicyRule(r))
	}
}

func (s *Server) postPolicies(r *request) (reply, error) {
	var post BGPPoliciesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	p := &fabric.Policy{Header: fabric.Header{Name: post.Name}}
	post.apply(p)
	_, err := create(s, r, p, nil)
	return createdAt("/1.0/bgp/policies/"+seg(p.Name), err)
}

func (s *Server) putPolicy(r *request) (reply, error) {
	c, err := r.change(BGPPolicyPut{})
	if err != nil {
		return reply{}, err
	}
	if err := changeable(r); err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, policyKey(r), func(_ *fabric.Tx, p *fabric.Policy) error {
		put := policyPut(p)
		if err := c.onto(&put); err != nil {
			return err
		}
		put.apply(p)
		return nil
	})
	return done(err)
}

func (s *Server) deletePolicy(r *request) (reply, error) {
	if err := changeable(r); err != nil {
		return reply{}, err
	}
	return done(remove(s, r, policyKey(r)))
}

// changeable refuses to touch the policies that are always there.
func changeable(r *request) error {
	if name := r.PathValue("name"); fabric.IsBuiltinPolicy(name) {
		return fabric.Invalidf("builtin-policy", "BGP policy %q is built in and can't be changed or deleted", name)
	}
	return nil
}
