package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"netfabric/fabric"
)

// meta is the one row that says how far the database is.
type meta struct {
	version              uint64
	revision, floor      uint64
	counter, statusFloor uint64
}

const selectMeta = "SELECT version, revision, floor, counter, status_floor FROM meta"

func readMeta(ctx context.Context, c *conn) (meta, error) {
	rows, err := c.query(ctx, selectMeta)
	if err != nil {
		return meta{}, err
	}
	return metaOf(rows)
}

func metaOf(rows []record) (meta, error) {
	if len(rows) == 0 {
		return meta{}, errors.New("the database is not set up: there is nothing in meta")
	}
	m := meta{rows[0].number(0), rows[0].number(1), rows[0].number(2), rows[0].number(3), rows[0].number(4)}
	if m.version > schemaVersion {
		return meta{}, fabric.Errorf(fabric.CodeUnavailable, "schema-too-new", "the database has schema %d, this program knows up to %d", m.version, schemaVersion).
			WithFix("upgrade this member")
	}
	return m, nil
}

// readSigns reads how far the database is and the signs of life of all members, in one request: all members do it every second.
func readSigns(ctx context.Context, c *conn) (m meta, beats map[string]uint64, err error) {
	rows, err := c.query(ctx, "SELECT version, revision, floor, counter, status_floor, member, beat FROM meta LEFT JOIN beats")
	if err != nil {
		return m, nil, err
	}
	beats = map[string]uint64{}
	for _, r := range rows {
		if member := r.text(5); member != "" { // without any, there is one row all the same
			beats[member] = r.number(6)
		}
	}
	m, err = metaOf(rows)
	return m, beats, err
}

func emptyOf(c *conn) *fabric.Snapshot {
	s := fabric.EmptySnapshot()
	s.Database = c.database
	return s
}

// readObjects brings a snapshot to the state of the database. A snapshot that is older than the oldest tombstone, or newer than the database,
// is read anew.
func readObjects(ctx context.Context, c *conn, s *fabric.Snapshot, m meta) (*fabric.Snapshot, error) {
	if m.revision == s.Revision {
		return s, nil
	}
	if m.revision < s.Revision || s.Revision < m.floor {
		s = emptyOf(c)
	}
	rows, err := c.query(ctx, "SELECT kind, name, revision, deleted, spec, (SELECT floor FROM meta) FROM objects WHERE revision > ?", s.Revision)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 && s.Revision > 0 && s.Revision < rows[0].number(5) { // pruned meanwhile
		return readObjects(ctx, c, emptyOf(c), m)
	}
	revision := m.revision
	var all []fabric.Row
	for _, r := range rows {
		row := fabric.Row{Kind: fabric.Kind(r.text(0)), Name: r.text(1), Revision: r.number(2), Deleted: r.number(3) != 0, Spec: json.RawMessage(r.text(4))}
		revision = max(revision, row.Revision) // one statement sees a transaction whole, even one after meta was read
		all = append(all, row)
	}
	next, err := s.Advance(revision, ofKnownKinds(all))
	if err != nil {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-row", "read the database: %w", err)
	}
	return next, nil
}

// readConditions brings reports to the state of the database.
func readConditions(ctx context.Context, c *conn, r *fabric.Reports, m meta) (*fabric.Reports, error) {
	if m.counter == r.Counter {
		return r, nil
	}
	if m.counter < r.Counter || r.Counter < m.statusFloor {
		r = fabric.EmptyReports()
	}
	rows, err := c.query(ctx, "SELECT object, member, type, detail, counter, deleted, body, (SELECT status_floor FROM meta) FROM conditions WHERE counter > ?", r.Counter)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 && r.Counter > 0 && r.Counter < rows[0].number(7) {
		return readConditions(ctx, c, fabric.EmptyReports(), m)
	}
	counter := m.counter
	var set []fabric.Condition
	var gone []fabric.ConditionKey
	for _, row := range rows {
		counter = max(counter, row.number(4))
		kind, name, _ := strings.Cut(row.text(0), "/")
		key := fabric.ConditionKey{Object: fabric.Key{Kind: fabric.Kind(kind), Name: name}, Member: row.text(1), Type: fabric.ConditionType(row.text(2)), Detail: row.text(3)}
		if row.number(5) != 0 {
			gone = append(gone, key)
			continue
		}
		var condition fabric.Condition
		if err := json.Unmarshal([]byte(row.text(6)), &condition); err != nil {
			return nil, fabric.Errorf(fabric.CodeInternal, "bad-row", "read condition %v: %w", key, err)
		}
		set = append(set, condition)
	}
	return r.With(counter, set, gone), nil
}
