package vrrp

import (
	"cmp"
	"net/netip"
	"slices"
)

// sysctl is a setting of the kernel that gateways need, and that is put back when they do not any more.
type sysctl struct {
	path  string // below /proc/sys
	value string
	loose bool // only where reverse paths are checked strictly: value is then the loose check
}

// setup is what a host needs beside the interfaces of its virtual routers. It follows from the gateways alone.
type setup struct {
	sysctls  []sysctl
	forward6 []string // interfaces whose IPv6 packets are to be forwarded
	uplinks  []string // interfaces by which packets for hosts come in; what they need is in the above
	guard    guard
}

func (s setup) equal(o setup) bool {
	return slices.Equal(s.sysctls, o.sysctls) && slices.Equal(s.forward6, o.forward6) && slices.Equal(s.uplinks, o.uplinks) && s.guard.equal(o.guard)
}

// without tells that there are no gateways.
func (s setup) without() bool { return len(s.sysctls)+len(s.forward6) == 0 }

// and adds uplinks, in the families of the gateways.
func (s setup) and(uplinks []string) setup {
	both := setup{slices.Clone(s.sysctls), slices.Clone(s.forward6), uplinks, s.guard}
	for _, name := range uplinks {
		if len(s.sysctls) > 0 {
			both.forward(IPv4, name)
		}
		if len(s.forward6) > 0 {
			both.forward(IPv6, name)
		}
	}
	return both
}

func (s *setup) set(c sysctl) {
	if !slices.Contains(s.sysctls, c) {
		s.sysctls = append(s.sysctls, c)
	}
}

// forward has packets forwarded that come in by an interface.
func (s *setup) forward(f Family, name string) {
	switch {
	case f == IPv4:
		s.set(sysctl{path: confPath("ipv4", name, "forwarding"), value: "1"})
		s.set(sysctl{path: confPath("ipv4", name, "rp_filter"), value: "2", loose: true})
	case !slices.Contains(s.forward6, name):
		s.forward6 = append(s.forward6, name)
	}
}

// guard is what the packet filter of the gateways drops.
type guard struct {
	refuse []netip.Addr // packets to these, save neighbour discovery (RFC 9568, 6.4.3 and Accept_Mode in 6.1)
	deafTo []netip.Addr // router advertisements of these, which are other members': a router does not follow a gateway of its cluster
}

func (g guard) empty() bool { return len(g.refuse)+len(g.deafTo) == 0 }

func (g guard) equal(o guard) bool {
	return slices.Equal(g.refuse, o.refuse) && slices.Equal(g.deafTo, o.deafTo)
}

// setupOf is what a set of virtual routers needs. Interfaces of hosts must not answer for the addresses, nor name one of them in their own ARP
// requests; packets are forwarded between them and the interfaces by which hosts' packets come back, which may be another one than they leave by.
func setupOf(desired map[routerKey]Gateway) setup {
	var s setup
	for k, g := range desired {
		if k.Family == IPv4 {
			s.set(sysctl{path: confPath("ipv4", k.Interface, "arp_ignore"), value: "1"})
			s.set(sysctl{path: confPath("ipv4", k.Interface, "arp_announce"), value: "2"})
		}
		s.forward(k.Family, k.Interface)
		for _, name := range g.Uplinks {
			s.forward(k.Family, name)
			if !slices.Contains(s.uplinks, name) {
				s.uplinks = append(s.uplinks, name)
			}
		}
		if k.Family == IPv6 && g.RA != nil {
			for _, a := range append([]netip.Addr{g.addresses(IPv6)[0].Addr()}, g.Siblings...) {
				if !slices.Contains(s.guard.deafTo, a) {
					s.guard.deafTo = append(s.guard.deafTo, a)
				}
			}
		}
		if g.Accept || g.Priority == PriorityOwner {
			continue
		}
		for _, p := range g.addresses(k.Family) {
			if !slices.Contains(s.guard.refuse, p.Addr()) {
				s.guard.refuse = append(s.guard.refuse, p.Addr())
			}
		}
	}
	slices.SortFunc(s.sysctls, func(a, b sysctl) int { return cmp.Compare(a.path, b.path) })
	slices.Sort(s.forward6)
	slices.Sort(s.uplinks)
	slices.SortFunc(s.guard.refuse, netip.Addr.Compare)
	slices.SortFunc(s.guard.deafTo, netip.Addr.Compare)
	return s
}
