package router

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is what is known of an interface.
type link struct {
	index int
	up    bool // set up, and with a carrier
}

// eventBuffer is the size in bytes of the kernel's buffer of events: it has to hold what happens while the worker does not get to run. Should
// it not, everything is looked at anew.
const eventBuffer = 4 << 20

// links follows the interfaces of the network namespace.
type links struct {
	log     *slog.Logger
	changed func() // called after every change; must not block

	mu  sync.Mutex
	all map[string]link
}

// watchLinks knows the interfaces when it returns, and follows them until ctx ends.
func watchLinks(ctx context.Context, log *slog.Logger, changed func()) (*links, error) {
	l := &links{log: log, changed: changed, all: map[string]link{}}
	updates, done, err := l.subscribe(ctx)
	if err != nil {
		return nil, err
	}
	go func() {
		for l.follow(ctx, updates, done) {
			for {
				if updates, done, err = l.subscribe(ctx); err == nil {
					break
				}
				log.Error("cannot follow interfaces", "error", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Second):
				}
			}
			changed()
		}
	}()
	return l, nil
}

// subscribe asks for changes, and then for what there is, so that nothing falls between.
func (l *links) subscribe(ctx context.Context) (chan netlink.LinkUpdate, chan struct{}, error) {
	updates, done := make(chan netlink.LinkUpdate, 256), make(chan struct{})
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback:     complain(ctx, l.log, "interface events"),
		ReceiveBufferSize: eventBuffer, ReceiveBufferForceSize: true,
	})
	if err != nil {
		return nil, nil, err
	}
	list, err := netlink.LinkList()
	if err != nil {
		close(done)
		return nil, nil, err
	}
	all := map[string]link{}
	for _, x := range list {
		all[x.Attrs().Name] = linkOf(x)
	}
	l.mu.Lock()
	l.all = all
	l.mu.Unlock()
	return updates, done, nil
}

// complain logs errors of a subscription, but not those of its end.
func complain(ctx context.Context, log *slog.Logger, what string) func(error) {
	return func(err error) {
		if ctx.Err() == nil {
			log.Warn(what, "error", err)
		}
	}
}

// follow takes changes until they end; it tells whether to subscribe again.
func (l *links) follow(ctx context.Context, updates chan netlink.LinkUpdate, done chan struct{}) bool {
	defer close(done)
	for {
		select {
		case <-ctx.Done():
			return false
		case u, ok := <-updates:
			if !ok {
				return true
			}
			if l.take(u) {
				l.changed()
			}
		}
	}
}

// take notes one change; it tells whether it was one.
func (l *links) take(u netlink.LinkUpdate) bool {
	name, now := u.Link.Attrs().Name, linkOf(u.Link)
	l.mu.Lock()
	defer l.mu.Unlock()
	before, known := l.all[name]
	if u.Header.Type == unix.RTM_DELLINK {
		// A bridge says of a port that leaves it what the port's death is told with, too; only the index tells them from a namesake.
		if known && before.index == now.index && u.IfInfomsg.Family != unix.AF_BRIDGE {
			delete(l.all, name)
			return true
		}
		return false
	}
	for other, x := range l.all {
		if x.index == now.index && other != name {
			delete(l.all, other) // renamed
		}
	}
	l.all[name] = now
	return !known || before != now
}

func linkOf(x netlink.Link) link {
	a := x.Attrs()
	return link{index: a.Index, up: a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0}
}

// get finds an interface by name.
func (l *links) get(name string) (link, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.all[name]
	return x, ok
}
