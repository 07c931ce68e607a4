package gobgp

import (
	"net/netip"
	"sync"

	"netfabric/fabric"
)

// book knows what peers have been told. GoBGP keeps no Adj-RIB-Out: it makes one of its table and its policies whenever it is asked, which stops
// it for seconds with 100,000 paths. What goes into it is known here: the paths that were added, the class of each, which sessions are
// established, and which paths have lost against a peer's. One goroutine changes a book, any may look into it.
type book struct {
	mu    sync.RWMutex
	paths map[netip.Prefix]*entry
	peers map[string]fabric.RoutingPeer // with an established session, by name
	// hopless are peers that are told of no IPv6 prefix, by name: there is no next hop for them.
	hopless map[string]bool
	// Of paths that are told, by class: how many there are of each family.
	counts map[*class]*[2]int
}

// entry is a path of ours in GoBGP's table.
type entry struct {
	class  *class
	beaten bool   // a peer's path to the prefix is the best: nobody is told of ours
	round  uint64 // of setPaths that wanted it last
}

func newBook() *book {
	return &book{paths: map[netip.Prefix]*entry{}, peers: map[string]fabric.RoutingPeer{}, counts: map[*class]*[2]int{}}
}

// clear forgets everything.
func (k *book) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.paths)
	clear(k.peers)
	clear(k.counts)
	k.hopless = nil
}

// put notes a path, in place of the one that the prefix may have had. beaten has it wait for a word that it is the best.
func (k *book) put(p netip.Prefix, c *class, beaten bool, round uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.paths[p]; ok {
		k.count(p, old, -1)
	}
	e := &entry{class: c, beaten: beaten, round: round}
	k.paths[p] = e
	k.count(p, e, 1)
}

// remove forgets a path.
func (k *book) remove(p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.paths[p]; ok {
		k.count(p, old, -1)
		delete(k.paths, p)
	}
}

// speak notes that the policies in force speak of all classes, and to whom they do not of IPv6.
func (k *book) speak(all *classes, hopless map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for x := range all.all() {
		x.silent = false
	}
	k.hopless = hopless
}

// carries tells whether prefixes of the IP version of a go to a peer.
func (k *book) carries(p fabric.RoutingPeer, a netip.Addr) bool {
	return p.Carries(a) && !(a.Is6() && k.hopless[p.Name])
}

// rank notes which paths are not the best ones to their prefixes. It tells whether that is news.
func (k *book) rank(beaten map[netip.Prefix]bool) (news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, e := range k.paths {
		if e.beaten != beaten[p] {
			k.count(p, e, -1)
			e.beaten = beaten[p]
			k.count(p, e, 1)
			news = true
		}
	}
	return news
}

// count adds to the number of paths that are told.
func (k *book) count(p netip.Prefix, e *entry, n int) {
	if e.beaten {
		return
	}
	c := k.counts[e.class]
	if c == nil {
		c = &[2]int{}
		k.counts[e.class] = c
	}
	c[familyIndex(p.Addr())] += n
	if *c == [2]int{} {
		delete(k.counts, e.class)
	}
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// session notes whether the session with a peer is established.
func (k *book) session(p fabric.RoutingPeer, established bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if established {
		k.peers[p.Name] = p
	} else {
		delete(k.peers, p.Name)
	}
}

// sent counts what a peer has been told of.
func (k *book) sent(peer string) (n int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p, ok := k.peers[peer]
	if !ok {
		return 0
	}
	for c, counts := range k.counts {
		if _, member := c.told[peer]; !member || c.silent {
			continue
		}
		for i, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			if k.carries(p, a) {
				n += counts[i]
			}
		}
	}
	return n
}

// told tells whether a peer has been told of a prefix. The book must be locked.
func (k *book) told(peer string, p netip.Prefix) bool {
	x, ok := k.peers[peer]
	if !ok || !k.carries(x, p.Addr()) {
		return false
	}
	e, ok := k.paths[p]
	if !ok || e.beaten || e.class.silent {
		return false
	}
	_, member := e.class.told[peer]
	return member
}

// Told has f look into what peers have been told: told answers for the name of a peer and a prefix. Meanwhile nothing can be announced or
// withdrawn: f must not block.
func (s *Speaker) Told(f func(told func(peer string, p netip.Prefix) bool)) {
	s.book.mu.RLock()
	defer s.book.mu.RUnlock()
	f(s.book.told)
}
