// Package cluster is a member's part in the cluster: the replicated database behind fabric.Store, membership, liveness and leases.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// Options is what Open needs.
type Options struct {
	Dir     string           // kept between runs; made where it is missing
	Initial *fabric.Snapshot // last good state, served until the database answers; nil where there is none
	Logger  *slog.Logger     // default slog.Default()
}

// Node is this host as a member, or a member to be. It implements fabric.Store.
type Node struct {
	*store
	dir  string
	log  *slog.Logger
	lock *os.File // on dir, while this is open
	rest *restListener
	http *http.Client
	api  *http.Client // for the REST API of other members

	ctx  context.Context
	stop context.CancelFunc
	wait sync.WaitGroup

	retire context.CancelFunc // before stop: giving a lease back is a write
	leads  sync.WaitGroup

	kick chan struct{} // to the monitor

	change sync.Mutex // one bootstrap, join or close at a time
	joins  sync.Mutex // one host let in at a time

	mu      sync.Mutex       // below; never held while calling the store
	proof   *proof           // nil: in no cluster
	guest   *tls.Certificate // shown on the port while joining
	port    *port
	engine  *engine
	problem error // why engine or port is not up
	peers   peers
	unsaved bool // peers differ from those on disk
	kin
	live liveness
	met  map[string]time.Time // members that came while this one was watching, and when
	topology
	probes map[string]error  // by member: what came of asking it directly, while the database does not answer
	pokers map[string]*poker // by address
}

// topology is the database's nodes as last heard.
type topology struct {
	leader string // address; empty: none known
	nodes  []client.NodeInfo
}

// proof is the identity of a member in the form that TLS wants. It never changes: a member of another database has another one.
type proof struct {
	identity
	cluster     tls.Certificate
	member      tls.Certificate
	fingerprint string // of the cluster's certificate
}

func newProof(id identity) (*proof, error) {
	p := &proof{identity: id, fingerprint: fabric.Fingerprint(id.ClusterCertificate)}
	var err error
	if p.member, err = tls.X509KeyPair([]byte(id.MemberCertificate), []byte(id.MemberKey)); err != nil {
		return nil, fmt.Errorf("the member's certificate: %w", err)
	}
	if p.cluster, err = tls.X509KeyPair([]byte(id.ClusterCertificate), []byte(id.ClusterKey)); err != nil {
		return nil, fmt.Errorf("the cluster's certificate: %w", err)
	}
	return p, nil
}

// Open starts this host's part. It does not wait for the database, nor fail because of it: without quorum Snapshot is opts.Initial and writes
// are refused. A host that is in no cluster waits for Bootstrap or Join.
func Open(_ context.Context, opts Options) (*Node, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	n, err := open(opts, lock)
	if err != nil {
		lock.Close()
	}
	return n, err
}

// open is Open once the directory is this process's own.
func open(opts Options, lock *os.File) (*Node, error) {
	id, err := loadIdentity(opts.Dir)
	if err != nil {
		return nil, err
	}
	if id == nil {
		opts.Initial = nil
		if err := wipe(opts.Dir); err != nil { // of a bootstrap or join that did not finish
			return nil, err
		}
	}
	n := &Node{store: newStore(opts.Initial, opts.Logger), dir: opts.Dir, log: opts.Logger, lock: lock, rest: newRESTListener(), kick: make(chan struct{}, 1), pokers: map[string]*poker{}}
	n.ctx, n.stop = context.WithCancel(context.Background())
	transport := &http.Transport{DialTLSContext: n.dialREST, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}
	n.http = &http.Client{Transport: &telling{transport, n.database}}
	n.api = &http.Client{Transport: transport} // bare: websockets are dialled as it does
	n.store.self, n.store.connect, n.store.explain = n.Name, n.connectDatabase, n.explain
	n.store.writer, n.store.database = n.nodeID, n.database
	n.store.told, n.store.changed, n.store.observe = n.pokeAll, n.follows, n.observes
	if id != nil {
		if err := n.resume(*id, opts.Initial); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(opts.Dir, identityFile), err)
		}
	}
	for _, loop := range []func(context.Context){n.store.write, n.store.follow, n.store.beat, n.monitor} {
		n.wait.Go(func() { loop(n.ctx) })
	}
	ctx, retire := context.WithCancel(n.ctx)
	n.retire = retire
	n.leads.Go(func() { n.Lead(ctx, "housekeeping", n.keepHouse) })
	return n, nil
}

