package unnumbered

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// State is what is known of the neighbour on an interface.
type State struct {
	Neighbour netip.Addr // with the interface as zone; the zero value while there is none
	Rival     netip.Addr // a second router on the link; the zero value where there is none
	Why       string     // there is no neighbour, in words
}

// Link finds an interface: its index, and whether it is up and has a carrier.
type Link func(name string) (index int, up bool)

// Discovery finds the neighbours on interfaces. Its methods may be called from any goroutine.
type Discovery struct {
	log     *slog.Logger
	link    Link
	changed func()
	open    func(name string, index int) (socket, error)

	mu         sync.Mutex
	remembered map[string]netip.Addr
	watched    map[string]*watch // by interface
}

// watch is an interface that is looked at.
type watch struct {
	end   context.CancelFunc
	poke  chan struct{} // the link or alive changed
	alive bool
	state State
}

// socket sends and receives on one interface.
type socket interface {
	send(k Kind) error
	receive() (from netip.Addr, k Kind, err error) // until close
	close()
}

// message is one that was received.
type message struct {
	from netip.Addr
	kind Kind
}

// reopenAfter is how long a socket that can't be had is not asked for again: the address of an interface that has come up is only usable when nobody
// else has been found to have it (RFC 4862, 5.4).
const reopenAfter = 200 * time.Millisecond

// New makes one that looks at no interface. changed is called after each change of a state; it must not block.
func New(log *slog.Logger, link Link, changed func()) *Discovery {
	return &Discovery{log: log, link: link, changed: changed, open: open, watched: map[string]*watch{}}
}

// Remember makes neighbours of an earlier run, by interface, those that are assumed to be there until they don't answer.
func (d *Discovery) Remember(neighbours map[string]netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remembered = maps.Clone(neighbours)
}

// Set makes interfaces the ones to look at. Repeats are free.
func (d *Discovery) Set(interfaces []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	want := map[string]bool{}
	for _, name := range interfaces {
		want[name] = true
		if d.watched[name] != nil {
			continue
		}
		ctx, end := context.WithCancel(context.Background())
		w := &watch{end: end, poke: make(chan struct{}, 1), state: State{Neighbour: d.remembered[name], Why: "nothing is known of interface " + name + " yet"}}
		d.watched[name] = w
		e := &eye{discovery: d, name: name, watch: w, remembered: d.remembered[name]}
		go e.run(ctx)
		delete(d.remembered, name)
	}
	for name, w := range d.watched {
		if !want[name] {
			w.end()
			delete(d.watched, name)
		}
	}
}

// Alive says on which interfaces BGP with the neighbour is established.
func (d *Discovery) Alive(interfaces map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, w := range d.watched {
		if w.alive != interfaces[name] {
			w.alive = interfaces[name]
			w.wake()
		}
	}
}

// LinksChanged has all interfaces looked at: one of them may have gone up or down.
func (d *Discovery) LinksChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.watched {
		w.wake()
	}
}

func (w *watch) wake() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// State is what is known, by interface.
func (d *Discovery) State() map[string]State {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]State{}
	for name, w := range d.watched {
		all[name] = w.state
	}
	return all
}

// eye looks at one interface.
type eye struct {
	discovery  *Discovery
	name       string
	watch      *watch
	machine    Machine
	remembered netip.Addr // until it has been looked at for the first time
	socket     socket     // nil while the link is down
	index      int        // of the interface that the socket is on
	messages   chan message
	broken     chan struct{} // closed when the socket can't receive any more
}

func (e *eye) run(ctx context.Context) {
	defer e.shut()
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-e.messages:
			e.machine.Recv(time.Now(), x.from, x.kind)
		case <-e.broken:
			e.shut()
			timer.Reset(reopenAfter)
			continue
		case <-e.watch.poke:
		case <-timer.C:
		}
		why, next := e.look(ctx, time.Now())
		e.discovery.publish(e.watch, &e.machine, why)
		timer.Reset(next)
	}
}

// look does what is due. It tells why there is no neighbour, if there is none, and after how long to look again.
func (e *eye) look(ctx context.Context, now time.Time) (why string, next time.Duration) {
	remembered := e.remembered
	e.remembered = netip.Addr{}
	index, up := e.discovery.link(e.name)
	if e.socket != nil && (!up || index != e.index) {
		e.shut()
	}
	switch {
	case index == 0:
		return fmt.Sprintf("interface %s does not exist", e.name), time.Hour
	case !up:
		return fmt.Sprintf("interface %s is down", e.name), time.Hour
	case e.socket == nil:
		s, err := e.discovery.open(e.name, index)
		if err != nil {
			return err.Error(), reopenAfter
		}
		e.socket, e.index, e.messages, e.broken = s, index, make(chan message, 16), make(chan struct{})
		go receive(ctx, s, e.messages, e.broken)
		e.machine.Up(now, remembered)
	}
	e.machine.Alive(now, e.discovery.aliveOn(e.watch))
	advertise, solicit := e.machine.Expire(now)
	for kind, due := range map[Kind]bool{Advertisement: advertise, Solicitation: solicit} {
		if !due {
			continue
		}
		if err := e.socket.send(kind); err != nil {
			e.discovery.log.Debug("cannot look for a BGP neighbour", "interface", e.name, "error", err)
		}
	}
	at, _ := e.machine.Deadline()
	return fmt.Sprintf("no router has been heard on %s", e.name), time.Until(at)
}

func (e *eye) shut() {
	if e.socket != nil {
		e.socket.close()
	}
	e.socket, e.messages, e.broken = nil, nil, nil
	e.machine.Down()
}

// receive passes on what a socket hears, until it is closed or breaks.
func receive(ctx context.Context, s socket, messages chan<- message, broken chan<- struct{}) {
	defer close(broken)
	for {
		from, kind, err := s.receive()
		if err != nil {
			return
		}
		select {
		case messages <- message{from, kind}:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Discovery) aliveOn(w *watch) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return w.alive
}

func (d *Discovery) publish(w *watch, m *Machine, why string) {
	var now State
	if now.Neighbour, now.Rival = m.Neighbour(); !now.Neighbour.IsValid() {
		now.Why = why
	}
	d.mu.Lock()
	same := w.state == now
	w.state = now
	d.mu.Unlock()
	if !same {
		d.changed()
	}
}
