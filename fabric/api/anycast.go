package api

import (
	"context"
	"net/http"
	"net/netip"

	"netfabric/fabric"
)

// AnycastPut is what can be changed of an anycast service.
type AnycastPut struct {
	Description string         `json:"description"`
	Addresses   []netip.Prefix `json:"addresses"` // host prefixes
	Check       AnycastCheck   `json:"check"`
}

// AnycastCheck is how a copy of a service is seen to be healthy. Zeros are defaults.
type AnycastCheck struct {
	Type     fabric.CheckType `json:"type"` // "process", "tcp", "http"
	Port     uint16           `json:"port"`
	Path     string           `json:"path"`
	Interval int              `json:"interval"` // milliseconds
	Timeout  int              `json:"timeout"`  // milliseconds
	Rise     int              `json:"rise"`     // successes in a row
	Fall     int              `json:"fall"`     // failures in a row
}

// AnycastsPost makes an anycast service.
type AnycastsPost struct {
	AnycastPut
	Name string `json:"name"`
}

// Anycast is an anycast service and the instances that answer for it.
type Anycast struct {
	AnycastPut
	Name   string        `json:"name"`
	Copies []AnycastCopy `json:"copies"`
}

// AnycastCopy is an instance that is a copy of a service.
type AnycastCopy struct {
	Instance string `json:"instance"`
	Member   string `json:"member"`
	Healthy  bool   `json:"healthy"`
	Reason   string `json:"reason,omitempty"` // slug, when it is not healthy
	Message  string `json:"message,omitempty"`
	Stale    bool   `json:"stale,omitempty"` // the member is offline: this is its last word
}

// GetAnycasts lists the anycast services.
func (c *Client) GetAnycasts(ctx context.Context) ([]Anycast, error) {
	return list[Anycast](ctx, c, "/1.0/anycast")
}

// GetAnycast finds an anycast service.
func (c *Client) GetAnycast(ctx context.Context, name string) (*Anycast, string, error) {
	return one[Anycast](ctx, c, "/1.0/anycast/"+seg(name))
}

// CreateAnycast makes an anycast service.
func (c *Client) CreateAnycast(ctx context.Context, post AnycastsPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/anycast", post, "")
	return err
}

// UpdateAnycast replaces an anycast service.
func (c *Client) UpdateAnycast(ctx context.Context, name string, put AnycastPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/anycast/"+seg(name), put, etag)
	return err
}

// DeleteAnycast removes an anycast service that no instance is a copy of.
func (c *Client) DeleteAnycast(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/anycast/"+seg(name), nil, "")
	return err
}
