package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// workPattern matches directories in which a database is being recovered.
const workPattern = ".recovering-*"

// succeed makes a member's directory that of another database, and keeps what it replaces. The identity is the commit point: until it is written
// nothing has changed, and after that only the old database is in another place than it should be if this ends.
func succeed(dir string, old, next identity, known peers, now time.Time) (kept string, err error) {
	kept, err = setAside(dir, now)
	if err != nil {
		return "", err
	}
	if err := writeJSON(filepath.Join(dir, peersFile), known); err != nil {
		return "", err
	}
	if err := writeJSON(filepath.Join(dir, identityFile), next); err != nil {
		return "", err
	}
	from := old.Lineage.name()
	err = os.Rename(filepath.Join(dir, from), filepath.Join(kept, from))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it never had one
	}
	return kept, errors.Join(err, syncDir(kept), syncDir(dir))
}

// setAside makes a dated directory with copies of the identity and the list of members, which are about to change.
func setAside(dir string, now time.Time) (kept string, err error) {
	kept = filepath.Join(dir, "backup-"+now.UTC().Format("20060102T150405.000Z"))
	if err := os.Mkdir(kept, 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{identityFile, peersFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = writeFile(filepath.Join(kept, name), data)
		}
		if err != nil {
			return "", fmt.Errorf("keep %s: %w", name, err)
		}
	}
	return kept, nil
}
