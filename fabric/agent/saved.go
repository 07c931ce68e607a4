package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"netfabric/fabric"

	"github.com/google/renameio"
)

// saved is the file format of a snapshot.
type saved struct {
	Revision uint64       `json:"revision"`
	Database string       `json:"database,omitempty"`
	Rows     []fabric.Row `json:"rows"`
}

// saveInterval is the least time between two saves: a burst of writes costs one file, not one each.
const saveInterval = 500 * time.Millisecond

// save keeps the newest snapshot on disk.
func (a *Agent) save(ctx context.Context) {
	signal, stop := a.o.Store.Subscribe()
	defer stop()
	var done uint64
	var database string
	for {
		wait, failed := saveInterval, false
		if s := a.o.Store.Snapshot(); s.Revision > done || s.Database != database {
			if err := SaveSnapshot(a.o.Saved, s); err != nil {
				a.o.Log.Error("cannot keep the last good snapshot: without quorum this member would start from an older one", "file", a.o.Saved, "error", err)
				wait, failed = lastWait, true
			} else {
				done, database = s.Revision, s.Database
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if failed {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-signal:
		}
	}
}

// SaveSnapshot writes a snapshot to a file that only root can read, whole or not at all.
func SaveSnapshot(file string, s *fabric.Snapshot) error {
	rows, err := s.Rows()
	if err != nil {
		return err
	}
	data, err := json.Marshal(saved{s.Revision, s.Database, rows})
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(file, data, 0o600)
}

// LoadSnapshot reads what SaveSnapshot wrote. Where there is no file it gives the empty snapshot. A file that can't be read is an error: the
// caller decides whether to go on without.
func LoadSnapshot(file string) (*fabric.Snapshot, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fabric.EmptySnapshot(), nil
	}
	if err != nil {
		return nil, err
	}
	var in saved
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", file, err)
	}
	s, err := fabric.EmptySnapshot().Advance(in.Revision, in.Rows)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", file, err)
	}
	s.Database = in.Database
	return s, nil
}
