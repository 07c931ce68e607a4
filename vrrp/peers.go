package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// peerMemory is how long a peer counts that was learned and not heard since. A member that is forgotten while it is there says hello.
const peerMemory = time.Hour

// peerList are the routers of one family that a router advertises to one by one, and hears.
//
// The configured ones are other members' addresses as the database has spread them, which takes a moment and needs a quorum, and routers that are
// no members. A member whose address is new would be nobody to the others until then: they would not hear it, nor it the Active, and
// there would be two. So members are learned from what they say themselves, a hello or an advertisement. It proves no less than with the multicast
// group, where everybody on the link is heard.
type peerList struct {
	configured []netip.Addr
	foreign    []netip.Addr // of them: no members
	members    int          // other members: no more are learned
	learned    []learnedPeer
	greeted    []netip.Addr // to whom the last hello was said
	answered   map[netip.Addr]time.Time
}

// learnedPeer is a member that the configuration does not have with this address.
type learnedPeer struct {
	address netip.Addr
	heard   time.Time
}

// configure takes what is known of the others now, foreign ones among them. on tells whether an address is one of a neighbour on the link.
func (p *peerList) configure(configured, foreign []netip.Addr, members int, on func(netip.Addr) bool) {
	p.configured, p.foreign, p.members = configured, foreign, members
	p.learned = slices.DeleteFunc(p.learned, func(l learnedPeer) bool { return slices.Contains(configured, l.address) || !on(l.address) })
	p.learned = p.learned[max(0, len(p.learned)-members):]
}

// all are the addresses to advertise to.
func (p *peerList) all() []netip.Addr {
	if len(p.learned) == 0 {
		return p.configured
	}
	out := slices.Clone(p.configured)
	for _, l := range p.learned {
		out = append(out, l.address)
	}
	return out
}

// hear tells whether a packet is one of a peer: of one that is known, or of a neighbour on the link that can be another member at an address which is
// new. A member has the same addresses; it is no owner of them, and it does not begin with a farewell.
func (p *peerList) hear(a Advertisement, source netip.Addr, addresses []netip.Addr, on func(netip.Addr) bool, now time.Time) bool {
	i := slices.IndexFunc(p.learned, func(l learnedPeer) bool { return l.address == source })
	switch {
	case i >= 0: // the last heard comes last
		p.learned = append(slices.Delete(p.learned, i, i+1), learnedPeer{source, now})
		return true
	case slices.Contains(p.configured, source):
		return true
	case p.members == 0 || a.Priority == PriorityFarewell || a.Priority == PriorityOwner || !sameAddresses(a.Addresses, addresses) || !on(source):
		return false
	}
	p.learned = append(p.learned, learnedPeer{source, now})
	p.learned = p.learned[max(0, len(p.learned)-p.members):]
	return true
}

// greet gives the members to say hello to: all that are known.
func (p *peerList) greet() []netip.Addr {
	p.greeted = p.others(netip.Addr{})
	return p.greeted
}

// others are the addresses of other members, save one.
func (p *peerList) others(than netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(p.all()), func(a netip.Addr) bool { return a == than || slices.Contains(p.foreign, a) })
}

// introduce gives whom a member that says hello is to be told of: nobody, when it has just been told. A flood of hellos must not keep us busy.
func (p *peerList) introduce(to netip.Addr, now time.Time) []netip.Addr {
	if at, told := p.answered[to]; told && now.Sub(at) < assertStep {
		return nil
	}
	if p.answered == nil || len(p.answered) > maxAddresses {
		p.answered = map[netip.Addr]time.Time{}
	}
	p.answered[to] = now
	all := p.others(to)
	return all[:min(len(all), maxAddresses)]
}

// introduced gives those of the addresses that a peer has told to say hello to: two members at new addresses may only know a third one. None is
// greeted twice before the next hello to all, or it would go round. They are no peers until they are heard themselves: some may be old.
func (p *peerList) introduced(addresses []netip.Addr, on func(netip.Addr) bool) (greet []netip.Addr) {
	if p.greeted == nil {
		return nil
	}
	for _, a := range addresses {
		if len(p.greeted) < len(p.configured)+3*p.members && on(a) && !slices.Contains(p.greeted, a) && !slices.Contains(p.foreign, a) {
			p.greeted, greet = append(p.greeted, a), append(greet, a)
		}
	}
	return greet
}

// forget drops learned peers that have not been heard for long.
func (p *peerList) forget(now time.Time) {
	p.learned = slices.DeleteFunc(p.learned, func(l learnedPeer) bool { return now.Sub(l.heard) > peerMemory })
}
