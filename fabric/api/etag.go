package api

import (
	"strconv"
	"strings"

	"netfabric/fabric"
)

// etagOf is the ETag of objects: it changes with each write of one of them.
func etagOf(objects ...fabric.Object) string {
	var revisions []string
	for _, o := range objects {
		revisions = append(revisions, strconv.FormatUint(o.Head().Revision, 10))
	}
	return `"` + strings.Join(revisions, "-") + `"`
}

// match compares If-Match with the ETag of what is about to be changed. It is called in the transaction.
func (r *request) match(etag string) error {
	wanted := r.Header.Values("If-Match")
	if len(wanted) == 0 {
		return nil
	}
	for _, list := range wanted {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || one == etag || `"`+one+`"` == etag {
				return nil
			}
		}
	}
	return fabric.Errorf(fabric.CodeStale, "stale", "%s has changed since it was read", r.URL.Path).WithFix("read it again and repeat the change")
}

// edit changes one object in a transaction: change is given a copy of the newest, after If-Match was compared with it.
func edit[T fabric.Object](s *Server, r *request, key fabric.Key, change func(tx *fabric.Tx, o T) error) (uint64, error) {
	return s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		o, ok := tx.Snapshot().Get(key)
		if !ok {
			return notFound(key)
		}
		if err := r.match(etagOf(o)); err != nil {
			return err
		}
		next := fabric.Clone(o.(T))
		if err := change(tx, next); err != nil {
			return err
		}
		return tx.Put(next)
	})
}

// create adds an object in a transaction. prepare, which may be nil, completes it first.
func create(s *Server, r *request, o fabric.Object, prepare func(tx *fabric.Tx) error) (uint64, error) {
	return s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		if key := fabric.KeyOf(o); has(tx.Snapshot(), key) {
			return exists(key)
		}
		if prepare != nil {
			if err := prepare(tx); err != nil {
				return err
			}
		}
		return tx.Put(o)
	})
}

// remove deletes an object in a transaction.
func remove(s *Server, r *request, key fabric.Key) error {
	_, err := s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		o, ok := tx.Snapshot().Get(key)
		if !ok {
			return notFound(key)
		}
		if err := r.match(etagOf(o)); err != nil {
			return err
		}
		return tx.Delete(key)
	})
	return err
}

func has(s *fabric.Snapshot, k fabric.Key) bool {
	_, ok := s.Get(k)
	return ok
}

// nouns are the kinds as people call them, where that is not the kind itself.
var nouns = map[fabric.Kind]string{
	fabric.KindPool: "storage pool", fabric.KindAlias: "image alias", fabric.KindPeer: "BGP peer", fabric.KindAnycast: "anycast service",
}

func noun(k fabric.Kind) string {
	if n := nouns[k]; n != "" {
		return n
	}
	return string(k)
}

func notFound(k fabric.Key) error {
	return fabric.NotFoundf("%s %q does not exist", noun(k.Kind), k.Name)
}

func exists(k fabric.Key) error {
	return fabric.Conflictf("exists", "%s %q exists already", noun(k.Kind), k.Name)
}

// readOnly refuses the fields of a change that differ from what they are and can't be changed.
func readOnly(what, field, was, is string) error {
	if is == "" || is == was {
		return nil
	}
	return fabric.Invalidf("read-only", "%s: %s is %q and can't be changed to %q", what, field, was, is)
}

// done is the answer to a change that is made.
func done(err error) (reply, error) { return reply{metadata: struct{}{}}, err }

// createdAt is the answer to something that was made.
func createdAt(address string, err error) (reply, error) {
	return reply{metadata: struct{}{}, created: address}, err
}
