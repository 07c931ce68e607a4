package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"netfabric/fabric"
)

// Module makes the pools of the view exist on this member. It is also how others reach volumes, by the pool's name.
type Module struct {
	dir     string
	drivers map[string]Driver
	log     *slog.Logger

	mu    sync.Mutex
	pools map[string]record // made on this member, nil until read
}

// record is what this member remembers of a pool that it has made.
type record struct {
	Driver string `json:"driver"`
	Source string `json:"source"`
}

// NewModule keeps pools by the given drivers. dir is the daemon's own directory: the module uses storage-pools and storage-pools.json in it.
func NewModule(dir string, drivers map[string]Driver, log *slog.Logger) *Module {
	return &Module{dir: dir, drivers: drivers, log: log}
}

// Name implements fabric.Module.
func (*Module) Name() string { return "storage" }

// Wake implements fabric.Module.
func (*Module) Wake() <-chan struct{} { return nil }

// Reconcile implements fabric.Module.
func (m *Module) Reconcile(ctx context.Context, v fabric.View) (fabric.Report, error) {
	if err := m.load(); err != nil {
		return fabric.Report{}, err
	}
	report := fabric.Report{Facts: fabric.Facts{Pools: map[string]fabric.PoolFact{}}}
	for _, p := range v.Desired.Pools() {
		if p.Pending {
			continue
		}
		condition := fabric.Condition{Object: fabric.KeyOf(p), Member: v.Member, Type: fabric.ConditionReady, OK: true, Observed: p.Revision}
		made, err := m.ensure(ctx, p, v.Member)
		if err != nil {
			condition.OK, condition.Reason, condition.Message = false, fabric.ReasonOf(err), err.Error()
		} else {
			report.Facts.Pools[p.Name] = fabric.PoolFact{Driver: made.Driver, Source: made.Source}
		}
		report.Conditions = append(report.Conditions, condition)
	}
	if v.Desired.Revision == 0 {
		return report, nil // nothing is known yet: nothing is unwanted
	}
	return report, m.prune(ctx, v.Desired)
}

// ensure makes a pool, or checks that it is still there.
func (m *Module) ensure(ctx context.Context, p *fabric.Pool, member string) (record, error) {
	driver, ok := m.drivers[p.Driver]
	if !ok {
		return record{}, fabric.Errorf(fabric.CodeNotSupported, "storage-driver", "storage pool %q: this member has no driver %q", p.Name, p.Driver)
	}
	want := record{Driver: p.Driver, Source: p.On(member)["source"]}
	if want.Source == "" {
		want.Source = driver.DefaultSource(filepath.Join(m.dir, "storage-pools"), p.Name)
	}
	if made, ok := m.record(p.Name); ok {
		if made != want {
			return record{}, fabric.Conflictf("source-changed", "storage pool %q lives in %s, not in %s", p.Name, made.Source, want.Source).
				WithFix("set its source back: a pool can't be moved")
		}
		return made, driver.CheckPool(ctx, Pool{p.Name, made.Source})
	}
	if err := driver.CreatePool(ctx, Pool{p.Name, want.Source}); err != nil {
		return record{}, err
	}
	m.log.Info("made storage pool", "pool", p.Name, "source", want.Source)
	return want, m.remember(p.Name, &want)
}

// prune removes the pools that this member has made and that are no longer desired.
func (m *Module) prune(ctx context.Context, desired *fabric.Snapshot) error {
	m.mu.Lock()
	known := maps.Clone(m.pools)
	m.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if _, ok := desired.Pool(name); ok {
			continue
		}
		driver, ok := m.drivers[known[name].Driver]
		if !ok {
			continue
		}
		if err := driver.DeletePool(ctx, Pool{name, known[name].Source}); err != nil {
			errs = append(errs, fmt.Errorf("delete storage pool %q: %w", name, err))
			continue
		}
		m.log.Info("deleted storage pool", "pool", name)
		errs = append(errs, m.remember(name, nil))
	}
	return errors.Join(errs...)
}

func (m *Module) recordFile() string { return filepath.Join(m.dir, "storage-pools.json") }

func (m *Module) load() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pools != nil {
		return nil
	}
	pools := map[string]record{}
	data, err := os.ReadFile(m.recordFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what pools this member has: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(data, &pools); err != nil {
			return fmt.Errorf("read what pools this member has from %s: %w", m.recordFile(), err)
		}
	}
	m.pools = pools
	return nil
}

func (m *Module) record(pool string) (record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.pools[pool]
	return r, ok
}

// remember keeps a record, or drops it when r is nil.
func (m *Module) remember(pool string, r *record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.pools)
	if r == nil {
		delete(next, pool)
	} else {
		next[pool] = *r
	}
	data, err := json.MarshalIndent(next, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir, 0o711); err != nil {
		return err
	}
	temporary := m.recordFile() + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("remember storage pool %q: %w", pool, err)
	}
	if err := os.Rename(temporary, m.recordFile()); err != nil {
		return fmt.Errorf("remember storage pool %q: %w", pool, err)
	}
	m.pools = next
	return nil
}

// open finds the driver of a pool of this member.
func (m *Module) open(pool string) (Driver, Pool, error) {
	if err := m.load(); err != nil {
		return nil, Pool{}, err
	}
	r, ok := m.record(pool)
	if !ok {
		return nil, Pool{}, fabric.Errorf(fabric.CodeUnavailable, "no-pool", "storage pool %q is not on this member", pool)
	}
	driver, ok := m.drivers[r.Driver]
	if !ok {
		return nil, Pool{}, fabric.Errorf(fabric.CodeNotSupported, "storage-driver", "storage pool %q: this member has no driver %q", pool, r.Driver)
	}
	return driver, Pool{pool, r.Source}, nil
}

// CreateVolume is Driver.CreateVolume for a pool by name.
func (m *Module) CreateVolume(ctx context.Context, pool, volume string, fill func(ctx context.Context, root string) error) error {
	driver, p, err := m.open(pool)
	if err != nil {
		return err
	}
	return driver.CreateVolume(ctx, p, volume, fill)
}

// HasVolume tells whether a pool by name has a volume.
func (m *Module) HasVolume(ctx context.Context, pool, volume string) (bool, error) {
	driver, p, err := m.open(pool)
	if err != nil {
		return false, err
	}
	all, err := driver.Volumes(ctx, p)
	return slices.Contains(all, volume), err
}

// DeleteVolume is Driver.DeleteVolume for a pool by name. In a pool that this member does not have there is nothing to delete.
func (m *Module) DeleteVolume(ctx context.Context, pool, volume string) error {
	driver, p, err := m.open(pool)
	if fabric.ReasonOf(err) == "no-pool" {
		return nil
	}
	if err != nil {
		return err
	}
	return driver.DeleteVolume(ctx, p, volume)
}

// Mount is Driver.Mount for a pool by name.
func (m *Module) Mount(ctx context.Context, pool, volume string) (root string, err error) {
	driver, p, err := m.open(pool)
	if err != nil {
		return "", err
	}
	return driver.Mount(ctx, p, volume)
}
