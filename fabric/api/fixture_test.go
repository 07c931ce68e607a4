package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

// fixture is a cluster of members that share a store. Its agents do at once what is desired, as long as they are not held.
type fixture struct {
	store   *fabrictest.Memory
	members map[string]*member

	mu      sync.Mutex
	ready   bool // there is a cluster
	offline map[string]bool
}

// member is one daemon of a fixture.
type member struct {
	*fixture
	name        string
	certificate tls.Certificate
	pem         string
	server      *Server
	unix        *Client
	socket      string
	https       *httptest.Server
	images      *fakeImages

	mu      sync.Mutex
	held    bool
	fail    string
	removed bool // from the cluster, by another member
	wake    chan struct{}
	boot    map[string]uint64
	hand    error // what a handover by it comes to; nil: it is not Active
}

func newFixture(t testing.TB, names ...string) *fixture {
	f := &fixture{store: fabrictest.NewMemory(), members: map[string]*member{}, offline: map[string]bool{}}
	for _, name := range names {
		f.members[name] = newMember(t, f, name)
	}
	return f
}

// bootstrapped is a fixture with a cluster, a network, a pool, the default profile and an image called busybox.
func bootstrapped(t testing.TB, names ...string) *fixture {
	f := newFixture(t, names...)
	f.bootstrap(t)
	image := &fabric.Image{Header: fabric.Header{Name: strings.Repeat("ab", 32)}, Type: "container", Architecture: "x86_64", Origin: names[0], Properties: map[string]string{"os": "busybox"}}
	put(t, f.store,
		&fabric.Network{Header: fabric.Header{Name: "fabbr0"}, Type: "bridge", Config: fabric.Config{"ipv4.address": "10.1.0.1/24", "ipv6.address": "fd00:1::1/64"}},
		&fabric.Pool{Header: fabric.Header{Name: "local"}, Driver: "dir", Config: fabric.Config{}},
		image, &fabric.Alias{Header: fabric.Header{Name: "busybox"}, Target: image.Name},
	)
	put(t, f.store, &fabric.Profile{Header: fabric.Header{Name: "default"}, Config: fabric.Config{}, Devices: fabric.Devices{
		"eth0": {"type": "nic", "network": "fabbr0"}, "root": {"type": "disk", "path": "/", "pool": "local"},
	}})
	return f
}

