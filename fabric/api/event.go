package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
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
	if len(types) == 0 {
		types = eventTypes
	}
	conn, err := c.websocket(ctx, "/1.0/events?type="+url.QueryEscape(strings.Join(types, ",")))
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

// dialectTypes are sent to who asks for none: stock clients end at the first event of a type that they do not know.
var dialectTypes = []string{incusapi.EventTypeOperation, incusapi.EventTypeLifecycle, incusapi.EventTypeLogging}

// eventTypes are the types that can be asked for.
var eventTypes = append(slices.Clone(dialectTypes), EventRouting)

// Bounds of an event stream: an end that does not answer pings is gone.
const (
	pingInterval = 15 * time.Second
	pongTimeout  = 45 * time.Second
	writeTimeout = 10 * time.Second
)

// upgrader checks no origin: dispatch has done that for all requests.
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func (s *Server) getEvents(r *request) (reply, error) {
	var types []string
	for t := range strings.SplitSeq(r.query("type"), ",") {
		if t == "" {
			continue
		}
		if !slices.Contains(eventTypes, t) {
			return reply{}, fabric.Invalidf("bad-type", "there are no events of type %q", t).WithFix("types are %s", strings.Join(eventTypes, ", "))
		}
		types = append(types, t)
	}
	if len(types) == 0 {
		types = dialectTypes
	}
	if !websocket.IsWebSocketUpgrade(r.Request) {
		return reply{}, errNoWebsocket
	}
	return reply{stream: func(w http.ResponseWriter) {
		// Listening begins before the caller learns that it does: nothing that it does next is missed.
		l := s.Events.listen(types)
		defer s.Events.leave(l)
		conn, err := upgrader.Upgrade(w, r.Request, nil)
		if err != nil {
			return // the upgrader has answered
		}
		defer conn.Close()
		ctx, cancel := s.whileTrusted(context.Background(), r.Request)
		defer cancel()
		sendEvents(ctx, conn, l)
	}}, nil
}

var errNoWebsocket = fabric.Invalidf("no-websocket", "this address is a websocket").WithFix("ask for an upgrade of the connection")

// sendEvents ends when ctx does, or when the listener or the caller is gone.
func sendEvents(ctx context.Context, conn *websocket.Conn, l *listener) {
	gone := make(chan struct{})
	conn.SetReadLimit(4096)
	conn.SetReadDeadline(time.Now().Add(pongTimeout))
	conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(pongTimeout)) })
	go func() {
		defer close(gone)
		discard(conn)
	}()
	defer func() { <-gone }()
	defer conn.Close()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-gone:
			return
		case <-ctx.Done():
			return
		case <-ping.C:
			err = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
		case data, ok := <-l.events:
			if !ok {
				return
			}
			conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			err = conn.WriteMessage(websocket.TextMessage, data)
		}
		if err != nil {
			return
		}
	}
}
