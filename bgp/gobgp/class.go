package gobgp

import (
	"encoding/json"
	"iter"
	"slices"

	"netfabric/fabric"
)

// class is a set of peers that paths go to, each with the attributes that it is told. Only silent ever changes.
type class struct {
	id     uint16
	key    string
	told   map[string]fabric.PolicySet // by peer
	silent bool                        // no policy speaks of it yet: its paths go to nobody
}

// classes number the classes of paths. A path carries the number of its class as community 0:N, of the range that RFC 1997 reserves, so that
// one policy tells for every path and peer what to do; the community is taken off before the path is sent.
type classes struct {
	known   map[string]*class // by key
	renewed map[*class]bool   // in use besides those of the same key in known
	last    uint16
	key     []byte // of the path that was looked at last
}

func newClasses() *classes { return &classes{known: map[string]*class{}, renewed: map[*class]bool{}} }

// of is the class of a path, nil for one that goes to nobody. It tells whether the class is a new one.
func (c *classes) of(p Path) (x *class, fresh bool) {
	if len(p.Peers) == 0 {
		return nil, false
	}
	c.key = appendKey(c.key[:0], p)
	if x, ok := c.known[string(c.key)]; ok {
		return x, false
	}
	told := map[string]fabric.PolicySet{}
	for _, name := range p.Peers {
		told[name] = p.Attributes[name]
	}
	return c.add(string(c.key), told), true
}

func (c *classes) add(key string, told map[string]fabric.PolicySet) *class {
	taken := map[uint16]bool{0: true}
	for x := range c.all() {
		taken[x.id] = true
	}
	for c.last++; taken[c.last]; c.last++ {
	}
	x := &class{id: c.last, key: key, told: told, silent: true}
	c.known[key] = x
	return x
}

// silent is a class like x of which no policy speaks.
func (c *classes) silent(x *class) *class {
	if known := c.known[x.key]; known.silent {
		return known
	}
	c.renewed[c.known[x.key]] = true
	return c.add(x.key, x.told)
}

func (c *classes) all() iter.Seq[*class] {
	return func(yield func(*class) bool) {
		for _, x := range c.known {
			if !yield(x) {
				return
			}
		}
		for x := range c.renewed {
			if !yield(x) {
				return
			}
		}
	}
}

// keep forgets all classes but some.
func (c *classes) keep(needed map[*class]bool) {
	for key, x := range c.known {
		if !needed[x] {
			delete(c.known, key)
		}
	}
	for x := range c.renewed {
		if !needed[x] {
			delete(c.renewed, x)
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
