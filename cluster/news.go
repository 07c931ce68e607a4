package cluster

import (
	"encoding/json"
	"slices"

	"netfabric/fabric"
)

// commit is what one transaction changed, for members that know everything before it: they need not ask the leader, who would have one question of
// each member to answer whenever one of them writes.
type commit struct {
	// After and before it.
	Revision     uint64 `json:"revision"`
	Counter      uint64 `json:"counter"`
	FromRevision uint64 `json:"from_revision"`
	FromCounter  uint64 `json:"from_counter"`

	Rows    []fabric.Row `json:"rows,omitempty"`
	Reports []reported   `json:"reports,omitempty"` // in order
}

// reported is what one report changed.
type reported struct {
	Set  []fabric.Condition    `json:"set,omitempty"`
	Gone []fabric.ConditionKey `json:"gone,omitempty"`
}

// hear takes in commits in their order, as far as they follow on what is known here.
func (s *store) hear(commits []commit) error {
	snapshot, reports, foreign := s.knownOf(s.database())
	if foreign {
		return nil // it has to be read as a whole
	}
	for _, c := range commits {
		if c.Revision > snapshot.Revision && c.FromRevision == snapshot.Revision {
			next, err := snapshot.Advance(c.Revision, ofKnownKinds(c.Rows))
			if err != nil {
				return err
			}
			snapshot = next
		}
		if c.Counter > reports.Counter && c.FromCounter == reports.Counter {
			for _, r := range c.Reports {
				reports = reports.With(c.Counter, r.Set, r.Gone)
			}
		}
	}
	s.publish(snapshot, reports, false)
	return nil
}

// ofKnownKinds leaves out what only a newer program knows.
func ofKnownKinds(rows []fabric.Row) []fabric.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r fabric.Row) bool { return !slices.Contains(fabric.Kinds(), r.Kind) })
}

// poke tells how far the writer of a commit is, and how it came there.
type poke struct {
	Revision uint64            `json:"revision"`
	Counter  uint64            `json:"counter"`
	Commits  []json.RawMessage `json:"commits,omitempty"`
	Database string            `json:"database,omitempty"` // its lineage
}

// maxTold is the size in bytes of the commits that a poke carries at most. Who is told less looks for the rest.
const maxTold = maxBody / 2

// add makes p the poke after one more commit, which is empty where it is too much to tell.
func (p poke) add(revision, counter uint64, encoded json.RawMessage) poke {
	size := len(encoded)
	for _, c := range p.Commits {
		size += len(c)
	}
	next := poke{Revision: revision, Counter: counter}
	if encoded != nil && size <= maxTold {
		next.Commits = append(slices.Clone(p.Commits), encoded)
	}
	return next
}

// commits reads what the poke carries.
func (p poke) commits() ([]commit, error) {
	all := make([]commit, len(p.Commits))
	for i, encoded := range p.Commits {
		if err := json.Unmarshal(encoded, &all[i]); err != nil {
			return nil, fabric.Invalidf("bad-body", "read a commit: %w", err)
		}
	}
	return all, nil
}
