package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"netfabric/cluster"
	"netfabric/compute"
	"netfabric/compute/lxc"
	"netfabric/fabric"
	"netfabric/fabric/agent"
	"netfabric/fabric/api"
	"netfabric/fabric/bridge"
	"netfabric/fabric/router"
	"netfabric/storage"
	"netfabric/storage/dir"
)

// daemon is the parts of a member, wired.
type daemon struct {
	options
	log    *slog.Logger
	events *api.Hub
	node   *cluster.Node
	images *compute.Images
	server *api.Server

	pools   *storage.Module
	bridges *bridge.Module
	compute *compute.Module
	routing *router.Module

	agent   atomic.Pointer[agent.Agent] // nil until this host is a member
	rejoins atomic.Uint64               // times that this host became a member again
}

func run(ctx context.Context, o options) error {
	d := &daemon{options: o, events: api.NewHub()}
	d.log = slog.New(d.events.LogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: o.level})))
	if err := os.MkdirAll(o.dir, 0o711); err != nil { // unprivileged containers pass through it
		return err
	}
	initial, err := agent.LoadSnapshot(d.saved())
	if err != nil {
		d.log.Error("the last good snapshot can't be read: without quorum nothing will be started", "error", err)
		initial = nil
	}
	if d.node, err = cluster.Open(ctx, cluster.Options{Dir: databaseDir(o.dir), Initial: initial, Logger: d.log}); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := d.build(); err != nil {
		return err
	}
	return d.serve(ctx)
}

func (d *daemon) saved() string { return savedSnapshot(d.dir) }

// savedSnapshot is where the last good snapshot is.
func savedSnapshot(dir string) string { return filepath.Join(dir, "snapshot.json") }

// build makes the modules and the API server.
func (d *daemon) build() error {
	runtime, err := lxc.New(lxc.Options{Dir: filepath.Join(d.dir, "containers"), Helper: d.self, Log: d.log})
	if err != nil {
		return fmt.Errorf("prepare for containers: %w", err)
	}
	d.images = compute.NewImages(filepath.Join(d.dir, "images"))
	d.pools = storage.NewModule(d.dir, map[string]storage.Driver{"dir": dir.Driver{}}, d.log)
	d.bridges = bridge.New(d.log)
	d.compute = compute.NewModule(compute.Options{
		Dir: filepath.Join(d.dir, "instances"), Images: d.images, Pools: d.pools, Fetcher: fetcher{d}, Runtime: runtime, Log: d.log,
	})
	client := router.NewClient(d.routerSocket())
	d.routing = router.NewModule(client)
	metrics := api.NewMetrics()
	d.routing.Observe(router.Observer{Applied: metrics.Applied, Restarted: metrics.WorkerRestarted})
	d.server = api.NewServer(api.Options{
		Store:     d.node.Store(),
		Reports:   d.reports,
		Changed:   d.changed,
		Cluster:   membership{d.node, &d.rejoins},
		Place:     d.place,
		Instances: d.compute,
		Images:    d.images,
		Remote:    d.remote,
		Routing:   func() *fabric.RoutingState { return d.facts().Routing },
		Glass:     d.routing.Routes,
		Metrics:   metrics,
		Handover:  client.Handover,
		Events:    d.events,
		Version:   version,
		Log:       d.log,
	})
	return nil
}

func (d *daemon) routerSocket() string { return filepath.Join(d.dir, "router.socket") }

// serve runs everything until ctx ends, then stops it in the order in which it depends on each other. Instances and the routing worker go on.
func (d *daemon) serve(ctx context.Context) error {
	socket, err := d.listen()
	if err != nil {
		return err
	}
	remote := d.server.HTTPServer()
	remote.Handler = split(d.node.InternalHandler(), d.server.Handler())
	local := d.server.HTTPServer()

	failed := make(chan error, 3)
	for _, s := range []struct {
		server   *http.Server
		listener net.Listener
	}{{local, socket}, {remote, d.node.HTTPListener()}} {
		go func() {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve the API on %s: %w", s.listener.Addr(), err)
			}
		}()
	}
	work, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	if d.router != "" {
		supervisor := router.Supervisor{Path: d.router, Socket: d.routerSocket(), State: filepath.Join(d.dir, "router"), Log: d.log}
		group.Go(func() {
			if err := supervisor.Run(work); err != nil && work.Err() == nil {
				failed <- fmt.Errorf("keep the routing worker running: %w", err)
			}
		})
	}
	group.Go(func() { d.routing.Run(work) })
	group.Go(func() { d.reconcile(work) })
	d.log.Info("ready", "socket", d.socket, "member", d.node.Name(), "version", version)

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	d.log.Info("stopping; instances and routes go on")
	stop()
	group.Wait()
	d.server.Close()
	d.compute.Close()
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, local.Shutdown(end), remote.Shutdown(end), d.node.Close(end))
}

