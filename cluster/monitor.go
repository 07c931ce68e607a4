package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/canonical/go-dqlite/app"
	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

const (
	monitorPeriod = time.Second
	kinPeriod     = 5 * time.Second // between questions to members that show no sign of life in the database
	assignTimeout = 10 * time.Second
	strangerGrace = 10 * time.Second // that a database node without a member is given
)

// How many members keep the database: voters decide, stand-bys have a copy and can take over a vote, spares only ask.
var roles = app.RolesConfig{Voters: 3, StandBys: 3}

// monitor watches the database as a cluster of nodes until ctx ends: who leads it, in which roles, and on its leader what roles should be.
func (n *Node) monitor(ctx context.Context) {
	m := &monitor{Node: n, strangers: map[uint64]time.Time{}}
	defer m.disconnect()
	tick := time.NewTicker(monitorPeriod)
	defer tick.Stop()
	for {
		m.look(ctx)
		select {
		case <-tick.C:
		case <-n.kick:
		case <-ctx.Done():
			return
		}
	}
}

type monitor struct {
	*Node
	leader    *client.Client
	stopped   bool                 // the database was stopped to be replaced, and is not up again
	asked     time.Time            // when the others were last asked which database they have
	strangers map[uint64]time.Time // database nodes that are no member's, and since when they have been seen
}

func (m *monitor) disconnect() {
	if m.leader != nil {
		m.leader.Close()
		m.leader = nil
	}
}

func (m *monitor) look(ctx context.Context) {
	m.savePeers()
	m.succeedLive()
	m.adoptCertificate()
	m.mu.Lock()
	p, engine, doubt := m.proof, m.engine, m.doubt
	m.doubt = false
	m.mu.Unlock()
	if p == nil || engine == nil {
		m.disconnect()
		return
	}
	if err := m.lookAt(ctx, p, engine); err != nil {
		m.disconnect()
		m.mu.Lock()
		m.topology.leader = ""
		m.mu.Unlock()
		m.log.Debug("look at the database's nodes", "error", err)
	}
	failing := m.health.failing()
	if failing || doubt || time.Since(m.asked) >= kinPeriod && m.hides() {
		m.asked = time.Now()
		m.probe(ctx, p)
	}
	if failing {
		return
	}
	m.mu.Lock()
	m.probes = nil
	m.mu.Unlock()
}

// savePeers keeps on disk whom to ask for the database, and whom to let in.
func (m *monitor) savePeers() {
	m.mu.Lock()
	known, unsaved := m.peers, m.unsaved && m.proof != nil
	m.unsaved = false
	m.mu.Unlock()
	if !unsaved {
		return
	}
	if err := writeJSON(filepath.Join(m.dir, peersFile), known); err != nil {
		m.log.Error("the list of members was not saved", "error", err)
		m.mu.Lock()
		m.unsaved = true
		m.mu.Unlock()
	}
}

func (m *monitor) lookAt(ctx context.Context, p *proof, e *engine) error {
	ctx, cancel := context.WithTimeout(ctx, assignTimeout+lookTimeout)
	defer cancel()
	asking, done := context.WithTimeout(ctx, lookTimeout)
	defer done()
	if m.leader == nil {
		address, err := e.findLeader(asking, m.databaseAddresses(p))
		if err != nil {
			return err
		}
		if m.leader, err = e.client(asking, address); err != nil {
			return err
		}
	}
	leader, err := m.leader.Leader(asking)
	if err != nil {
		return err
	}
	if leader == nil || leader.Address == "" {
		// It led, and knows of nobody who does now. One that was removed never will.
		return errors.New("the database node that led does so no more")
	}
	nodes, err := m.leader.Cluster(asking)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.topology = topology{leader.Address, nodes}
	m.mu.Unlock()
	if !slices.ContainsFunc(nodes, func(i client.NodeInfo) bool { return i.ID == p.NodeID }) {
		wake(m.kick)
		return m.leader.Add(ctx, client.NodeInfo{ID: p.NodeID, Address: p.Address, Role: client.Spare}) // the last step of joining
	}
	if leader.Address != p.Address {
		m.strangers = map[uint64]time.Time{}
		return nil
	}
	return m.manage(ctx, p, nodes)
}

// manage gives nodes the roles they should have, one change at a time, and drops nodes that are no member's. Only the leader does it.
func (m *monitor) manage(ctx context.Context, p *proof, nodes []client.NodeInfo) error {
	snapshot := m.Snapshot()
	if snapshot.Len(fabric.KindMember) == 0 {
		return nil // not known yet
	}
	if id, ok := m.stranger(time.Now(), nodes, snapshot.Members()); ok {
		return m.leader.Remove(ctx, id)
	}
	now := time.Now()
	m.mu.Lock()
	changes := roleChanges(nodes, snapshot.Members(), func(name string) bool {
		return name == p.Name || m.live.online(now, name, snapshot.Cluster().OfflineThreshold())
	})
	m.mu.Unlock()
	role, candidates := changes.Adjust(p.NodeID)
	if role == -1 {
		return m.noteVoters(ctx, nodes)
	}
	var errs []error
	for _, node := range candidates {
		err := m.leader.Assign(ctx, node.ID, role)
		if err == nil {
			wake(m.kick) // there may be more to do
			return nil
		}
		errs = append(errs, fmt.Errorf("make the database node at %s a %s: %w", node.Address, role, err))
	}
	return errors.Join(errs...)
}

