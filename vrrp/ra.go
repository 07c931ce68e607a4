package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"netfabric/fabric"
)

// RouterAdvertising is what hosts are told by router advertisements while a gateway is Active (RFC 4861, 4.2). Its IPv6 subnets are told of as well.
type RouterAdvertising struct {
	Lifetime   time.Duration // for which hosts take the gateway as a default router; 0: not at all
	Interval   time.Duration // between advertisements at most, 4 s to 1800 s
	Managed    bool          // addresses are to be had by DHCPv6
	Other      bool          // other settings are
	NoSLAAC    bool          // hosts are not to make addresses by themselves
	Preference string        // "low", "medium" or "" for it, "high"
	MTU        int           // 0: not told
	DNS        []netip.Addr
	Trusted    []netip.Addr // link-local addresses of other routers that may advertise on the link
}

// Lifetimes of prefixes: they outlive a weekend without the gateway less than hosts' patience, and come anew with each advertisement.
const (
	prefixValid     = 24 * time.Hour
	prefixPreferred = 4 * time.Hour
)

func (r *RouterAdvertising) validate() error {
	switch {
	case r.Lifetime < 0 || r.Lifetime > 65535*time.Second:
		return fmt.Errorf("router lifetime %s must be at most 65535 s", r.Lifetime)
	case r.Interval < 4*time.Second || r.Interval > 1800*time.Second:
		return fmt.Errorf("interval of router advertisements %s must be 4 s to 1800 s", r.Interval)
	case r.Preference != "" && r.Preference != "low" && r.Preference != "medium" && r.Preference != "high":
		return fmt.Errorf("router preference %q is unknown", r.Preference)
	case slices.ContainsFunc(r.DNS, func(a netip.Addr) bool { return !a.Is6() }):
		return fmt.Errorf("resolvers %v need IPv6 addresses", r.DNS)
	}
	return nil
}

// equal tells whether hosts are told the same.
func (r *RouterAdvertising) equal(o *RouterAdvertising) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Lifetime == o.Lifetime && r.Interval == o.Interval && r.Managed == o.Managed && r.Other == o.Other && r.NoSLAAC == o.NoSLAAC &&
		r.Preference == o.Preference && r.MTU == o.MTU && slices.Equal(r.DNS, o.DNS)
}

// message is the advertisement of a virtual router with these addresses.
func (r *RouterAdvertising) message(vrid uint8, addresses []netip.Prefix) *ndp.RouterAdvertisement {
	m := &ndp.RouterAdvertisement{
		CurrentHopLimit: 64, ManagedConfiguration: r.Managed, OtherConfiguration: r.Other, RouterLifetime: r.Lifetime,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: VirtualMAC(IPv6, vrid)}},
	}
	if r.Lifetime > 0 { // RFC 4191, 2.2: without it there is no preference
		m.RouterSelectionPreference = map[string]ndp.Preference{"low": ndp.Low, "high": ndp.High}[r.Preference]
	}
	if r.MTU > 0 {
		m.Options = append(m.Options, ndp.NewMTU(uint32(r.MTU)))
	}
	var told []netip.Prefix
	for _, p := range addresses {
		subnet := p.Masked()
		if p.Addr().IsLinkLocalUnicast() || slices.Contains(told, subnet) {
			continue
		}
		told = append(told, subnet)
		m.Options = append(m.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(subnet.Bits()), Prefix: subnet.Addr(), OnLink: true,
			AutonomousAddressConfiguration: !r.NoSLAAC && subnet.Bits() == 64, // RFC 4862, 5.5.3 d: others can't be used
			ValidLifetime:                  prefixValid, PreferredLifetime: prefixPreferred,
		})
	}
	if len(r.DNS) > 0 {
		m.Options = append(m.Options, &ndp.RecursiveDNSServer{Lifetime: 3 * r.Interval, Servers: r.DNS}) // RFC 8106, 5.1
	}
	return m
}

// advertisementFrame is the Ethernet frame of a router advertisement, from the virtual MAC and the virtual link-local address, which is the first of
// the addresses. A last one tells hosts to look for another router (RFC 4861, 6.2.5).
func (r *RouterAdvertising) advertisementFrame(vrid uint8, addresses []netip.Prefix, last bool) ([]byte, error) {
	source, all := addresses[0].Addr(), netip.IPv6LinkLocalAllNodes()
	m := r.message(vrid, addresses)
	if last {
		m.RouterLifetime, m.RouterSelectionPreference = 0, ndp.Medium
	}
	payload, err := ndp.MarshalMessageChecksum(m, source, all)
	if err != nil {
		return nil, fmt.Errorf("encode router advertisement of VRID %d: %w", vrid, err)
	}
	frame := ethernet(multicastMAC(all), VirtualMAC(IPv6, vrid), etherIPv6)
	return append(append(frame, ipv6Header(source, all, icmpv6, len(payload))...), payload...), nil
}

// icmpv6 is the IP protocol number of ICMPv6.
const icmpv6 = 58

// Advertiser is another router that advertises itself to hosts on a link.
type Advertiser struct {
	Source   netip.Addr
	MAC      string        // as it says; may be empty
	Lifetime time.Duration // for which hosts take it as a default router; 0: it only tells of prefixes
	Until    time.Time     // hosts forget it then
}

// maxPrefixMemory bounds how long a router is remembered that only tells of prefixes.
const maxPrefixMemory = 30 * time.Minute

// advertiserOf says what hosts do with an advertisement: until when they use the router, or addresses that it told them to make.
func advertiserOf(m *ndp.RouterAdvertisement, source netip.Addr, now time.Time) Advertiser {
	a := Advertiser{Source: source, Lifetime: m.RouterLifetime}
	lasts := m.RouterLifetime
	for _, o := range m.Options {
		switch o := o.(type) {
		case *ndp.LinkLayerAddress:
			if o.Direction == ndp.Source {
				a.MAC = o.Addr.String()
			}
		case *ndp.PrefixInformation:
			if o.AutonomousAddressConfiguration {
				lasts = max(lasts, min(o.PreferredLifetime, maxPrefixMemory))
			}
		}
	}
	a.Until = now.Add(lasts)
	return a
}

// validateRA tells what is wrong with the router advertisements of a gateway.
func (g Gateway) validateRA() error {
	if g.RA == nil {
		return nil
	}
	if len(g.addresses(IPv6)) == 0 {
		return fabric.Invalidf("gateway-ra", "gateway %q: router advertisements need an IPv6 address", g.Name)
	}
	if err := g.RA.validate(); err != nil {
		return fabric.Invalidf("gateway-ra", "gateway %q: %w", g.Name, err)
	}
	return nil
}
