package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"netfabric/fabric"
)

// GatewayPut is what can be changed of a gateway.
type GatewayPut struct {
	Description  string         `json:"description"`
	Interface    string         `json:"interface"` // of each member, that the hosts are behind
	Addresses    []netip.Prefix `json:"addresses"` // with the length of the subnet
	VRID         uint8          `json:"vrid"`      // 0: one that is free, or in a change the one that it has
	Interval     int            `json:"interval"`  // milliseconds; 0 is the default
	Members      []string       `json:"members"`   // the best first, with failure_domain:NAME and group:NAME for those of one; none is all
	Priorities   map[string]int `json:"priorities"`
	Preferred    string         `json:"preferred"` // member that it was moved to
	NoPreempt    bool           `json:"no_preempt"`
	PreemptDelay int            `json:"preempt_delay"` // milliseconds
	Tracks       []string       `json:"tracks"`        // TYPE[:TARGET][,WEIGHT]

	Checksum fabric.GatewayChecksum `json:"checksum"`  // of IPv4 advertisements: rfc5798, which is the default, or rfc9568
	Unicast  bool                   `json:"unicast"`   // advertise to each router on its own, not to the multicast group
	Peers    []netip.Addr           `json:"peers"`     // with unicast: routers that are no members
	NoAccept bool                   `json:"no_accept"` // drop what is sent to the addresses themselves
	RA       fabric.GatewayRA       `json:"ra"`        // router advertisements
	Announce bool                   `json:"announce"`  // the Active tells its BGP peers of the subnets
	Sync     string                 `json:"sync"`      // gateways of one sync set are Active together on one member
	Spread   string                 `json:"spread"`    // gateways of one spread set are best on a different member each
}

// GatewaysPost makes a gateway.
type GatewaysPost struct {
	GatewayPut
	Name string `json:"name"`
}

// Gateway is a gateway and how it is on its members.
type Gateway struct {
	GatewayPut
	Name        string          `json:"name"`
	WorstOutage GatewayOutage   `json:"worst_outage"`
	Warnings    []string        `json:"warnings"`
	States      []GatewayMember `json:"states"` // the best member first
}

// GatewayOutage is how long hosts can be without the gateway, computed from its settings, in milliseconds.
type GatewayOutage struct {
	Crash   int `json:"crash"`   // the Active dies without a word, and the next member takes over
	Planned int `json:"planned"` // it is moved, or its member drained
}

// GatewayMember is a gateway on one member.
type GatewayMember struct {
	Member       string                      `json:"member"`
	Rank         int                         `json:"rank"`     // priority while no track is down
	Priority     int                         `json:"priority"` // in force
	Crash        int                         `json:"crash"`    // milliseconds after which it takes over from an Active that dies
	Routers      []fabric.VirtualRouterState `json:"routers"`  // one per family
	Tracks       []fabric.TrackState         `json:"tracks"`
	ForeignVRIDs []int                       `json:"foreign_vrids"` // of others, heard on the interface
	Reason       string                      `json:"reason,omitempty"`
	Message      string                      `json:"message,omitempty"`
	Drained      bool                        `json:"drained"`         // it is Active only while no other member can be
	Stale        bool                        `json:"stale,omitempty"` // the member is offline: this is its last word
}

// GatewayMove says where a gateway is to be moved.
type GatewayMove struct {
	Member string `json:"member"`
}

// GatewayMoved tells how a gateway was moved.
type GatewayMoved struct {
	From     string `json:"from"`              // member that was Active; empty where the new one was already
	Lasting  bool   `json:"lasting"`           // the member is preferred from now on
	Warning  string `json:"warning,omitempty"` // why it may not last
	Duration int    `json:"duration"`          // milliseconds until the other member had taken over
}

// GetGateways lists the gateways.
func (c *Client) GetGateways(ctx context.Context) ([]Gateway, error) {
	return list[Gateway](ctx, c, "/1.0/gateways")
}

// GetGateway finds a gateway.
func (c *Client) GetGateway(ctx context.Context, name string) (*Gateway, string, error) {
	return one[Gateway](ctx, c, "/1.0/gateways/"+seg(name))
}

// CreateGateway makes a gateway.
func (c *Client) CreateGateway(ctx context.Context, post GatewaysPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/gateways", post, "")
	return err
}

// UpdateGateway replaces a gateway.
func (c *Client) UpdateGateway(ctx context.Context, name string, put GatewayPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/gateways/"+seg(name), put, etag)
	return err
}

// DeleteGateway removes a gateway.
func (c *Client) DeleteGateway(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/gateways/"+seg(name), nil, "")
	return err
}

