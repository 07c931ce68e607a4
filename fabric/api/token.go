package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// In the dialect a token is an operation that runs until the token is used. Here it is an object of the database, so that every member knows
// it: its operation is derived. The secret is shown once, to who asked for the token.

// tokenOperations are the operations of all tokens that are still good.
func tokenOperations(r *request) []incusapi.Operation {
	var all []incusapi.Operation
	for _, t := range r.snap.Tokens() {
		if t.Expires.After(time.Now()) {
			all = append(all, tokenOperation(t, r.status.Self))
		}
	}
	return all
}

func tokenOperation(t *fabric.Token, location string) incusapi.Operation {
	op := incusapi.Operation{
		ID: tokenOperationID(t), Class: incusapi.OperationClassToken, Description: "Token of client " + t.For,
		CreatedAt: t.Created, UpdatedAt: t.Created, Status: incusapi.Running.String(), StatusCode: incusapi.Running,
		Metadata: map[string]any{
			"secret": "", "fingerprint": "", "addresses": []string{}, "expiresAt": t.Expires.Format(time.RFC3339Nano),
			"request": map[string]any{"name": t.For},
		},
		MayCancel: true, Location: location,
	}
	if t.Use == fabric.TokenJoin {
		op.Description = "Token of member " + t.For
		delete(op.Metadata, "request")
		op.Metadata["serverName"] = t.For
		op.Resources = map[string][]string{"cluster": {"/1.0/cluster/members/" + seg(t.For)}}
	}
	return op
}

// tokenNamespace makes the ids of token operations: the same for a token on every member.
var tokenNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("fabric:token"))

func tokenOperationID(t *fabric.Token) string {
	return uuid.NewSHA1(tokenNamespace, []byte(t.Name)).String()
}

// tokenText is what tokens say of themselves: of members, and of clients.
type tokenText struct {
	ServerName  string    `json:"server_name"`
	ClientName  string    `json:"client_name"`
	Fingerprint string    `json:"fingerprint"`
	Addresses   []string  `json:"addresses"`
	Secret      string    `json:"secret"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func parseToken(token string) (tokenText, bool) {
	var t tokenText
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	return t, err == nil && json.Unmarshal(data, &t) == nil && t.Secret != ""
}

// addToken answers with the operation of a token that make has just made.
func (s *Server) addToken(r *request, name string, make func(ctx context.Context, name string) (string, error)) (reply, error) {
	token, err := make(r.Context(), name)
	if err != nil {
		return reply{}, err
	}
	text, ok := parseToken(token)
	if !ok {
		return reply{}, fabric.Errorf(fabric.CodeInternal, "bad-token", "the token for %q is malformed", name)
	}
	for _, t := range s.Store.Snapshot().Tokens() {
		if t.Hash != fabric.HashSecret(text.Secret) {
			continue
		}
		op := tokenOperation(t, r.status.Self)
		op.Metadata["secret"], op.Metadata["fingerprint"] = text.Secret, text.Fingerprint
		op.Metadata["addresses"], op.Metadata["expiresAt"] = text.Addresses, text.ExpiresAt.Format(time.RFC3339Nano)
		return reply{shown: &op}, nil
	}
	return reply{}, fabric.Errorf(fabric.CodeInternal, "bad-token", "the token for %q is not in the database", name)
}