// resume takes up membership where the last run left it.
func (n *Node) resume(id identity, initial *fabric.Snapshot) error {
	p, err := newProof(id)
	if err != nil {
		return err
	}
	var known peers
	if err := readJSON(filepath.Join(n.dir, peersFile), &known); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if initial != nil && initial.Revision >= known.Revision {
		known = peersOf(initial)
	}
	n.proof, n.peers = p, known
	n.wait.Go(func() { n.start(n.ctx) })
	return nil
}

// start opens port and database, and keeps trying: an address may come later than this program.
func (n *Node) start(ctx context.Context) {
	const again = 500 * time.Millisecond
	if n.openPort() == nil { // others that start now ask as well
		n.askAround(ctx)
	}
	said := ""
	for {
		err := n.startOnce()
		n.mu.Lock()
		n.problem = err
		n.mu.Unlock()
		if err == nil {
			n.awake()
			return
		}
		if err.Error() != said {
			said = err.Error()
			n.log.Error("the database is not up; trying on", "error", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
	}
}

// startOnce opens what is not open yet.
func (n *Node) startOnce() error {
	if err := n.openPort(); err != nil {
		return err
	}
	n.mu.Lock()
	p, engine := n.proof, n.engine
	n.mu.Unlock()
	if engine != nil {
		return nil
	}
	p, err := n.inherit(p)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		return n.dialDatabase(ctx, address, p.Lineage.protocol())
	}
	engine, err = startEngine(filepath.Join(n.dir, p.Lineage.name()), p.NodeID, p.Address, n.latency(p), dial, n.log)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.engine = engine
	n.mu.Unlock()
	return nil
}

// openPort opens the port if it is not open yet.
func (n *Node) openPort() error {
	n.mu.Lock()
	p, open := n.proof, n.port
	n.mu.Unlock()
	if open != nil {
		return nil
	}
	open, err := n.listen(p.Address)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.port = open
	n.mu.Unlock()
	return nil
}

// awake makes the loops that serve the database look at once.
func (n *Node) awake() {
	for _, ch := range []chan struct{}{n.look, n.pulse, n.kick} {
		wake(ch)
	}
}

// latency is the cluster's setting as far as known.
func (n *Node) latency(p *proof) time.Duration {
	if s := n.Snapshot(); s.Revision > 0 {
		return s.Cluster().NetworkLatency()
	}
	return time.Duration(p.LatencyMS) * time.Millisecond
}

// Close leaves the cluster in good order, bounded by ctx: leadership and vote of the database go to others first.
func (n *Node) Close(ctx context.Context) error {
	n.change.Lock()
	defer n.change.Unlock()
	n.retire()
	n.leads.Wait()
	n.stop()
	n.wait.Wait()
	n.rest.Close()
	n.mu.Lock()
	engine := n.engine
	n.mu.Unlock()
	if engine != nil {
		if err := n.handover(ctx, engine); err != nil {
			n.log.Info("the database was not handed over", "error", err)
		}
	}
	err := n.shut()
	n.lock.Close() // nobody waits for it in vain when it fails: the process ends, or it was closed before
	return err
}

// shut closes port and database.
func (n *Node) shut() error {
	n.mu.Lock()
	port, engine := n.port, n.engine
	n.port, n.engine = nil, nil
	n.mu.Unlock()
	if port != nil {
		port.close()
	}
	n.http.CloseIdleConnections()
	if engine != nil {
		return engine.close()
	}
	return nil
}

// Store is the node as the rest of the program should see it.
func (n *Node) Store() fabric.Store { return n.store }

// Name is the member's name, empty while in no cluster.
func (n *Node) Name() string {
	if p := n.current(); p != nil {
		return p.Name
	}
	return ""
}

// database is the lineage of the one that this member has.
func (n *Node) database() string {
	if p := n.current(); p != nil {
		return p.Lineage.String()
	}
	return ""
}

func (n *Node) nodeID() uint64 {
	if p := n.current(); p != nil {
		return p.NodeID
	}
	return 0
}

// Address is the member's ADDRESS:PORT, empty while in no cluster.
func (n *Node) Address() string {
	if p := n.current(); p != nil {
		return p.Address
	}
	return ""
}

// CertificatePEM is the certificate of the cluster, which every member shows to clients. Empty while in no cluster.
func (n *Node) CertificatePEM() string {
	if p := n.current(); p != nil {
		return p.ClusterCertificate
	}
	return ""
}

func (n *Node) current() *proof {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proof
}

// HTTPListener is where the REST API is to be served. It yields connections once the member is in a cluster; they are *tls.Conn whose
// handshake is done and whose client certificate, if any, has not been judged.
func (n *Node) HTTPListener() net.Listener { return n.rest }

// MemberOf is the member that a client proved to be.
func (n *Node) MemberOf(state *tls.ConnectionState) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.peers.byFingerprint(peerFingerprint(state))
	return p.Name, ok
}

