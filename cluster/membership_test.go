package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestTokenIsGoodOnce(t *testing.T) {
	first := startCluster(t, 1)[0]
	ctx := t.Context()
	token, err := first.AddToken(ctx, "n2")
	if err != nil {
		t.Fatal(err)
	}
	const racers = 3
	errs := make([]error, racers)
	joiners := make([]*member, racers)
	var wait sync.WaitGroup
	for i := range racers {
		joiners[i] = openMember(t, "joiner", t.TempDir(), nil)
		t.Cleanup(func() { joiners[i].close(t) })
		address := freeAddress(t)
		wait.Go(func() { errs[i] = joiners[i].Join(ctx, token, address) })
	}
	wait.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			if joiners[i].Name() != "n2" {
				t.Errorf("the winner is %q", joiners[i].Name())
			}
		case fabric.ReasonOf(err) != "bad-token" && fabric.ReasonOf(err) != "name-taken":
			t.Errorf("a loser got %v", err)
		default:
			if s := joiners[i].Status(); s.Bootstrapped {
				t.Errorf("a loser thinks it is a member: %+v", s)
			}
		}
	}
	if won != 1 || first.Snapshot().Len(fabric.KindMember) != 2 || len(first.Snapshot().Tokens()) != 0 {
		t.Errorf("%d joined, members %v, tokens %v", won, first.Snapshot().Members(), first.Snapshot().Tokens())
	}
	if err := joiners[0].Join(ctx, token, freeAddress(t)); err == nil {
		t.Error("the token was good again")
	}
}

