package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// exporter decides which peers are told of announcements, and with what attributes.
type exporter struct {
	view   fabric.View
	space  []netip.Prefix // outside of which nothing is announced; none: no bound
	peers  []exportPeer
	labels map[fabric.Key]fabric.Config // nil: no policy asks for them
}

// exportPeer is a peer with its export policy.
type exportPeer struct {
	fabric.RoutingPeer
	internal bool
	policy   *fabric.PolicyDecider // nil: it has none
}

func newExporter(v fabric.View, speaker *fabric.Speaker, peers []fabric.RoutingPeer) *exporter {
	e := &exporter{view: v, space: v.Desired.Cluster().Prefixes()}
	for _, p := range peers {
		x := exportPeer{RoutingPeer: p, internal: p.Internal(speaker.ASN)}
		if object, ok := v.Desired.Peer(p.Name); ok {
			if policy, ok := v.Desired.Policy(object.Export); ok {
				x.policy = policy.Decider()
				if slices.ContainsFunc(policy.Rules, func(r fabric.PolicyRule) bool { return len(r.Match.Labels) > 0 }) && e.labels == nil {
					e.labels = map[fabric.Key]fabric.Config{}
				}
			}
		}
		e.peers = append(e.peers, x)
	}
	return e
}

// decide fills in who is told of an announcement.
func (e *exporter) decide(a *fabric.Announcement) {
	route := fabric.PolicyRoute{Prefix: a.Prefix, Kind: a.Kind, Owner: a.Owner, Labels: e.labelsOf(a.Owner)}
	outside := len(e.space) > 0 && !slices.ContainsFunc(e.space, func(p netip.Prefix) bool { return inside(p, a.Prefix) })
	for _, p := range e.peers {
		if !p.Carries(a.Prefix.Addr()) {
			continue
		}
		if p.Mesh { // what is between members is nobody else's business: no policy, and no bound
			if a.Kind != fabric.AnnounceNetwork { // every member has its own part
				a.Peers = append(a.Peers, p.Name)
			}
			continue
		}
		withhold := func(reason, message string) {
			a.Withheld = append(a.Withheld, fabric.RoutePeer{Peer: p.Name, Reason: reason, Message: message})
		}
		if a.Inside {
			withhold(fabric.ReasonNAT, fmt.Sprintf("the network hides its %s addresses (NAT)", family(a.Prefix.Addr())))
			continue
		}
		if outside {
			withhold(fabric.ReasonOutside, fmt.Sprintf("%s is in none of the cluster's bgp.prefixes", a.Prefix))
			continue
		}
		if p.policy == nil {
			withhold(fabric.ReasonNoExportPolicy, fmt.Sprintf("the peer has no export policy: fabricctl bgp peer set %s --export %s", p.Name, fabric.PolicyOwn))
			continue
		}
		d := p.policy.Decide(route)
		if !d.Accept {
			withhold(fabric.ReasonPolicy, d.Why)
			continue
		}
		// An unnumbered neighbour takes IPv6 next hops for both (RFC 8950).
		if p.Interface == "" && !d.Set.NextHop.IsValid() && p.Over().Is4() != a.Prefix.Addr().Is4() {
			withhold(fabric.ReasonNoNextHop, fmt.Sprintf("the session runs over %s: set next_hop in rule %d of policy %q", family(p.Over()), d.Rule, e.policyName(p.Name)))
			continue
		}
		a.Peers = append(a.Peers, p.Name)
		set := attributes(d.Set, p.internal)
		if !set.IsZero() {
			if a.Attributes == nil {
				a.Attributes = map[string]fabric.PolicySet{}
			}
			a.Attributes[p.Name] = set
		}
		if w := e.weighting(a.Owner, set, p.internal); w != fabric.WeightNone {
			if a.Weighted == nil {
				a.Weighted = map[string]fabric.Weighting{}
			}
			a.Weighted[p.Name] = w
		}
	}
}

func (e *exporter) policyName(peer string) string {
	p, _ := e.view.Desired.Peer(peer)
	return p.Export
}

// attributes is what a peer is told beyond a prefix of our own: it has no communities that could be removed, and only internal peers are
// told of a preference (RFC 4271, 5.1.5), while they would take a path with their AS number for a loop.
func attributes(set fabric.PolicySet, internal bool) fabric.PolicySet {
	set.RemoveCommunities = nil
	if internal {
		set.Prepend = 0
	} else {
		set.LocalPref = nil
	}
	return set
}

// weighting is what a peer is told of the weight of an owner's copies: what the service says, unless the policy has set that very attribute.
func (e *exporter) weighting(owner fabric.Key, set fabric.PolicySet, internal bool) fabric.Weighting {
	service, ok := e.view.Desired.Anycast(owner.Name)
	if !ok || owner.Kind != fabric.KindAnycast {
		return fabric.WeightNone
	}
	switch w := service.Weight; {
	case w == fabric.WeightMED && set.MED == nil, w == fabric.WeightLocalPref && set.LocalPref == nil && internal, w == fabric.WeightLinkBandwidth && set.LinkBandwidth == nil:
		return w
	}
	return fabric.WeightNone
}

// labelsOf is the config of an owner in which policies look for labels.
func (e *exporter) labelsOf(owner fabric.Key) fabric.Config {
	if e.labels == nil {
		return nil
	}
	labels, ok := e.labels[owner]
	if ok {
		return labels
	}
	o, _ := e.view.Desired.Get(owner)
	switch o := o.(type) {
	case *fabric.Instance:
		labels, _ = o.Expanded(e.view.Desired)
	case *fabric.Network:
		labels = maps.Clone(o.Config)
	}
	e.labels[owner] = labels
	return labels
}

// inside tells whether a prefix is another one or a part of it.
func inside(outer, p netip.Prefix) bool {
	return p.Bits() >= outer.Bits() && outer.Contains(p.Addr())
}