func (s *Server) getGateways(r *request) (reply, error) {
	return r.list(items("/1.0/gateways/", r.snap.Gateways(), objectName, func(g *fabric.Gateway) any { return showGateway(r, g) }))
}

func (s *Server) getGateway(r *request) (reply, error) {
	g, ok := r.snap.Gateway(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(fabric.Key{Kind: fabric.KindGateway, Name: r.PathValue("name")})
	}
	return reply{metadata: showGateway(r, g), etag: etagOf(g)}, nil
}

func showGateway(r *request, g *fabric.Gateway) Gateway {
	shown := Gateway{GatewayPut: gatewayPut(g), Name: g.Name, Warnings: append([]string{}, g.Warnings(r.snap)...), States: []GatewayMember{}}
	ranking := g.Ranking(r.snap)
	if len(ranking) > 1 {
		shown.WorstOutage.Crash = outage(g, ranking[1].Priority)
	}
	for _, ranked := range ranking {
		c, ok := r.reports().Get(fabric.KeyOf(g), ranked.Member, fabric.ConditionGateway)
		state := fabric.JSON[fabric.GatewayState](c.Data)
		m := GatewayMember{
			Member: ranked.Member, Rank: ranked.Priority, Priority: state.Priority, Crash: outage(g, ranked.Priority),
			Routers: append([]fabric.VirtualRouterState{}, state.Routers...), Tracks: append([]fabric.TrackState{}, state.Tracks...),
			ForeignVRIDs: []int{}, Reason: c.Reason, Message: c.Message, Stale: offline(r.status, ranked.Member), Drained: r.snap.Drained(ranked.Member),
		}
		for _, vrid := range state.Foreign {
			m.ForeignVRIDs = append(m.ForeignVRIDs, int(vrid))
		}
		if !ok {
			m.Reason, m.Message = "no-report", "the member has not said anything of this gateway"
		}
		shown.States = append(shown.States, m)
	}
	return shown
}

// outage is in whole milliseconds, rounded up.
func outage(g *fabric.Gateway, priority int) int {
	return int((g.WorstOutage(priority) + time.Millisecond - 1) / time.Millisecond)
}

func gatewayPut(g *fabric.Gateway) GatewayPut {
	put := GatewayPut{
		Description: g.Description, Interface: g.Interface, Addresses: append([]netip.Prefix{}, g.Addresses...), VRID: g.VRID, Interval: g.Interval,
		Members: append([]string{}, g.Members...), Priorities: map[string]int{}, Preferred: g.Preferred,
		NoPreempt: g.NoPreempt, PreemptDelay: g.PreemptDelay, Tracks: []string{},
		Checksum: cmp.Or(g.Checksum, fabric.ChecksumRFC5798), Unicast: g.Unicast, Peers: append([]netip.Addr{}, g.Peers...), NoAccept: g.NoAccept, RA: shownRA(g), Sync: g.Sync, Spread: g.Spread,
		Announce: g.Announce,
	}
	maps.Copy(put.Priorities, g.Priorities)
	for _, t := range g.Tracks {
		put.Tracks = append(put.Tracks, t.String())
	}
	return put
}

// shownRA is with its defaults where router advertisements are sent.
func shownRA(g *fabric.Gateway) fabric.GatewayRA {
	if g.Advertises() {
		return g.RA.Full()
	}
	return g.RA
}

// apply takes the change over; a VRID that is to be found is found among those that are free.
func (put GatewayPut) apply(r *request, tx *fabric.Tx, g *fabric.Gateway) error {
	moved := g.Interface != put.Interface
	g.Description, g.Interface, g.Addresses = put.Description, put.Interface, put.Addresses
	g.Interval, g.Members, g.Priorities, g.Preferred = put.Interval, put.Members, put.Priorities, put.Preferred
	g.NoPreempt, g.PreemptDelay, g.Tracks = put.NoPreempt, put.PreemptDelay, nil
	g.Checksum, g.Unicast, g.Peers, g.NoAccept, g.RA = put.Checksum, put.Unicast, put.Peers, put.NoAccept, put.RA.Own()
	g.Sync, g.Spread, g.Announce = put.Sync, put.Spread, put.Announce
	if g.Interval == 0 {
		g.Interval = fabric.DefaultGatewayInterval
	}
	for _, text := range put.Tracks {
		t, err := fabric.ParseTrack(text)
		if err != nil {
			return err
		}
		g.Tracks = append(g.Tracks, t)
	}
	switch {
	case put.VRID != 0:
		g.VRID = put.VRID
	case g.VRID == 0 || moved:
		var err error
		g.VRID, err = fabric.FreeVRID(tx.Snapshot(), g.Interface, foreignVRIDs(r, tx.Snapshot(), g.Interface))
		return err
	}
	return nil
}

