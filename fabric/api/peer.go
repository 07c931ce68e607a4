package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// BGPPeerPut is what can be changed of a BGP peer. What stands for a default is left out where it is shown: as 0, it would read like an end to it.
type BGPPeerPut struct {
	Description     string         `json:"description"`
	Address         netip.Addr     `json:"address"`                    // "" where it is on an interface
	Interface       string         `json:"interface"`                  // unnumbered: the neighbour is the router that is heard there
	Dynamic         netip.Prefix   `json:"dynamic"`                    // any neighbour that connects from there; "" where it is at an address or on an interface
	MaxSessions     int            `json:"max_sessions,omitempty"`     // of dynamic; 0 is the default
	ASN             fabric.PeerASN `json:"asn"`                        // number, "internal" or "external"
	LocalASN        uint32         `json:"local_asn,omitempty"`        // 0: the member's own
	HoldTime        int            `json:"hold_time,omitempty"`        // seconds; 0 is the default
	Keepalive       int            `json:"keepalive,omitempty"`        // seconds; 0: a third of the hold time
	GracefulRestart int            `json:"graceful_restart,omitempty"` // seconds; 0 is the default
	MultihopTTL     int            `json:"multihop_ttl,omitempty"`     // 0: the peer is on a shared link
	GTSM            bool           `json:"gtsm"`                       // take only packets that crossed no router (RFC 5082)
	BFD             fabric.PeerBFD `json:"bfd"`
	Password        *string        `json:"password,omitempty"` // never shown; leaving it out of a change keeps it, "" removes it
	Passive         bool           `json:"passive"`            // wait for it to connect
	Families        []string       `json:"families"`           // "ipv4", "ipv6"; none is that of the address, on an interface both
	AddPath         string         `json:"add_path,omitempty"` // "receive": take all its paths for a prefix (RFC 7911)
	MaxPrefix       PeerMaxPrefix  `json:"max_prefix,omitzero"`
	Members         []string       `json:"members"` // names, or failure_domain:NAME; none is all
	Disabled        bool           `json:"disabled"`
	Import          string         `json:"import"`           // policy; "": nothing is taken from it
	Install         string         `json:"install"`          // which of the routes taken from it go into the kernel: "none", "default" or "all"
	Table           string         `json:"table,omitempty"`  // of the kernel for them, number or name; "" is main
	Metric          int            `json:"metric,omitempty"` // of them; 0 is the default
	Export          string         `json:"export"`           // policy; "": it is told nothing
}

// PeerMaxPrefix is how much a BGP peer may announce, in each family.
type PeerMaxPrefix struct {
	Limit   int    `json:"limit,omitempty"`   // 0: no limit
	Action  string `json:"action,omitempty"`  // "cease" (the default) or "warn"
	Restart int    `json:"restart,omitempty"` // seconds after which an ended session is tried again; 0: not before the peer is changed
}

// BGPPeersPost makes a BGP peer.
type BGPPeersPost struct {
	BGPPeerPut
	Name string `json:"name"`
}

// BGPPeer is a BGP neighbour and how the members' sessions with it are.
type BGPPeer struct {
	BGPPeerPut
	Name        string       `json:"name"`
	HasPassword bool         `json:"has_password"`
	Warnings    []string     `json:"warnings"` // members that stand for nobody
	Sessions    []BGPSession `json:"sessions"`
}

// BGPSession is the session of one member with one peer.
type BGPSession struct {
	Member string `json:"member"`
	fabric.PeerState
	Reason  string `json:"reason,omitempty"` // slug, when it is not established
	Message string `json:"message,omitempty"`
	Stale   bool   `json:"stale,omitempty"` // the member is offline: this is its last word
}

// GetBGPPeers lists the BGP peers.
func (c *Client) GetBGPPeers(ctx context.Context) ([]BGPPeer, error) {
	return list[BGPPeer](ctx, c, "/1.0/bgp/peers")
}

// GetBGPPeer finds a BGP peer.
func (c *Client) GetBGPPeer(ctx context.Context, name string) (*BGPPeer, string, error) {
	return one[BGPPeer](ctx, c, "/1.0/bgp/peers/"+seg(name))
}

