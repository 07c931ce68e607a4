package fabric

import (
	"cmp"
	"net/netip"
	"slices"
)

// GatewayRA is what the Active of a gateway with IPv6 addresses tells hosts by router advertisements (RFC 4861, 4.2). The zero value has all defaults.
type GatewayRA struct {
	Off        bool         `json:"off,omitempty"`        // advertise nothing
	Lifetime   int          `json:"lifetime,omitempty"`   // seconds for which hosts take the gateway as a default router, up to 65535; 0 is DefaultRALifetime
	NoDefault  bool         `json:"no_default,omitempty"` // be no default router, only tell of prefixes and DNS
	Interval   int          `json:"interval,omitempty"`   // seconds between advertisements at most, 4-1800; 0 is a third of the lifetime, 600 at most
	Managed    bool         `json:"managed,omitempty"`    // addresses are to be had by DHCPv6
	Other      bool         `json:"other,omitempty"`      // other settings are to be had by DHCPv6
	NoSLAAC    bool         `json:"no_slaac,omitempty"`   // hosts are not to make addresses in the gateway's subnets by themselves
	Preference RAPreference `json:"preference,omitempty"` // among default routers; empty is RAMedium
	MTU        int          `json:"mtu,omitempty"`        // of the link, from 1280; 0: say nothing
	DNS        []netip.Addr `json:"dns,omitempty"`        // resolvers (RFC 8106)
	Trusted    []netip.Addr `json:"trusted,omitempty"`    // link-local addresses of other routers that may advertise there as well
}

// RAPreference is how much hosts should prefer a router (RFC 4191, 2.1).
type RAPreference string

// The preferences.
const (
	RALow    RAPreference = "low"
	RAMedium RAPreference = "medium"
	RAHigh   RAPreference = "high"
)

// Defaults and bounds of a GatewayRA. RFC 8319, 4 gives the longest lifetime.
const (
	DefaultRALifetime = 1800 // seconds
	MaxRALifetime     = 65535
	MinRAInterval     = 4
	MaxRAInterval     = 1800
	defaultRAInterval = 600
	minMTU6           = 1280 // RFC 8200, 5
	maxRADNS          = 15   // the encoder counts the octets of an option in eight bits, and 16 resolvers have 264
)

// Full is r with its defaults filled in.
func (r GatewayRA) Full() GatewayRA {
	r.Lifetime = cmp.Or(r.Lifetime, DefaultRALifetime)
	r.Interval = cmp.Or(r.Interval, max(MinRAInterval, min(defaultRAInterval, r.Lifetime/3)))
	r.Preference = cmp.Or(r.Preference, RAMedium)
	return r
}

// Own is r without what would be so by default: only that is kept, so that a gateway which loses its IPv6 addresses has no settings left for them.
func (r GatewayRA) Own() GatewayRA {
	own := r
	if r.Preference == RAMedium {
		own.Preference = ""
	}
	if own.Interval = 0; own.Full().Interval != r.Interval {
		own.Interval = r.Interval
	}
	if r.Lifetime == DefaultRALifetime {
		own.Lifetime = 0
	}
	return own
}

// isZero tells whether nothing is set.
func (r GatewayRA) isZero() bool {
	return !r.Off && !r.NoDefault && !r.Managed && !r.Other && !r.NoSLAAC && r.Lifetime == 0 && r.Interval == 0 && r.Preference == "" && r.MTU == 0 &&
		len(r.DNS) == 0 && len(r.Trusted) == 0
}

// Advertises tells whether the Active sends router advertisements: it does for a gateway with a global IPv6 address, unless that is off.
func (g *Gateway) Advertises() bool {
	return !g.RA.Off && slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() })
}

// sizeRA is the size in octets of the IPv6 packet of a router advertisement (RFC 8200, 3; RFC 4861, 4.2 and 4.6; RFC 8106, 5.1).
func (g *Gateway) sizeRA() int {
	const header, message, source, mtu, prefix, resolvers, resolver = 40, 16, 8, 8, 32, 8, 16
	subnets := map[netip.Prefix]bool{}
	for _, p := range g.Addresses {
		if p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() {
			subnets[p.Masked()] = true
		}
	}
	size := header + message + source + prefix*len(subnets)
	if g.RA.MTU > 0 {
		size += mtu
	}
	if n := len(g.RA.DNS); n > 0 {
		size += resolvers + resolver*n
	}
	return size
}

func (g *Gateway) checkRA(fail func(reason, format string, args ...any) *Error) error {
	r := g.RA
	if !g.Advertises() && !r.Off && !r.isZero() { // what is off may keep its settings
		return fail("bad-ra", "router advertisements have settings, but need an IPv6 address that is not link-local")
	}
	switch {
	case r.Lifetime < 0 || r.Lifetime > MaxRALifetime:
		return fail("bad-ra", "router lifetime %d s must be 1 to %d s", r.Lifetime, MaxRALifetime).WithFix("no_default makes it no default router")
	case r.Interval != 0 && (r.Interval < MinRAInterval || r.Interval > MaxRAInterval):
		return fail("bad-ra", "interval of router advertisements %d s must be %d to %d s", r.Interval, MinRAInterval, MaxRAInterval)
	case r.Full().Lifetime < r.Full().Interval:
		return fail("bad-ra", "router lifetime %d s is shorter than the %d s between advertisements: hosts would lose their default route in between", r.Full().Lifetime, r.Full().Interval)
	case r.MTU != 0 && (r.MTU < minMTU6 || r.MTU > 65535):
		return fail("bad-ra", "MTU %d must be %d to 65535", r.MTU, minMTU6)
	case r.Preference != "" && r.Preference != RALow && r.Preference != RAMedium && r.Preference != RAHigh:
		return fail("bad-ra", "router preference %q must be low, medium or high", r.Preference)
	case len(r.DNS) > maxRADNS:
		return fail("bad-ra", "%d resolvers are more than %d", len(r.DNS), maxRADNS)
	}
	if size, fits := g.sizeRA(), cmp.Or(r.MTU, minMTU6); g.Advertises() && size > fits {
		return fail("bad-ra", "a router advertisement of its subnets and resolvers has %d octets, and the MTU of the link may be %d", size, fits).
			WithFix("tell the MTU with ra.mtu where it is higher, or have fewer subnets or resolvers")
	}
	for _, a := range r.DNS {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() {
			return fail("bad-ra", "%s is not the IPv6 address of a resolver", a)
		}
	}
	for _, a := range r.Trusted {
		if !a.Is6() || !a.IsLinkLocalUnicast() || a.Zone() != "" {
			return fail("bad-ra", "%s is not the link-local address of a router", a)
		}
	}
	return nil
}