// noteVoters has members know who votes in the database, also those that have no answer from it: reflectors of the mesh are chosen among voters.
func (m *monitor) noteVoters(ctx context.Context, nodes []client.NodeInfo) error {
	votes := func(member *fabric.Member) bool {
		return slices.ContainsFunc(nodes, func(n client.NodeInfo) bool { return n.ID == member.NodeID && n.Role == client.Voter })
	}
	if !slices.ContainsFunc(m.Snapshot().Members(), func(member *fabric.Member) bool { return member.Voter != votes(member) }) {
		return nil
	}
	_, err := m.Apply(ctx, func(tx *fabric.Tx) error {
		for _, member := range tx.Snapshot().Members() {
			if member.Voter == votes(member) {
				continue
			}
			noted := fabric.Clone(member)
			noted.Voter = !member.Voter
			if err := tx.Put(noted); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// roleChanges feeds the rules of go-dqlite.
func roleChanges(nodes []client.NodeInfo, members []*fabric.Member, online func(name string) bool) app.RolesChanges {
	state := map[client.NodeInfo]*client.NodeMetadata{}
	for _, node := range nodes {
		state[node] = nil
		i := slices.IndexFunc(members, func(m *fabric.Member) bool { return m.NodeID == node.ID })
		if i >= 0 && online(members[i].Name) {
			domain := fnv.New64a()
			domain.Write([]byte(members[i].FailureDomain))
			state[node] = &client.NodeMetadata{FailureDomain: domain.Sum64()}
		}
	}
	return app.RolesChanges{Config: roles, State: state}
}

// stranger finds a node that has been without a member for so long that it can't be one whose member is not known here yet.
func (m *monitor) stranger(now time.Time, nodes []client.NodeInfo, members []*fabric.Member) (uint64, bool) {
	seen := map[uint64]time.Time{}
	for _, node := range nodes {
		if slices.ContainsFunc(members, func(m *fabric.Member) bool { return m.NodeID == node.ID }) {
			continue
		}
		if since, ok := m.strangers[node.ID]; ok {
			seen[node.ID] = since
		} else {
			seen[node.ID] = now
		}
	}
	m.strangers = seen
	for id, since := range seen {
		if now.Sub(since) >= strangerGrace {
			return id, true
		}
	}
	return 0, false
}

// observes takes in signs of life.
func (n *Node) observes(beats map[string]uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live.observe(time.Now(), beats) {
		wake(n.kick) // there is one more to give a role to
	}
}

// probe asks every other member directly, to be able to say who does not answer.
func (m *monitor) probe(ctx context.Context, p *proof) {
	ctx, cancel := context.WithTimeout(ctx, monitorPeriod)
	defer cancel()
	probes := m.pingAll(ctx, p, m.peersNow())
	m.mu.Lock()
	m.probes = probes
	found := m.successor != nil
	m.mu.Unlock()
	if found {
		wake(m.kick)
	}
}

// explain says why the database can't be written, and what to do.
func (n *Node) explain(why error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine == nil && n.problem != nil {
		return fabric.Errorf(fabric.CodeUnavailable, "database-down", "write to the database: %w", n.problem)
	}
	voters, silent, expelled := n.census()
	e := fabric.Errorf(fabric.CodeUnavailable, "no-quorum", "write to the database: no quorum: %w", why)
	switch {
	case expelled:
		return fabric.Errorf(fabric.CodeUnavailable, "removed", "write to the database: the other members no longer know this one: it was removed from the cluster").
			WithFix("run fabricctl cluster join TOKEN to join again")
	case len(silent) == 0:
		return e.WithFix("every member answers: the database elects a leader, try again")
	}
	e = fabric.Errorf(fabric.CodeUnavailable, "no-quorum", "write to the database: no quorum: %d of %d database members do not answer: %s", len(silent), voters, strings.Join(silent, ", "))
	return e.WithFix("reads go on; writes do once more than half of them answer: start fabric-node there or mend the network; where they are lost for good, fabric-node cluster says what to do")
}

// census counts the database's voters, as far as known, and names those that do not answer when asked directly.
func (n *Node) census() (voters int, silent []string, expelled bool) {
	for _, peer := range n.peers.Members {
		i := slices.IndexFunc(n.nodes, func(node client.NodeInfo) bool { return node.ID == peer.NodeID })
		err := n.probes[peer.Name]
		if fabric.ReasonOf(err) == reasonNotMember {
			expelled = true
		}
		if i >= 0 && n.nodes[i].Role != client.Voter {
			continue
		}
		voters++
		if err != nil {
			silent = append(silent, peer.Name)
		}
	}
	return voters, silent, expelled
}
