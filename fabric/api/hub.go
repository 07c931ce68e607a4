package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// Hub hands events to those who listen. A listener that does not keep up is cut off: it sees that its stream has ended.
type Hub struct {
	mu        sync.Mutex
	listeners map[*listener]bool
	closed    bool
	location  string
}

// NewHub makes a hub without listeners.
func NewHub() *Hub { return &Hub{listeners: map[*listener]bool{}} }

type listener struct {
	types  []string // none: all
	events chan []byte
}

// backlog is how many events a listener may be behind.
const backlog = 1024

func (h *Hub) listen(types []string) *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &listener{types: types, events: make(chan []byte, backlog)}
	if h.closed {
		close(l.events)
		return l
	}
	h.listeners[l] = true
	return l
}

func (h *Hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(l)
}

func (h *Hub) drop(l *listener) {
	if h.listeners[l] {
		delete(h.listeners, l)
		close(l.events)
	}
}

func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		h.drop(l)
	}
}

// wanted tells whether anybody listens to a type of events.
func (h *Hub) wanted(typ string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		if l.wants(typ) {
			return true
		}
	}
	return false
}

func (l *listener) wants(typ string) bool { return len(l.types) == 0 || slices.Contains(l.types, typ) }

// setLocation is the member's name, for events.
func (h *Hub) setLocation(member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.location = member
}

func (h *Hub) publish(typ, project string, metadata any) {
	if !h.wanted(typ) {
		return
	}
	raw, err := json.Marshal(metadata)
	if err != nil {
		return // all metadata is of types that can be encoded; logging this would make another event
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	data, err := json.Marshal(incusapi.Event{Type: typ, Timestamp: time.Now(), Metadata: raw, Location: h.location, Project: project})
	if err != nil {
		return
	}
	for l := range h.listeners {
		if !l.wants(typ) {
			continue
		}
		select {
		case l.events <- data:
		default:
			h.drop(l)
		}
	}
}

func (h *Hub) operation(op incusapi.Operation) {
	h.publish(incusapi.EventTypeOperation, "default", op)
}

// LogHandler makes log records events of type "logging", besides what next does with them. Values of attributes that are named after secrets
// are left out.
func (h *Hub) LogHandler(next slog.Handler) slog.Handler { return &logHandler{hub: h, next: next} }

type logHandler struct {
	hub   *Hub
	next  slog.Handler
	attrs []slog.Attr
	group string
}

func (l *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level) || l.hub.wanted(incusapi.EventTypeLogging)
}

func (l *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.next = l.next.WithAttrs(attrs)
	c.attrs = slices.Clone(l.attrs)
	for _, a := range attrs {
		a.Key = l.group + a.Key
		c.attrs = append(c.attrs, a)
	}
	return &c
}

func (l *logHandler) WithGroup(name string) slog.Handler {
	c := *l
	c.next, c.group = l.next.WithGroup(name), l.group+name+"."
	return &c
}

func (l *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if l.hub.wanted(incusapi.EventTypeLogging) {
		e := incusapi.EventLogging{Message: r.Message, Level: levelName(r.Level), Context: map[string]string{}}
		add := func(prefix string, a slog.Attr) {
			if secret(a.Key) {
				a.Value = slog.StringValue("(secret)")
			}
			e.Context[prefix+a.Key] = fmt.Sprint(a.Value.Resolve().Any())
		}
		for _, a := range l.attrs {
			add("", a)
		}
		r.Attrs(func(a slog.Attr) bool { add(l.group, a); return true })
		l.hub.publish(incusapi.EventTypeLogging, "", e)
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// levelName is a level in the words of the dialect.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warning"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

func secret(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc([]string{"password", "secret", "token", "private"}, func(s string) bool { return strings.Contains(key, s) })
}
