package gobgp

import (
	"encoding/json"
	"slices"

	"netfabric/fabric"
)

// class is a set of peers that paths go to, each with the attributes that it is told.
type class struct {
	id   uint16
	told map[string]fabric.PolicySet // by peer; never changed
}

// classes number the classes of paths. A path carries the number of its class as community 0:N, of the range that RFC 1997 reserves, so that
// one policy tells for every path and peer what to do; the community is taken off before the path is sent.
type classes struct {
	known map[string]*class // by key
	last  uint16
	key   []byte // of the path that was looked at last
}

func newClasses() *classes { return &classes{known: map[string]*class{}} }

// of is the class of a path, nil for one that goes to nobody. It tells whether the class is a new one.
func (c *classes) of(p Path) (x *class, fresh bool) {
	if len(p.Peers) == 0 {
		return nil, false
	}
	c.key = appendKey(c.key[:0], p)
	if x, ok := c.known[string(c.key)]; ok {
		return x, false
	}
	taken := map[uint16]bool{0: true}
	for _, x := range c.known {
		taken[x.id] = true
	}
	for c.last++; taken[c.last]; c.last++ {
	}
	x = &class{id: c.last, told: map[string]fabric.PolicySet{}}
	for _, name := range p.Peers {
		x.told[name] = p.Attributes[name]
	}
	c.known[string(c.key)] = x
	return x, true
}

// keep forgets all classes but some.
func (c *classes) keep(needed map[*class]bool) {
	for key, x := range c.known {
		if !needed[x] {
			delete(c.known, key)
		}
	}
}

// appendKey names the class of a path.
func appendKey(key []byte, p Path) []byte {
	names := p.Peers
	if !slices.IsSorted(names) {
		names = slices.Sorted(slices.Values(names))
	}
	for i, name := range names {
		if i > 0 && name == names[i-1] {
			continue
		}
		key = append(append(key, name...), ',')
		if set := p.Attributes[name]; !set.IsZero() {
			key = append(append(key, setKey(set)...), ',')
		}
	}
	return key
}

// setKey tells sets of attributes apart.
func setKey(set fabric.PolicySet) string {
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // it consists of numbers and addresses
	}
	return string(text)
}
