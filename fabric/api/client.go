package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// Client speaks to the REST API of one member. Any member will do: each answers for the whole cluster. It is safe for concurrent use.
// Errors of the server come back as *fabric.Error with code, reason and fix as they were.
type Client struct {
	http   *http.Client
	base   string // scheme://host, no slash at the end
	dialer *websocket.Dialer
	target string // member named in ?target= of every request
	where  string // for errors
}

// NewUnixClient makes a client for the unix socket of a daemon on this host.
func NewUnixClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	c := NewClient(&http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}}, "http://unix.socket")
	c.where = socket
	return c
}

// NewClient makes a client of a prepared HTTP client and a base URL such as https://192.0.2.1:8443. Websockets are dialled with the dialers
// and the TLS configuration of the HTTP client's transport.
func NewClient(h *http.Client, base string) *Client {
	d := &websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	if t, ok := h.Transport.(*http.Transport); ok {
		d.NetDialContext, d.NetDialTLSContext, d.Proxy = t.DialContext, t.DialTLSContext, t.Proxy
		if t.TLSClientConfig != nil {
			d.TLSClientConfig = t.TLSClientConfig.Clone()
		}
	}
	base = strings.TrimSuffix(base, "/")
	return &Client{http: h, base: base, dialer: d, where: base}
}

// NewTLSClient makes a client for the HTTPS address (host:port) of a member. The server must show a certificate with one of the given
// fingerprints (SHA-256, hex): names and authorities do not count. certificate is what the client proves itself with; nil is an untrusted client.
func NewTLSClient(address string, certificate *tls.Certificate, fingerprints ...string) *Client {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection pins the certificate instead
		VerifyConnection:   func(s tls.ConnectionState) error { return verifyPinned(address, s, fingerprints) },
		NextProtos:         []string{"http/1.1"},
	}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	t := &http.Transport{TLSClientConfig: config, DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second}
	return NewClient(&http.Client{Transport: t}, "https://"+address)
}

func verifyPinned(address string, s tls.ConnectionState, fingerprints []string) error {
	got := connFingerprint(s)
	if slices.Contains(fingerprints, got) {
		return nil
	}
	return fabric.Errorf(fabric.CodeForbidden, "wrong-server-certificate", "%s shows a certificate with fingerprint %s, which is not the one expected", address, got).
		WithFix("make sure that you speak to the right host, and add it again if its certificate was replaced")
}

// connFingerprint is the SHA-256 of the certificate that the other side of a connection showed, empty if it showed none.
func connFingerprint(s tls.ConnectionState) string {
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(s.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// ServerFingerprint connects to an HTTPS address (host:port) and gives the fingerprint of the certificate that it shows, trusting nothing.
func ServerFingerprint(ctx context.Context, address string) (string, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fabric.Errorf(fabric.CodeUnavailable, "no-connection", "connect to %s: %w", address, err)
	}
	defer conn.Close()
	return connFingerprint(conn.(*tls.Conn).ConnectionState()), nil
}

// Target returns a client whose requests are about one member: ?target= in the dialect of LXD.
func (c *Client) Target(member string) *Client {
	t := *c
	t.target = member
	return &t
}

// Get reads a path below the root, such as /1.0/instances?recursion=1, into out. It gives the ETag for a later change, where there is one.
func (c *Client) Get(ctx context.Context, path string, out any) (etag string, err error) {
	e, header, err := c.envelope(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return "", err
	}
	return header.Get("ETag"), decodeMetadata(path, e.Metadata, out)
}

// Send makes a change: body as JSON (none where it is nil) with If-Match where etag is not empty. It returns the operation that goes on in
// the background, nil where the change is done already.
func (c *Client) Send(ctx context.Context, method, path string, body any, etag string) (*Operation, error) {
	header := http.Header{}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request %s %s: %w", method, path, err)
		}
		header.Set("Content-Type", "application/json")
		r = bytes.NewReader(data)
	}
	return c.send(ctx, method, path, r, header)
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, header http.Header) (*Operation, error) {
	resp, err := c.do(ctx, method, path, body, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	e, err := c.readEnvelope(resp)
	if err != nil || e.Type != incusapi.AsyncResponse {
		return nil, err
	}
	op := &Operation{client: c}
	return op, decodeMetadata(path, e.Metadata, &op.Operation)
}

func (c *Client) envelope(ctx context.Context, method, path string, body io.Reader, etag string) (*incusapi.Response, http.Header, error) {
	header := http.Header{}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	resp, err := c.do(ctx, method, path, body, header)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	e, err := c.readEnvelope(resp)
	return e, resp.Header, err
}

// raw reads a path that answers with a file. The caller closes the body.
func (c *Client) raw(ctx context.Context, path string) (*http.Response, error) {
	resp, err := c.do(ctx, http.MethodGet, path, nil, http.Header{})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		if _, err := c.readEnvelope(resp); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("GET %s from %s: status %s without an error", path, c.where, resp.Status)
	}
	return resp, nil
}

