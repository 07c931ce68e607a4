package fabric

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// ConditionType says what a condition is about. Its Data, where it has one, is of the type named here.
type ConditionType string

// The types of conditions.
const (
	ConditionReady    ConditionType = "Ready"    // a network or pool is there on the member
	ConditionPresent  ConditionType = "Present"  // an image's files are on the member
	ConditionInstance ConditionType = "Instance" // how an instance is; Data is an InstanceState
	ConditionRPKI     ConditionType = "RPKI"     // how it stands with an RPKI cache; Data is an RPKIState
	ConditionSession  ConditionType = "Session"  // how the session with a BGP peer is; Data is a PeerState
	ConditionRoutes   ConditionType = "Routes"   // what is announced for an owner; Data is a []RouteState
	ConditionGateway  ConditionType = "Gateway"  // how a gateway is on the member; Data is a GatewayState
	ConditionModule   ConditionType = "Module"   // of a member: one of its reconcilers fails; see Condition.Detail
)

// Condition is what one member says of one object. It is identified by Object, Member, Type and Detail.
type Condition struct {
	Object   Key             `json:"object"`
	Member   string          `json:"member"`
	Type     ConditionType   `json:"type"`
	Detail   string          `json:"detail,omitempty"` // tells apart conditions of one type, e.g. the module's name
	OK       bool            `json:"ok"`
	Reason   string          `json:"reason,omitempty"`   // stable slug, when not OK
	Message  string          `json:"message,omitempty"`  // for people
	Observed uint64          `json:"observed,omitempty"` // revision of the object that this is about
	Since    time.Time       `json:"since"`              // when OK or Reason last changed
	Data     json.RawMessage `json:"data,omitempty"`
}

// ConditionKey identifies a condition.
type ConditionKey struct {
	Object Key
	Member string
	Type   ConditionType
	Detail string
}

// Key identifies the condition.
func (c Condition) Key() ConditionKey { return ConditionKey{c.Object, c.Member, c.Type, c.Detail} }

// Same tells whether two conditions say the same, whenever they began.
func (c Condition) Same(o Condition) bool {
	return c.Key() == o.Key() && c.OK == o.OK && c.Reason == o.Reason && c.Message == o.Message && c.Observed == o.Observed && bytes.Equal(c.Data, o.Data)
}

// WithData returns the condition with v as its data.
func (c Condition) WithData(v any) Condition {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // all types of data are plain structs of this package
	}
	c.Data = data
	return c
}

// Reports is what all members say, as of one count of the status table. It never changes.
type Reports struct {
	Counter  uint64
	byObject map[Key][]Condition // sorted by member, type, detail
}

// EmptyReports says nothing.
func EmptyReports() *Reports { return &Reports{byObject: map[Key][]Condition{}} }

// With returns reports in which the given conditions are set and the given keys are gone.
func (r *Reports) With(counter uint64, set []Condition, gone []ConditionKey) *Reports {
	next := &Reports{Counter: counter, byObject: maps.Clone(r.byObject)}
	fresh := map[Key]bool{}
	own := func(k Key) {
		if !fresh[k] {
			next.byObject[k] = slices.Clone(next.byObject[k])
			fresh[k] = true
		}
	}
	for _, key := range gone {
		own(key.Object)
		next.byObject[key.Object] = slices.DeleteFunc(next.byObject[key.Object], func(c Condition) bool { return c.Key() == key })
		if len(next.byObject[key.Object]) == 0 {
			delete(next.byObject, key.Object)
			delete(fresh, key.Object)
		}
	}
	for _, c := range set {
		own(c.Object)
		list := next.byObject[c.Object]
		i, found := slices.BinarySearchFunc(list, c, compareConditions)
		if found {
			list[i] = c
		} else {
			next.byObject[c.Object] = slices.Insert(list, i, c)
		}
	}
	return next
}

// Diff is what has to change so that a member says exactly all: conditions to set, and keys of those to drop.
func (r *Reports) Diff(member string, all []Condition) (set []Condition, gone []ConditionKey) {
	stored := map[ConditionKey]Condition{}
	for _, list := range r.byObject {
		for _, c := range list {
			if c.Member == member {
				stored[c.Key()] = c
			}
		}
	}
	for _, c := range all {
		if old, ok := stored[c.Key()]; !ok || !old.Same(c) {
			set = append(set, c)
		}
		delete(stored, c.Key())
	}
	for key := range stored {
		gone = append(gone, key)
	}
	return set, gone
}

// Replace returns reports in which everything a member says is as given. The API lays a member's own, newest word over the stored one.
func (r *Reports) Replace(member string, all []Condition) *Reports {
	set, gone := r.Diff(member, all)
	if len(set)+len(gone) == 0 {
		return r
	}
	return r.With(r.Counter, set, gone)
}

func compareConditions(a, b Condition) int {
	return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Detail, b.Detail))
}

// Of lists what is said of an object, by member, type and detail. The list must not be changed.
func (r *Reports) Of(k Key) []Condition { return r.byObject[k] }

// Get finds one condition without detail.
func (r *Reports) Get(k Key, member string, t ConditionType) (Condition, bool) {
	for _, c := range r.byObject[k] {
		if c.Member == member && c.Type == t && c.Detail == "" {
			return c, true
		}
	}
	return Condition{}, false
}

// All lists everything of the given type, by object, member and detail.
func (r *Reports) All(t ConditionType) []Condition {
	var list []Condition
	for _, conditions := range r.byObject {
		for _, c := range conditions {
			if c.Type == t {
				list = append(list, c)
			}
		}
	}
	slices.SortFunc(list, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Name, b.Object.Name), compareConditions(a, b))
	})
	return list
}
