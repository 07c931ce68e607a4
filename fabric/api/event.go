package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"
)

// EventRouting is the type of events about BGP sessions, prefixes and the health of copies.
const EventRouting = "routing"

// EventStream is a subscription to the events of a member.
type EventStream struct {
	conn *websocket.Conn
	stop func() bool
}

// Events subscribes to events of the given types: "operation", "lifecycle", "logging", "routing"; none is all. Lifecycle and routing events
// are those of the whole cluster. What happens after it returns is in the stream, which ends with ctx.
func (c *Client) Events(ctx context.Context, types ...string) (*EventStream, error) {
	path := "/1.0/events"
	if len(types) > 0 {
		path += "?type=" + url.QueryEscape(strings.Join(types, ","))
	}
	conn, err := c.websocket(ctx, path)
	if err != nil {
		return nil, err
	}
	return &EventStream{conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// Next blocks until the next event. Its error says that the stream has ended.
func (s *EventStream) Next() (incusapi.Event, error) {
	var e incusapi.Event
	_, data, err := s.conn.ReadMessage()
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(data, &e)
}

// Close ends the stream.
func (s *EventStream) Close() error {
	s.stop()
	return s.conn.Close()
}
