package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netfabric/fabric"
)

// DefaultRefresh is a sensible Gateway.Refresh: a host or switch that missed everything else learns within a minute.
const DefaultRefresh = time.Minute

// Gateway is what one member has to do for a gateway: addresses on an interface that it shares with others. Addresses of
// both families make two virtual routers of one VRID, each with an election of its own.
type Gateway struct {
	Name         string                // unique on this member
	Interface    string                // that hosts are behind; it has an own address of each family
	VRID         uint8                 // 1 to 255, unique on the interface
	Addresses    []netip.Prefix        // with the length of the subnet; the same on every member
	Priority     uint8                 // 0: may not be Active now; 1 to 254; 255: becomes Active at once when started
	Interval     time.Duration         // between advertisements: MinInterval to MaxInterval in steps of IntervalUnit
	NoPreempt    bool                  // leave an Active of lower priority alone
	PreemptDelay time.Duration         // after start before it is taken over from
	Checksum     Checksum              // to send with IPv4; empty: ChecksumPseudoHeader
	Unicast      bool                  // send to Peers and hear only them, of each family, instead of the multicast group; and other members at new addresses
	Peers        []netip.Addr          // with Unicast
	Foreign      []netip.Addr          // with Unicast: those of Peers that are no members
	OtherMembers int                   // with Unicast: how many other members there are
	Unmet        bool                  // with Unicast: there are other routers, but none is known. A family without peers does not start then
	Successors   []netip.Addr          // own addresses of other members, best first, to be asked in a planned handover
	Accept       bool                  // Accept_Mode: also when not the owner, take packets that are for the addresses themselves
	Uplinks      []string              // interfaces by which packets for hosts come in
	RA           *RouterAdvertising    // with IPv6 addresses, and while Active; nil: no router advertisements
	Siblings     []netip.Addr          // link-local addresses of other gateways on the segment: they may advertise themselves there, and are not followed
	Refresh      time.Duration         // announce the addresses again this often while Active; 0: never
	LastResort   bool                  // be Active only while no other router is there to take over
	Sync         string                // gateways of one sync set are Active together on one member; empty: none
	Members      map[netip.Addr]string // with Sync: whose the own addresses of others are
}

// Validate tells what is wrong with a gateway on its own, as a *fabric.Error of code fabric.CodeInvalid.
func (g Gateway) Validate() error {
	fail := func(reason, format string, args ...any) error {
		return fabric.Invalidf(reason, "gateway %q: "+format, append([]any{g.Name}, args...)...)
	}
	switch {
	case g.Name == "":
		return fabric.Invalidf("gateway-name", "a gateway without a name")
	case g.Interface == "" || len(g.Interface) > 15:
		return fail("gateway-interface", "interface %q is not the name of an interface", g.Interface)
	case g.VRID == 0:
		return fail("gateway-vrid", "VRID must be 1 to 255")
	case g.Interval < MinInterval || g.Interval > MaxInterval || g.Interval%IntervalUnit != 0:
		return fail("gateway-interval", "interval %s must be %s to %s in steps of %s", g.Interval, MinInterval, MaxInterval, IntervalUnit)
	case g.PreemptDelay < 0 || g.Refresh < 0:
		return fail("gateway-delay", "delays must not be negative")
	case g.Checksum != "" && g.Checksum != ChecksumPlain && g.Checksum != ChecksumPseudoHeader:
		return fail("gateway-checksum", "checksum %q is neither %q nor %q", g.Checksum, ChecksumPseudoHeader, ChecksumPlain)
	case len(g.Addresses) == 0:
		return fail("gateway-address", "no addresses")
	}
	if err := g.validateRA(); err != nil {
		return err
	}
	seen := map[netip.Addr]bool{}
	for _, p := range g.Addresses {
		a := p.Addr()
		if !p.IsValid() || a.Is4In6() || a.Zone() != "" || !a.IsGlobalUnicast() && !(a.Is6() && a.IsLinkLocalUnicast()) {
			return fail("gateway-address", "%s is not the address of a router", p)
		}
		if seen[a] {
			return fail("gateway-address", "address %s is there twice", a)
		}
		seen[a] = true
	}
	for _, f := range []Family{IPv4, IPv6} {
		if n := len(g.addresses(f)); n > maxAddresses {
			return fail("gateway-address", "%d %s addresses: at most %d fit into an advertisement, with the link-local one", n, f, maxAddresses)
		}
	}
	if len(g.Peers) > 0 && !g.Unicast {
		return fail("gateway-peers", "peers are for unicast only")
	}
	for _, a := range append(slices.Clone(g.Peers), g.Successors...) {
		if !a.IsValid() || a.Is4In6() || a.IsMulticast() || a.IsUnspecified() {
			return fail("gateway-peers", "%s is not the address of a router", a)
		}
	}
	return nil
}

