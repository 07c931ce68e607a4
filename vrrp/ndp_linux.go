package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

// openRouterSocket hears router solicitations and advertisements on an interface. It sends nothing.
func openRouterSocket(name string, ifindex int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, icmpv6)
	if err != nil {
		return nil, fmt.Errorf("open a socket for router solicitations on %s: %w", name, err)
	}
	s := &socket{fd: fd, family: IPv6, ifindex: ifindex}
	filter := unix.ICMPv6Filter{} // a bit that is set blocks
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	for _, kind := range []uint{routerSolicitation, routerAdvertisement} {
		filter.Data[kind/32] &^= 1 << (kind % 32)
	}
	allRouters := netip.IPv6LinkLocalAllRouters().As16()
	err = errors.Join(
		os.NewSyscallError("bind to device", unix.BindToDevice(fd, name)),
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter),
		unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: allRouters, Interface: uint32(ifindex)}),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up a socket for router solicitations on %s: %w", name, err)
	}
	return s, nil
}

// advertisers knows the other routers that advertise themselves on the interfaces.
type advertisers map[advertiserKey]Advertiser

type advertiserKey struct {
	iface  string
	source netip.Addr
}

// maxAdvertisers is how many are remembered: a flood must not fill memory.
const maxAdvertisers = 256

// routerPacket is a router solicitation or advertisement. What has crossed a router, or is malformed, is left out (RFC 4861, 6.1).
func (m *Manager) routerPacket(ifindex int, p Packet, now time.Time) {
	if p.TTL != ndp.HopLimit {
		return
	}
	message, err := ndp.ParseMessage(p.Payload)
	if err != nil {
		return
	}
	source := p.Source.WithZone("")
	switch message := message.(type) {
	case *ndp.RouterSolicitation:
		for _, r := range m.routers {
			if r.parent.Index == ifindex && r.gateway.RA != nil && r.key.Family == IPv6 {
				r.solicited++
				r.ra.solicited(now)
			}
		}
	case *ndp.RouterAdvertisement:
		m.heardAdvertiser(ifindex, advertiserOf(message, source, now), now)
	}
}

// heardAdvertiser notes another router.
func (m *Manager) heardAdvertiser(ifindex int, a Advertiser, now time.Time) {
	name := ""
	for parent, p := range m.parents {
		if p.Index == ifindex {
			name = parent
		}
	}
	if name == "" || !a.Source.IsLinkLocalUnicast() || m.isVirtual(name, a.Source) {
		return
	}
	k := advertiserKey{name, a.Source}
	old, known := m.advertisers[k]
	switch {
	case !a.Until.After(now): // it says that it is none
		delete(m.advertisers, k)
		m.changed = m.changed || known
	case known || len(m.advertisers) < maxAdvertisers:
		m.advertisers[k] = a
		m.changed = m.changed || !known || old.MAC != a.MAC || old.Lifetime != a.Lifetime
	}
}

// isVirtual tells whether an address is one of a gateway's on the interface, of this host or of the cluster.
func (m *Manager) isVirtual(iface string, a netip.Addr) bool {
	for k, g := range m.desired {
		if k.Interface != iface || k.Family != IPv6 {
			continue
		}
		if slices.Contains(g.Siblings, a) || slices.ContainsFunc(g.addresses(IPv6), func(p netip.Prefix) bool { return p.Addr() == a }) {
			return true
		}
	}
	return false
}

func (m *Manager) forgetAdvertisers(now time.Time) {
	for k, a := range m.advertisers {
		if !a.Until.After(now) {
			delete(m.advertisers, k)
			m.changed = true
		}
	}
}

// rogues are other routers that advertise themselves where a gateway does, and are not trusted to.
func (r *router) rogues() []Advertiser {
	if r.key.Family != IPv6 || r.gateway.RA == nil {
		return nil
	}
	var all []Advertiser
	for k, a := range r.m.advertisers {
		if k.iface == r.key.Interface && !slices.Contains(r.gateway.RA.Trusted, a.Source) && !r.m.isVirtual(k.iface, a.Source) { // it may have become one
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b Advertiser) int { return a.Source.Compare(b.Source) })
	return all
}

// advertiseRouter sends a router advertisement; a last one says that this is none any more.
func (r *router) advertiseRouter(told *RouterAdvertising, last bool) {
	frame, err := told.advertisementFrame(r.key.VRID, r.addresses, last)
	if err == nil {
		err = r.m.frames.send(r.parent.Index, frame)
	}
	r.m.changed = r.m.changed || (err == nil) != (r.raErr == nil)
	if r.raErr = err; err != nil {
		r.sendErrors++
		return
	}
	r.advertised++
}

// configureRouter takes what hosts are to be told. While Active they are told at once when it has changed, or that this is no router any more.
func (r *router) configureRouter(old *RouterAdvertising, was []netip.Prefix, now time.Time) {
	state, _ := r.machine.State()
	is := r.gateway.RA
	if r.key.Family != IPv6 || state != Active || is.equal(old) && slices.Equal(was, r.addresses) {
		return
	}
	if is == nil {
		r.ra.stop()
		r.advertiseRouter(old, true)
		r.raErr = nil
		return
	}
	r.ra.start(now, is.Interval)
}

// turnRouter starts and ends router advertisements with a transition. Who leaves for good and has no successor tells hosts to look elsewhere
// (RFC 4861, 6.2.5); who has one says nothing, as the router that hosts know goes on.
func (r *router) turnRouter(t Transition, now time.Time) {
	succeeded := r.succeeded
	r.succeeded = false
	if r.key.Family != IPv6 || r.gateway.RA == nil {
		return
	}
	if t.To == Active {
		r.ra.start(now, r.gateway.RA.Interval)
	} else {
		r.ra.stop()
		r.raErr = nil
	}
	if t.From == Active && t.To == Initialize && r.retiring && !succeeded && !r.m.abrupt {
		r.advertiseRouter(r.gateway.RA, true)
	}
}

// raDeadline is when a router advertisement is due, zero for never: not before the addresses are there.
func (r *router) raDeadline() time.Time {
	if !r.hold.IsZero() {
		return time.Time{}
	}
	return r.ra.next
}
