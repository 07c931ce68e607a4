package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"netfabric/fabric"
)

// Members talk to each other below this path.
const (
	internalPath = "/internal/"
	pingPath     = internalPath + "ping"
	pokePath     = internalPath + "poke"
	joinPath     = internalPath + "join"
)

const (
	internalTimeout = time.Second
	maxBody         = 256 << 10 // bytes, of a request or answer between members
	reasonNotMember = "not-a-member"
	revisionHeader  = "Fabric-Revision" // with that refusal: how far the refusing member is
)

// InternalHandler serves what members ask of each other, below /internal/. Whoever asks must be a member, save for joining, where a token is
// the proof. It checks that itself.
func (n *Node) InternalHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pingPath, n.members(func(http.ResponseWriter, *http.Request) (any, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.peers, nil
	}))
	mux.HandleFunc("POST "+pokePath, n.members(func(w http.ResponseWriter, r *http.Request) (any, error) {
		p, err := readBody[poke](w, r)
		if err != nil {
			return nil, err
		}
		commits, err := p.commits()
		if err != nil {
			return nil, err
		}
		switch in := n.current() != nil; {
		case !in:
			return struct{}{}, nil
		case n.otherThan(p.Database): // its commits are not made on what is known here
			n.doubts()
			return struct{}{}, nil
		}
		if err := n.hear(commits); err != nil {
			n.log.Warn("a commit that another member told of can't be read", "error", err)
		}
		if p.Revision > n.Snapshot().Revision || p.Counter > n.Reports().Counter {
			wake(n.look)
		}
		return struct{}{}, nil
	}))
	mux.HandleFunc("POST "+joinPath, answer(n.handleJoin))
	return mux
}

type handler func(http.ResponseWriter, *http.Request) (any, error)

// members lets only members in.
func (n *Node) members(h handler) http.HandlerFunc {
	return answer(func(w http.ResponseWriter, r *http.Request) (any, error) {
		n.mu.Lock()
		_, ok := n.peers.byFingerprint(peerFingerprint(r.TLS))
		revision := n.peers.Revision
		if n.proof != nil {
			w.Header().Set(lineageHeader, n.proof.Lineage.String())
		}
		n.mu.Unlock()
		if !ok {
			w.Header().Set(revisionHeader, strconv.FormatUint(revision, 10))
			return nil, fabric.Errorf(fabric.CodeForbidden, reasonNotMember, "only members of the cluster may ask this, and the client certificate is none's")
		}
		if said, ok := r.Header[lineageHeader]; ok && n.otherThan(said[0]) {
			n.doubts()
		}
		return h(w, r)
	})
}

// wireError is a fabric.Error on its way between members.
type wireError struct {
	Code    fabric.Code `json:"code"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Fix     string      `json:"fix,omitempty"`
}

func answer(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		v, err := h(w, r)
		if err != nil {
			e := &fabric.Error{Code: fabric.CodeInternal, Reason: "internal", Message: err.Error()}
			errors.As(err, &e)
			status := http.StatusServiceUnavailable
			switch e.Code {
			case fabric.CodeForbidden:
				status = http.StatusForbidden
			case fabric.CodeInvalid, fabric.CodeTooLarge:
				status = http.StatusBadRequest
			case fabric.CodeConflict:
				status = http.StatusConflict
			case fabric.CodeInternal:
				status = http.StatusInternalServerError
			}
			w.WriteHeader(status)
			v = wireError{e.Code, e.Reason, e.Message, e.Fix}
		}
		_ = json.NewEncoder(w).Encode(v) // the other side notices a broken connection
	}
}

func readBody[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	deadline := http.NewResponseController(w) // strangers may send one too: not as slowly as they like
	if deadline.SetReadDeadline(time.Now().Add(handshakeTimeout)) == nil {
		defer deadline.SetReadDeadline(time.Time{})
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&v); err != nil {
		return v, fabric.Invalidf("bad-body", "read the request: %w", err)
	}
	return v, nil
}

// ask sends a request between members and reads the answer. Refusals come back as the *fabric.Error they were.
func ask[T any](ctx context.Context, c *http.Client, method, url string, body any) (v T, header http.Header, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return v, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return v, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.Do(r)
	if err != nil {
		return v, nil, err
	}
	defer response.Body.Close()
	data, err = io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return v, nil, err
	}
	if response.StatusCode == http.StatusOK {
		return v, response.Header, json.Unmarshal(data, &v)
	}
	var e wireError
	if err := json.Unmarshal(data, &e); err != nil || e.Code == "" {
		return v, response.Header, fmt.Errorf("%s answered %s", r.URL.Host, response.Status)
	}
	return v, response.Header, &fabric.Error{Code: e.Code, Reason: e.Reason, Message: e.Message, Fix: e.Fix}
}

// ping asks a member whether it is there, and takes this one for a member, and learns from it who else is one. Its error has reasonNotMember only
// when this one was removed.
func (n *Node) ping(ctx context.Context, address string) error {
	known, header, err := ask[peers](ctx, n.http, http.MethodGet, "https://"+address+pingPath, nil)
	n.compare(address, header, known)
	if err == nil {
		n.learn(known)
	}
	if fabric.ReasonOf(err) == reasonNotMember && !n.knowsBetter(header) {
		return fabric.Errorf(fabric.CodeUnavailable, "behind", "it has been away and has not heard yet that this host is a member")
	}
	return err
}

// knowsBetter tells whether a member that refuses this one has seen it removed. One that is behind this one has not seen it join yet.
func (n *Node) knowsBetter(header http.Header) bool {
	there, err := strconv.ParseUint(header.Get(revisionHeader), 10, 64)
	n.mu.Lock()
	defer n.mu.Unlock()
	here := n.proof != nil && slices.ContainsFunc(n.peers.Members, func(p peer) bool { return p.NodeID == n.proof.NodeID })
	return err == nil && (there >= n.peers.Revision || !here)
}

// poker tells one member of commits: one message at a time, always the newest.
type poker struct {
	busy bool
	next *poke
}

// pokeAll tells the other members of a commit. It does not wait: who is not reached looks by itself soon.
func (n *Node) pokeAll(c commit) {
	encoded, err := json.Marshal(c)
	if err != nil {
		n.log.Warn("what was committed can't be told", "error", err)
		encoded = nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proof == nil {
		return
	}
	for _, m := range n.peers.Members {
		if m.Name == n.proof.Name {
			continue
		}
		p := n.pokers[m.Address]
		if p == nil {
			p = new(poker)
			n.pokers[m.Address] = p
		}
		if p.next == nil {
			p.next = new(poke)
		}
		*p.next = p.next.add(c.Revision, c.Counter, encoded)
		p.next.Database = n.proof.Lineage.String()
		if !p.busy && n.ctx.Err() == nil {
			p.busy = true
			n.wait.Go(func() { n.pokeOne(p, m.Address) })
		}
	}
}

func (n *Node) pokeOne(p *poker, address string) {
	for {
		n.mu.Lock()
		next := p.next
		p.next, p.busy = nil, next != nil
		n.mu.Unlock()
		if next == nil {
			return
		}
		ctx, cancel := context.WithTimeout(n.ctx, internalTimeout)
		_, header, err := ask[struct{}](ctx, n.http, http.MethodPost, "https://"+address+pokePath, next)
		if err != nil {
			n.log.Debug("a member was not told of a commit", "address", address, "error", err)
		}
		if header != nil && n.otherThan(header.Get(lineageHeader)) {
			n.doubts()
		}
		cancel()
	}
}
