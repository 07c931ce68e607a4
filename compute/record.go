package compute

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio"

	"netfabric/fabric"
)

// record is what this member remembers of an instance whose volume it has, or is making.
type record struct {
	Created time.Time `json:"created"` // of the object: tells apart instances that had the same name one after the other
	Pool    string    `json:"pool"`
	IDs     IDMap     `json:"ids"` // that the files are owned by
	Ready   bool      `json:"ready"`
}

// records keeps a file per instance.
type records struct{ dir string }

func (r records) file(name string) string { return filepath.Join(r.dir, name+".json") }

func (r records) load() (map[string]record, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what instances this member has: %w", err)
	}
	all := map[string]record{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || fabric.CheckHostname("instance", name) != nil {
			continue
		}
		data, err := os.ReadFile(r.file(name))
		if err != nil {
			return nil, fmt.Errorf("read what this member knows of instance %q: %w", name, err)
		}
		var one record
		if err := json.Unmarshal(data, &one); err != nil {
			return nil, fmt.Errorf("read what this member knows of instance %q: %w", name, err)
		}
		all[name] = one
	}
	return all, nil
}

func (r records) save(name string, one record) error {
	data, err := json.Marshal(one)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	// Whole even after a power cut: one that can't be read stops the work on all instances.
	return renameio.WriteFile(r.file(name), data, 0o600)
}

func (r records) drop(name string) error {
	if err := os.Remove(r.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
