package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/canonical/go-dqlite"

	"netfabric/fabric"
)

// DefaultPort is the port of a member whose address was given without one.
const DefaultPort = 8443

// Bootstrap makes a cluster with this host as its only member. When it fails, nothing is left behind.
func (n *Node) Bootstrap(ctx context.Context, name, address string) (err error) {
	n.change.Lock()
	defer n.change.Unlock()
	if p := n.current(); p != nil {
		return alreadyMember(p)
	}
	at, err := parseAddress(address)
	if err != nil {
		return err
	}
	id, err := newIdentity(name, at)
	if err != nil {
		return err
	}
	if id.ClusterCertificate, id.ClusterKey, err = newCertificate("cluster", at.Addr()); err != nil {
		return err
	}
	id.NodeID = dqlite.BootstrapID
	member := &fabric.Member{Header: fabric.Header{Name: name}, Address: id.Address, Certificate: id.MemberCertificate, NodeID: id.NodeID, Number: 1}
	if err := member.Validate(); err != nil {
		return err
	}
	if err := wipe(n.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			n.forget()
		}
	}()
	if err := n.adopt(*id, peers{Members: []peer{{name, id.Address, member.Fingerprint(), id.NodeID}}}); err != nil {
		return err
	}
	if err := n.setUp(ctx); err != nil {
		return fmt.Errorf("set up the database: %w", err)
	}
	n.awake()
	_, err = n.Apply(ctx, func(tx *fabric.Tx) error {
		return errors.Join(tx.Put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{}}), tx.Put(fabric.Clone(member)))
	})
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(n.dir, identityFile), id)
}

// newIdentity is a member to be, with its certificate.
func newIdentity(name string, at netip.AddrPort) (*identity, error) {
	certificate, key, err := newCertificate(name, at.Addr())
	return &identity{
		Name: name, Address: at.String(), MemberCertificate: certificate, MemberKey: key,
		LatencyMS: int(new(fabric.Cluster).NetworkLatency().Milliseconds()),
	}, err
}

// adopt makes this host the member that id says, in memory, and opens port and database.
func (n *Node) adopt(id identity, known peers) error {
	p, err := newProof(id)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.proof, n.peers, n.unsaved, n.problem = p, known, true, nil
	n.mu.Unlock()
	return n.startOnce()
}

// setUp creates the tables, as soon as the database has a leader.
func (n *Node) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, defaultPatience)
	defer cancel()
	for {
		c, err := n.connectDatabase(ctx)
		if err == nil {
			defer c.close()
			return createSchema(ctx, c)
		}
		select {
		case <-time.After(lostPause):
		case <-ctx.Done():
			return err
		}
	}
}

// forget undoes membership: on disk first, then in memory.
func (n *Node) forget() {
	if err := wipe(n.dir); err != nil {
		n.log.Error("the database was not removed", "error", err)
	}
	n.mu.Lock()
	n.proof, n.guest, n.peers, n.problem, n.topology, n.probes, n.live, n.kin = nil, nil, peers{}, nil, topology{}, nil, liveness{}, kin{}
	n.mu.Unlock()
	if err := n.shut(); err != nil {
		n.log.Error("the database was not closed", "error", err)
	}
	if err := wipe(n.dir); err != nil { // what the database wrote until it was closed
		n.log.Error("the database was not removed", "error", err)
	}
	n.rest.setAddr(&net.TCPAddr{})
	n.store.reset()
}

// Remove takes a member out of the cluster: at once it is refused by the others. A member with instances is only removed by force; these are
// removed with it, as are BGP peers that only it has.
func (n *Node) Remove(ctx context.Context, name string, force bool) error {
	m, ok := n.Snapshot().Member(name)
	if !ok {
		if n.current() == nil {
			return errNotInCluster
		}
		return fabric.NotFoundf("member %q does not exist", name)
	}
	if _, err := n.Apply(ctx, func(tx *fabric.Tx) error { return removeMember(tx, name, force) }); err != nil {
		return err
	}
	// What follows is repeated by the database's leader and by housekeeping: a failure now is no failure of the removal.
	if err := errors.Join(n.removeNode(ctx, m.NodeID), n.run(ctx, clearStrangers), n.Report(ctx, name, nil)); err != nil {
		n.log.Info("traces of a removed member will be removed later", "member", name, "error", err)
	}
	return nil
}

