package router

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"netfabric/fabric"
)

// Client talks to a worker over its socket.
type Client struct {
	what   string // who answers, in errors
	socket string
	http   http.Client

	mu    sync.Mutex
	base  valueBase
	known stateBase
}

// valueBase is the value that the worker was sent last.
type valueBase struct {
	token string // empty: none
	marks marks
}

// stateBase is the state that the worker told last.
type stateBase struct {
	token  string // empty: none
	routes []fabric.RouteState
}

// NewClient makes a client of the worker at a socket. It connects with the first call, and anew whenever it must.
func NewClient(socket string) *Client {
	return &Client{what: "routing worker", socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Set makes r what the worker does, and returns the state after that. Errors are of code CodeUnavailable when the worker does not answer.
func (c *Client) Set(ctx context.Context, r fabric.Routing) (fabric.RoutingState, error) {
	m, err := encode(r)
	if err != nil {
		return fabric.RoutingState{}, err
	}
	return c.set(ctx, m)
}

// set is Set. Of the announcements, a worker that has taken others is sent what is different.
func (c *Client) set(ctx context.Context, m *message) (state fabric.RoutingState, err error) {
	c.mu.Lock()
	base := c.base
	c.mu.Unlock()
	method, path, b := http.MethodPut, "/routing?", between{}
	if base.token != "" {
		b = differ(base.marks, m.announcements.marks)
		method, path = http.MethodPatch, fmt.Sprintf("/routing?base=%s&head=%d&tail=%d&", url.QueryEscape(base.token), b.head, b.tail)
	}
	body, err := m.body(b)
	if err != nil {
		return state, err
	}
	state, token, err := c.callState(ctx, method, path, body)
	if err != nil {
		c.mu.Lock()
		c.base = valueBase{}
		c.mu.Unlock()
		if fabric.ReasonOf(err) == reasonOtherBase {
			return c.set(ctx, m)
		}
		return state, err
	}
	m.sent()
	c.mu.Lock()
	c.base = valueBase{token, m.announcements.marks}
	c.mu.Unlock()
	return state, nil
}

// State is the state of the worker.
func (c *Client) State(ctx context.Context) (fabric.RoutingState, error) {
	state, _, err := c.callState(ctx, http.MethodGet, "/state?", nil)
	return state, err
}

// callState makes a call that is answered with the state: with those of its routes that are not as they were in the last answer.
func (c *Client) callState(ctx context.Context, method, path string, body []byte) (state fabric.RoutingState, value string, err error) {
	c.mu.Lock()
	known := c.known
	c.mu.Unlock()
	response, err := c.do(ctx, method, path+"known="+url.QueryEscape(known.token), body)
	if err != nil {
		return state, "", err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		return fabric.RoutingState{}, "", c.unavailable(err)
	}
	var b between
	if text := response.Header.Get(betweenHeader); text != "" {
		if _, err := fmt.Sscanf(text, betweenFormat, &b.head, &b.tail); err != nil {
			return fabric.RoutingState{}, "", c.unavailable(fmt.Errorf("header %s is %q: %w", betweenHeader, text, err))
		}
	}
	routes, ok := splice(known.routes, b, state.Routes)
	if !ok {
		return fabric.RoutingState{}, "", c.unavailable(fmt.Errorf("it leaves out %d routes of %d", b.head+b.tail, len(known.routes)))
	}
	state.Routes = routes
	c.mu.Lock()
	c.known = stateBase{response.Header.Get(stateHeader), routes}
	c.mu.Unlock()
	return state, response.Header.Get(valueHeader), nil
}

// Handover moves a gateway that is Active here to another member without loss. Errors have the reasons of vrrp.Manager.Handover, and "no-member".
func (c *Client) Handover(ctx context.Context, gateway, member string) error {
	body, err := json.Marshal(handover{Member: member})
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/gateways/"+url.PathEscape(gateway)+"/handover", body, nil)
}

// Healthy is nil when the worker works.
func (c *Client) Healthy(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/healthz", nil, nil)
}

// Events calls changed once when it has reached the worker and then after each change of the state, until ctx ends or the worker does.
func (c *Client) Events(ctx context.Context, changed func()) error {
	response, err := c.do(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; {
		var e Event
		if err := lines.Decode(&e); err != nil {
			return c.unavailable(err)
		}
		changed()
	}
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, result any) error {
	response, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if result == nil {
		_, err = io.Copy(io.Discard, response.Body)
	} else {
		err = json.NewDecoder(response.Body).Decode(result)
	}
	if err != nil {
		return c.unavailable(err)
	}
	return nil
}

// do makes a call; what is not a success is an error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://fabric-router"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.unavailable(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	var p problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return nil, c.unavailable(fmt.Errorf("%s %s: %s", method, path, response.Status))
	}
	return nil, fabric.Errorf(p.Code, p.Reason, "%s: %s", c.what, p.Message)
}

func (c *Client) unavailable(err error) error {
	return fabric.Errorf(fabric.CodeUnavailable, fabric.ReasonWorkerDown, "%s at %s does not answer: %w", c.what, c.socket, err)
}
