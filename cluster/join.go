package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"netfabric/fabric"
)

// token is what an operator carries from a member to a new one, in the form that LXD has for it.
type token struct {
	ServerName  string    `json:"server_name"`
	Fingerprint string    `json:"fingerprint"` // of the cluster's certificate
	Addresses   []string  `json:"addresses"`
	Secret      string    `json:"secret"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func (t token) String() string {
	data, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and a time of this century
	}
	return base64.StdEncoding.EncodeToString(data)
}

func parseToken(s string) (t token, err error) {
	data, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	const sha256Hex = 64
	if err != nil || t.ServerName == "" || t.Secret == "" || len(t.Fingerprint) != sha256Hex || len(t.Addresses) == 0 {
		return token{}, fabric.Invalidf("bad-token", "this is not a join token").WithFix("copy all of what fabricctl cluster add NAME prints")
	}
	return t, nil
}

// AddToken makes a token with which a host can join as the member of that name: once, and until it expires. An earlier one for the same name
// is no longer good then.
func (n *Node) AddToken(ctx context.Context, name string) (string, error) {
	if err := n.checkFree(ctx, name); err != nil {
		return "", err
	}
	return n.addToken(ctx, fabric.TokenJoin, name)
}

// AddClientToken makes a token with which a client can have its certificate trusted, once, under that label.
func (n *Node) AddClientToken(ctx context.Context, label string) (string, error) {
	return n.addToken(ctx, fabric.TokenClient, label)
}

func (n *Node) addToken(ctx context.Context, use, label string) (string, error) {
	p := n.current()
	if p == nil {
		return "", errNotInCluster
	}
	t := token{ServerName: label, Fingerprint: p.fingerprint, Secret: newSecret()}
	name := uuid.NewString()
	_, err := n.Apply(ctx, func(tx *fabric.Tx) error {
		s := tx.Snapshot()
		t.ExpiresAt = time.Now().Add(s.Cluster().JoinTokenExpiry()).UTC().Truncate(time.Second)
		if c := s.Cluster().Certificate; c != "" { // this member may not show it yet
			t.Fingerprint = fabric.Fingerprint(c)
		}
		t.Addresses = []string{p.Address}
		for _, m := range s.Members() {
			if m.Address != p.Address {
				t.Addresses = append(t.Addresses, m.Address)
			}
		}
		for _, old := range s.Tokens() {
			if old.Use == use && old.For == label {
				if err := tx.Delete(fabric.KeyOf(old)); err != nil {
					return err
				}
			}
		}
		return tx.Put(&fabric.Token{Header: fabric.Header{Name: name}, Use: use, For: label, Hash: fabric.HashSecret(t.Secret), Expires: t.ExpiresAt})
	})
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

// checkFree refuses names of members, save for one that never came up: its join did not get to the end.
func (n *Node) checkFree(ctx context.Context, name string) error {
	if err := fabric.CheckName("member", name); err != nil {
		return err
	}
	m, ok := n.Snapshot().Member(name)
	if !ok {
		return nil
	}
	came, err := n.cameUp(ctx, m)
	if err != nil {
		return err
	}
	if came {
		return fabric.Conflictf("name-taken", "member %q exists already", name).WithFix("choose another name, or remove it first: fabricctl cluster remove %s", name)
	}
	return nil
}

// cameUp tells whether a member has ever had a node in the database, or shown a sign of life.
func (n *Node) cameUp(ctx context.Context, m *fabric.Member) (came bool, err error) {
	err = n.run(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.query(ctx, "SELECT 1 FROM beats WHERE member = ?", m.Name)
		came = len(rows) > 0
		return err
	})
	if err != nil || came {
		return came, err
	}
	n.mu.Lock()
	p, engine := n.proof, n.engine
	n.mu.Unlock()
	if engine == nil {
		return false, errNotInCluster
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	address, err := engine.findLeader(ctx, n.databaseAddresses(p))
	if err != nil {
		return false, n.explain(err)
	}
	c, err := engine.client(ctx, address)
	if err != nil {
		return false, n.explain(err)
	}
	defer c.Close()
	nodes, err := c.Cluster(ctx)
	if err != nil {
		return false, n.explain(err)
	}
	for _, node := range nodes {
		came = came || node.ID == m.NodeID
	}
	return came, nil
}

// joinRequest is what a host that wants to join says; the secret of its token is the proof.
type joinRequest struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Certificate string `json:"certificate"`
	Secret      string `json:"secret"`
}

// joinAnswer makes it a member.
type joinAnswer struct {
	NodeID             uint64  `json:"node_id"`
	ClusterCertificate string  `json:"cluster_certificate"`
	ClusterKey         string  `json:"cluster_key"`
	LatencyMS          int     `json:"latency_ms"`
	Lineage            lineage `json:"lineage,omitempty"`
	Peers              peers   `json:"peers"`
}

func (n *Node) handleJoin(w http.ResponseWriter, r *http.Request) (any, error) {
	req, err := readBody[joinRequest](w, r)
	if err != nil {
		return nil, err
	}
	p := n.current()
	if p == nil {
		return nil, errNotInCluster
	}
	m := &fabric.Member{Header: fabric.Header{Name: req.Name}, Address: req.Address, Certificate: req.Certificate, NodeID: newNodeID()}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	ctx := r.Context()
	n.joins.Lock() // strangers may ask this: one at a time is enough for them
	defer n.joins.Unlock()
	if err := n.checkToken(ctx, req.Secret); err != nil {
		return nil, err
	}
	if err := n.checkFree(ctx, req.Name); err != nil {
		return nil, err
	}
	ghost, _ := n.Snapshot().Member(req.Name) // if there is one, it never came up
	if err := dialBack(ctx, p.Name, req); err != nil {
		return nil, err
	}
	var next *fabric.Snapshot
	_, err = n.Apply(ctx, func(tx *fabric.Tx) error {
		err := addMember(tx, fabric.Clone(m), req.Secret, ghost, time.Now())
		next = tx.Snapshot()
		return err
	})
	if err != nil {
		return nil, err
	}
	n.log.Info("a member joined", "member", m.Name, "address", m.Address)
	return joinAnswer{
		NodeID: m.NodeID, ClusterCertificate: p.ClusterCertificate, ClusterKey: p.ClusterKey,
		LatencyMS: int(next.Cluster().NetworkLatency().Milliseconds()), Lineage: p.Lineage, Peers: peersOf(n.Snapshot()),
	}, nil
}

// checkToken looks whether the database has the token, without using it up.
func (n *Node) checkToken(ctx context.Context, secret string) error {
	good := errors.New("the token is good")
	_, err := n.Apply(ctx, func(tx *fabric.Tx) error {
		if _, err := fabric.ConsumeToken(tx, fabric.TokenJoin, secret, time.Now()); err != nil {
			return err
		}
		return good
	})
	if errors.Is(err, good) {
		return nil
	}
	return err
}

// addMember pays with a token for a new member.
func addMember(tx *fabric.Tx, m *fabric.Member, secret string, ghost *fabric.Member, now time.Time) error {
	t, err := fabric.ConsumeToken(tx, fabric.TokenJoin, secret, now)
	if err != nil {
		return err
	}
	if t.For != m.Name {
		return fabric.Errorf(fabric.CodeForbidden, "bad-token", "the token is for member %q, not for %q", t.For, m.Name)
	}
	s := tx.Snapshot()
	if old, ok := s.Member(m.Name); ok && (ghost == nil || old.NodeID != ghost.NodeID) {
		return fabric.Conflictf("name-taken", "member %q exists already", m.Name)
	}
	for _, o := range s.Members() {
		if o.Address == m.Address && o.Name != m.Name {
			return fabric.Conflictf("address-in-use", "address %s belongs to member %q", m.Address, o.Name).WithFix("give an address of the joining host")
		}
	}
	m.Number = s.FreeMemberNumber()
	return tx.Put(m)
}

// dialBack makes sure that the address a host wants to join with leads to it.
func dialBack(ctx context.Context, self string, req joinRequest) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c, err := dialTLS(ctx, req.Address, clientConfig(nil, fabric.Fingerprint(req.Certificate), protocolHTTP))
	if err != nil {
		return fabric.Errorf(fabric.CodeInvalid, "address-unreachable", "member %q can't reach %q at %s: %w", self, req.Name, req.Address, err).
			WithFix("give an address of the joining host that the members can reach")
	}
	return c.Close()
}

// Join makes this host the member that the token is for, reachable by the others at the address. It returns once this host has the database.
// Killed before the members agreed, it has changed nothing; after that, it is finished by the next Open, or by a new token for the same name.
func (n *Node) Join(ctx context.Context, joinToken, address string) error {
	n.change.Lock()
	defer n.change.Unlock()
	t, err := parseToken(joinToken)
	if err != nil {
		return err
	}
	if p := n.current(); p != nil {
		if !n.expelled() {
			return alreadyMember(p)
		}
		n.forget()
	}
	at, err := parseAddress(address)
	if err != nil {
		return err
	}
	id, err := newIdentity(t.ServerName, at)
	if err != nil {
		return err
	}
	guest, err := tls.X509KeyPair([]byte(id.MemberCertificate), []byte(id.MemberKey))
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.guest = &guest
	n.mu.Unlock()
	open, err := n.listen(id.Address) // first: an address that is not ours fails before the token is spent
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.port = open
	n.mu.Unlock()
	a, err := requestJoin(ctx, t, joinRequest{Name: id.Name, Address: id.Address, Certificate: id.MemberCertificate, Secret: t.Secret})
	if err != nil {
		n.forget()
		return err
	}
	id.NodeID, id.ClusterCertificate, id.ClusterKey, id.LatencyMS, id.Lineage = a.NodeID, a.ClusterCertificate, a.ClusterKey, a.LatencyMS, a.Lineage
	if err := n.enter(*id, a.Peers); err != nil {
		n.forget()
		return err
	}
	return n.awaitMembership(ctx, id.Name)
}

// enter records membership and starts being a member.
func (n *Node) enter(id identity, known peers) error {
	if err := writeJSON(filepath.Join(n.dir, peersFile), known); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(n.dir, identityFile), id); err != nil {
		return err
	}
	if err := n.adopt(id, known); err != nil {
		return err
	}
	n.awake()
	return nil
}

// expelled tells whether the other members have been asked and do not take this one for a member.
func (n *Node) expelled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _, expelled := n.census()
	return expelled
}

// awaitMembership waits until this host has the database with itself in it.
func (n *Node) awaitMembership(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*defaultPatience)
	defer cancel()
	news, end := n.Subscribe()
	defer end()
	for {
		wake(n.look)
		if _, ok := n.Snapshot().Member(name); ok {
			return nil
		}
		select {
		case <-news:
		case <-time.After(lookPeriod):
		case <-ctx.Done():
			return fabric.Errorf(fabric.CodeUnavailable, "join-incomplete", "this host is a member now, but it has not reached the database yet: %w", context.Cause(ctx)).
				WithFix("it goes on trying; see fabricctl cluster list")
		}
	}
}

// requestJoin asks the members in the token, one after the other, until one answers.
func requestJoin(ctx context.Context, t token, req joinRequest) (joinAnswer, error) {
	config := clientConfig(nil, t.Fingerprint, protocolHTTP)
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		return dialTLS(ctx, address, config)
	}}
	defer transport.CloseIdleConnections()
	var errs []error
	for _, address := range t.Addresses {
		a, header, err := ask[joinAnswer](ctx, &http.Client{Transport: transport, Timeout: 3 * defaultPatience}, http.MethodPost, "https://"+address+joinPath, req)
		if err == nil {
			return a, nil
		}
		if e := (*fabric.Error)(nil); errors.As(err, &e) {
			return a, withSkew(e, header, time.Now())
		}
		errs = append(errs, err)
	}
	return joinAnswer{}, fabric.Errorf(fabric.CodeUnavailable, "cluster-unreachable", "join: no member named in the token answers as one: %w", errors.Join(errs...)).
		WithFix("check the network between here and there, and that the token is of this cluster")
}

// withSkew adds to a complaint about time that the two clocks differ, if so.
func withSkew(e *fabric.Error, header http.Header, now time.Time) error {
	there, err := http.ParseTime(header.Get("Date"))
	if skew := now.Sub(there).Abs(); e.Reason == "token-expired" && err == nil && skew > time.Minute {
		return e.WithFix("the clocks of the two hosts differ by %s: mend that and ask for a new token", skew.Round(time.Second))
	}
	return e
}
