package fabric

import (
	"cmp"
	"net/netip"
	"time"
)

// RPKI is a cache that tells which AS may announce which prefix (RFC 6811), asked by RTR (RFC 8210) over plain TCP.
type RPKI struct {
	Header
	Description string     `json:"description,omitempty"`
	Address     netip.Addr `json:"address"`
	Port        uint16     `json:"port,omitempty"`    // 0 is DefaultRPKIPort
	Refresh     int        `json:"refresh,omitempty"` // seconds between two questions, 1-86400; 0: as the cache says
	Retry       int        `json:"retry,omitempty"`   // seconds after a failure at most, 1-7200; 0: as the cache says
	Expire      int        `json:"expire,omitempty"`  // seconds for which data that are not confirmed are used, 600-172800; 0: as the cache says
}

// DefaultRPKIPort is the port of rpki-rtr (RFC 8210, 13).
const DefaultRPKIPort = 323

// Origin validation states (RFC 6811, 2).
const (
	ValidationValid    = "valid"
	ValidationInvalid  = "invalid"
	ValidationNotFound = "not-found"
)

// Validations lists them.
var Validations = []string{ValidationValid, ValidationInvalid, ValidationNotFound}

// Kind is KindRPKI.
func (*RPKI) Kind() Kind { return KindRPKI }

// Validate checks address and times.
func (r *RPKI) Validate() error {
	if err := CheckName("RPKI cache", r.Name); err != nil {
		return err
	}
	if a := r.Address; !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
		return Invalidf("bad-address", "RPKI cache %q: address %q is not a unicast address", r.Name, r.Address)
	}
	for _, t := range []struct {
		name             string
		value, low, high int
	}{{"refresh", r.Refresh, 1, 86400}, {"retry", r.Retry, 1, 7200}, {"expire", r.Expire, 600, 172800}} { // RFC 8210, 6
		if t.value != 0 && (t.value < t.low || t.value > t.high) {
			return Invalidf("bad-value", "RPKI cache %q: %s=%d is not in %d-%d seconds", r.Name, t.name, t.value, t.low, t.high)
		}
	}
	if r.Expire != 0 && (r.Expire <= r.Refresh || r.Expire <= r.Retry) {
		return Invalidf("bad-value", "RPKI cache %q: data expire before they are asked for again", r.Name).WithFix("make expire greater than refresh and retry")
	}
	return nil
}

// Refs is empty.
func (*RPKI) Refs() []Key { return nil }

// Claims holds address and port.
func (r *RPKI) Claims() []Claim { return []Claim{{"rpki", r.Endpoint().String()}} }

// Endpoint is where the cache listens.
func (r *RPKI) Endpoint() netip.AddrPort {
	return netip.AddrPortFrom(r.Address, cmp.Or(r.Port, DefaultRPKIPort))
}

// RoutingRPKI is a cache for the routing worker; times in seconds, 0: as the cache says.
type RoutingRPKI struct {
	Name     string         `json:"name"`
	Endpoint netip.AddrPort `json:"endpoint"`
	Refresh  int            `json:"refresh,omitempty"`
	Retry    int            `json:"retry,omitempty"`
	Expire   int            `json:"expire,omitempty"`
}

// RPKIState is how it stands with a cache. A VRP is an AS that may announce a prefix (RFC 6811, 2).
type RPKIState struct {
	Name      string    `json:"name"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`            // when Connected last changed
	Serial    uint32    `json:"serial"`           // of the data
	IPv4      int       `json:"ipv4"`             // VRPs
	IPv6      int       `json:"ipv6"`             // VRPs
	Updated   time.Time `json:"updated,omitzero"` // when they were last confirmed; zero: there are none
	Expires   time.Time `json:"expires,omitzero"` // when they are not used any more, unless they are confirmed
	LastError string    `json:"last_error,omitempty"`
}
