package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"netfabric/fabric"
)

// The limit of dqlite on the arguments of one request is 255.
const maxArgs = 250

// writeObjects adds the statements that store the difference between two snapshots.
func writeObjects(s *script, base, next *fabric.Snapshot, rows []fabric.Row) {
	var released []fabric.Key
	var claimed [][]any
	var stored [][]any
	for _, r := range rows {
		key := fabric.Key{Kind: r.Kind, Name: r.Name}
		deleted := 0
		if r.Deleted {
			deleted = 1
		}
		stored = append(stored, []any{string(r.Kind), r.Name, r.Revision, deleted, string(r.Spec)})
		before, after := claimsOf(base, key), claimsOf(next, key)
		if slices.Equal(before, after) {
			continue
		}
		if len(before) > 0 {
			released = append(released, key)
		}
		for _, c := range after {
			claimed = append(claimed, []any{c.Space, c.Value, string(r.Kind), r.Name})
		}
	}
	for _, key := range released {
		s.add("DELETE FROM claims WHERE kind = ? AND name = ?", string(key.Kind), key.Name)
	}
	insert(s, "INSERT INTO claims (space, value, kind, name)", claimed)
	insert(s, "INSERT OR REPLACE INTO objects (kind, name, revision, deleted, spec)", stored)
}

func claimsOf(s *fabric.Snapshot, key fabric.Key) []fabric.Claim {
	o, ok := s.Get(key)
	if !ok {
		return nil
	}
	return o.Claims()
}

// writeConditions adds the statements that store conditions and tombstones of the dropped ones.
func writeConditions(s *script, counter uint64, set []fabric.Condition, gone []fabric.ConditionKey) error {
	var rows [][]any
	for _, c := range set {
		body, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode condition of %s: %w", c.Object, err)
		}
		rows = append(rows, []any{c.Object.String(), c.Member, string(c.Type), c.Detail, counter, 0, string(body)})
	}
	for _, k := range gone {
		rows = append(rows, []any{k.Object.String(), k.Member, string(k.Type), k.Detail, counter, 1, ""})
	}
	insert(s, "INSERT OR REPLACE INTO conditions (object, member, type, detail, counter, deleted, body)", rows)
	return nil
}

// insert adds statements that insert rows, as many of them at once as fit.
func insert(s *script, into string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	width := len(rows[0])
	one := "(?" + strings.Repeat(", ?", width-1) + ")"
	for chunk := range slices.Chunk(rows, maxArgs/width) {
		var args []any
		for _, row := range chunk {
			args = append(args, row...)
		}
		s.add(into+" VALUES "+one+strings.Repeat(", "+one, len(chunk)-1), args...)
	}
}
