package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

const heirTimeout = 2 * time.Second // for one candidate to take over

// handover passes leadership and vote on before this node stops.
func (n *Node) handover(ctx context.Context, e *engine) error {
	p := n.current()
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	c, leads, err := n.leaderClient(ctx, p, e)
	if err != nil {
		return err
	}
	defer func() { c.Close() }()
	nodes, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	members := n.Snapshot().Members()
	// Answering now is what counts here: a beat may be seconds old.
	there := map[string]bool{p.Name: true}
	for _, m := range members {
		if m.Name != p.Name {
			asking, done := context.WithTimeout(ctx, internalTimeout)
			there[m.Name] = n.ping(asking, m.Address) == nil
			done()
		}
	}
	changes := roleChanges(nodes, members, func(name string) bool { return there[name] })
	role, candidates := changes.Handover(p.NodeID)
	heir, passed := bequeath(ctx, c, role, candidates)
	if leads {
		if err := abdicate(ctx, c, append(heir, heirs(nodes, members, there, p.NodeID)...)); err != nil {
			return err
		}
	}
	if !passed {
		return nil
	}
	// Somebody else has this node's vote now: with both, one failure less could be borne while this one is away.
	c.Close()
	if c, _, err = n.leaderClient(ctx, p, e); err != nil {
		return err
	}
	if err := c.Assign(ctx, p.NodeID, client.Spare); err != nil {
		return fmt.Errorf("give up the vote: %w", err)
	}
	return nil
}

// leaderClient opens a session with the database's leader, and gives one time to be elected.
func (n *Node) leaderClient(ctx context.Context, p *proof, e *engine) (c *client.Client, leads bool, err error) {
	election, cancel := context.WithTimeout(ctx, max(heirTimeout, electionsFactor*e.latency))
	defer cancel()
	for {
		address, err := e.findLeader(election, n.databaseAddresses(p))
		if err == nil {
			c, err := e.client(ctx, address)
			return c, address == p.Address, err
		}
		select {
		case <-time.After(lostPause):
		case <-election.Done():
			return nil, false, err
		}
	}
}

// bequeath gives the role of this node to the first candidate that takes it.
func bequeath(ctx context.Context, c *client.Client, role client.NodeRole, candidates []client.NodeInfo) (heir []uint64, passed bool) {
	for _, node := range candidates {
		asking, done := context.WithTimeout(ctx, heirTimeout)
		err := c.Assign(asking, node.ID, role)
		done()
		switch {
		case err != nil:
			continue
		case role == client.Voter:
			return []uint64{node.ID}, true
		}
		return nil, true
	}
	return nil, false
}

// heirs are the other voters that answer.
func heirs(nodes []client.NodeInfo, members []*fabric.Member, there map[string]bool, self uint64) (ids []uint64) {
	for _, node := range nodes {
		if node.ID != self && node.Role == client.Voter &&
			slices.ContainsFunc(members, func(m *fabric.Member) bool { return m.NodeID == node.ID && there[m.Name] }) {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

// abdicate makes one of the heirs lead instead of this node.
func abdicate(ctx context.Context, c *client.Client, heirs []uint64) error {
	err := errors.New("no other voter answers")
	for _, id := range heirs {
		asking, done := context.WithTimeout(ctx, heirTimeout)
		err = c.Transfer(asking, id)
		done()
		if err == nil {
			return nil
		}
	}
	return err
}
