package api

import (
	"context"
	"net/http"

	"netfabric/fabric"
)

// BFDProfilePut is what can be changed of a BFD profile.
type BFDProfilePut struct {
	Description string `json:"description"`
	Interval    int    `json:"interval"`   // milliseconds between packets
	Multiplier  int    `json:"multiplier"` // packets in a row that may be lost; 0 is the default
	Passive     bool   `json:"passive"`    // send nothing before the neighbour did
	Strict      bool   `json:"strict"`     // no BGP session while BFD is not up
}

// BFDProfilesPost makes a BFD profile.
type BFDProfilesPost struct {
	BFDProfilePut
	Name string `json:"name"`
}

// BFDProfile is a BFD profile and who uses it.
type BFDProfile struct {
	BFDProfilePut
	Name   string   `json:"name"`
	UsedBy []string `json:"used_by"` // URLs of peers
}

const bfdProfilesURL = "/1.0/bgp/bfd-profiles"

// GetBFDProfiles lists the BFD profiles.
func (c *Client) GetBFDProfiles(ctx context.Context) ([]BFDProfile, error) {
	return list[BFDProfile](ctx, c, bfdProfilesURL)
}

// GetBFDProfile finds a BFD profile.
func (c *Client) GetBFDProfile(ctx context.Context, name string) (*BFDProfile, string, error) {
	return one[BFDProfile](ctx, c, bfdProfilesURL+"/"+seg(name))
}

// CreateBFDProfile makes a BFD profile.
func (c *Client) CreateBFDProfile(ctx context.Context, post BFDProfilesPost) error {
	_, err := c.Send(ctx, http.MethodPost, bfdProfilesURL, post, "")
	return err
}

// UpdateBFDProfile replaces a BFD profile.
func (c *Client) UpdateBFDProfile(ctx context.Context, name string, put BFDProfilePut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, bfdProfilesURL+"/"+seg(name), put, etag)
	return err
}

// DeleteBFDProfile removes a BFD profile that no peer uses.
func (c *Client) DeleteBFDProfile(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, bfdProfilesURL+"/"+seg(name), nil, "")
	return err
}

func (s *Server) getBFDProfiles(r *request) (reply, error) {
	return r.list(items(bfdProfilesURL+"/", r.snap.BFDProfiles(), objectName, func(b *fabric.BFDProfile) any { return showBFDProfile(r.snap, b) }))
}

func (s *Server) getBFDProfile(r *request) (reply, error) {
	b, ok := r.snap.BFDProfile(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(bfdProfileKey(r))
	}
	return reply{metadata: showBFDProfile(r.snap, b), etag: etagOf(b)}, nil
}

func bfdProfileKey(r *request) fabric.Key {
	return fabric.Key{Kind: fabric.KindBFDProfile, Name: r.PathValue("name")}
}

func showBFDProfile(snap *fabric.Snapshot, b *fabric.BFDProfile) BFDProfile {
	shown := BFDProfile{BFDProfilePut: bfdProfilePut(b), Name: b.Name, UsedBy: []string{}}
	for _, peer := range snap.Peers() {
		if peer.BFD.Profile == b.Name {
			shown.UsedBy = append(shown.UsedBy, "/1.0/bgp/peers/"+seg(peer.Name))
		}
	}
	return shown
}

func bfdProfilePut(b *fabric.BFDProfile) BFDProfilePut {
	return BFDProfilePut{Description: b.Description, Interval: b.Interval, Multiplier: b.Multiplier, Passive: b.Passive, Strict: b.Strict}
}

func (put BFDProfilePut) apply(b *fabric.BFDProfile) {
	b.Description, b.Interval, b.Multiplier, b.Passive, b.Strict = put.Description, put.Interval, put.Multiplier, put.Passive, put.Strict
}

func (s *Server) postBFDProfiles(r *request) (reply, error) {
	var post BFDProfilesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	b := &fabric.BFDProfile{Header: fabric.Header{Name: post.Name}}
	post.apply(b)
	_, err := create(s, r, b, nil)
	return createdAt(bfdProfilesURL+"/"+seg(b.Name), err)
}

func (s *Server) putBFDProfile(r *request) (reply, error) {
	c, err := r.change(BFDProfilePut{})
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, bfdProfileKey(r), func(_ *fabric.Tx, b *fabric.BFDProfile) error {
		put := bfdProfilePut(b)
		if err := c.onto(&put); err != nil {
			return err
		}
		put.apply(b)
		return nil
	})
	return done(err)
}

func (s *Server) deleteBFDProfile(r *request) (reply, error) {
	return done(remove(s, r, bfdProfileKey(r)))
}