// CreateBGPPeer makes a BGP peer.
func (c *Client) CreateBGPPeer(ctx context.Context, post BGPPeersPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/bgp/peers", post, "")
	return err
}

// UpdateBGPPeer replaces a BGP peer.
func (c *Client) UpdateBGPPeer(ctx context.Context, name string, put BGPPeerPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/bgp/peers/"+seg(name), put, etag)
	return err
}

// DeleteBGPPeer removes a BGP peer.
func (c *Client) DeleteBGPPeer(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/bgp/peers/"+seg(name), nil, "")
	return err
}

// GetBGPSessions lists the sessions of all members.
func (c *Client) GetBGPSessions(ctx context.Context) ([]BGPSession, error) {
	var all []BGPSession
	_, err := c.Get(ctx, "/1.0/bgp/sessions", &all)
	return all, err
}

func (s *Server) getPeers(r *request) (reply, error) {
	sessions := s.sessions(r)
	return r.list(items("/1.0/bgp/peers/", r.snap.Peers(), objectName, func(p *fabric.Peer) any { return showPeer(r.snap, p, sessions) }))
}

func (s *Server) getPeer(r *request) (reply, error) {
	p, ok := r.snap.Peer(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(fabric.Key{Kind: fabric.KindPeer, Name: r.PathValue("name")})
	}
	return reply{metadata: showPeer(r.snap, p, s.sessions(r)), etag: etagOf(p)}, nil
}

func showPeer(s *fabric.Snapshot, p *fabric.Peer, sessions []BGPSession) BGPPeer {
	shown := BGPPeer{BGPPeerPut: peerPut(p), Name: p.Name, HasPassword: p.Password != "", Warnings: append([]string{}, p.Warnings(s)...), Sessions: []BGPSession{}}
	for _, session := range sessions {
		if fabric.PeerOfSession(session.Name) == p.Name {
			shown.Sessions = append(shown.Sessions, session)
		}
	}
	return shown
}

func peerPut(p *fabric.Peer) BGPPeerPut {
	return BGPPeerPut{
		Description: p.Description, Address: p.Address, Interface: p.Interface, Dynamic: p.Dynamic, MaxSessions: p.MaxSessions, ASN: p.ASN, HoldTime: p.HoldTime, GracefulRestart: p.GracefulRestart,
		MultihopTTL: p.MultihopTTL, GTSM: p.GTSM, BFD: p.BFD, Members: append([]string{}, p.Members...), Disabled: p.Disabled,
		LocalASN: p.LocalASN, Keepalive: p.Keepalive, Passive: p.Passive, Families: append([]string{}, p.Families...), MaxPrefix: PeerMaxPrefix(p.MaxPrefix), AddPath: p.AddPath,
		Import: p.Import, Export: p.Export, Install: cmp.Or(p.Install, fabric.InstallNone), Table: p.Table, Metric: p.Metric,
	}
}

func (put BGPPeerPut) apply(p *fabric.Peer) {
	p.Description, p.Address, p.Interface, p.ASN = put.Description, put.Address, put.Interface, put.ASN
	p.AddPath = put.AddPath
	p.Dynamic, p.MaxSessions = put.Dynamic, put.MaxSessions
	p.HoldTime, p.GracefulRestart, p.MultihopTTL = put.HoldTime, put.GracefulRestart, put.MultihopTTL
	p.GTSM, p.BFD = put.GTSM, put.BFD
	p.Members, p.Disabled = put.Members, put.Disabled
	p.LocalASN, p.Keepalive, p.Passive, p.Families, p.MaxPrefix = put.LocalASN, put.Keepalive, put.Passive, put.Families, fabric.MaxPrefix(put.MaxPrefix)
	p.Import, p.Export = put.Import, put.Export
	p.PeerInstall = fabric.PeerInstall{Install: put.Install, Table: put.Table, Metric: put.Metric}
	if put.Password != nil {
		p.Password = *put.Password
	}
}

