package vrrp

import (
	"maps"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// openedSocket is a socket, or why there is none.
type openedSocket struct {
	socket *socket
	err    error // of the loop, once it has the socket
}

func (s *openedSocket) failure() error {
	if s == nil {
		return fabric.Errorf(fabric.CodeUnavailable, "no-socket", "the VRRP socket is not open yet")
	}
	return s.err
}

// interest is what is to be known of an interface, and to be heard there.
type interest struct {
	ipv4, ipv6 bool // VRRP
	hosts      bool // router solicitations and advertisements
}

// listening is the open sockets. To open and close them the kernel takes its lock of the network configuration, which others hold for long at times: the
// watcher opens them, the loop reads them, and goroutines that do nothing else close them.
type listening struct {
	routers map[socketKey]*openedSocket
	hosts   map[int]*openedSocket // by interface
}

// renew opens what is needed and not open, and leaves out what is not needed any more. What it is called on stays as it is.
func (l listening) renew(interests map[string]interest, parents map[string]parent) listening {
	next := listening{map[socketKey]*openedSocket{}, map[int]*openedSocket{}}
	for name, want := range interests {
		index := parents[name].Index
		if index == 0 {
			continue
		}
		for f, wanted := range map[Family]bool{IPv4: want.ipv4, IPv6: want.ipv6} {
			if key := (socketKey{index, f}); wanted {
				next.routers[key] = l.routers[key].again(func() (*socket, error) { return openSocket(f, name, index) })
			}
		}
		if want.hosts {
			next.hosts[index] = l.hosts[index].again(func() (*socket, error) { return openRouterSocket(name, index) })
		}
	}
	return next
}

// and adds what only others are.
func (l listening) and(others listening) listening {
	both := listening{maps.Clone(others.routers), maps.Clone(others.hosts)}
	if both.routers == nil { // the first
		return l
	}
	maps.Copy(both.routers, l.routers)
	maps.Copy(both.hosts, l.hosts)
	return both
}

// again is the socket, opened if it is not.
func (s *openedSocket) again(open func() (*socket, error)) *openedSocket {
	if s != nil && s.socket != nil {
		return s
	}
	socket, err := open()
	return &openedSocket{socket, err}
}

// read makes these the sockets that the loop reads. It gives those of VRRP that it did not read before.
func (m *Manager) read(l listening) (opened map[socketKey]bool) {
	opened = adopt(m.poll, m.listening.routers, l.routers)
	adopt(m.poll, m.listening.hosts, l.hosts)
	m.listening = l
	return opened
}

func adopt[K comparable](poll *poller, old, now map[K]*openedSocket) (opened map[K]bool) {
	opened = map[K]bool{}
	for k, s := range now {
		if s.socket == nil || s == old[k] && s.err == nil {
			continue
		}
		s.err = poll.add(s.socket.fd)
		opened[k] = s.err == nil
	}
	for k, s := range old {
		if s.socket != nil && now[k] != s {
			poll.remove(s.socket.fd) // before it is closed, or the loop would be woken by what it does not read
			go s.socket.close()
		}
	}
	return opened
}

func (l listening) close() {
	for _, s := range slices.Concat(slices.Collect(maps.Values(l.routers)), slices.Collect(maps.Values(l.hosts))) {
		if s.socket != nil {
			s.socket.close()
		}
	}
}

// look has the watcher look at the interfaces with routers; setParents does the rest.
func (m *Manager) look() {
	interests := map[string]interest{}
	add := func(k routerKey, hosts bool) {
		i := interests[k.Interface]
		i.ipv4, i.ipv6, i.hosts = i.ipv4 || k.Family == IPv4, i.ipv6 || k.Family == IPv6, i.hosts || hosts
		interests[k.Interface] = i
	}
	for k, g := range m.desired {
		add(k, k.Family == IPv6 && g.RA != nil)
	}
	for k := range m.routers { // also one that is being handed over for good: the successor's advertisement is to be heard
		add(k, false)
	}
	m.watch.look(interests)
}

// parent is what the interface of a virtual router is like; not known before the watcher has looked at it for the router's family.
func (m *Manager) parent(k routerKey) (p parent, known bool) {
	if p, known = m.parents[k.Interface]; p.Index != 0 {
		known = m.listening.routers[socketKey{p.Index, k.Family}] != nil
	}
	return p, known
}

// listen has the witness hear of the addresses of the routers. What it can't hear is no trouble for the gateways.
func (m *Manager) listen() {
	want := map[socketKey][]netip.Addr{}
	for k, r := range m.routers {
		if r.parent.Index == 0 {
			continue
		}
		key := socketKey{r.parent.Index, k.Family}
		for _, p := range r.addresses {
			want[key] = append(want[key], p.Addr())
		}
	}
	for _, addresses := range want {
		slices.SortFunc(addresses, netip.Addr.Compare)
	}
	m.witness.set(want)
}
