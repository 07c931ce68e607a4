package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"time"

	"netfabric/fabric/api"
)

// debugClient is the client of --debug: it writes each request and its answer to stderr.
func (a *app) debugClient() *api.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", a.socket)
	}
	outer := &http.Transport{DialContext: dial}
	// Websockets need the dialer of a plain Transport, so the log sits below it as the protocol "http".
	outer.RegisterProtocol("http", &logged{&http.Transport{DialContext: dial}, a.err})
	return api.NewClient(&http.Client{Transport: outer}, "http://unix.socket")
}

// logged is a transport that tells what passes through it.
type logged struct {
	http.RoundTripper
	to io.Writer
}

// maxLogged bounds what is shown of a body: images pass here too.
const maxLogged = 4096

func (l *logged) RoundTrip(r *http.Request) (*http.Response, error) {
	fmt.Fprintf(l.to, "> %s %s\n", r.Method, r.URL.RequestURI())
	if r.GetBody != nil && r.ContentLength <= maxLogged {
		if body, err := r.GetBody(); err == nil {
			data, _ := io.ReadAll(body)
			l.body(">", data)
		}
	}
	began := time.Now()
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		fmt.Fprintf(l.to, "< %v\n", err)
		return nil, err
	}
	fmt.Fprintf(l.to, "< %s in %s\n", resp.Status, time.Since(began).Round(time.Microsecond))
	if resp.Header.Get("Content-Type") == "application/json" {
		head, _ := io.ReadAll(io.LimitReader(resp.Body, maxLogged))
		l.body("<", head)
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	}
	return resp, nil
}

// secrets are values that must not be shown: a debug log is what people paste into bug reports. Those of the streams of
// an exec are named after these.
var secrets = regexp.MustCompile(`"(password|secret|cluster_token|cluster_password|trust_token|[012]|control)"\s*:\s*"(?:[^"\\]|\\.)*"?`)

func (l *logged) body(mark string, data []byte) {
	if data = bytes.TrimSpace(data); len(data) > 0 {
		fmt.Fprintf(l.to, "%s %s\n", mark, oneLine(string(secrets.ReplaceAll(data, []byte(`"$1":"(hidden)"`)))))
	}
}
