package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"sync"

	"netfabric/fabric"
)

// instanceCache keeps the JSON of instances: most of the work of a list is to make it. Objects in snapshots and reports never change, so an
// entry is good as long as it was made from the very same ones.
type instanceCache struct {
	mu      sync.Mutex
	entries map[string]*cachedInstance
	lists   [2]cachedList // short, full
}

type cachedInstance struct {
	instance *fabric.Instance
	profiles []*fabric.Profile
	networks []*fabric.Network // of its NICs: their prefix lengths are shown in the state
	status   fabric.Condition  // what the member says of it
	data     [2]json.RawMessage
}

// cachedList is the list of all instances.
type cachedList struct {
	snap    *fabric.Snapshot
	reports *fabric.Reports
	online  map[string]bool // by member
	data    json.RawMessage
}

// list is the list of all instances, with full their state too.
func (c *instanceCache) list(r *request, full bool) json.RawMessage {
	now := cachedList{snap: r.snap, reports: r.reports(), online: map[string]bool{}}
	for _, m := range r.status.Members {
		now.online[m.Name] = m.Online
	}
	c.mu.Lock()
	old := c.lists[index(full)]
	c.mu.Unlock()
	if old.snap == now.snap && old.reports == now.reports && maps.Equal(old.online, now.online) {
		return old.data
	}
	all := r.snap.Instances()
	bodies, size := make([]json.RawMessage, len(all)), 2
	for n, i := range all {
		bodies[n] = c.json(r, i, full)
		size += len(bodies[n]) + 1
	}
	now.data = append(make([]byte, 0, size), '[')
	for n, body := range bodies {
		if n > 0 {
			now.data = append(now.data, ',')
		}
		now.data = append(now.data, body...)
	}
	now.data = append(now.data, ']')
	c.mu.Lock()
	c.lists[index(full)] = now
	c.mu.Unlock()
	return now.data
}

// json is an instance, with full its state too.
func (c *instanceCache) json(r *request, i *fabric.Instance, full bool) json.RawMessage {
	status := condition(r, i)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[i.Name]
	if e == nil || !e.fits(r.snap, i, status) {
		if c.entries == nil || len(c.entries) > 2*r.snap.Len(fabric.KindInstance)+16 { // drop those of instances that are gone
			c.entries = map[string]*cachedInstance{}
		}
		e = newCachedInstance(r.snap, i, status)
		c.entries[i.Name] = e
	}
	if e.data[index(full)] == nil {
		e.data[index(full)] = encodeInstance(r.snap, i, status, full)
	}
	return e.data[index(full)]
}

func index(full bool) int {
	if full {
		return 1
	}
	return 0
}

func newCachedInstance(snap *fabric.Snapshot, i *fabric.Instance, status fabric.Condition) *cachedInstance {
	e := &cachedInstance{instance: i, status: status}
	for _, name := range i.Profiles {
		p, _ := snap.Profile(name)
		e.profiles = append(e.profiles, p)
	}
	for _, nic := range i.NICs {
		n, _ := snap.Network(nic.Network)
		e.networks = append(e.networks, n)
	}
	return e
}

// fits tells whether an entry was made from what there is now.
func (e *cachedInstance) fits(snap *fabric.Snapshot, i *fabric.Instance, status fabric.Condition) bool {
	if e.instance != i || !bytes.Equal(e.status.Data, status.Data) || e.status.Reason != status.Reason || e.status.Message != status.Message {
		return false
	}
	for n, name := range i.Profiles {
		if p, _ := snap.Profile(name); p != e.profiles[n] {
			return false
		}
	}
	for n, nic := range i.NICs {
		if network, _ := snap.Network(nic.Network); network != e.networks[n] {
			return false
		}
	}
	return true
}
