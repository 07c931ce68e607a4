package fabric

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Tx is a change in the making: a private next snapshot on top of a base. A Store runs it inside a write transaction, so that what it reads
// is the newest there is; it may be run more than once and must have no effect but on itself and on variables it sets anew each time.
type Tx struct {
	base    *Snapshot
	next    *Snapshot
	own     map[Kind]bool // maps of next that are not shared with base
	changed map[Key]bool
}

// NewTx starts a change on top of a snapshot.
func NewTx(base *Snapshot) *Tx {
	next := *base
	next.objects = maps.Clone(base.objects)
	return &Tx{base: base, next: &next, own: map[Kind]bool{}, changed: map[Key]bool{}}
}

// Snapshot is the state as the change has made it so far. It is valid until the next Put or Delete.
func (tx *Tx) Snapshot() *Snapshot { return tx.next }

// Put creates or replaces an object. It checks the object alone and its claims; references are checked by Finish.
func (tx *Tx) Put(o Object) error {
	if err := o.Validate(); err != nil {
		return err
	}
	key := KeyOf(o)
	claims := o.Claims()
	for i, c := range claims {
		if slices.Contains(claims[:i], c) {
			return Invalidf("in-use", "%s: it has %s %s twice", key, c.Space, c.Value)
		}
		if holder, held := tx.next.claims[c]; held && holder != key {
			return Conflictf("in-use", "%s: %s %s belongs to %s", key, c.Space, c.Value, holder)
		}
	}
	if o.Head().Created.IsZero() {
		o.Head().Created = time.Now().UTC()
	}
	tx.set(key, o)
	return nil
}

// Delete removes an object. Removing what is not there is not found.
func (tx *Tx) Delete(k Key) error {
	if _, ok := tx.next.Get(k); !ok {
		return NotFoundf("%s %q does not exist", k.Kind, k.Name)
	}
	tx.set(k, nil)
	return nil
}

func (tx *Tx) set(k Key, o Object) {
	if !tx.own[k.Kind] {
		tx.next.objects[k.Kind] = maps.Clone(tx.next.objects[k.Kind])
		if tx.next.objects[k.Kind] == nil {
			tx.next.objects[k.Kind] = map[string]Object{}
		}
		tx.own[k.Kind] = true
	}
	old := tx.next.objects[k.Kind][k.Name]
	if o == nil {
		delete(tx.next.objects[k.Kind], k.Name)
	} else {
		tx.next.objects[k.Kind][k.Name] = o
	}
	tx.changed[k] = true
	tx.moveClaims(k, old, o)
}

func (tx *Tx) moveClaims(k Key, old, o Object) {
	var before, after []Claim
	if old != nil {
		before = old.Claims()
	}
	if o != nil {
		after = o.Claims()
	}
	if slices.Equal(before, after) {
		return
	}
	if !tx.own[claimsOwned] {
		tx.next.claims = maps.Clone(tx.next.claims)
		tx.own[claimsOwned] = true
	}
	for _, c := range before {
		// Rows come in any order: who has been given what this one let go of may have come first.
		if tx.next.claims[c] == k {
			delete(tx.next.claims, c)
		}
	}
	for _, c := range after {
		tx.next.claims[c] = k
	}
}

// claimsOwned marks in Tx.own that the claims are not shared any more; it is no kind.
const claimsOwned Kind = "claims"

// Finish checks the change as a whole: whatever is referred to exists, and objects agree with each other. It gives the rows to write, in
// a stable order and with the given revision, and the snapshot after it. A change that changes nothing has no rows.
func (tx *Tx) Finish(revision uint64) ([]Row, *Snapshot, error) {
	if err := tx.numberMembers(); err != nil {
		return nil, nil, err
	}
	var rows []Row
	keys := slices.SortedFunc(maps.Keys(tx.changed), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	for _, k := range keys {
		o, ok := tx.next.Get(k)
		if !ok {
			if _, was := tx.base.Get(k); !was {
				continue // created and deleted again
			}
			if err := tx.checkUnused(k); err != nil {
				return nil, nil, err
			}
			rows = append(rows, Row{Kind: k.Kind, Name: k.Name, Revision: revision, Deleted: true})
			continue
		}
		for _, ref := range o.Refs() {
			if _, ok := tx.next.Get(ref); !ok {
				return nil, nil, Errorf(CodeInvalid, "missing-reference", "%s %q needs %s %q, which does not exist", k.Kind, k.Name, ref.Kind, ref.Name)
			}
		}
		if c, ok := o.(checker); ok {
			if err := c.check(tx.next); err != nil {
				return nil, nil, err
			}
		}
		if c, ok := o.(changeChecker); ok {
			if err := c.checkChange(tx.base, tx.next); err != nil {
				return nil, nil, err
			}
		}
		o.Head().Revision = revision
		row, err := Encode(o)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, row)
	}
	tx.next.Revision = revision
	return rows, tx.next, nil
}

// checkUnused refuses to leave a reference to k behind.
func (tx *Tx) checkUnused(k Key) error {
	for _, kind := range Kinds() {
		for _, o := range tx.next.objects[kind] {
			if slices.Contains(o.Refs(), k) {
				return Conflictf("in-use", "%s %q is in use by %s %q", k.Kind, k.Name, o.Kind(), o.Head().Name)
			}
		}
	}
	return nil
}
