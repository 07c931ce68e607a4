package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"netfabric/fabric"
)

// fake is a server that answers as it is told and remembers what it was asked.
type fake struct {
	socket string

	mu      sync.Mutex
	answers map[string]answer // by method and path with query
	asked   []string          // method, path, If-Match and body of everything but GET
	then    map[string]func() // what to do after the answer to a request
}

// answer is one answer of the API.
type answer struct {
	metadata  any
	etag      string
	err       *fabric.Error
	operation bool // metadata is an operation, answered with 202
}

// newFake starts a server on a unix socket.
func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{answers: map[string]answer{}, then: map[string]func(){}, socket: filepath.Join(shortDir(t), "socket")}
	serve(t, f.socket, f)
	return f
}

// shortDir is a folder whose path leaves room for a socket's name: 108 bytes, unix(7).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func serve(t *testing.T, socket string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}

func (f *fake) on(request string, a answer) { f.mu.Lock(); defer f.mu.Unlock(); f.answers[request] = a }

// after does something once a request has been answered.
func (f *fake) after(request string, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.then[request] = do
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	request := r.Method + " " + r.URL.RequestURI()
	if r.Method != http.MethodGet {
		line := request
		if m := r.Header.Get("If-Match"); m != "" {
			line += " if " + m
		}
		if len(body) > 0 {
			line += " " + string(body)
		}
		f.asked = append(f.asked, line)
	}
	a, ok := f.answers[request]
	if !ok {
		a.err = fabric.NotFoundf("%s is not known here", request)
	}
	envelope := map[string]any{"type": "sync", "status": "Success", "status_code": 200, "metadata": a.metadata}
	status := http.StatusOK
	switch {
	case a.err != nil:
		status = http.StatusBadRequest
		envelope = map[string]any{"type": "error", "error": a.err.Error(), "error_code": status, "metadata": map[string]string{
			"code": string(a.err.Code), "reason": a.err.Reason, "message": a.err.Message, "fix": a.err.Fix}}
	case a.operation:
		status = http.StatusAccepted
		envelope["type"] = "async"
	}
	if a.etag != "" {
		w.Header().Set("ETag", a.etag)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(envelope)
	if do := f.then[request]; do != nil {
		do()
	}
}

// result is what a run of the program did.
type result struct {
	status   int
	out, err string
}

// call runs a command line against a socket.
type call struct {
	socket string
	stdin  io.Reader
	env    map[string]string
	ctx    context.Context
}

func (c call) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{ctx: c.ctx, in: c.stdin, out: &out, err: &errs, env: func(k string) string {
		if k == "FABRIC_SOCKET" {
			return c.socket
		}
		return c.env[k]
	}}
	if a.ctx == nil {
		a.ctx = t.Context()
	}
	if a.in == nil {
		a.in = strings.NewReader("")
	}
	status := a.run(args)
	return result{status, out.String(), errs.String()}
}

func (f *fake) run(t *testing.T, args ...string) result {
	t.Helper()
	return call{socket: f.socket}.run(t, args...)
}

// words splits a command line at spaces; single and double quotes keep words together.
func words(line string) ([]string, error) {
	var all []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ':
			if open {
				all = append(all, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%s: a quote is not closed", line)
	}
	if open {
		all = append(all, word.String())
	}
	return all, nil
}
