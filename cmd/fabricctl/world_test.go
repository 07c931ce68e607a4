package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/api"
	"netfabric/fabric/fabrictest"
)

// world is a cluster of one member: the real API on an in-memory store, and a host that does as it is told.
type world struct {
	call
	store *fabrictest.Memory

	mu     sync.Mutex
	formed bool
	files  map[string][]byte // images by fingerprint
	exec   func(fabric.ExecRequest) int
	shown  string // certificate and key, after update-certificate
}

// newWorld starts a world. It has no cluster until somebody forms one.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: fabrictest.NewMemory(), files: map[string][]byte{}}
	w.socket = filepath.Join(shortDir(t), "socket")
	s := api.NewServer(api.Options{
		Store: w.store, Cluster: w, Instances: w, Images: w, Version: "1.2.3", Log: slog.New(slog.DiscardHandler),
		Place:   func(*fabric.Snapshot, *fabric.Instance, string) (string, error) { return "n1", nil },
		Remote:  func(string) (*api.Client, error) { return nil, errors.New("there is one member only") },
		Routing: func() *fabric.RoutingState { return nil },
	})
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := s.HTTPServer()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { server.Serve(l) })
	all.Go(func() { w.host(ctx) })
	t.Cleanup(func() { cancel(); s.Close(); server.Close(); all.Wait() })
	return w
}

// host does what a member does: it makes instances what they are wanted to be, and says so.
func (w *world) host(ctx context.Context) {
	changed, end := w.store.Subscribe()
	defer end()
	for {
		var all []fabric.Condition
		for _, i := range w.store.Snapshot().Instances() {
			if i.Deleting {
				w.store.Apply(ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(i)) })
				continue
			}
			state := fabric.InstanceState{Status: fabric.InstanceStopped, Boots: i.Boots, Root: true}
			if i.Power == fabric.PowerRunning {
				state.Status, state.PID = fabric.InstanceRunning, 4711
				for _, n := range i.NICs {
					state.NICs = append(state.NICs, fabric.NICFact{Device: n.Device, Network: n.Network, Inside: "eth0", MAC: n.MAC, Addresses: n.Addresses})
				}
			}
			c := fabric.Condition{Object: fabric.KeyOf(i), Member: "n1", Type: fabric.ConditionInstance, OK: true, Observed: i.Revision}
			all = append(all, c.WithData(state))
		}
		w.store.Report(ctx, "n1", all)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (w *world) Status() fabric.ClusterStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.formed {
		return fabric.ClusterStatus{}
	}
	return fabric.ClusterStatus{Bootstrapped: true, Self: "n1", Leader: "n1", Quorum: true, Members: []fabric.MemberStatus{
		{Name: "n1", Address: "192.0.2.1:8443", Role: "voter", Leader: true, Online: true},
	}}
}

func (w *world) Bootstrap(ctx context.Context, name, address string) error {
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(name)}))
	_, err := w.store.Apply(ctx, func(tx *fabric.Tx) error {
		for _, o := range []fabric.Object{
			&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}},
			&fabric.Member{Header: fabric.Header{Name: name}, Address: address, Certificate: certificate, NodeID: 1},
			&fabric.Profile{Header: fabric.Header{Name: "default"}},
		} {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.formed = err == nil
	return err
}

func (w *world) AddToken(ctx context.Context, name string) (string, error) {
	return w.token(ctx, fabric.TokenJoin, name)
}

func (w *world) AddClientToken(ctx context.Context, label string) (string, error) {
	return w.token(ctx, fabric.TokenClient, label)
}

func (w *world) token(ctx context.Context, use, name string) (string, error) {
	secret, expires := "secret of "+name, time.Now().Add(time.Hour).UTC()
	t := &fabric.Token{Header: fabric.Header{Name: use + "-" + name}, Use: use, For: name, Hash: fabric.HashSecret(secret), Expires: expires}
	if _, err := w.store.Apply(ctx, func(tx *fabric.Tx) error { return tx.Put(t) }); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]any{"server_name": name, "client_name": name, "fingerprint": "f", "addresses": []string{"192.0.2.1:8443"}, "secret": secret, "expires_at": expires})
	return base64.StdEncoding.EncodeToString(data), err
}

func (w *world) Join(context.Context, string, string) error { return errors.New("nobody joins here") }

func (w *world) Remove(_ context.Context, name string, force bool) error {
	return fabric.Conflictf("last-member", "member %q is the last one", name)
}

func (w *world) UpdateCertificate(_ context.Context, certificate, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = certificate + key
	return nil
}

func (w *world) CertificatePEM() string                       { return "" }
func (w *world) MemberOf(*tls.ConnectionState) (string, bool) { return "", false }
func (w *world) Log(instance string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("log of " + instance + "\n")), nil
}
func (w *world) Open(fingerprint string) ([]fabric.ImageFile, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	data, ok := w.files[fingerprint]
	if !ok {
		return nil, fabric.NotFoundf("no files of %s", fingerprint)
	}
	return []fabric.ImageFile{{Name: "unified", Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))}}, nil
}

func (w *world) Import(_ context.Context, files []fabric.ImageFile) (*fabric.Image, error) {
	var data []byte
	for _, f := range files {
		part, err := io.ReadAll(f.Body)
		if err != nil {
			return nil, err
		}
		data = append(data, part...)
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[name] = data
	return &fabric.Image{Header: fabric.Header{Name: name}, Size: int64(len(data)), Type: "container", Architecture: "x86_64", Split: len(files) == 2}, nil
}

// Exec runs what the test wants to run, or says what it was asked.
func (w *world) Exec(ctx context.Context, instance string, r fabric.ExecRequest) (int, error) {
	w.mu.Lock()
	run := w.exec
	w.mu.Unlock()
	return run(r), nil
}

// must runs a command line that has to succeed and gives what it printed.
func (w *world) must(t *testing.T, line string) string {
	t.Helper()
	args, err := words(line)
	if err != nil {
		t.Fatal(err)
	}
	got := w.run(t, args...)
	if got.status != 0 || got.err != "" {
		t.Fatalf("%s: %+v", line, got)
	}
	return got.out
}

// formed starts a world with a cluster, a network, a pool and an image.
func formed(t *testing.T) *world {
	w := newWorld(t)
	w.must(t, "cluster bootstrap n1 --address 192.0.2.1")
	w.must(t, "network create lan0 ipv4.address=10.1.0.1/24 ipv6.address=none")
	w.must(t, "storage create local dir")
	tarball := filepath.Join(t.TempDir(), "alpine.tar")
	if err := os.WriteFile(tarball, []byte("an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.must(t, "image import "+tarball+" --alias alpine")
	return w
}
