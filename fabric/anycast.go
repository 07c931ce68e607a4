package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Anycast is a service with addresses that every healthy copy of it answers for.
type Anycast struct {
	Header
	Description string         `json:"description,omitempty"`
	Addresses   []netip.Prefix `json:"addresses"` // host prefixes
	Check       Check          `json:"check"`
	Weight      Weighting      `json:"weight,omitempty"`      // empty is WeightNone
	MinHealthy  int            `json:"min_healthy,omitempty"` // failed checks withdraw no copy when fewer than so many would be left in the cluster; 0: they always do
}

// Kind is KindAnycast.
func (*Anycast) Kind() Kind { return KindAnycast }

// Validate checks addresses and check.
func (a *Anycast) Validate() error {
	if err := CheckName("anycast service", a.Name); err != nil {
		return err
	}
	if strings.Contains(a.Name, ",") || len(a.Addresses) == 0 {
		return Invalidf("bad-address", "anycast service %q has no address", a.Name).WithFix("give one or more, such as 203.0.113.53/32")
	}
	for i, p := range a.Addresses {
		if slices.Contains(a.Addresses[:i], p) {
			return Invalidf("bad-address", "anycast service %q: %s is there twice", a.Name, p)
		}
		if !p.IsValid() || !p.IsSingleIP() || p.Addr().Is4In6() {
			return Invalidf("bad-address", "anycast service %q: %s is not a single address", a.Name, p).WithFix("use length /32 for IPv4 and /128 for IPv6")
		}
		if !p.Addr().IsGlobalUnicast() {
			return Invalidf("bad-address", "anycast service %q: %s is not a unicast address that can be announced", a.Name, p.Addr())
		}
	}
	if a.MinHealthy < 0 || a.MinHealthy > 1000 {
		return Invalidf("bad-value", "anycast service %q: min_healthy is %d, want 0 to 1000", a.Name, a.MinHealthy)
	}
	if err := a.Weight.validate(fmt.Sprintf("anycast service %q", a.Name)); err != nil {
		return err
	}
	return a.Check.Default().validate(fmt.Sprintf("anycast service %q", a.Name))
}

// Refs is empty.
func (*Anycast) Refs() []Key { return nil }

// Claims holds the addresses.
func (a *Anycast) Claims() []Claim {
	var claims []Claim
	for _, p := range a.Addresses {
		claims = append(claims, Claim{"anycast", p.Addr().String()})
	}
	return claims
}