func (s *Server) postPeers(r *request) (reply, error) {
	var post BGPPeersPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	p := &fabric.Peer{Header: fabric.Header{Name: post.Name}}
	post.apply(p)
	_, err := create(s, r, p, nil)
	return createdAt("/1.0/bgp/peers/"+seg(p.Name), err)
}

func (s *Server) putPeer(r *request) (reply, error) {
	c, err := r.change(BGPPeerPut{})
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindPeer, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(_ *fabric.Tx, p *fabric.Peer) error {
		put := peerPut(p)
		if err := c.onto(&put); err != nil {
			return err
		}
		put.apply(p)
		return nil
	})
	return done(err)
}

func (s *Server) deletePeer(r *request) (reply, error) {
	return done(remove(s, r, fabric.Key{Kind: fabric.KindPeer, Name: r.PathValue("name")}))
}

func (s *Server) getSessions(r *request) (reply, error) {
	return reply{metadata: s.sessions(r)}, nil
}

// stateDisabled is the state of a session that there is not to be, beside those of fabric.PeerState.
const stateDisabled = "disabled"

// sessions are those that members report, and those that they should have and say nothing of, or would have if the peer was not disabled.
func (s *Server) sessions(r *request) []BGPSession {
	reports := r.reports()
	all := []BGPSession{}
	for _, p := range r.snap.Peers() {
		for _, m := range r.snap.Members() {
			c, ok := reports.Get(fabric.KeyOf(p), m.Name, fabric.ConditionSession)
			if !ok && !p.IsFor(r.snap, m.Name) {
				continue
			}
			if !ok && p.Disabled {
				all = append(all, disabledSession(r, p, m))
				continue
			}
			for _, state := range fabric.SessionsOf(c) {
				all = append(all, s.session(r, p, m, c, ok, state))
			}
		}
	}
	return append(all, meshSessions(r, reports)...)
}

// disabledSession stands for one that a member has not because the peer is disabled.
func disabledSession(r *request, p *fabric.Peer, m *fabric.Member) BGPSession {
	s := BGPSession{Member: m.Name, PeerState: configured(r, p, m), Message: fmt.Sprintf("the peer is disabled; to have it again: fabricctl bgp peer set %s --disabled=false", p.Name)}
	s.State = stateDisabled
	return s
}

// configured is what is known of a session of which nobody says anything.
func configured(r *request, p *fabric.Peer, m *fabric.Member) fabric.PeerState {
	return fabric.PeerState{Name: p.Name, Address: p.Address, Interface: p.Interface, Dynamic: p.Dynamic, ASN: p.ASN.Of(cmp.Or(p.LocalASN, r.snap.ASN(m.Name))), State: "idle"}
}

// meshSessions are those that members report of sessions with each other.
func meshSessions(r *request, reports *fabric.Reports) []BGPSession {
	var all []BGPSession
	for _, c := range reports.All(fabric.ConditionSession) {
		if _, mesh := fabric.MemberOfMeshPeer(c.Object.Name); !mesh {
			continue
		}
		s := BGPSession{Member: c.Member, PeerState: fabric.JSON[fabric.PeerState](c.Data), Reason: c.Reason, Message: c.Message, Stale: offline(r.status, c.Member)}
		s.Name = c.Object.Name
		s.State = cmp.Or(s.State, "idle")
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b BGPSession) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Member, b.Member)) })
	return all
}

// session is one session of a member with a peer, of which the member says c, if it does.
func (s *Server) session(r *request, p *fabric.Peer, m *fabric.Member, c fabric.Condition, reported bool, state fabric.PeerState) BGPSession {
	session := BGPSession{Member: m.Name, PeerState: state, Reason: c.Reason, Message: c.Message, Stale: offline(r.status, m.Name)}
	if session.Name == "" { // no report, or one without data
		session.PeerState = configured(r, p, m)
	}
	if session.Name != p.Name { // one of many: the condition tells of all of them together
		session.Reason, session.Message = "", session.Warning
		if !session.Established() {
			session.Reason, session.Message = cmp.Or(session.Hold, fabric.ReasonSessionDown), cmp.Or(session.LastError, "no connection yet")
		}
	}
	if !reported {
		session.Reason, session.Message = "no-report", "the member has not said anything of this session"
	}
	return session
}