func TestRefusals(t *testing.T) {
	first := startCluster(t, 1)[0]
	ctx := t.Context()
	joiner := openMember(t, "joiner", t.TempDir(), nil)
	t.Cleanup(func() { joiner.close(t) })
	good := func() token {
		s, err := first.AddToken(ctx, "n2")
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseToken(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	with := func(change func(*token)) string {
		tk := good()
		change(&tk)
		return tk.String()
	}
	expired := func() string {
		tk := good()
		if _, err := first.Apply(ctx, func(tx *fabric.Tx) error {
			o := fabric.Clone(tx.Snapshot().Tokens()[0])
			o.Expires = time.Now().Add(-time.Minute)
			return tx.Put(o)
		}); err != nil {
			t.Fatal(err)
		}
		return tk.String()
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	nobody := freeAddress(t)
	here := freeAddress(t)
	for _, test := range []struct {
		name, reason string
		do           func() error
	}{
		{"no token", "bad-token", func() error { return joiner.Join(ctx, "", here) }},
		{"garbage", "bad-token", func() error { return joiner.Join(ctx, "bm90IGpzb24=", here) }},
		{"half a token", "bad-token", func() error { s := good().String(); return joiner.Join(ctx, s[:len(s)/2], here) }},
		{"wrong secret", "bad-token", func() error { return joiner.Join(ctx, with(func(t *token) { t.Secret = newSecret() }), here) }},
		{"name changed", "bad-token", func() error { return joiner.Join(ctx, with(func(t *token) { t.ServerName = "n3" }), here) }},
		{"name that can't be", "bad-name", func() error { return joiner.Join(ctx, with(func(t *token) { t.ServerName = "n/3" }), here) }},
		{"expired", "token-expired", func() error { return joiner.Join(ctx, expired(), here) }},
		{"other cluster's fingerprint", "cluster-unreachable", func() error {
			return joiner.Join(ctx, with(func(t *token) { t.Fingerprint = strings.Repeat("0", 64) }), here)
		}},
		{"nobody there", "cluster-unreachable", func() error { return joiner.Join(ctx, with(func(t *token) { t.Addresses = []string{nobody} }), here) }},
		{"no address", "bad-address", func() error { return joiner.Join(ctx, good().String(), "") }},
		{"name as address", "bad-address", func() error { return joiner.Join(ctx, good().String(), "localhost:8443") }},
		{"any address", "bad-address", func() error { return joiner.Join(ctx, good().String(), "0.0.0.0:8443") }},
		{"port 0", "bad-address", func() error { return joiner.Join(ctx, good().String(), "127.0.0.1:0") }},
		{"somebody else's address", "address-not-here", func() error { return joiner.Join(ctx, good().String(), "192.0.2.1:8443") }},
		{"port in use", "address-in-use", func() error { return joiner.Join(ctx, good().String(), busy.Addr().String()) }},
		{"member's address", "address-in-use", func() error { return joiner.Join(ctx, good().String(), first.Address()) }},
		{"bootstrap there", "address-not-here", func() error { return joiner.Bootstrap(ctx, "x", "192.0.2.1:8443") }},
		{"bootstrap as nobody", "bad-name", func() error { return joiner.Bootstrap(ctx, "", here) }},
		{"bootstrap again", "already-in-cluster", func() error { return first.Bootstrap(ctx, "x", here) }},
		{"join of a member", "already-in-cluster", func() error { return first.Join(ctx, good().String(), here) }},
		{"token for a member", "name-taken", func() error { _, err := first.AddToken(ctx, "n1"); return err }},
		{"token for no name", "bad-name", func() error { _, err := first.AddToken(ctx, "../x"); return err }},
		{"remove of nobody", "not-found", func() error { return first.Remove(ctx, "n9", false) }},
		{"remove of the last", "last-member", func() error { return first.Remove(ctx, "n1", true) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do()
			if fabric.ReasonOf(err) != test.reason || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q: %v, want %q in one line", fabric.ReasonOf(err), err, test.reason)
			}
			t.Log(err)
			if s := joiner.Status(); s.Bootstrapped {
				t.Fatalf("it is in a cluster now: %+v", s)
			}
			if entries, _ := os.ReadDir(joiner.dir); len(entries) != 0 {
				t.Errorf("left in its directory: %v", entries)
			}
			if first.Snapshot().Len(fabric.KindMember) != 1 {
				t.Fatal("there is a new member")
			}
		})
	}
	// After all that, it can join.
	if err := joiner.Join(ctx, good().String(), here); err != nil {
		t.Fatal(err)
	}
}

// TestAddressOfAnother joins with an address that leads to another program: the members must not be made to rely on it.
func TestAddressOfAnother(t *testing.T) {
	first := startCluster(t, 1)[0]
	ctx := t.Context()
	s, err := first.AddToken(ctx, "n2")
	if err != nil {
		t.Fatal(err)
	}
	tk, err := parseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := newCertificate("n2")
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{freeAddress(t), first.Address()} {
		_, err = requestJoin(ctx, tk, joinRequest{Name: "n2", Address: address, Certificate: certificate, Secret: tk.Secret})
		if fabric.ReasonOf(err) != "address-unreachable" {
			t.Errorf("join with address %s: %v", address, err)
		}
	}
	if len(first.Snapshot().Tokens()) != 1 {
		t.Error("the token is spent")
	}
}

// TestJoinKilledInTheMiddle covers both sides of the point at which the joiner has its membership on disk.
func TestJoinKilledInTheMiddle(t *testing.T) {
	first := startCluster(t, 1)[0]
	ctx := t.Context()
	// halfJoin goes as far as the members' agreement, as a joiner that is killed when it has the answer.
	halfJoin := func(dir string) (*identity, joinAnswer) {
		s, err := first.AddToken(ctx, "n2")
		if err != nil {
			t.Fatal(err)
		}
		tk, err := parseToken(s)
		if err != nil {
			t.Fatal(err)
		}
		at, err := parseAddress(freeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		id, err := newIdentity("n2", at)
		if err != nil {
			t.Fatal(err)
		}
		guest, err := tls.X509KeyPair([]byte(id.MemberCertificate), []byte(id.MemberKey))
		if err != nil {
			t.Fatal(err)
		}
		open, err := listen(id.Address, serverConfig(func(bool) *tls.Certificate { return &guest }, func() string { return protocolDatabase }), func(c *tls.Conn) { c.Close() }, newRESTListener())
		if err != nil {
			t.Fatal(err)
		}
		defer open.close()
		a, err := requestJoin(ctx, tk, joinRequest{Name: "n2", Address: id.Address, Certificate: id.MemberCertificate, Secret: tk.Secret})
		if err != nil {
			t.Fatal(err)
		}
		return id, a
	}
	dir := t.TempDir()
	halfJoin(dir)
	if _, ok := first.Snapshot().Member("n2"); !ok {
		t.Fatal("the half of the join that is with the members did not happen")
	}
	// Again, with a new token for the same name; this one is killed when its membership is on disk.
	id, a := halfJoin(dir)
	id.NodeID, id.ClusterCertificate, id.ClusterKey, id.LatencyMS = a.NodeID, a.ClusterCertificate, a.ClusterKey, a.LatencyMS
	if err := writeJSON(filepath.Join(dir, peersFile), a.Peers); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(filepath.Join(dir, identityFile), id); err != nil {
		t.Fatal(err)
	}
	joiner := openMember(t, "n2", dir, nil)
	t.Cleanup(func() { joiner.close(t) })
	eventually(t, "the join is finished", func() bool {
		_, there := joiner.Snapshot().Member("n2")
		for _, m := range first.Status().Members {
			if m.Name == "n2" && m.Online && m.Role != "" && m.Role != rolePending {
				return there
			}
		}
		return false
	})
	if _, err := first.AddToken(ctx, "n2"); fabric.ReasonOf(err) != "name-taken" {
		t.Errorf("a token for a member that came up: %v", err)
	}
}

// TestHalfBootstrapIsCleaned opens a directory in which a bootstrap was killed before it was done.
func TestHalfBootstrapIsCleaned(t *testing.T) {
	dir := t.TempDir()
	e, err := startEngine(filepath.Join(dir, databaseDir), 1, freeAddress(t), 20*time.Millisecond, nil, logger(t, "half"))
	if err != nil {
		t.Fatal(err)
	}
	e.close()
	m := openMember(t, "n1", dir, nil)
	t.Cleanup(func() { m.close(t) })
	if err := m.Bootstrap(t.Context(), "n1", freeAddress(t)); err != nil {
		t.Fatal(err)
	}
}

func TestRemove(t *testing.T) {
	members := startCluster(t, 3)
	ctx := t.Context()
	leader, others := leaderOf(t, members)
	if _, err := leader.Apply(ctx, func(tx *fabric.Tx) error {
		for _, o := range []fabric.Object{
			&fabric.Pool{Header: fabric.Header{Name: "p"}, Driver: "dir", Config: fabric.Config{}, MemberConfig: map[string]fabric.Config{leader.Name(): {"source": "/x"}}},
			&fabric.Instance{Header: fabric.Header{Name: "c1"}, Type: "container", Member: leader.Name(), Pool: "p", Power: fabric.PowerStopped},
		} {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	gone, by, third := leader, others[0], others[1]
	name := gone.Name()
	if err := gone.Report(ctx, name, []fabric.Condition{{Object: fabric.Key{Kind: fabric.KindPool, Name: "p"}, Member: name, Type: fabric.ConditionReady, OK: true}}); err != nil {
		t.Fatal(err)
	}
	if err := by.Remove(ctx, name, false); fabric.ReasonOf(err) != "in-use" {
		t.Fatalf("remove of a member with an instance: %v", err)
	}
	client, url, err := by.HTTPClient(name)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := client.Get(url + pingPath); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("ping before: %v, %v", r, err)
	}
	if err := by.Remove(ctx, name, true); err != nil {
		t.Fatal(err)
	}
	if err := gone.ping(ctx, by.Address()); fabric.ReasonOf(err) != reasonNotMember {
		t.Errorf("the removed member is still let in: %v", err)
	}
	s := by.Snapshot()
	if p, _ := s.Pool("p"); s.Len(fabric.KindInstance) != 0 || len(p.MemberConfig) != 0 {
		t.Error("what was on the member is still there")
	}
	eventually(t, "the others go on without it", func() bool {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := third.Apply(short, func(tx *fabric.Tx) error { return tx.Put(&fabric.Profile{Header: fabric.Header{Name: "after"}}) })
		st := third.Status()
		return err == nil && len(st.Members) == 2 && st.Leader != "" && len(third.Reports().Of(fabric.Key{Kind: fabric.KindPool, Name: "p"})) == 0
	})
	if _, err := gone.Apply(ctx, func(tx *fabric.Tx) error { return tx.Put(&fabric.Profile{Header: fabric.Header{Name: "ghost"}}) }); err == nil {
		t.Error("the removed member could write")
	} else {
		t.Log(err)
	}
	eventually(t, "it knows that it was removed", func() bool {
		_, err := gone.Apply(ctx, func(*fabric.Tx) error { return nil })
		return fabric.ReasonOf(err) == "removed" && gone.Status().Removed && !by.Status().Removed
	})
	token, err := by.AddToken(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Join(ctx, token, freeAddress(t)); err != nil {
		t.Fatalf("join again: %v", err)
	}
	eventually(t, "it is back", func() bool { return voters(by) == 3 })
	eventually(t, "all know who votes", func() bool {
		for _, m := range third.Snapshot().Members() {
			if !m.Voter {
				return false
			}
		}
		return third.Snapshot().Len(fabric.KindMember) == 3
	})
}

// A member that was away does not know who joined meanwhile. That it refuses these does not mean that they were removed.
func TestStaleMemberRemovesNobody(t *testing.T) {
	members := startCluster(t, 2)
	stale, joined := members[0], members[1]
	eventually(t, "both know both", func() bool {
		return stale.ping(t.Context(), joined.Address()) == nil && joined.ping(t.Context(), stale.Address()) == nil
	})
	set := func(p peers) {
		stale.mu.Lock()
		defer stale.mu.Unlock()
		stale.peers = p
	}
	now := peersOf(stale.Snapshot())
	defer set(now)
	only, _ := now.byFingerprint(fabric.Fingerprint(stale.current().MemberCertificate))
	set(peers{Revision: 1, Members: []peer{only}})
	if err := joined.ping(t.Context(), stale.Address()); err == nil || fabric.ReasonOf(err) == reasonNotMember {
		t.Errorf("refused by a member that is behind: %v", err)
	}
	set(peers{Revision: now.Revision + 1, Members: []peer{only}})
	if err := joined.ping(t.Context(), stale.Address()); fabric.ReasonOf(err) != reasonNotMember {
		t.Errorf("refused by a member that is further: %v", err)
	}
}

// TestDatabaseIsMembersOnly dials the database as somebody who has the cluster's certificate only, which every client sees.
func TestDatabaseIsMembersOnly(t *testing.T) {
	m := startCluster(t, 1)[0]
	certificate, key, err := newCertificate("stranger")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	for name, own := range map[string]*tls.Certificate{"no certificate": nil, "unknown certificate": &stranger} {
		c, err := dialTLS(t.Context(), m.Address(), clientConfig(own, fabric.Fingerprint(m.CertificatePEM()), protocolDatabase))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: the database answers", name)
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("%s: the connection is kept", name)
		}
		c.Close()
	}
	for name, own := range map[string]*tls.Certificate{"no certificate": nil, "unknown certificate": &stranger} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: clientConfig(own, fabric.Fingerprint(m.CertificatePEM()), protocolHTTP)}}
		r, err := c.Post("https://"+m.Address()+pokePath, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: poke was answered %s", name, r.Status)
		}
		c.CloseIdleConnections()
	}
}

// TestClientThatPrefersHTTP2 checks that a client which offers HTTP/2 first, as curl does, gets HTTP/1.1 on the shared port.
func TestClientThatPrefersHTTP2(t *testing.T) {
	m := startCluster(t, 1)[0]
	config := clientConfig(nil, fabric.Fingerprint(m.CertificatePEM()), protocolHTTP)
	config.NextProtos = []string{"h2", protocolHTTP}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	r, err := c.Get("https://" + m.Address() + pingPath)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 1 || r.StatusCode != http.StatusForbidden {
		t.Errorf("answered %s with %s", r.Status, r.Proto)
	}
}
