package gobgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"netfabric/fabric"
)

// Routes lists paths of a table, for people to look at; it changes nothing. q has its defaults and is valid. While it reads a large table, the
// speaker does nothing else: the caller bounds how often it asks.
func (s *Speaker) Routes(ctx context.Context, q fabric.BGPQuery) (fabric.BGPRoutes, error) {
	g := glass{speaker: s, query: q, names: map[string]string{}}
	s.mu.Lock()
	c := s.desired
	s.mu.Unlock()
	if c == nil || c.Speaker == nil {
		return fabric.BGPRoutes{}, fabric.Conflictf(fabric.ReasonNoASN, "BGP routes: the member speaks no BGP").WithFix("%s", fabric.TextOfReason(fabric.ReasonNoASN).Fix)
	}
	g.asn, g.peers = c.Speaker.ASN, c.Peers
	for _, p := range c.Peers {
		g.names[p.Address.WithZone("").String()] = p.Name
		if p.Name == q.Peer {
			g.peer, g.key = p.Address.WithZone("").String(), keyOf(p)
		}
	}
	if q.Peer != "" && g.peer == "" {
		return fabric.BGPRoutes{}, fabric.NotFoundf("BGP routes: the member has no session with a peer %q", q.Peer)
	}
	if err := g.read(ctx); err != nil {
		return fabric.BGPRoutes{}, fmt.Errorf("list BGP routes: %w", err)
	}
	slices.SortStableFunc(g.found, func(a, b fabric.BGPRoute) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), boolFirst(a.Best, b.Best), cmp.Compare(a.Peer, b.Peer))
	})
	shown := g.found[:min(len(g.found), q.Limit)]
	return fabric.BGPRoutes{Routes: append([]fabric.BGPRoute{}, shown...), More: len(g.found) - len(shown)}, nil
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// glass is one answer in the making.
type glass struct {
	speaker *Speaker
	query   fabric.BGPQuery
	asn     uint32
	peer    string // address, as paths have it: without zone
	key     string // name of its tables
	peers   []fabric.RoutingPeer
	names   map[string]string // of peers, by address
	found   []fabric.BGPRoute
}

func (g *glass) read(ctx context.Context) error {
	var failures []error
	families := []*api.Family{{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}, {Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}}
	for _, f := range families {
		if g.query.Prefix.IsValid() && g.query.Prefix.Addr().Is4() != (f.Afi == api.Family_AFI_IP) {
			continue
		}
		if err := g.family(ctx, f); err != nil {
			failures = append(failures, err)
		}
	}
	// A speaker need not have both families.
	if len(failures) == len(families) || len(failures) > 0 && g.query.Prefix.IsValid() {
		return errors.Join(failures...)
	}
	return ctx.Err()
}

// pathKey tells paths of one prefix apart.
type pathKey struct {
	prefix, from string
	id           uint32
}

func keyOfPath(d *api.Destination, p *api.Path) pathKey {
	return pathKey{d.Prefix, p.NeighborIp, p.Identifier}
}

func (g *glass) family(ctx context.Context, f *api.Family) error {
	var local []func() // what to do with paths of Loc-RIB, once it is known what the other table has
	accepted := map[pathKey]bool{}
	best := map[pathKey]bool{}
	out := map[string]bool{}
	err := g.list(ctx, api.TableType_GLOBAL, "", f, func(d *api.Destination, p *api.Path) {
		accepted[keyOfPath(d, p)] = true
		best[keyOfPath(d, p)] = p.Best
		switch g.query.Table {
		case fabric.BGPLocal:
			g.add(d, p, "")
		case fabric.BGPBest:
			if p.Best {
				g.add(d, p, "")
			}
		case fabric.BGPOut:
			if p.Best && p.NeighborIp != g.peer && g.carries(d) {
				local = append(local, func() {
					if !out[d.Prefix] {
						g.add(d, p, fabric.ReasonExportRejected)
					}
				})
			}
		}
	})
	if err != nil {
		return err
	}
	switch g.query.Table {
	case fabric.BGPIn:
		return g.list(ctx, api.TableType_ADJ_IN, g.key, f, func(d *api.Destination, p *api.Path) {
			key, reason := keyOfPath(d, p), ""
			if !accepted[key] {
				reason = fabric.ReasonImportRejected
			}
			p.Best = best[key]
			g.add(d, p, reason)
		})
	case fabric.BGPOut:
		err = g.list(ctx, api.TableType_ADJ_OUT, g.key, f, func(d *api.Destination, p *api.Path) {
			out[d.Prefix] = true
			g.add(d, p, "")
		})
		if state, ok := g.session(); err == nil && ok && state.Established() {
			for _, do := range local {
				do()
			}
		}
	}
	return err
}

// carries tells whether the session with the peer is one for a prefix.
func (g *glass) carries(d *api.Destination) bool {
	prefix, err := netip.ParsePrefix(d.Prefix)
	return err == nil && slices.ContainsFunc(g.peers, func(p fabric.RoutingPeer) bool { return p.Name == g.query.Peer && p.Carries(prefix.Addr()) })
}

func (g *glass) session() (fabric.PeerState, bool) {
	for _, p := range g.speaker.State().Peers {
		if p.Name == g.query.Peer {
			return p, true
		}
	}
	return fabric.PeerState{}, false
}

