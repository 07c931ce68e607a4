package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"netfabric/fabric"
)

// What a member keeps in its directory. The identity is the commit point of bootstrap and join: without it, whatever else is there is
// left over from one that did not finish.
const (
	identityFile = "identity.json"
	peersFile    = "peers.json"
	databaseDir  = "database"
)

// identity is who this member is, and what it proves that with.
type identity struct {
	Name               string  `json:"name"`
	Address            string  `json:"address"`
	NodeID             uint64  `json:"node_id"`
	LatencyMS          int     `json:"latency_ms"` // as of bootstrap or join; the cluster's setting replaces it once known
	ClusterCertificate string  `json:"cluster_certificate"`
	ClusterKey         string  `json:"cluster_key"`
	MemberCertificate  string  `json:"member_certificate"`
	MemberKey          string  `json:"member_key"`
	Lineage            lineage `json:"lineage,omitempty"` // of the database that it has, or is to have
}

// peers is who else there is, as last known: whom to ask for the database, and whom to let in, until the snapshot tells better.
type peers struct {
	Revision uint64 `json:"revision"` // of the snapshot it was made from
	Members  []peer `json:"members"`
}

// peer is one member as another one needs to know it.
type peer struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Fingerprint string `json:"fingerprint"`
	NodeID      uint64 `json:"node_id"`
}

func peersOf(s *fabric.Snapshot) peers {
	p := peers{Revision: s.Revision}
	for _, m := range s.Members() {
		p.Members = append(p.Members, peer{m.Name, m.Address, m.Fingerprint(), m.NodeID})
	}
	return p
}

func (p peers) byFingerprint(fingerprint string) (peer, bool) {
	return p.find(func(m peer) bool { return m.Fingerprint == fingerprint })
}

func (p peers) byAddress(address string) (peer, bool) {
	return p.find(func(m peer) bool { return m.Address == address })
}

func (p peers) find(is func(peer) bool) (peer, bool) {
	i := slices.IndexFunc(p.Members, is)
	if i < 0 {
		return peer{}, false
	}
	return p.Members[i], true
}

// loadIdentity reads the identity; nil when there is none.
func loadIdentity(dir string) (*identity, error) {
	id := new(identity)
	switch err := readJSON(filepath.Join(dir, identityFile), id); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return id, nil
}

// wipe removes everything that bootstrap and join make, the identity first.
func wipe(dir string) error {
	names := []string{identityFile, peersFile, databaseDir}
	// What is left of a write that was killed, and databases that were recovered. Copies that were set aside stay.
	for _, pattern := range []string{temporary(identityFile), temporary(peersFile), databaseDir + "-*", workPattern} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// temporary is the pattern of the names under which a file is written before it is renamed.
func temporary(name string) string { return "." + name + "-*" }

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file as writeFile does.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}

// writeFile replaces a file by one that only root can read, all or nothing, and returns once it is on disk.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporary(filepath.Base(path))) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