// HTTPClient reaches the REST API of a member, as this member: a client, and the URL that paths are appended to.
func (n *Node) HTTPClient(member string) (*http.Client, string, error) {
	m, ok := n.Snapshot().Member(member)
	if !ok {
		return nil, "", fabric.NotFoundf("member %q does not exist", member)
	}
	return n.api, "https://" + m.Address, nil
}

func (n *Node) listen(address string) (*port, error) {
	p, err := listen(address, serverConfig(n.serverCertificate, n.databaseProtocol), n.acceptDatabase, n.rest)
	if err != nil {
		return nil, listenError(address, err)
	}
	n.rest.setAddr(p.tcp.Addr())
	return p, nil
}

func (n *Node) serverCertificate(own bool) *tls.Certificate {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.proof == nil:
		return n.guest
	case own:
		return &n.proof.member
	}
	return &n.proof.cluster
}

// acceptDatabase lets members, and nobody else, talk to the database.
func (n *Node) acceptDatabase(c *tls.Conn) {
	if !n.admit(c) {
		c.Close()
	}
}

// databaseProtocol is what a node has to speak to be connected with the one of this member.
func (n *Node) databaseProtocol() string {
	if p := n.current(); p != nil {
		return p.Lineage.protocol()
	}
	return protocolDatabase
}

// admit passes the connection of a member to the database. It does so under the lock: follows, which ends the connections of who is a member no
// more, comes before or after and misses none, and the database is the one that the connection is for.
func (n *Node) admit(c *tls.Conn) bool {
	state := c.ConnectionState()
	fingerprint := peerFingerprint(&state)
	n.mu.Lock()
	defer n.mu.Unlock()
	_, member := n.peers.byFingerprint(fingerprint)
	if !member || n.engine == nil || n.proof == nil || state.NegotiatedProtocol != n.proof.Lineage.protocol() {
		return false
	}
	n.engine.accept(c, fingerprint)
	return true
}

func (n *Node) dialDatabase(ctx context.Context, address, protocol string) (net.Conn, error) {
	c, err := n.dialAs(ctx, address, protocol)
	if refusedByOther(err) {
		n.doubts() // it may have another database
	}
	return c, err
}

func (n *Node) dialREST(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return n.dialAs(ctx, address, protocolHTTP)
}

