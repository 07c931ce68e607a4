package fabric

import (
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// BGPTable names one of the tables of a BGP speaker (RFC 4271, 1.1).
type BGPTable string

// The tables.
const (
	BGPLocal BGPTable = "local" // Loc-RIB: all paths that were accepted, and the speaker's own
	BGPBest  BGPTable = "best"  // the best of each prefix in it
	BGPIn    BGPTable = "in"    // Adj-RIB-In of a peer: all it told, before policy
	BGPOut   BGPTable = "out"   // Adj-RIB-Out of a peer: all it was told, after policy; and what it is not told

	// BGPInstalled is no table of BGP: what came of peers and was accepted, with the kernel routes that it made, or why it made none.
	BGPInstalled BGPTable = "installed"
)

// Bounds of BGPQuery.Limit.
const (
	DefaultBGPLimit = 1000
	MaxBGPLimit     = 100000
)

// BGPQuery asks a routing worker for paths.
type BGPQuery struct {
	Table  BGPTable     `json:"table"`           // empty is BGPLocal
	Peer   string       `json:"peer,omitempty"`  // name; of the tables of peers, and only there
	Prefix netip.Prefix `json:"prefix,omitzero"` // only what covers it, and what is in it
	Limit  int          `json:"limit,omitempty"` // of paths in the answer, 1 to MaxBGPLimit; 0 is DefaultBGPLimit
}

// Default fills what is not set.
func (q BGPQuery) Default() BGPQuery {
	if q.Table == "" {
		q.Table = BGPLocal
	}
	if q.Limit == 0 {
		q.Limit = DefaultBGPLimit
	}
	return q
}

// Validate refuses a query, with its defaults filled in, that makes no sense.
func (q BGPQuery) Validate() error {
	switch q.Table {
	case BGPLocal, BGPBest, BGPInstalled:
		if q.Peer != "" {
			return Invalidf("bad-table", "BGP routes: table %s is of no peer", q.Table).WithFix("ask for table in or out of peer %s", q.Peer)
		}
	case BGPIn, BGPOut:
		if q.Peer == "" {
			return Invalidf("bad-table", "BGP routes: table %s needs a peer", q.Table).WithFix("name one of fabricctl bgp peer list")
		}
	default:
		return Invalidf("bad-table", "BGP routes: there is no table %q", q.Table).WithFix("use local, best, in, out or installed")
	}
	if q.Prefix.IsValid() && q.Prefix != q.Prefix.Masked() {
		return Invalidf("bad-prefix", "BGP routes: %s has bits set past its length", q.Prefix)
	}
	if q.Limit < 1 || q.Limit > MaxBGPLimit {
		return Invalidf("bad-limit", "BGP routes: limit %d is not in 1-%d", q.Limit, MaxBGPLimit)
	}
	return nil
}

// BGPRoutes is an answer to a BGPQuery.
type BGPRoutes struct {
	Member string     `json:"member"`
	Routes []BGPRoute `json:"routes"` // by prefix, best first
	More   int        `json:"more"`   // paths beyond the limit
}

// BGPRoute is one path in a table. What a path does not carry is left out.
type BGPRoute struct {
	Prefix              netip.Prefix     `json:"prefix"`
	Peer                string           `json:"peer,omitempty"` // that it came from; empty: it is the speaker's own. In BGPOut, that it goes to
	NextHop             netip.Addr       `json:"next_hop,omitzero"`
	ASPath              string           `json:"as_path"`
	Origin              string           `json:"origin"` // "igp", "egp", "incomplete"
	MED                 *uint32          `json:"med,omitempty"`
	LocalPref           *uint32          `json:"local_pref,omitempty"`
	Communities         []string         `json:"communities,omitempty"` // names of well-known ones as in RFC 1997 and RFC 8326
	LargeCommunities    []string         `json:"large_communities,omitempty"`
	ExtendedCommunities []string         `json:"extended_communities,omitempty"`
	PathID              uint32           `json:"path_id,omitempty"` // RFC 7911
	Validation          string           `json:"validation,omitempty"`
	Best                bool             `json:"best,omitempty"`
	Stale               bool             `json:"stale,omitempty"` // kept while the peer restarts (RFC 4724)
	Since               time.Time        `json:"since,omitzero"`
	Reason              string           `json:"reason,omitempty"`  // slug: why it is not used, or the peer is not told
	Message             string           `json:"message,omitempty"` // for people, where there is more to say than the slug does
	Table               string           `json:"table,omitempty"`   // of the kernel, with its route; of BGPInstalled, as are Metric and Hops
	Metric              uint32           `json:"metric,omitempty"`
	Hops                []KernelHop      `json:"hops,omitempty"`
	Kind                AnnouncementKind `json:"kind,omitempty"`  // of the speaker's own
	Owner               string           `json:"owner,omitempty"` // kind/name, of the speaker's own
}

// KernelHop is a next hop of a kernel route.
type KernelHop struct {
	Gateway   netip.Addr `json:"gateway"`
	Interface string     `json:"interface"`
}

// Values is the query as part of a URL.
func (q BGPQuery) Values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"table": string(q.Table), "peer": q.Peer} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Prefix.IsValid() {
		v.Set("prefix", q.Prefix.String())
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// ParseBGPQuery reads what Values wrote, or a user: with defaults filled in, and valid.
func ParseBGPQuery(v url.Values) (BGPQuery, error) {
	q := BGPQuery{Table: BGPTable(v.Get("table")), Peer: v.Get("peer")}
	var err error
	if p := v.Get("prefix"); p != "" {
		if q.Prefix, err = ParsePrefix(p); err != nil {
			return q, Invalidf("bad-prefix", "BGP routes: %w", err)
		}
	}
	if l := v.Get("limit"); l != "" {
		if q.Limit, err = strconv.Atoi(l); err != nil || q.Limit == 0 {
			return q, Invalidf("bad-limit", "BGP routes: limit %q is not a number from 1 to %d", l, MaxBGPLimit)
		}
	}
	q = q.Default()
	return q, q.Validate()
}
