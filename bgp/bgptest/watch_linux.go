package bgptest

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Watch follows the routes in a host's kernel and knows when they came and went.
type Watch struct {
	n    *Node
	mu   sync.Mutex
	seen map[netip.Prefix]change
	news chan struct{} // closed at the next change
}

type change struct {
	there bool
	at    time.Time
	gone  int // times that it went
}

// Watch begins to follow the host's routes.
func (n *Node) Watch() *Watch {
	n.t.Helper()
	w := &Watch{n: n, seen: map[netip.Prefix]change{}, news: make(chan struct{})}
	ns, err := netns.GetFromName(n.Name)
	if err != nil {
		n.t.Fatal(err)
	}
	defer ns.Close()
	updates, done := make(chan netlink.RouteUpdate, 4096), make(chan struct{})
	err = netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{
		Namespace: &ns, ListExisting: true, ReceiveBufferSize: 64 << 20, ReceiveBufferForceSize: true,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { close(done) })
	go func() {
		for u := range updates {
			w.take(u, time.Now())
		}
	}()
	return w
}

func (w *Watch) take(u netlink.RouteUpdate, now time.Time) {
	if u.Dst == nil || u.Table != unix.RT_TABLE_MAIN {
		return
	}
	a, _ := netip.AddrFromSlice(u.Dst.IP)
	bits, size := u.Dst.Mask.Size()
	if size == 32 {
		a = a.Unmap()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := netip.PrefixFrom(a, bits)
	c := change{u.Type == unix.RTM_NEWROUTE, now, w.seen[p].gone}
	if !c.there {
		c.gone++
	}
	w.seen[p] = c
	close(w.news)
	w.news = make(chan struct{})
}

// Until waits for a route to a prefix to be there, or not, and tells since when that is so. The test fails after the bound.
func (w *Watch) Until(prefix string, there bool, bound time.Duration) time.Time {
	w.n.t.Helper()
	at, err := w.until(netip.MustParsePrefix(prefix), there, bound)
	if err != nil {
		w.n.t.Fatal(err)
	}
	return at
}

// Gone is how often the route to a prefix went. One that is replaced does not go.
func (w *Watch) Gone(prefix string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[netip.MustParsePrefix(prefix)].gone
}

func (w *Watch) until(p netip.Prefix, there bool, bound time.Duration) (time.Time, error) {
	end := time.After(bound)
	for {
		w.mu.Lock()
		c, news := w.seen[p], w.news
		w.mu.Unlock()
		if c.there == there {
			return c.at, nil
		}
		select {
		case <-news:
		case <-end:
			return time.Time{}, fmt.Errorf("not within %s: route to %s there: %v", bound, p, there)
		}
	}
}