// foreignVRIDs are those that members hear from others on an interface.
func foreignVRIDs(r *request, snap *fabric.Snapshot, iface string) map[uint8]bool {
	heard := map[uint8]bool{}
	for _, c := range r.reports().All(fabric.ConditionGateway) {
		if g, ok := snap.Gateway(c.Object.Name); ok && g.Interface == iface {
			for _, vrid := range fabric.JSON[fabric.GatewayState](c.Data).Foreign {
				heard[vrid] = true
			}
		}
	}
	return heard
}

func (s *Server) postGateways(r *request) (reply, error) {
	var post GatewaysPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	g := &fabric.Gateway{Header: fabric.Header{Name: post.Name}}
	_, err := create(s, r, g, func(tx *fabric.Tx) error {
		g.VRID = 0 // it may be tried again
		if err := post.apply(r, tx, g); err != nil {
			return err
		}
		if set := g.SyncSet(tx.Snapshot()); len(set) > 0 && g.Free() {
			g.Join(set[0])
		}
		return nil
	})
	return createdAt("/1.0/gateways/"+seg(g.Name), err)
}

func (s *Server) putGateway(r *request) (reply, error) {
	c, err := r.change(GatewayPut{})
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, gatewayKey(r), func(tx *fabric.Tx, g *fabric.Gateway) error {
		put := gatewayPut(g)
		put.RA = g.RA // without defaults: what is not said stays unsaid
		if err := c.onto(&put); err != nil {
			return err
		}
		was := g.Sync
		if err := put.apply(r, tx, g); err != nil {
			return err
		}
		if g.Sync == was {
			return joined(tx, g)
		}
		return nil
	})
	return done(err)
}

// joined gives the others of a sync set what they share with a gateway of it that has been changed.
func joined(tx *fabric.Tx, g *fabric.Gateway) error {
	for _, o := range g.SyncSet(tx.Snapshot()) {
		if g.Differs(o) == "" {
			continue
		}
		next := fabric.Clone(o)
		next.Join(g)
		if err := tx.Put(next); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) deleteGateway(r *request) (reply, error) {
	return done(remove(s, r, gatewayKey(r)))
}

func gatewayKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindGateway, Name: r.PathValue("name")}
}

// noteBound is how long a move waits for the database: without quorum the gateway is moved all the same.
const noteBound = 2 * time.Second

// MoveGateway moves a gateway to another member without loss.
func (c *Client) MoveGateway(ctx context.Context, name, member string) (moved GatewayMoved, err error) {
	body, err := json.Marshal(GatewayMove{member})
	if err != nil {
		return moved, err
	}
	path := "/1.0/gateways/" + seg(name) + "/move"
	e, _, err := c.envelope(ctx, http.MethodPost, path, bytes.NewReader(body), "")
	if err != nil {
		return moved, err
	}
	return moved, decodeMetadata(path, e.Metadata, &moved)
}

// HandOverGateway moves a gateway from the member that is asked, where it is Active, to another. Nothing is noted in the database.
func (c *Client) HandOverGateway(ctx context.Context, name, member string) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/gateways/"+seg(name)+"/handover", GatewayMove{member}, "")
	return err
}

func (s *Server) postGatewayHandover(r *request) (reply, error) {
	var move GatewayMove
	if err := r.decode(&move); err != nil {
		return reply{}, err
	}
	return done(s.Handover(r.Context(), r.PathValue("name"), move.Member))
}

func (s *Server) postGatewayMove(r *request) (reply, error) {
	var move GatewayMove
	if err := r.decode(&move); err != nil {
		return reply{}, err
	}
	g, ok := r.snap.Gateway(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(gatewayKey(r))
	}
	if _, ok := r.snap.Member(move.Member); !ok || !g.On(r.snap, move.Member) {
		return reply{}, fabric.Invalidf("bad-member", "member %q does not take part in gateway %q", move.Member, g.Name)
	}
	if r.snap.Drained(move.Member) {
		return reply{}, fabric.Conflictf(fabric.ReasonDrained, "move gateway %q: member %q is drained", g.Name, move.Member).
			WithFix("end that first: fabricctl bgp undrain %s", move.Member)
	}
	if c, _ := r.reports().Get(gatewayKey(r), move.Member, fabric.ConditionGateway); c.Reason == "track-down" {
		return reply{}, fabric.Conflictf("track-down", "member %q can't be Active for gateway %q: %s", move.Member, g.Name, c.Message)
	}
	var moved GatewayMoved
	began := time.Now()
	from, err := s.handOverSet(r, g, move.Member)
	if err != nil {
		return reply{}, err
	}
	moved.From, moved.Duration = from, int(time.Since(began).Milliseconds())
	// Only now: priorities that change first would have it move by preemption, of which other routers know less.
	bound, cancel := context.WithTimeout(r.Context(), noteBound)
	defer cancel()
	_, err = s.Store.Apply(bound, func(tx *fabric.Tx) error {
		now, ok := tx.Snapshot().Gateway(g.Name)
		if !ok {
			return notFound(gatewayKey(r))
		}
		next := fabric.Clone(now)
		next.Preferred = move.Member
		if err := tx.Put(next); err != nil {
			return err
		}
		return joined(tx, next)
	})
	moved.Lasting = err == nil
	if err != nil {
		moved.Warning = fmt.Sprintf("the database did not take note: a member of higher priority may take it back (%v)", err)
	}
	return reply{metadata: moved}, nil
}

