package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// batch is the number of paths after which a newer config is looked for.
const batch = 256

// A path that is added goes to each peer in a message of its own, one system call each. To add a bulk of them is quicker: no policy speaks of
// their class then, so that they go to nobody; once they are all there and one does, each peer is told of everything, in messages that are full.
// That tells peers again what they know: the bulk must be more.
const bulk = 1000

// additions are paths to announce.
type additions struct {
	fresh   []addition // of prefixes that are not announced yet
	changed []addition // of others
}

type addition struct {
	prefix netip.Prefix
	class  *class
}

// classify finds out what is to be announced that is not, and marks in the book what is to stay.
func (s *Speaker) classify(c *Config) (todo additions) {
	s.round++
	if n := len(c.Paths) - len(s.book.paths); n >= bulk {
		todo.fresh = make([]addition, 0, n)
	}
	for _, p := range c.Paths {
		x, _ := s.classes.of(p)
		if x == nil {
			continue
		}
		switch e := s.book.paths[p.Prefix]; {
		case e == nil:
			todo.fresh = append(todo.fresh, addition{p.Prefix, x})
		case e.class.key != x.key:
			todo.changed = append(todo.changed, addition{p.Prefix, x})
			e.round = s.round
		default:
			e.round = s.round
		}
	}
	return todo
}

// setPaths withdraws what classify has not marked and announces what it found, with the policies that this needs. It stops early when there
// is a newer config than c: done is false then.
func (s *Speaker) setPaths(ctx context.Context, c *Config, todo additions) (done bool, err error) {
	w := &pathWriter{Speaker: s, config: c, request: &api.Path{}}
	gone := w.gone()
	if len(gone)+len(todo.fresh)+len(todo.changed) >= bulk {
		s.gather(true)
		defer s.gather(false)
	}
	// What can't be reached any more goes first: traffic is lost for it now.
	w.withdraw(ctx, gone)
	if many := len(todo.fresh); many >= bulk && many >= len(s.book.paths) {
		for i, a := range todo.fresh {
			todo.fresh[i].class = s.classes.silent(a.class)
		}
		w.announce(ctx, todo.fresh)
		todo.fresh = nil
	}
	w.fail(s.setPolicies(ctx, c, todo))
	w.announce(ctx, todo.fresh)
	w.announce(ctx, todo.changed)
	return !w.superseded, errors.Join(w.failures...)
}

// pathWriter carries out changes of paths.
type pathWriter struct {
	*Speaker
	config     *Config
	request    *api.Path // used again for each: GoBGP keeps nothing of it
	n          int
	superseded bool // there is a newer config: nothing more is done
	failures   []error
}

func (w *pathWriter) fail(err error) {
	if err != nil {
		w.failures = append(w.failures, err)
	}
}

// next counts changes, and looks for a newer config now and then.
func (w *pathWriter) next() {
	if w.n++; w.n%batch == 0 {
		_, w.superseded = w.newest(w.config)
	}
}

// gone are the prefixes that are not marked.
func (w *pathWriter) gone() (all []netip.Prefix) {
	for prefix, e := range w.book.paths {
		if e.round != w.round {
			all = append(all, prefix)
		}
	}
	return all
}

func (w *pathWriter) withdraw(ctx context.Context, todo []netip.Prefix) {
	for _, prefix := range todo {
		if w.superseded {
			return
		}
		fillPath(w.request, prefix, 0)
		if err := w.server.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: w.request}); err != nil {
			w.fail(fmt.Errorf("withdraw %s: %w", prefix, err))
			continue
		}
		w.book.remove(prefix)
		w.next()
	}
}

func (w *pathWriter) announce(ctx context.Context, todo []addition) {
	contested := w.contested()
	for _, a := range todo {
		if w.superseded {
			return
		}
		fillPath(w.request, a.prefix, a.class.id)
		if _, err := w.server.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: w.request}); err != nil {
			w.fail(fmt.Errorf("announce %s: %w", a.prefix, err))
			continue
		}
		w.book.put(a.prefix, a.class, contested, w.round)
		w.unranked = w.unranked || contested
		w.next()
	}
}

// fillPath makes path one of our own. The next hop is left open: each session puts its own address in. Prefix and attributes are as in an UPDATE message,
// which is the form that GoBGP reads with least effort. Of class 0, which is none, it is one to withdraw.
func fillPath(path *api.Path, p netip.Prefix, class uint16) {
	nlri := append(path.NlriBinary[:0], byte(p.Bits()))
	nlri = append(nlri, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	path.NlriBinary = nlri
	path.Family, path.PattrsBinary = ipv4, append(path.PattrsBinary[:0], openNextHop)
	if p.Addr().Is6() {
		path.Family, path.PattrsBinary[0] = ipv6, reach6(nlri)
	}
	if class != 0 {
		path.PattrsBinary = append(path.PattrsBinary, originIGP, classCommunity(class))
	}
}

// What all paths have in common, see RFC 4271, 4.3: flags, type and length of an attribute come before its value.
var (
	ipv4        = familyOf(netip.IPv4Unspecified())
	ipv6        = familyOf(netip.IPv6Unspecified())
	originIGP   = []byte{0x40, byte(bgp.BGP_ATTR_TYPE_ORIGIN), 1, bgp.BGP_ORIGIN_ATTR_TYPE_IGP}
	openNextHop = []byte{0x40, byte(bgp.BGP_ATTR_TYPE_NEXT_HOP), 4, 0, 0, 0, 0}
)

// classCommunity is 0:N as the one community of a path (RFC 1997).
func classCommunity(n uint16) []byte {
	return []byte{0xc0, byte(bgp.BGP_ATTR_TYPE_COMMUNITIES), 4, 0, 0, byte(n >> 8), byte(n)}
}

// reach6 tells of an IPv6 prefix with an open next hop (RFC 4760, 3).
func reach6(nlri []byte) []byte {
	const addressSize, reserved = 16, 1
	size := 2 + 1 + 1 + addressSize + reserved + len(nlri)
	b := append(make([]byte, 0, 3+size), 0x80, byte(bgp.BGP_ATTR_TYPE_MP_REACH_NLRI), byte(size), 0, bgp.AFI_IP6, bgp.SAFI_UNICAST, addressSize)
	b = append(b, make([]byte, addressSize+reserved)...)
	return append(b, nlri...)
}