// list goes through the paths of a table that the query is for. GoBGP's own word on what import policy does is not asked for: it would write
// the outcome of the policy into its table.
func (g *glass) list(ctx context.Context, table api.TableType, peer string, f *api.Family, fn func(*api.Destination, *api.Path)) error {
	r := &api.ListPathRequest{TableType: table, Name: peer, Family: f}
	if p := g.query.Prefix; p.IsValid() {
		r.Prefixes = []*api.TableLookupPrefix{{Prefix: p.String(), Type: api.TableLookupPrefix_SHORTER}}
		if !p.IsSingleIP() {
			r.Prefixes = append(r.Prefixes, &api.TableLookupPrefix{Prefix: p.String(), Type: api.TableLookupPrefix_LONGER})
		}
	}
	return g.speaker.server.ListPath(ctx, r, func(d *api.Destination) {
		for _, p := range d.Paths {
			fn(d, p)
		}
	})
}

// add takes a path into the answer.
func (g *glass) add(d *api.Destination, p *api.Path, reason string) {
	prefix, err := netip.ParsePrefix(d.Prefix)
	if err != nil {
		return // not a prefix of this family: GoBGP would not have it in the table
	}
	r := fabric.BGPRoute{Prefix: prefix, Best: p.Best, Stale: p.Stale, PathID: p.Identifier, Reason: reason, Validation: validation(p)}
	if !own(p) {
		r.Peer = cmp.Or(g.names[p.NeighborIp], p.NeighborIp)
	}
	if g.query.Table == fabric.BGPOut {
		r.Peer = g.query.Peer
	}
	if p.Age != nil {
		r.Since = p.Age.AsTime()
	}
	attributes, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		g.speaker.log.Warn("cannot read the attributes of a path", "prefix", d.Prefix, "error", err)
	}
	for _, a := range attributes {
		g.attribute(&r, a)
	}
	g.found = append(g.found, r)
}

func (g *glass) attribute(r *fabric.BGPRoute, a bgp.PathAttributeInterface) {
	switch a := a.(type) {
	case *bgp.PathAttributeOrigin:
		r.Origin = map[uint8]string{0: "igp", 1: "egp", 2: "incomplete"}[a.Value]
	case *bgp.PathAttributeAsPath:
		r.ASPath = asPath(a)
		if g.query.Table == fabric.BGPIn && slices.ContainsFunc(a.Value, func(s bgp.AsPathParamInterface) bool { return slices.Contains(s.GetAS(), g.asn) }) {
			r.Reason = fabric.ReasonASLoop
		}
	case *bgp.PathAttributeNextHop:
		r.NextHop = nextHop(a.Value.String())
	case *bgp.PathAttributeMpReachNLRI:
		r.NextHop = nextHop(a.Nexthop.String())
	case *bgp.PathAttributeMultiExitDisc:
		r.MED = &a.Value
	case *bgp.PathAttributeLocalPref:
		r.LocalPref = &a.Value
	case *bgp.PathAttributeCommunities:
		for _, c := range a.Value {
			if c>>16 != 0 { // 0:N is ours, inside this program: see classes
				r.Communities = append(r.Communities, community(c))
			}
		}
	case *bgp.PathAttributeLargeCommunities:
		for _, c := range a.Values {
			r.LargeCommunities = append(r.LargeCommunities, c.String())
		}
	case *bgp.PathAttributeExtendedCommunities:
		for _, c := range a.Value {
			r.ExtendedCommunities = append(r.ExtendedCommunities, c.String())
		}
	}
}

// nextHop is an address, or the zero value where a path of our own leaves it open.
func nextHop(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// asPath is an AS path as routers show it: sets in braces, confederations in brackets.
func asPath(a *bgp.PathAttributeAsPath) string {
	var segments []string
	for _, s := range a.Value {
		var numbers []string
		for _, n := range s.GetAS() {
			numbers = append(numbers, fmt.Sprint(n))
		}
		switch s.GetType() {
		case bgp.BGP_ASPATH_ATTR_TYPE_SET:
			segments = append(segments, "{"+strings.Join(numbers, ",")+"}")
		case bgp.BGP_ASPATH_ATTR_TYPE_CONFED_SEQ:
			segments = append(segments, "("+strings.Join(numbers, " ")+")")
		case bgp.BGP_ASPATH_ATTR_TYPE_CONFED_SET:
			segments = append(segments, "["+strings.Join(numbers, ",")+"]")
		default:
			segments = append(segments, strings.Join(numbers, " "))
		}
	}
	return strings.Join(segments, " ")
}

// gracefulShutdown is the community of RFC 8326, for which GoBGP has the name that it had as a draft.
const gracefulShutdown = 65535 << 16

// community is a community as people write it.
func community(c uint32) string {
	if c == gracefulShutdown {
		return "graceful-shutdown"
	}
	if name, ok := bgp.WellKnownCommunityNameMap[bgp.WellKnownCommunity(c)]; ok {
		return name
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
}

// validation is the origin validation state of a path (RFC 6811), empty where nothing validates.
func validation(p *api.Path) string {
	switch p.GetValidation().GetState() {
	case api.Validation_STATE_VALID:
		return "valid"
	case api.Validation_STATE_INVALID:
		return "invalid"
	case api.Validation_STATE_NOT_FOUND:
		return "not-found"
	}
	return ""
}
