package api

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"

	"netfabric/fabric"
)

// RPKIPut is what can be changed of an RPKI cache. Times are in seconds; 0 is what the cache says, or the default of RFC 8210.
type RPKIPut struct {
	Description string     `json:"description"`
	Address     netip.Addr `json:"address"`
	Port        uint16     `json:"port"`    // 0 is 323
	Refresh     int        `json:"refresh"` // between two questions
	Retry       int        `json:"retry"`   // after a failure, at most
	Expire      int        `json:"expire"`  // for which data that are not confirmed are used
}

// RPKIsPost makes an RPKI cache.
type RPKIsPost struct {
	RPKIPut
	Name string `json:"name"`
}

// RPKI is an RPKI cache and how it stands with it on the members.
type RPKI struct {
	RPKIPut
	Name    string       `json:"name"`
	Members []RPKIMember `json:"members"`
}

// RPKIMember is how it stands with a cache on one member.
type RPKIMember struct {
	Member string `json:"member"`
	OK     bool   `json:"ok"` // it is connected, and has data
	fabric.RPKIState
	Reason  string `json:"reason,omitempty"` // slug, when not OK
	Message string `json:"message,omitempty"`
	Stale   bool   `json:"stale,omitempty"` // the member is offline: this is its last word
}

// GetRPKIs lists the RPKI caches.
func (c *Client) GetRPKIs(ctx context.Context) ([]RPKI, error) {
	return list[RPKI](ctx, c, "/1.0/bgp/rpki")
}

// GetRPKI finds an RPKI cache.
func (c *Client) GetRPKI(ctx context.Context, name string) (*RPKI, string, error) {
	return one[RPKI](ctx, c, "/1.0/bgp/rpki/"+seg(name))
}

// CreateRPKI makes an RPKI cache.
func (c *Client) CreateRPKI(ctx context.Context, post RPKIsPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/bgp/rpki", post, "")
	return err
}

// UpdateRPKI replaces an RPKI cache.
func (c *Client) UpdateRPKI(ctx context.Context, name string, put RPKIPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/bgp/rpki/"+seg(name), put, etag)
	return err
}

// DeleteRPKI removes an RPKI cache.
func (c *Client) DeleteRPKI(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/bgp/rpki/"+seg(name), nil, "")
	return err
}

func (s *Server) getRPKIs(r *request) (reply, error) {
	return r.list(items("/1.0/bgp/rpki/", r.snap.RPKIs(), objectName, func(x *fabric.RPKI) any { return showRPKI(r, x) }))
}

func (s *Server) getRPKI(r *request) (reply, error) {
	x, ok := r.snap.RPKI(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(rpkiKey(r))
	}
	return reply{metadata: showRPKI(r, x), etag: etagOf(x)}, nil
}

func rpkiKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindRPKI, Name: r.PathValue("name")}
}

func showRPKI(r *request, x *fabric.RPKI) RPKI {
	shown := RPKI{RPKIPut: rpkiPut(x), Name: x.Name, Members: []RPKIMember{}}
	for _, m := range r.snap.Members() {
		at := RPKIMember{Member: m.Name, RPKIState: fabric.RPKIState{Name: x.Name}, Reason: "no-report", Message: "the member has not said anything of this cache", Stale: offline(r.status, m.Name)}
		if c, ok := r.reports().Get(fabric.KeyOf(x), m.Name, fabric.ConditionRPKI); ok {
			at.OK, at.Reason, at.Message = c.OK, c.Reason, c.Message
			at.RPKIState = fabric.JSON[fabric.RPKIState](c.Data)
			at.Name = x.Name
		}
		shown.Members = append(shown.Members, at)
	}
	return shown
}

func rpkiPut(x *fabric.RPKI) RPKIPut {
	return RPKIPut{x.Description, x.Address, cmp.Or(x.Port, fabric.DefaultRPKIPort), x.Refresh, x.Retry, x.Expire}
}

func (put RPKIPut) apply(x *fabric.RPKI) {
	x.Description, x.Address, x.Port, x.Refresh, x.Retry, x.Expire = put.Description, put.Address, put.Port, put.Refresh, put.Retry, put.Expire
}

func (s *Server) postRPKIs(r *request) (reply, error) {
	var post RPKIsPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	x := &fabric.RPKI{Header: fabric.Header{Name: post.Name}}
	post.apply(x)
	_, err := create(s, r, x, nil)
	return createdAt("/1.0/bgp/rpki/"+seg(x.Name), err)
}

func (s *Server) putRPKI(r *request) (reply, error) {
	c, err := r.change(RPKIPut{})
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, rpkiKey(r), func(_ *fabric.Tx, x *fabric.RPKI) error {
		put := rpkiPut(x)
		if err := c.onto(&put); err != nil {
			return err
		}
		put.apply(x)
		return nil
	})
	return done(err)
}

func (s *Server) deleteRPKI(r *request) (reply, error) { return done(remove(s, r, rpkiKey(r))) }