// addresses are the addresses of one family as they are advertised: the first of IPv6 is link-local (RFC 9568, 5.2.9).
func (g Gateway) addresses(f Family) []netip.Prefix {
	var local, other []netip.Prefix
	for _, p := range g.Addresses {
		switch {
		case FamilyOf(p.Addr()) != f:
		case p.Addr().IsLinkLocalUnicast() && f == IPv6:
			local = append(local, p)
		default:
			other = append(other, p)
		}
	}
	if f == IPv6 && len(other) > 0 && len(local) == 0 {
		local = []netip.Prefix{netip.PrefixFrom(VirtualLinkLocal(g.VRID), 64)}
	}
	return append(local, other...)
}

// config is the configuration of the machine of one family.
func (g Gateway) config(f Family, primary netip.Addr) Config {
	c := Config{
		Priority: g.Priority, Interval: g.Interval, Preempt: !g.NoPreempt, PreemptDelay: g.PreemptDelay,
		Primary: primary, Refresh: g.Refresh, LastResort: g.LastResort, Unicast: g.Unicast, Hello: g.Unicast && g.OtherMembers > 0,
		Successors: ofFamily(g.Successors, f),
	}
	for _, p := range g.addresses(f) {
		c.Addresses = append(c.Addresses, p.Addr())
	}
	return c
}

func ofFamily(list []netip.Addr, f Family) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		if FamilyOf(a) == f {
			out = append(out, a.WithZone(""))
		}
	}
	return out
}

// routerKey names a virtual router on a host (RFC 9568, 5.2.3: a VRID is unique per interface and family).
type routerKey struct {
	Interface string
	Family    Family
	VRID      uint8
}

// routersOf takes a set of gateways apart into virtual routers. It fails on an invalid gateway and where two collide.
func routersOf(gateways []Gateway) (map[routerKey]Gateway, error) {
	out, names := map[routerKey]Gateway{}, map[string]bool{}
	for _, g := range gateways {
		if err := g.Validate(); err != nil {
			return nil, err
		}
		if names[g.Name] {
			return nil, fabric.Invalidf("gateway-name", "two gateways are named %q", g.Name)
		}
		names[g.Name] = true
		for _, f := range []Family{IPv4, IPv6} {
			if len(g.addresses(f)) == 0 {
				continue
			}
			k := routerKey{g.Interface, f, g.VRID}
			if other, taken := out[k]; taken {
				return nil, fabric.Invalidf("gateway-vrid", "gateways %q and %q both have VRID %d on %s", other.Name, g.Name, g.VRID, g.Interface)
			}
			out[k] = g
		}
	}
	return out, nil
}

// WorstOutage is how long hosts are without the gateway when the Active dies without a word and a member of this
// priority takes over: Active_Down_Interval (RFC 9568, 6.1).
func WorstOutage(interval time.Duration, priority uint8) time.Duration {
	return 3*interval + time.Duration(256-int(priority))*interval/256
}

func (k routerKey) String() string {
	return fmt.Sprintf("%s VRID %d on %s", k.Family, k.VRID, k.Interface)
}