// removeMember deletes a member and what names it.
func removeMember(tx *fabric.Tx, name string, force bool) error {
	key := fabric.Key{Kind: fabric.KindMember, Name: name}
	s := tx.Snapshot()
	if _, ok := s.Get(key); ok && s.Len(fabric.KindMember) == 1 {
		return fabric.Conflictf("last-member", "member %q is the last one of the cluster", name).WithFix("to end the cluster, stop fabric-node and remove its directory")
	}
	for _, i := range s.Instances() {
		if i.Member != name {
			continue
		}
		if !force {
			return fabric.Conflictf("in-use", "member %q has instance %q", name, i.Name).WithFix("delete or move its instances, or use force to lose them")
		}
		if err := tx.Delete(fabric.KeyOf(i)); err != nil {
			return err
		}
	}
	for _, o := range s.Networks() {
		if _, ok := o.MemberConfig[name]; ok {
			o = fabric.Clone(o)
			delete(o.MemberConfig, name)
			if err := tx.Put(o); err != nil {
				return err
			}
		}
	}
	for _, o := range s.Pools() {
		if _, ok := o.MemberConfig[name]; ok {
			o = fabric.Clone(o)
			delete(o.MemberConfig, name)
			if err := tx.Put(o); err != nil {
				return err
			}
		}
	}
	if err := removeFromPeers(tx, name, force); err != nil {
		return err
	}
	return tx.Delete(key)
}

// removeFromPeers takes a member out of the BGP peers that name it. A peer that names nobody would be everybody's: one that had only this
// member goes with it.
func removeFromPeers(tx *fabric.Tx, name string, force bool) error {
	for _, p := range tx.Snapshot().Peers() {
		p = fabric.Clone(p)
		rest := p.Members[:0:0]
		for _, m := range p.Members {
			if m != name {
				rest = append(rest, m)
			}
		}
		switch {
		case len(rest) == len(p.Members):
			continue
		case len(rest) > 0:
			p.Members = rest
			if err := tx.Put(p); err != nil {
				return err
			}
		case !force:
			return fabric.Conflictf("in-use", "member %q is the only one of BGP peer %q", name, p.Name).WithFix("delete the peer or give it other members, or use force")
		default:
			if err := tx.Delete(fabric.KeyOf(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeNode takes a node out of the database. When it leads, another one is made to first.
func (n *Node) removeNode(ctx context.Context, id uint64) error {
	n.mu.Lock()
	p, engine := n.proof, n.engine
	n.mu.Unlock()
	if p == nil || engine == nil {
		return errNotInCluster
	}
	if id == p.NodeID {
		return nil // nobody can saw off the branch it sits on: the others do it
	}
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	address, err := engine.findLeader(ctx, n.databaseAddresses(p))
	if err != nil {
		return err
	}
	c, err := engine.client(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Remove(ctx, id)
}

// currentMembers selects the names of members.
const currentMembers = "(SELECT name FROM objects WHERE kind = 'member' AND deleted = 0)"

// clearStrangers drops the signs of life of members that are gone.
func clearStrangers(ctx context.Context, c *conn) error {
	return c.exec(ctx, "DELETE FROM beats WHERE member NOT IN "+currentMembers)
}

func alreadyMember(p *proof) error {
	return fabric.Conflictf("already-in-cluster", "this host is member %q of a cluster already", p.Name).WithFix("remove it there first: fabricctl cluster remove %s", p.Name)
}

// parseAddress reads ADDRESS or ADDRESS:PORT, which other members must be able to reach.
func parseAddress(address string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		a, aerr := netip.ParseAddr(address)
		if aerr != nil {
			return at, fabric.Invalidf("bad-address", "address %q is neither ADDRESS nor ADDRESS:PORT", address).WithFix("give an IP address of this host, such as 192.0.2.1:8443")
		}
		at = netip.AddrPortFrom(a, DefaultPort)
	}
	if a := at.Addr(); a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || at.Port() == 0 {
		return at, fabric.Invalidf("bad-address", "address %q is not one that other members can reach", address).WithFix("give an IP address of this host, such as 192.0.2.1:8443")
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

func listenError(address string, err error) error {
	host, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fabric.Errorf(fabric.CodeInvalid, "address-not-here", "listen on %s: no interface of this host has the address %s: %w", address, host, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fabric.Errorf(fabric.CodeConflict, "address-in-use", "listen on %s: another program uses port %s already: %w", address, port, err)
	case errors.Is(err, syscall.EACCES):
		return fabric.Errorf(fabric.CodeInvalid, "address-forbidden", "listen on %s: not permitted: %w", address, err).WithFix("use a port above 1023, or run as root")
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}

// newSecret is what a token is good for knowing.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newNodeID is an id for a node of the database that no node has had: chance does for that what a counter would. It fits into the numbers
// that JSON readers know.
func newNodeID() uint64 {
	b := make([]byte, 6)
	rand.Read(b)
	id, err := strconv.ParseUint(hex.EncodeToString(b), 16, 64)
	if err != nil {
		panic(err) // hex is hex
	}
	return id | 1
}
