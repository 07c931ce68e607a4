package gobgp

import (
	"encoding/json"
	"strings"

	"netfabric/fabric"
)

// class is a set of peers that paths go to, each with the attributes that it is told.
type class struct {
	id   uint16
	told map[string]fabric.PolicySet // by peer
}

// classes number the classes of paths. A path carries the number of its class as community 0:N, of the range that RFC 1997 reserves, so that
// one policy tells for every path and peer what to do; the community is taken off before the path is sent.
type classes struct {
	known map[string]*class // by key
	last  uint16
}

func newClasses() *classes { return &classes{known: map[string]*class{}} }

// classKey names the class of a path; empty for one that goes to nobody.
func classKey(p Path) string {
	names := sortedPeers(p.Peers)
	for i, name := range names {
		if set := p.Attributes[name]; !set.IsZero() {
			names[i] += setKey(set)
		}
	}
	return strings.Join(names, ",")
}

// setKey tells sets of attributes apart.
func setKey(set fabric.PolicySet) string {
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // it consists of numbers and addresses
	}
	return string(text)
}

func (c *classes) id(key string) (uint16, bool) {
	x, ok := c.known[key]
	if !ok {
		return 0, false
	}
	return x.id, true
}

// need makes sure that the class of a path has a number. It tells whether that is new.
func (c *classes) need(key string, p Path) bool {
	if _, ok := c.known[key]; ok || key == "" {
		return false
	}
	taken := map[uint16]bool{0: true}
	for _, x := range c.known {
		taken[x.id] = true
	}
	for c.last++; taken[c.last]; c.last++ {
	}
	x := &class{id: c.last, told: map[string]fabric.PolicySet{}}
	for _, name := range p.Peers {
		x.told[name] = p.Attributes[name]
	}
	c.known[key] = x
	return true
}
