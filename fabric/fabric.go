// Package fabric says what exists in a cluster: its objects, their snapshot, what members report, and the values they are driven by.
package fabric

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Kind names a sort of object. Kinds are stable: they stand in the database and in API paths.
type Kind string

// The kinds of objects. What each of them is stands in kinds.go.
const (
	KindCluster     Kind = "cluster"
	KindMember      Kind = "member"
	KindCertificate Kind = "certificate"
	KindToken       Kind = "token"
	KindNetwork     Kind = "network"
	KindPool        Kind = "pool"
	KindImage       Kind = "image"
	KindAlias       Kind = "alias"
	KindProfile     Kind = "profile"
	KindInstance    Kind = "instance"
	KindPeer        Kind = "peer"
	KindAnycast     Kind = "anycast"
	KindPolicy      Kind = "policy"
	KindGroup       Kind = "group"
	KindRPKI        Kind = "rpki"
	KindGateway     Kind = "gateway"
	KindBFDProfile  Kind = "bfd-profile"
)

// Key identifies an object for as long as it exists.
type Key struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// String is kind/name, as reports and logs show it.
func (k Key) String() string { return string(k.Kind) + "/" + k.Name }

// ParseKey reads what Key.String wrote.
func ParseKey(s string) (Key, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || name == "" || newObject(Kind(kind)) == nil {
		return Key{}, Invalidf("bad-key", "%q is not of the form KIND/NAME with a known kind", s)
	}
	return Key{Kind(kind), name}, nil
}

// Header is what every object has. The store fills Revision; the name never changes during the life of an object.
type Header struct {
	Name     string    `json:"-"`
	Revision uint64    `json:"-"` // of the write that made the object what it is
	Created  time.Time `json:"created"`
}

// Head gives access to the header of any object.
func (h *Header) Head() *Header { return h }

// Object is one thing that an operator wants to exist. Objects in a snapshot are shared: change a Clone, never the object.
type Object interface {
	Head() *Header
	Kind() Kind
	// Validate looks at the object alone. Its errors have code CodeInvalid.
	Validate() error
	// Refs lists the objects without which this one makes no sense: a write that leaves one of them missing is refused.
	Refs() []Key
	// Claims lists the scarce things the object holds: a write that gives one to two objects is refused.
	Claims() []Claim
}

// checker is an object that has something to say about the objects around it, beyond references and claims.
type checker interface {
	check(next *Snapshot) error
}

// KeyOf is the key of an object.
func KeyOf(o Object) Key { return Key{o.Kind(), o.Head().Name} }

// Claim is the hold of one object on something that only one object can hold.
type Claim struct {
	Space string // e.g. "address:fabbr0", "mac", "prefix"
	Value string // e.g. "10.1.0.5"
}

// Row is the stored form of an object, in the database as on disk.
type Row struct {
	Kind     Kind            `json:"kind"`
	Name     string          `json:"name"`
	Revision uint64          `json:"revision"`
	Deleted  bool            `json:"deleted,omitempty"` // a tombstone: Spec is empty
	Spec     json.RawMessage `json:"spec,omitempty"`
}

// Encode gives the stored form of an object.
func Encode(o Object) (Row, error) {
	spec, err := json.Marshal(o)
	if err != nil {
		return Row{}, fmt.Errorf("encode %s: %w", KeyOf(o), err)
	}
	return Row{Kind: o.Kind(), Name: o.Head().Name, Revision: o.Head().Revision, Spec: spec}, nil
}

// Decode reads a stored object. Fields it does not know are dropped: a newer member may have written them.
func Decode(r Row) (Object, error) {
	o := newObject(r.Kind)
	if o == nil {
		return nil, fmt.Errorf("decode %s/%s: unknown kind", r.Kind, r.Name)
	}
	if err := json.Unmarshal(r.Spec, o); err != nil {
		return nil, fmt.Errorf("decode %s/%s: %w", r.Kind, r.Name, err)
	}
	o.Head().Name, o.Head().Revision = r.Name, r.Revision
	return o, nil
}

// Clone returns a deep copy that may be changed.
func Clone[T Object](o T) T {
	row, err := Encode(o)
	if err == nil {
		var c Object
		if c, err = Decode(row); err == nil {
			return c.(T)
		}
	}
	panic(err) // every object in a snapshot has been through Encode and Decode already
}
