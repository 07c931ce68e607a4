package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// unmet tells that this router would start without knowing whom to tell. One that runs goes on.
func (r *router) unmet() bool {
	state, _ := r.machine.State()
	return state == Initialize && r.gateway.Unmet && len(r.peers.all()) == 0
}

// neighbour tells whether an address can be another member's own.
func (r *router) neighbour(a netip.Addr) bool {
	return r.parent.neighbour(a) && !slices.ContainsFunc(r.addresses, func(v netip.Prefix) bool { return v.Addr() == a })
}

// hear tells whether a packet is one of a peer. Who had nobody to advertise to may have somebody then.
func (r *router) hear(a Advertisement, source netip.Addr, now time.Time) bool {
	waits := r.unmet()
	if !r.peers.hear(a, source, r.machine.Config().Addresses, r.neighbour, now) {
		return false
	}
	if waits && r.fault() == nil {
		r.do(r.machine.Startup(now), now)
	}
	return true
}

// aside is what another member says beside advertisements: that it is there, which is answered by who else is, or that answer.
func (r *router) aside(a Advertisement, source netip.Addr, now time.Time) {
	state, _ := r.machine.State()
	switch {
	case state == Initialize: // there may be no address to answer from
	case a.Message == MessageHello:
		r.do(r.machine.Hello(now, source), now)
		if others := r.peers.introduce(source, now); len(others) > 0 {
			r.sendAside(MessageIntroduction, others, source)
		}
	default:
		r.sayHello(r.peers.introduced(a.Addresses, r.neighbour))
	}
}

// sayHello tells other members' routers that this one is there. Routers that are no members do not know what a hello is.
func (r *router) sayHello(to []netip.Addr) {
	for _, peer := range to {
		r.sendAside(MessageHello, r.machine.Config().Addresses, peer)
	}
}

// sendAside sends what is no advertisement. That it fails is only counted: another follows, and a Backup that sends nothing else must not
// seem to fail until then.
func (r *router) sendAside(message Message, addresses []netip.Addr, to netip.Addr) {
	a := r.advertisement(r.machine.Config().Priority)
	a.Message, a.Addresses = message, addresses
	if err := r.sendMessage(a, to); err != nil {
		r.sendErrors++
	}
}

// hearFar is that a peer's packets could come from beyond the link, as far as their TTL tells: they are not taken, whatever they say.
func (r *router) hearFar(source netip.Addr, now time.Time) {
	if !r.gateway.Unicast || !slices.Contains(r.peers.configured, source) {
		return
	}
	r.m.changed = r.m.changed || r.far != source
	r.far, r.farAt = source, now
}