func (f *fixture) bootstrap(t testing.TB) {
	f.mu.Lock()
	f.ready = true
	f.mu.Unlock()
	put(t, f.store, &fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{}})
	for i, name := range slices.Sorted(mapsKeys(f.members)) {
		put(t, f.store, &fabric.Member{Header: fabric.Header{Name: name}, Address: fmt.Sprintf("192.0.2.%d:8443", i+1), Certificate: f.members[name].pem, NodeID: uint64(i + 1), Number: i + 1})
	}
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func put(t testing.TB, store fabric.Store, objects ...fabric.Object) {
	t.Helper()
	_, err := store.Apply(t.Context(), func(tx *fabric.Tx) error {
		for _, o := range objects {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func newMember(t testing.TB, f *fixture, name string) *member {
	cert, text := newCertificate(t, name, time.Now().Add(time.Hour))
	m := &member{fixture: f, name: name, certificate: cert, pem: text, wake: make(chan struct{}, 1), boot: map[string]uint64{}}
	m.images = &fakeImages{files: map[string][]fabric.ImageFile{}, content: map[string][][]byte{}}
	m.server = NewServer(Options{
		Store: f.store, Cluster: m, Instances: m, Images: m.images, Version: "test", Log: slog.New(slog.DiscardHandler),
		Place: func(s *fabric.Snapshot, i *fabric.Instance, target string) (string, error) {
			if target == "" {
				target = name
			}
			return target, nil
		},
		Remote: func(other string) (*Client, error) {
			o := f.members[other]
			return NewTLSClient(o.https.Listener.Addr().String(), &m.certificate, fabric.Fingerprint(o.pem)), nil
		},
		Handover: func(_ context.Context, gateway, member string) error {
			if m.hand != nil {
				return m.hand
			}
			return fabric.Conflictf("not-active", "gateway %q is not Active on %s", gateway, name)
		},
		Routing: func() *fabric.RoutingState { return &fabric.RoutingState{Worker: fabric.WorkerState{PID: 42}} },
	})
	m.socket = filepath.Join(t.TempDir(), "unix.socket")
	listener, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	unix := m.server.HTTPServer()
	go unix.Serve(listener)
	m.unix = NewUnixClient(m.socket)

	m.https = httptest.NewUnstartedServer(nil)
	m.https.Config = m.server.HTTPServer()
	m.https.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	m.https.StartTLS()

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.agent(ctx) }()
	t.Cleanup(func() {
		m.server.Close()
		unix.Close()
		m.https.Close()
		cancel()
		<-done
	})
	return m
}

// newCertificate makes a self-signed certificate.
func newCertificate(t testing.TB, name string, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	// Stock clients ask for a name or address in the certificate.
	template := &x509.Certificate{DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certificatePEM(der)
}

// hold stops or resumes the member's agent; fail makes it report errors with that message.
func (m *member) hold(held bool, fail string) {
	m.mu.Lock()
	m.held, m.fail = held, fail
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *member) agent(ctx context.Context) {
	changed, end := m.store.Subscribe()
	defer end()
	for {
		m.mu.Lock()
		held, fail := m.held, m.fail
		m.mu.Unlock()
		if !held {
			m.reconcile(ctx, fail)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-m.wake:
		}
	}
}

func (m *member) reconcile(ctx context.Context, fail string) {
	snap := m.store.Snapshot()
	var all []fabric.Condition
	for _, n := range snap.Networks() {
		all = append(all, fabric.Condition{Object: fabric.KeyOf(n), Member: m.name, Type: fabric.ConditionReady, OK: true})
	}
	for _, c := range m.store.Reports().All(fabric.ConditionSession) {
		if c.Member == m.name {
			all = append(all, c)
		}
	}
	for _, c := range m.store.Reports().All(fabric.ConditionRoutes) {
		if c.Member == m.name {
			all = append(all, c)
		}
	}
	for _, i := range snap.Instances() {
		if i.Member != m.name {
			continue
		}
		if i.Deleting && fail == "" {
			m.store.Apply(ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(i)) })
			continue
		}
		c := fabric.Condition{Object: fabric.KeyOf(i), Member: m.name, Type: fabric.ConditionInstance, OK: fail == "", Observed: i.Revision, Message: fail}
		state := fabric.InstanceState{Status: fabric.InstanceStopped, Root: true}
		if i.Power == fabric.PowerRunning {
			state = fabric.InstanceState{Status: fabric.InstanceRunning, Root: true, Boots: i.Boots, PID: 4242}
			for _, nic := range i.NICs {
				state.NICs = append(state.NICs, fabric.NICFact{Device: nic.Device, Network: nic.Network, Link: "veth1", Inside: nic.Device, MAC: nic.MAC, Addresses: nic.Addresses})
			}
		}
		if fail != "" {
			state.Status = fabric.InstanceError
			c.Reason = "fake-failure"
		}
		all = append(all, c.WithData(state))
	}
	m.store.Report(ctx, m.name, all)
}

// The member as a Cluster.

func (m *member) Status() fabric.ClusterStatus {
	m.fixture.mu.Lock()
	defer m.fixture.mu.Unlock()
	s := fabric.ClusterStatus{Bootstrapped: m.ready, Quorum: m.ready, Removed: m.removed}
	if !m.ready {
		return s
	}
	s.Self, s.Leader = m.name, slices.Sorted(mapsKeys(m.members))[0]
	for _, name := range slices.Sorted(mapsKeys(m.members)) {
		s.Members = append(s.Members, fabric.MemberStatus{Name: name, Role: "voter", Leader: name == s.Leader, Online: !m.offline[name]})
	}
	return s
}

func (m *member) setOffline(name string, offline bool) {
	m.fixture.mu.Lock()
	defer m.fixture.mu.Unlock()
	m.offline[name] = offline
}

func (m *member) Bootstrap(ctx context.Context, name, address string) error {
	if name != m.name {
		return fmt.Errorf("this fake is called %s", m.name)
	}
	m.fixture.mu.Lock()
	m.ready = true
	m.fixture.mu.Unlock()
	_, err := m.store.Apply(ctx, func(tx *fabric.Tx) error {
		if err := tx.Put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{}}); err != nil {
			return err
		}
		return tx.Put(&fabric.Member{Header: fabric.Header{Name: name}, Address: address, Certificate: m.pem, NodeID: 1, Number: 1})
	})
	return err
}

func (m *member) Join(_ context.Context, token, _ string) error {
	return fabric.Errorf(fabric.CodeForbidden, "bad-token", "the token was used already").WithFix("get a new one")
}

func (m *member) token(ctx context.Context, use, name string, text map[string]any) (string, error) {
	secret := newSecret()
	expires := time.Now().Add(time.Hour)
	text["secret"], text["fingerprint"], text["addresses"], text["expires_at"] = secret, fabric.Fingerprint(m.pem), []string{"192.0.2.1:8443"}, expires
	data, err := json.Marshal(text)
	if err != nil {
		return "", err
	}
	_, err = m.store.Apply(ctx, func(tx *fabric.Tx) error {
		return tx.Put(&fabric.Token{Header: fabric.Header{Name: use + "-" + name}, Use: use, For: name, Hash: fabric.HashSecret(secret), Expires: expires})
	})
	return base64.StdEncoding.EncodeToString(data), err
}

func (m *member) AddToken(ctx context.Context, name string) (string, error) {
	return m.token(ctx, fabric.TokenJoin, name, map[string]any{"server_name": name})
}

func (m *member) AddClientToken(ctx context.Context, label string) (string, error) {
	return m.token(ctx, fabric.TokenClient, label, map[string]any{"client_name": label})
}

func (m *member) Remove(ctx context.Context, name string, force bool) error {
	if !force {
		return fabric.Conflictf("in-use", "member %q has instances", name).WithFix("move them, or use force")
	}
	_, err := m.store.Apply(ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindMember, Name: name}) })
	return err
}