// handOverSet moves a gateway, and with it those of its sync set. Some of them may have followed already.
func (s *Server) handOverSet(r *request, g *fabric.Gateway, to string) (from string, err error) {
	var group sync.WaitGroup
	set := g.SyncSet(r.snap)
	failures := make([]error, len(set))
	for i, o := range set {
		group.Go(func() {
			if _, err := s.handOver(r, o, to); err != nil && fabric.ReasonOf(err) != "not-active" {
				failures[i] = err
			}
		})
	}
	from, err = s.handOverSoon(r, g, to)
	group.Wait()
	return from, errors.Join(append(failures, err)...)
}

// handOverSoon is handOver, tried again while a takeover is under way: nobody is Active then, and who has become so has not told all others yet.
func (s *Server) handOverSoon(r *request, g *fabric.Gateway, to string) (from string, err error) {
	for end := time.Now().Add(takeoverBound); ; {
		from, err = s.handOver(r, g, to)
		if fabric.ReasonOf(err) != "not-active" || time.Now().After(end) {
			return from, err
		}
		select {
		case <-time.After(takeoverStep):
		case <-r.Context().Done():
			return from, err
		}
	}
}

// handOver has the member that is Active hand over: all are asked, since without quorum nobody knows which it is. It is no error that the
// member has the gateway already.
func (s *Server) handOver(r *request, g *fabric.Gateway, to string) (from string, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	var failures, missed []error
	for _, ranked := range g.Ranking(r.snap) {
		if ranked.Member == to {
			continue
		}
		group.Go(func() {
			bound := handoverBound
			if offline(r.status, ranked.Member) { // it may have come back, or only be out of reach for the database
				bound = offlineBound
			}
			ctx, cancel := context.WithTimeout(r.Context(), bound)
			defer cancel()
			err := s.handOverAt(ctx, r.status.Self, ranked.Member, g.Name, to)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				from = ranked.Member
			case fabric.ReasonOf(err) == "no-successor" || fabric.ReasonOf(err) == "other-successor": // it was Active, and the gateway is elsewhere now, or still there
				missed = append(missed, fmt.Errorf("member %s: %w", ranked.Member, err))
			case fabric.ReasonOf(err) != "not-active":
				failures = append(failures, fmt.Errorf("member %s: %w", ranked.Member, err))
			}
		})
	}
	group.Wait()
	if len(missed) > 0 {
		return "", notMoved(g, to, missed)
	}
	if from != "" {
		return from, nil
	}
	if c, _ := s.Reports().Get(fabric.KeyOf(g), to, fabric.ConditionGateway); fabric.JSON[fabric.GatewayState](c.Data).Active() {
		return "", nil
	}
	if len(failures) > 0 {
		return "", notMoved(g, to, failures)
	}
	return "", fabric.Conflictf("not-active", "move gateway %q to member %s: no member is Active that could hand it over", g.Name, to)
}

func notMoved(g *fabric.Gateway, to string, why []error) error {
	return fabric.Errorf(fabric.CodeOf(why[0]), fabric.ReasonOf(why[0]), "move gateway %q to member %s: %w", g.Name, to, errors.Join(why...))
}

// For members to answer: a handover itself takes at most Active_Down_Interval.
const (
	handoverBound = 10 * time.Second
	offlineBound  = time.Second
	takeoverBound = 2 * time.Second // for a takeover that is under way
	takeoverStep  = 100 * time.Millisecond
)

func (s *Server) handOverAt(ctx context.Context, self, member, gateway, to string) error {
	if member == self {
		return s.Handover(ctx, gateway, to)
	}
	remote, err := s.Remote(member)
	if err != nil {
		return err
	}
	return remote.HandOverGateway(ctx, gateway, to)
}