// split sends what members ask of each other to one handler and everything else to another. A ServeMux would answer unclean paths by itself,
// with a redirect that no client of the API expects.
func split(internal, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/internal/") {
			internal.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// listen opens the unix socket. One that a crashed daemon left is replaced; one that is answered belongs to another daemon.
func (d *daemon) listen() (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", d.socket, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another daemon answers on %s", d.socket)
	}
	if err := os.Remove(d.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(d.socket, 0o660), os.Chown(d.socket, 0, max(d.gid, 0))); err != nil {
		return nil, err
	}
	return l, nil
}

// expelled is the store of a member that the others have removed.
type expelled struct {
	fabric.Store
	member string
}

// Snapshot implements fabric.Store.
func (e expelled) Snapshot() *fabric.Snapshot { return e.Store.Snapshot().Expelled(e.member) }

// reconcile runs the modules while this host is a member, and once more when it has been removed, to stop what it did as one. It may come back
// under another name: then they begin anew.
func (d *daemon) reconcile(ctx context.Context) {
	signal, stop := d.node.Store().Subscribe()
	defer stop()
	await := func(poll time.Duration, ok func() bool) {
		for ctx.Err() == nil && !ok() {
			select {
			case <-ctx.Done():
			case <-signal:
			case <-time.After(poll):
			}
		}
	}
	for {
		await(200*time.Millisecond, func() bool { return d.node.Name() != "" && d.node.Status().Bootstrapped })
		if ctx.Err() != nil {
			return
		}
		rejoins, name, removed := d.rejoins.Load(), d.node.Name(), d.node.Status().Removed
		store := d.node.Store()
		if removed {
			d.log.Warn("this member was removed from the cluster: its instances stop and nothing is announced; their disks are kept", "member", name)
			store = expelled{store, name}
		}
		a := agent.New(agent.Options{
			Member:  name,
			Store:   store,
			Modules: []fabric.Module{d.pools, d.bridges, d.compute, d.routing},
			Saved:   d.saved(),
			Offline: d.offline,
			Log:     d.log,
		})
		d.agent.Store(a)
		member, leave := context.WithCancel(ctx)
		var running sync.WaitGroup
		running.Go(func() { a.Run(member) })
		await(time.Second, func() bool {
			// That nobody is there to say it again does not make it a member.
			return d.rejoins.Load() != rejoins || !removed && d.node.Status().Removed
		})
		leave()
		running.Wait()
	}
}

// offline lists the members that show no sign of life.
func (d *daemon) offline() []string {
	var names []string
	for _, m := range d.node.Status().Members {
		if !m.Online {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *daemon) reports() *fabric.Reports {
	if a := d.agent.Load(); a != nil {
		return a.Reports()
	}
	return d.node.Store().Reports()
}

// changed is closed when this member's own word changes; nil, which is never ready, before there is one.
func (d *daemon) changed() <-chan struct{} {
	if a := d.agent.Load(); a != nil {
		return a.Changed()
	}
	return nil
}

func (d *daemon) facts() fabric.Facts {
	if a := d.agent.Load(); a != nil {
		return a.Facts()
	}
	return fabric.Facts{}
}

func (d *daemon) place(s *fabric.Snapshot, i *fabric.Instance, target string) (string, error) {
	online := map[string]bool{}
	for _, m := range d.node.Status().Members {
		online[m.Name] = m.Online
	}
	return compute.Place(s, func(member string) bool { return online[member] }, i, target)
}

// remote is a client for the API of another member, with this member's certificate.
func (d *daemon) remote(member string) (*api.Client, error) {
	client, base, err := d.node.HTTPClient(member)
	if err != nil {
		return nil, err
	}
	return api.NewClient(client, base), nil
}

// membership counts how often this host became a member again, and adds to a new cluster what every cluster has.
type membership struct {
	*cluster.Node
	rejoins *atomic.Uint64
}

// Join implements api.Cluster.
func (m membership) Join(ctx context.Context, token, address string) error {
	again := m.Status().Removed
	if err := m.Node.Join(ctx, token, address); err != nil {
		return err
	}
	if again {
		m.rejoins.Add(1)
	}
	return nil
}

// Bootstrap implements api.Cluster.
func (m membership) Bootstrap(ctx context.Context, name, address string) error {
	if err := m.Node.Bootstrap(ctx, name, address); err != nil {
		return err
	}
	_, err := m.Store().Apply(ctx, func(tx *fabric.Tx) error {
		if _, ok := tx.Snapshot().Profile("default"); ok {
			return nil
		}
		return tx.Put(&fabric.Profile{
			Header:      fabric.Header{Name: "default"},
			Description: "What an instance gets that names no profile",
			Config:      fabric.Config{}, Devices: fabric.Devices{},
		})
	})
	if err != nil {
		return fmt.Errorf("write the default profile: %w", err)
	}
	return nil
}