// dialAs connects to a member, as this one. Its own certificate is asked for: only an address that this member has not heard of yet, and so can
// only have from another member, may show the cluster's.
func (n *Node) dialAs(ctx context.Context, address, protocol string) (net.Conn, error) {
	n.mu.Lock()
	p, known := n.proof, n.peers
	n.mu.Unlock()
	if p == nil {
		return nil, errNotInCluster
	}
	return p.dial(ctx, known, address, protocol)
}

func (p *proof) dial(ctx context.Context, peers peers, address, protocol string) (net.Conn, error) {
	if m, known := peers.byAddress(address); known {
		return dialTLS(ctx, address, memberConfig(&p.member, m.Fingerprint, protocol))
	}
	return dialTLS(ctx, address, clientConfig(&p.member, p.fingerprint, protocol))
}

var errNotInCluster = fabric.Errorf(fabric.CodeUnavailable, "not-in-cluster", "this host is in no cluster yet").
	WithFix("run fabricctl cluster bootstrap, or fabricctl cluster join TOKEN")

// connectDatabase opens a session with the database's leader.
func (n *Node) connectDatabase(ctx context.Context) (*conn, error) {
	n.mu.Lock()
	p, engine, problem := n.proof, n.engine, n.problem
	n.mu.Unlock()
	switch {
	case p == nil:
		return nil, errNotInCluster
	case engine == nil && problem != nil:
		return nil, fmt.Errorf("the database is not up: %v", problem) // not wrapped: its code would put the blame on who writes
	case engine == nil:
		return nil, errors.New("the database is starting")
	}
	c, err := engine.connect(ctx, n.databaseAddresses(p))
	if err == nil {
		c.database = p.Lineage.String()
	}
	return c, err
}

// databaseAddresses are the nodes that may know who leads: the voters, or every member as long as these are not known, and this one.
func (n *Node) databaseAddresses(p *proof) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	addresses := []string{p.Address}
	for _, m := range n.peers.Members {
		i := slices.IndexFunc(n.nodes, func(i client.NodeInfo) bool { return i.ID == m.NodeID })
		if m.Address != p.Address && (i < 0 || n.nodes[i].Role != client.Spare) {
			addresses = append(addresses, m.Address)
		}
	}
	return addresses
}

// meet notes when members came: until its first beat is read a new member counts as online, so that it can be given work at once.
func meet(now time.Time, met map[string]time.Time, before, after []peer, watching bool) map[string]time.Time {
	next := map[string]time.Time{}
	for _, p := range after {
		old := slices.ContainsFunc(before, func(o peer) bool { return o.NodeID == p.NodeID })
		if t, ok := met[p.Name]; ok && old {
			next[p.Name] = t
		} else if watching && !old {
			next[p.Name] = now
		}
	}
	return next
}

// follows takes in the members of a new snapshot.
func (n *Node) follows(s *fabric.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setPeers(peersOf(s))
	if c := s.Cluster().Certificate; n.proof != nil && c != "" && c != n.proof.ClusterCertificate {
		wake(n.kick)
	}
}

// learn takes in what another member says of who is a member, unless it knows no more than this one. A host that was removed and joined again at
// its old address has another certificate: who was away meanwhile can't ask it for the database, and it may lead.
func (n *Node) learn(from peers) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proof == nil || from.Revision <= n.peers.Revision {
		return
	}
	if slices.ContainsFunc(from.Members, func(p peer) bool { return p.NodeID == n.proof.NodeID }) { // removal is told otherwise, see ping
		n.setPeers(from)
	}
}

// setPeers makes these the members. The lock is held.
func (n *Node) setPeers(next peers) {
	same := slices.Equal(n.peers.Members, next.Members)
	if !same {
		n.met = meet(time.Now(), n.met, n.peers.Members, next.Members, n.live.members != nil)
	}
	n.peers = next
	if same {
		return // the revision alone is not worth a write to the disk
	}
	n.unsaved = true
	wake(n.kick)
	n.http.CloseIdleConnections()
	if n.engine != nil {
		n.engine.closeLinks(func(fingerprint string) bool { _, ok := next.byFingerprint(fingerprint); return !ok })
	}
}
