package fabric

import (
	"net/netip"
	"slices"
)

// GatewayChecksum is what the checksum of IPv4 advertisements is computed over. Both forms are taken from others.
type GatewayChecksum string

// The forms of the checksum; IPv6 always has the pseudo-header.
const (
	ChecksumRFC5798 GatewayChecksum = "rfc5798" // with the pseudo-header, as deployed; the default
	ChecksumRFC9568 GatewayChecksum = "rfc9568" // without: keepalived 2.2 and FRR 8 drop that
)

// maxGatewayPeers bounds the routers that one advertisement is sent to one by one.
const maxGatewayPeers = 64

// checkProtocol checks how the gateway speaks VRRP.
func (g *Gateway) checkProtocol(fail func(reason, format string, args ...any) *Error) error {
	switch g.Checksum {
	case "", ChecksumRFC5798, ChecksumRFC9568:
	default:
		return fail("bad-value", "checksum %q is neither %s nor %s", g.Checksum, ChecksumRFC5798, ChecksumRFC9568)
	}
	if len(g.Peers) > 0 && !g.Unicast {
		return fail("bad-peer", "peers are for unicast only").WithFix("set unicast, or leave out the peers")
	}
	if len(g.Peers) > maxGatewayPeers {
		return fail("bad-peer", "%d peers are more than %d", len(g.Peers), maxGatewayPeers)
	}
	for i, a := range g.Peers {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || !a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() {
			return fail("bad-peer", "peer %s is not the address of a router", a)
		}
		if slices.Contains(g.Peers[:i], a) || slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return fail("bad-peer", "peer %s is there twice, or is an address of the gateway itself", a)
		}
	}
	return nil
}