func (m *member) UpdateCertificate(_ context.Context, certificate, key string) error {
	if (certificate == "") != (key == "") {
		return fabric.Invalidf("bad-certificate", "one of two")
	}
	return nil
}

func (m *member) CertificatePEM() string { return m.pem }

func (m *member) MemberOf(s *tls.ConnectionState) (string, bool) {
	for name, o := range m.members {
		if fabric.Fingerprint(o.pem) == connFingerprint(*s) {
			return name, true
		}
	}
	return "", false
}

// The member as Instances: commands that are enough to see the streams.

func (m *member) Exec(ctx context.Context, instance string, r fabric.ExecRequest) (int, error) {
	if i, ok := m.store.Snapshot().Instance(instance); !ok || i.Member != m.name {
		return -1, fmt.Errorf("instance %s is not on %s", instance, m.name)
	}
	switch r.Command[0] {
	case "cat":
		if _, err := io.Copy(r.Stdout, r.Stdin); err != nil {
			return -1, err
		}
		return 0, nil
	case "where":
		fmt.Fprintf(r.Stdout, "%s %s %s %d %v", m.name, r.Cwd, r.Environment["A"], r.UID, r.Terminal)
		if !r.Terminal {
			fmt.Fprint(r.Stderr, "to stderr")
		}
		return 0, nil
	case "exit":
		return strconv.Atoi(r.Command[1])
	case "control":
		select {
		case c := <-r.Control:
			fmt.Fprintf(r.Stdout, "%d %dx%d", c.Signal, c.Width, c.Height)
			return 0, nil
		case <-ctx.Done():
			return -1, ctx.Err()
		}
	case "wait":
		<-ctx.Done()
		return -1, ctx.Err()
	}
	return 127, nil
}

func (m *member) Log(instance string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("log of " + instance + " on " + m.name)), nil
}

// fakeImages keeps files in memory under the hash of their content.
type fakeImages struct {
	mu      sync.Mutex
	files   map[string][]fabric.ImageFile
	content map[string][][]byte
}

func (f *fakeImages) Import(_ context.Context, files []fabric.ImageFile) (*fabric.Image, error) {
	hash := sha256.New()
	var content [][]byte
	size := 0
	for _, file := range files {
		data, err := io.ReadAll(file.Body)
		if err != nil {
			return nil, err
		}
		if len(data) == 0 {
			return nil, fabric.Invalidf("empty", "import an image: %s is empty", file.Name)
		}
		hash.Write(data)
		content = append(content, data)
		size += len(data)
	}
	name := hex.EncodeToString(hash.Sum(nil))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[name], f.content[name] = files, content
	return &fabric.Image{Header: fabric.Header{Name: name}, Size: int64(size), Type: "container", Architecture: "x86_64", Split: len(files) == 2}, nil
}

func (f *fakeImages) Open(fingerprint string) ([]fabric.ImageFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.content[fingerprint]
	if !ok {
		return nil, fabric.NotFoundf("image %.12s is not here", fingerprint)
	}
	var files []fabric.ImageFile
	for i, data := range content {
		files = append(files, fabric.ImageFile{Name: f.files[fingerprint][i].Name, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
	}
	return files, nil
}

// Helpers of tests.

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait waits for an operation with a bound.
func wait(t *testing.T, op *Operation, err error) *Operation {
	t.Helper()
	must(t, err)
	if op == nil {
		t.Fatal("no operation")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, op.Wait(ctx))
	return op
}

// refused fails unless err has that code and reason.
func refused(t *testing.T, err error, code fabric.Code, reason string) {
	t.Helper()
	if fabric.CodeOf(err) != code || fabric.ReasonOf(err) != reason {
		t.Fatalf("got %s/%s (%v), want %s/%s", fabric.CodeOf(err), fabric.ReasonOf(err), err, code, reason)
	}
}

// eventually looks until ok, with a bound.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen in 10 s: %s", what)
		}
	}
}

// launch makes a running instance.
func (m *member) launch(t *testing.T, name, target string) {
	t.Helper()
	c := m.unix
	if target != "" {
		c = c.Target(target)
	}
	op, err := c.CreateInstance(t.Context(), newInstancePost(name, true))
	wait(t, op, err)
}

func newInstancePost(name string, start bool) InstancesPost {
	return InstancesPost{
		InstancesPost: incusapi.InstancesPost{Name: name, Type: "container", Start: start},
		Source:        InstanceSource{InstanceSource: incusapi.InstanceSource{Type: "image", Alias: "busybox"}},
	}
}

// raw makes a request on the unix socket as it stands, and gives the envelope.
func (m *member) raw(t *testing.T, method, path, body string, header ...string) (*http.Response, incusapi.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://unix.socket"+path, strings.NewReader(body))
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	h := &http.Client{Transport: m.unix.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := h.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var e incusapi.Response
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatalf("%s %s: status %d, no envelope: %.200s", method, path, resp.StatusCode, data)
	}
	return resp, e
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