// Query reads any path: the metadata of what it answers, or all of that where it comes without an envelope, as metrics do.
func (c *Client) Query(ctx context.Context, path string) (answer []byte, enveloped bool, err error) {
	resp, err := c.raw(ctx, path)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, false, c.connectError(err)
	}
	var e incusapi.Response
	if err := json.Unmarshal(data, &e); err != nil || e.Type == "" {
		return data, false, nil
	}
	return e.Metadata, true, nil
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+c.address(path), body)
	if err != nil {
		return nil, fmt.Errorf("make the request %s %s: %w", method, path, err)
	}
	req.Header = header
	req.Header.Set("User-Agent", "fabric")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.connectError(err)
	}
	return resp, nil
}

// address adds the target to a path.
func (c *Client) address(path string) string {
	if c.target == "" {
		return path
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "target=" + url.QueryEscape(c.target)
}

// connectError says that the daemon could not be reached, unless the certificate was refused or the context ended.
func (c *Client) connectError(err error) error {
	if e := (*fabric.Error)(nil); errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return fabric.Errorf(fabric.CodeUnavailable, "no-connection", "connect to %s: %w", c.where, err).
		WithFix("check that fabric-node runs there, and that you may use it")
}

// maxAnswer bounds what the client reads into memory.
const maxAnswer = 256 << 20

func (c *Client) readEnvelope(resp *http.Response) (*incusapi.Response, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.connectError(err)
	}
	var e incusapi.Response
	if err := json.Unmarshal(data, &e); err != nil || e.Type == "" {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-answer", "%s answered with status %s and something that is not of this API", c.where, resp.Status)
	}
	if e.Type == incusapi.ErrorResponse {
		return nil, errorOf(&e)
	}
	return &e, nil
}

func decodeMetadata(path string, data json.RawMessage, out any) error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the answer to %s: %w", path, err)
	}
	return nil
}

// websocket opens a websocket at a path.
func (c *Client) websocket(ctx context.Context, path string) (*websocket.Conn, error) {
	base := "ws" + strings.TrimPrefix(c.base, "http")
	conn, resp, err := c.dialer.DialContext(ctx, base+c.address(path), nil)
	if err == nil {
		return conn, nil
	}
	if resp != nil {
		defer resp.Body.Close()
		if _, answer := c.readEnvelope(resp); answer != nil {
			return nil, answer
		}
	}
	return nil, c.connectError(err)
}

// list reads a collection with its objects in it.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	_, err := c.Get(ctx, path+"?recursion=1", &all)
	return all, err
}

// one reads one object and its ETag.
func one[T any](ctx context.Context, c *Client, path string) (*T, string, error) {
	v := new(T)
	etag, err := c.Get(ctx, path, v)
	if err != nil {
		return nil, "", err
	}
	return v, etag, nil
}

// seg is a name as a segment of a path.
func seg(name string) string { return url.PathEscape(name) }
