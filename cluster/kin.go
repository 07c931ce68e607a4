package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"netfabric/fabric"
)

// kin is what is known of other databases of this cluster.
type kin struct {
	doubt     bool               // a member may have another one: it is to be asked
	successor *succession        // what to take over in place of the database here
	rivals    map[string]lineage // by address of a member: databases that were recovered apart from the one here
}

// succession is a database that was recovered from the one here, as a member that has it tells.
type succession struct {
	lineage lineage
	nodeID  uint64 // that this member has in it; zero: it is no member any more
	peers   peers  // as the one who tells knows them
}

// lineageHeader says which database a request or an answer between members is about.
const lineageHeader = "Fabric-Database"

// telling is a transport that says with each request which database this member has.
type telling struct {
	*http.Transport
	database func() string
}

// RoundTrip implements http.RoundTripper.
func (t *telling) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(lineageHeader, t.database())
	return t.Transport.RoundTrip(r)
}

// inheritance finds what a member says of its database. Of a refusal the lineage alone is known.
func inheritance(there lineage, fingerprint string, known peers) succession {
	s := succession{lineage: there}
	if self, ok := known.byFingerprint(fingerprint); ok {
		s.nodeID, s.peers = self.NodeID, known
	}
	return s
}

// better tells whether to take s over rather than another one: the youngest database, and the word of who knows this member in it.
func (s succession) better(than *succession) bool {
	switch {
	case than == nil || len(s.lineage) > len(than.lineage):
		return true
	case len(s.lineage) < len(than.lineage):
		return false
	}
	return than.nodeID == 0 && s.nodeID != 0
}

// compare takes in which database a member has. The lock is not held.
func (n *Node) compare(address string, header http.Header, known peers) {
	there, ok := parseLineage(header.Get(lineageHeader))
	if !ok || header == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proof == nil {
		return
	}
	here := n.proof.Lineage
	delete(n.rivals, address)
	switch {
	case there.descends(here):
		s := inheritance(there, fabric.Fingerprint(n.proof.MemberCertificate), known)
		if s.better(n.successor) {
			n.successor = &s
		}
	case !here.descends(there) && !slices.Equal(here, there):
		if n.rivals == nil {
			n.rivals = map[string]lineage{}
		}
		n.rivals[address] = there
	}
}

// doubts has the monitor ask the other members which database they have.
func (n *Node) doubts() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doubt = true
}

// hides tells whether some member shows no sign of life in the database: it may have another one.
func (n *Node) hides() bool {
	now, threshold := time.Now(), n.Snapshot().Cluster().OfflineThreshold()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proof != nil && slices.ContainsFunc(n.peers.Members, func(p peer) bool { return p.Name != n.proof.Name && !n.live.online(now, p.Name, threshold) })
}

// otherThan tells whether a member that says this has another database than the one here.
func (n *Node) otherThan(said string) bool {
	p := n.current()
	return p != nil && said != p.Lineage.String()
}

// refusedByOther tells whether the other side refused a handshake: it speaks the protocol of another database, or of none.
func refusedByOther(err error) bool {
	var e *net.OpError
	return errors.As(err, &e) && e.Op == "remote error"
}

// askAround asks the other members which database they have, before the one here is started: nodes of a database that was given up must not find
// each other again.
func (n *Node) askAround(ctx context.Context) {
	n.mu.Lock()
	p, known := n.proof, n.peers
	n.mu.Unlock()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, internalTimeout)
	defer cancel()
	n.pingAll(ctx, p, known)
}

// pingAll asks all other members at once, and gives what came of it by name.
func (n *Node) pingAll(ctx context.Context, p *proof, known peers) map[string]error {
	answers := make([]error, len(known.Members))
	var wait sync.WaitGroup
	for i, peer := range known.Members {
		if peer.Name != p.Name {
			wait.Go(func() { answers[i] = n.ping(ctx, peer.Address) })
		}
	}
	wait.Wait()
	byName := map[string]error{}
	for i, peer := range known.Members {
		byName[peer.Name] = answers[i]
	}
	return byName
}

// inherit makes this host a member of the database that was recovered from the one here, if one has been heard of. The database must not run. What
// is known of the cluster stays as it is until the new database answers, and is read anew then: its revisions are higher than any before.
func (n *Node) inherit(p *proof) (*proof, error) {
	n.mu.Lock()
	s := n.successor
	n.mu.Unlock()
	if s == nil {
		return p, nil
	}
	id := p.identity
	id.Lineage, id.NodeID = s.lineage, s.nodeID
	if s.nodeID == 0 { // the others will say so
		id.NodeID = newNodeID()
	}
	next, err := newProof(id)
	if err != nil {
		return nil, err
	}
	known := s.peers
	if s.nodeID == 0 {
		known = n.peersNow()
	}
	kept, err := succeed(n.dir, p.identity, id, known, time.Now())
	if err != nil {
		return nil, fabric.Errorf(fabric.CodeInternal, "internal", "take over the recovered database: %w", err)
	}
	n.log.Warn("the cluster's database was recovered on another member: this one takes it over; its own copy is kept", "database", s.lineage, "kept", kept)
	n.mu.Lock()
	n.proof, n.peers, n.topology, n.probes, n.live, n.met, n.kin = next, known, topology{}, nil, liveness{}, nil, kin{}
	n.unsaved = true // the old ones may be on their way to the disk
	n.mu.Unlock()
	return next, nil
}

func (n *Node) peersNow() peers {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers
}

// succeedLive replaces the running database when another one was recovered from it. It is called again when it did not get to the end.
func (m *monitor) succeedLive() {
	m.mu.Lock()
	wanted := m.proof != nil && (m.stopped || m.successor != nil && m.engine != nil)
	m.mu.Unlock()
	if !wanted || !m.change.TryLock() { // held by who waits for this loop to end
		return
	}
	defer m.change.Unlock()
	m.disconnect()
	m.mu.Lock()
	engine := m.engine
	m.engine = nil
	m.mu.Unlock()
	m.stopped = true
	if engine != nil {
		if err := engine.close(); err != nil {
			m.log.Error("the database was not closed", "error", err)
		}
	}
	err := m.startOnce()
	m.mu.Lock()
	m.problem = err
	m.mu.Unlock()
	if err != nil {
		m.log.Error("the database is not up; trying on", "error", err)
		return
	}
	m.stopped = false
	m.awake()
}

// rivalError says what to do about two databases that were recovered apart from each other.
func rivalError(member string) error {
	return fabric.Errorf(fabric.CodeUnavailable, "other-database", "it has another database: quorum loss was recovered from there and here, apart from each other").
		WithFix("decide which one to keep; on each member that has the other one stop fabric-node, run fabric-node cluster rejoin %s and start it again", member)
}
