package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// rolePending is the role of a member that the database does not have yet. Without an answer from the database roles are empty.
const rolePending = "pending"

// Status is what this member knows of the cluster. It asks nobody.
func (n *Node) Status() fabric.ClusterStatus {
	snapshot := n.Snapshot()
	threshold := snapshot.Cluster().OfflineThreshold()
	away, why := n.health.failingFor()
	explained := error(nil)
	if away > 0 {
		explained = n.explain(why)
	}
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proof == nil {
		return fabric.ClusterStatus{Message: errNotInCluster.Error()}
	}
	// One answer that failed to come is no loss of quorum: leaders change.
	const grace = 2 * time.Second
	s := fabric.ClusterStatus{Bootstrapped: true, Self: n.proof.Name, Quorum: n.engine != nil && away < grace}
	_, _, s.Removed = n.census()
	if !s.Quorum && explained != nil {
		s.Message = explained.Error()
	}
	for _, p := range n.peers.Members {
		m := fabric.MemberStatus{Name: p.Name, Address: p.Address, Leader: p.Address == n.topology.leader}
		if len(n.nodes) > 0 {
			m.Role = rolePending
		}
		if i := slices.IndexFunc(n.nodes, func(i client.NodeInfo) bool { return i.ID == p.NodeID }); i >= 0 {
			m.Role = n.nodes[i].Role.String()
		}
		if m.Leader {
			s.Leader = p.Name
		}
		n.presence(&m, s, now, threshold)
		s.Members = append(s.Members, m)
	}
	return s
}

// presence fills in whether a member is online. While the database answers its beats tell, otherwise whether it answers by itself.
func (n *Node) presence(m *fabric.MemberStatus, s fabric.ClusterStatus, now time.Time, threshold time.Duration) {
	ago, seen := n.live.lastSeen(now, m.Name)
	if seen {
		m.LastSeen = ago
	}
	_, rival := n.rivals[m.Address]
	switch asked, ok := n.probes[m.Name]; {
	case m.Name == n.proof.Name:
		m.Online, m.LastSeen = true, 0
		if s.Removed {
			m.Message = "removed from the cluster by another member"
		} else if !s.Quorum {
			m.Message = "the database has no quorum: nothing can be changed"
		}
	case rival:
		m.Message = rivalError(n.proof.Name).Error()
	case !s.Quorum && ok && asked != nil:
		m.Message = fmt.Sprintf("does not answer: %v", asked)
	case !s.Quorum:
		m.Online = ok
		m.Message = "answers, but the database has no quorum"
	case !seen && now.Sub(n.met[m.Name]) <= threshold:
		m.Online = true
		m.Message = "just joined, no heartbeat seen yet"
	case !seen:
		m.Message = "no heartbeat seen yet"
	case ago > threshold:
		m.Message = fmt.Sprintf("no heartbeat for %.0fs (more than %.0f)", ago.Seconds(), threshold.Seconds())
	default:
		m.Online = true
	}
}
