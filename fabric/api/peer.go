package api

import (
	"context"
	"net/http"
	"net/netip"

	"netfabric/fabric"
)

// BGPPeerPut is what can be changed of a BGP peer.
type BGPPeerPut struct {
	Description     string     `json:"description"`
	Address         netip.Addr `json:"address"`
	ASN             uint32     `json:"asn"`
	HoldTime        int        `json:"hold_time"`          // seconds; 0 is the default
	GracefulRestart int        `json:"graceful_restart"`   // seconds; 0 is the default
	MultihopTTL     int        `json:"multihop_ttl"`       // 0: the peer is on a shared link
	Password        *string    `json:"password,omitempty"` // never shown; leaving it out of a change keeps it, "" removes it
	Members         []string   `json:"members"`            // none is all
	Disabled        bool       `json:"disabled"`
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
