package cluster

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// visit is what another member said to one whose daemon is stopped.
type visit struct {
	peer    peer
	lineage lineage
	known   peers
	leader  string // of the database, as its node says
	behind  bool   // it refuses this member, and has not heard of what this one has
	err     error  // it does not answer
}

// visit asks one member which database it has, and who leads that.
func (p *proof) visit(ctx context.Context, known peers, to peer) visit {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return p.dial(ctx, known, address, protocolHTTP)
	}}
	defer transport.CloseIdleConnections()
	v := visit{peer: to}
	var header http.Header
	v.known, header, v.err = ask[peers](ctx, &http.Client{Transport: transport}, http.MethodGet, "https://"+to.Address+pingPath, nil)
	v.lineage, _ = parseLineage(header.Get(lineageHeader))
	if v.err != nil {
		there, err := strconv.ParseUint(header.Get(revisionHeader), 10, 64)
		v.behind = err != nil || there < known.Revision
		return v
	}
	c, err := client.New(ctx, to.Address, client.WithDialFunc(func(ctx context.Context, address string) (net.Conn, error) {
		return p.dial(ctx, known, address, p.Lineage.protocol())
	}), client.WithLogFunc(func(client.LogLevel, string, ...any) {}))
	if err != nil {
		return v // a member that is there without its database does not lead it
	}
	defer c.Close()
	if leader, err := c.Leader(ctx); err == nil && leader != nil {
		v.leader = leader.Address
	}
	return v
}

// askOthers asks all other members. It fails where one of them shows that the quorum was not lost, or was recovered, and names the silent ones.
func (p *proof) askOthers(ctx context.Context, known peers) (silent []string, err error) {
	visits := make([]visit, len(known.Members))
	var wait sync.WaitGroup
	for i, other := range known.Members {
		if other.Name != p.Name {
			wait.Go(func() { visits[i] = p.visit(ctx, known, other) })
		}
	}
	wait.Wait()
	for _, v := range visits {
		if err := v.objects(p); err != nil {
			return nil, err
		}
		if v.err != nil {
			silent = append(silent, v.peer.Name)
		}
	}
	return silent, nil
}

// objects says why there is nothing to recover, if that is what the member's answers show.
func (v visit) objects(p *proof) error {
	switch {
	case v.lineage.descends(p.Lineage):
		return fabric.Conflictf("recovered-already", "quorum loss was recovered already: member %q has the recovered database", v.peer.Name).
			WithFix("start fabric-node: this member takes that database over")
	case fabric.ReasonOf(v.err) == reasonNotMember && !v.behind:
		return fabric.Conflictf("removed", "member %q does not know this one: it was removed from the cluster", v.peer.Name).WithFix("start fabric-node and run fabricctl cluster join TOKEN to join again")
	case v.leader != "":
		return fabric.Conflictf("has-quorum", "nothing is lost: member %q says that the one at %s leads the database", v.peer.Name, v.leader).
			WithFix("start fabric-node: this member goes on with the others")
	}
	return nil
}

// Rejoin makes a member of a database that was recovered on one side a member of the one that was recovered on another side. Its own copy is kept,
// in the directory that is told. The member must not run.
func Rejoin(ctx context.Context, dir, other string) (kept string, err error) {
	lock, err := lockExisting(dir)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	m, err := loadMembership(dir)
	if err != nil {
		return "", err
	}
	p, err := newProof(m.id)
	if err != nil {
		return "", fabric.Errorf(fabric.CodeInternal, "bad-directory", "read %s: %w", filepath.Join(dir, identityFile), err)
	}
	to, ok := m.known.find(func(o peer) bool { return o.Name == other && o.Name != m.id.Name })
	if !ok {
		return "", fabric.NotFoundf("this member knows no other member %q", other)
	}
	v := p.visit(ctx, m.known, to)
	if v.err != nil && fabric.ReasonOf(v.err) != reasonNotMember {
		return "", fabric.Errorf(fabric.CodeUnavailable, "member-unreachable", "ask member %q for its database: %w", other, v.err).WithFix("start fabric-node there, or mend the network")
	}
	s := inheritance(v.lineage, fabric.Fingerprint(m.id.MemberCertificate), v.known)
	switch {
	case slices.Equal(v.lineage, m.id.Lineage), m.id.Lineage.descends(v.lineage):
		return "", fabric.Conflictf("same-database", "member %q has the same database as this one, or an older one", other).WithFix("start fabric-node")
	case s.nodeID == 0:
		return "", fabric.Conflictf("removed", "member %q does not know this one: it was removed from the cluster", other).
			WithFix("remove %s and join again with a token", dir)
	}
	id := m.id
	id.Lineage, id.NodeID = s.lineage, s.nodeID
	return succeed(dir, m.id, id, s.peers, time.Now())
}
