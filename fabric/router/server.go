package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"netfabric/fabric"
)

// maxValue is the size in bytes over which a Routing value is refused: about 100,000 announcements with copies.
const maxValue = 64 << 20

// Event is a line of GET /events: the state has changed. Lines merge when the reader is slow.
type Event struct {
	Change uint64 `json:"change"`
}

// problem is the body of an answer that is not a success.
type problem struct {
	Code    fabric.Code `json:"code"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
}

// Listen makes the socket of a worker, which only root can use. A socket that a dead worker left behind is replaced; one that answers is not.
func Listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: another fabric-router answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// Made under another name, so that nobody can connect before the mode is right, and no half-made socket is ever seen.
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(hidden)
	l, err := net.Listen("unix", hidden)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = os.Chmod(hidden, 0o600); err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Handler serves a worker: PUT /routing takes a fabric.Routing and answers with the fabric.RoutingState after it; GET /state is the latter. Lists are
// long, and most of them is known: PATCH /routing?base=TOKEN&head=N&tail=N takes a value whose other announcements are the first and the last ones of
// the value that was answered with Fabric-Value: TOKEN; it is refused with reason "other-base" where the worker has another. With known=TOKEN an answer
// leaves out, and says so in Fabric-Routes-Left-Out, the routes that are as they were in the one with Fabric-State: TOKEN, if that was the last;
// GET /events is a line with an Event for each change of it, beginning at once; GET /routes takes a fabric.BGPQuery; POST
// /gateways/NAME/handover takes a handover; GET /healthz is 200 while the worker works.
func (w *Worker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /routing", w.putRouting)
	mux.HandleFunc("PATCH /routing", w.patchRouting)
	mux.HandleFunc("GET /state", w.getState)
	mux.HandleFunc("GET /events", w.getEvents)
	mux.HandleFunc("GET /routes", w.getRoutes)
	mux.HandleFunc("POST /gateways/{name}/handover", w.postHandover)
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, r *http.Request) {
		if err := w.do(r.Context(), func() {}); err != nil {
			fail(rw, fabric.Errorf(fabric.CodeUnavailable, "ending", "%w", err))
		}
	})
	return mux
}

// What values and states have been told are known by, and how much of the state's routes is left out of an answer.
const (
	valueHeader     = "Fabric-Value"
	stateHeader     = "Fabric-State"
	betweenHeader   = "Fabric-Routes-Left-Out"
	betweenFormat   = "%d %d" // at the head, at the tail
	reasonOtherBase = "other-base"
)

func (w *Worker) putRouting(rw http.ResponseWriter, r *http.Request) {
	value, ok := bodyRouting(rw, r)
	if !ok {
		return
	}
	token, err := w.Set(r.Context(), value)
	w.answerState(rw, r, token, err)
}

func (w *Worker) patchRouting(rw http.ResponseWriter, r *http.Request) {
	var b between
	query := r.URL.Query()
	for name, n := range map[string]*int{"head": &b.head, "tail": &b.tail} {
		var err error
		if *n, err = strconv.Atoi(query.Get(name)); err != nil {
			fail(rw, fabric.Invalidf("bad-value", "%s=%q: want the number of announcements that stay there", name, query.Get(name)))
			return
		}
	}
	value, ok := bodyRouting(rw, r)
	if !ok {
		return
	}
	token, err := w.Patch(r.Context(), query.Get("base"), b, value)
	w.answerState(rw, r, token, err)
}

// bodyRouting reads the value in a request. Where there is none it has answered.
func bodyRouting(rw http.ResponseWriter, r *http.Request) (value fabric.Routing, ok bool) {
	decoder := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxValue))
	value, err := readRouting(decoder, true)
	if err != nil {
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			fail(rw, fabric.Errorf(fabric.CodeTooLarge, "too-large", "the routing value is larger than %d bytes", large.Limit))
			return value, false
		}
		fail(rw, fabric.Invalidf("bad-json", "the routing value: %w", err))
		return value, false
	}
	if _, err := decoder.Token(); err != io.EOF {
		fail(rw, fabric.Invalidf("bad-json", "the routing value: something follows it"))
		return value, false
	}
	return value, true
}

func (w *Worker) getState(rw http.ResponseWriter, r *http.Request) { w.answerState(rw, r, "", nil) }

// answerState answers with the state, or with what went wrong before. value is the token of a value that was taken.
func (w *Worker) answerState(rw http.ResponseWriter, r *http.Request, value string, err error) {
	if err != nil {
		fail(rw, err)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	if value != "" {
		rw.Header().Set(valueHeader, value)
	}
	if err := w.writeState(r.Context(), rw, r.URL.Query().Get("known")); err != nil {
		panic(http.ErrAbortHandler) // the worker ends, or the reader has gone: what has been written so far is no state
	}
}

func (w *Worker) getEvents(rw http.ResponseWriter, r *http.Request) { w.changes.serve(rw, r, w.over) }

func fail(rw http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch fabric.CodeOf(err) {
	case fabric.CodeInvalid:
		status = http.StatusBadRequest
	case fabric.CodeNotFound:
		status = http.StatusNotFound
	case fabric.CodeConflict:
		status = http.StatusConflict
	case fabric.CodeTooLarge:
		status = http.StatusRequestEntityTooLarge
	case fabric.CodeUnavailable:
		status = http.StatusServiceUnavailable
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(problem{fabric.CodeOf(err), fabric.ReasonOf(err), err.Error()})
}
