package router

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"netfabric/fabric"
)

// callerPatience is how long the slot of a neighbour that was heard of stays its own without a session.
const callerPatience = 2 * time.Minute

// caller is a neighbour that a dynamic peer stands for: it has connected from inside the peer's prefix.
type caller struct {
	Peer string    `json:"peer"`
	Last time.Time `json:"last"` // sign of life: it connected, or its session was established
}

// callers are all of them, by address.
type callers map[netip.Addr]caller

// of counts those of a peer.
func (c callers) of(peer string) (n int) {
	for _, x := range c {
		if x.Peer == peer {
			n++
		}
	}
	return n
}

// knock takes note of a connection from an address that is no peer's. It tells whether that made a caller.
func (c callers) knock(peers []fabric.RoutingPeer, a netip.Addr, now time.Time) bool {
	for _, p := range peers {
		if !p.Dynamic.IsValid() || !p.Dynamic.Contains(a) {
			continue
		}
		_, known := c[a]
		if !known && c.of(p.Name) >= p.MaxSessions {
			return false
		}
		c[a] = caller{p.Name, now}
		return !known
	}
	return false
}

// forget drops the callers whose peer is gone, or who have had no session for too long. It tells whether there were any.
func (c callers) forget(peers []fabric.RoutingPeer, sessions []fabric.PeerState, now time.Time) bool {
	prefixes := map[string]netip.Prefix{}
	for _, p := range peers {
		prefixes[p.Name] = p.Dynamic
	}
	for _, s := range sessions {
		if x, ok := c[s.Address]; ok && s.Established() {
			x.Last = now
			c[s.Address] = x
		}
	}
	before := len(c)
	maps.DeleteFunc(c, func(a netip.Addr, x caller) bool {
		p := prefixes[x.Peer]
		return !p.IsValid() || !p.Contains(a) || now.Sub(x.Last) >= callerPatience
	})
	return len(c) != before
}

// next is when forget has something to do at the earliest; false where there are no callers.
func (c callers) next() (at time.Time, ok bool) {
	for _, x := range c {
		if end := x.Last.Add(callerPatience); !ok || end.Before(at) {
			at, ok = end, true
		}
	}
	return at, ok
}

// expand puts the neighbours that have called in the places of dynamic peers, each a peer of its own with the name PEER@ADDRESS. A dynamic peer that
// nobody has called stays what it is.
func expand(r fabric.Routing, c callers) fabric.Routing {
	names := map[string][]string{}
	peers := []fabric.RoutingPeer{}
	for _, p := range r.Peers {
		if !p.Dynamic.IsValid() || c.of(p.Name) == 0 {
			peers = append(peers, p)
			continue
		}
		for _, a := range slices.SortedFunc(maps.Keys(c), netip.Addr.Compare) {
			if c[a].Peer != p.Name {
				continue
			}
			x := p
			x.Name, x.Address, x.Dynamic, x.MaxSessions = fabric.SessionName(p.Name, a), a, netip.Prefix{}, 0
			if r.Speaker != nil && r.Speaker.Listen.Addr().Is4() == a.Is4() && !r.Speaker.Listen.Addr().IsUnspecified() {
				x.Local = r.Speaker.Listen.Addr() // that it knows this member by
			}
			peers = append(peers, x)
			names[p.Name] = append(names[p.Name], x.Name)
		}
	}
	if len(names) == 0 {
		return r
	}
	r.Peers = peers
	r.Announcements = slices.Clone(r.Announcements)
	for i := range r.Announcements {
		a := &r.Announcements[i]
		a.Peers, a.Attributes, a.Weighted = all(a.Peers, names), each(a.Attributes, names), each(a.Weighted, names)
		var withheld []fabric.RoutePeer
		for _, w := range a.Withheld {
			for _, name := range all([]string{w.Peer}, names) {
				w.Peer = name
				withheld = append(withheld, w)
			}
		}
		a.Withheld = withheld
	}
	var imports []fabric.Import
	for _, i := range r.Imports {
		for _, name := range all([]string{i.Peer}, names) {
			i.Peer = name
			imports = append(imports, i)
		}
	}
	r.Imports = imports
	return r
}

// all puts what names stand for in their places.
func all(list []string, names map[string][]string) []string {
	var expanded []string
	for _, name := range list {
		if sessions, ok := names[name]; ok {
			expanded = append(expanded, sessions...)
		} else {
			expanded = append(expanded, name)
		}
	}
	return expanded
}

// each gives what a name has to all that it stands for.
func each[V any](values map[string]V, names map[string][]string) map[string]V {
	if values == nil {
		return nil
	}
	expanded := map[string]V{}
	for name, v := range values {
		for _, x := range all([]string{name}, names) {
			expanded[x] = v
		}
	}
	return expanded
}

// knocks are the addresses that have connected and that nobody has looked at yet.
type knocks struct {
	mu  sync.Mutex
	all map[netip.Addr]bool
}

// mostKnocks bounds how many strangers are remembered between two steps of the loop.
const mostKnocks = 4096

func (k *knocks) add(a netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[netip.Addr]bool{}
	}
	if len(k.all) < mostKnocks {
		k.all[a] = true
	}
}

func (k *knocks) take() map[netip.Addr]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.all
	k.all = nil
	return all
}

// open are the dynamic peers that more neighbours may call.
func (w *Worker) open() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range w.routing.Peers {
		if p.Dynamic.IsValid() && w.callers.of(p.Name) < p.MaxSessions {
			all = append(all, p.Dynamic)
		}
	}
	return all
}

// keysOf are the TCP MD5 passwords by which neighbours of dynamic peers connect.
func keysOf(peers []fabric.RoutingPeer) map[netip.Prefix]string {
	keys := map[netip.Prefix]string{}
	for _, p := range peers {
		if p.Dynamic.IsValid() && p.Password != "" {
			keys[p.Dynamic] = p.Password
		}
	}
	return keys
}

// callersFile has the callers for the next run.
const callersFile = "callers.json"

// stranger hears of a connection from an address that is no peer's. It must not block: the speaker waits for it.
func (w *Worker) stranger(a netip.Addr) {
	w.knocks.add(a)
	select {
	case w.calls <- func() {}:
	default: // the loop has something to do, and looks at knocks then
	}
}

// answer looks at who has called, and who has not for long. It tells whether that changed the callers.
func (w *Worker) answer(now time.Time) bool {
	changed := false
	for a := range w.knocks.take() {
		changed = w.callers.knock(w.routing.Peers, a, now) || changed
	}
	changed = w.callers.forget(w.routing.Peers, w.speaker.State().Peers, now) || changed
	if changed {
		if err := w.disk.write(callersFile, w.callers, false); err != nil {
			w.log.Warn("neighbours that connected are not noted for the next run", "error", err)
		}
	}
	return changed
}

// recallCallers takes up those of the earlier run: their sessions are to go on.
func (w *Worker) recallCallers(now time.Time) {
	if err := w.disk.read(callersFile, &w.callers); err != nil {
		w.log.Warn("neighbours that connected have to do so again", "error", err)
	}
	for a, x := range w.callers {
		x.Last = now
		w.callers[a] = x
	}
}
