package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// reply is what a handler answers.
type reply struct {
	metadata any                       // json.RawMessage is sent as it is
	etag     string                    // with its quotes
	created  string                    // address of what was made
	op       *operation                // goes on in the background
	shown    *incusapi.Operation       // what is shown of it, where that differs: secrets are shown once
	stream   func(http.ResponseWriter) // takes over, for files and websockets
}

// The envelope around metadata, in the order in which the fields of incusapi.Response stand.
const (
	syncHead = `{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":`
	tail     = "}\n"
)

func (p reply) write(w http.ResponseWriter, r *http.Request) {
	if p.op != nil || p.shown != nil {
		p.writeOperation(w)
		return
	}
	metadata, ok := p.metadata.(json.RawMessage)
	if !ok {
		var err error
		if metadata, err = json.Marshal(p.metadata); err != nil {
			writeError(w, fmt.Errorf("encode the answer to %s: %w", r.URL.Path, err))
			return
		}
	}
	if p.etag != "" {
		w.Header().Set("ETag", p.etag)
	}
	status := http.StatusOK
	if p.created != "" {
		w.Header().Set("Location", p.created)
		status = http.StatusCreated
	}
	startJSON(w, status, len(syncHead)+len(metadata)+len(tail))
	// Errors of writing mean that the caller is gone.
	for _, part := range [][]byte{[]byte(syncHead), metadata, []byte(tail)} {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

func (p reply) writeOperation(w http.ResponseWriter) {
	shown := p.shown
	if shown == nil {
		o := p.op.render()
		shown = &o
	}
	address := "/1.0/operations/" + shown.ID
	w.Header().Set("Location", address)
	writeJSON(w, http.StatusAccepted, incusapi.ResponseRaw{
		Type: incusapi.AsyncResponse, Status: incusapi.OperationCreated.String(), StatusCode: int(incusapi.OperationCreated),
		Operation: address, Metadata: shown,
	})
}

func writeError(w http.ResponseWriter, err error) {
	status := statuses[fabric.CodeOf(err)]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	writeErrorStatus(w, status, err)
}

func writeErrorStatus(w http.ResponseWriter, status int, err error) {
	d := detailOf(err)
	writeJSON(w, status, incusapi.ResponseRaw{Type: incusapi.ErrorResponse, Code: status, Error: d.text(), Metadata: d})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	startJSON(w, status, len(data)+1)
	w.Write(append(data, '\n'))
}

func startJSON(w http.ResponseWriter, status, size int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(size))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}
