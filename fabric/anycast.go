package fabric

import (
	"net/netip"
	"strings"
)

// Anycast is a service with addresses that every healthy copy of it answers for.
type Anycast struct {
	Header
	Description string         `json:"description,omitempty"`
	Addresses   []netip.Prefix `json:"addresses"` // host prefixes
	Check       Check          `json:"check"`
}

// CheckType is how a copy of a service is seen to be healthy.
type CheckType string

// The types of checks.
const (
	CheckProcess CheckType = "process" // the instance's init is alive
	CheckTCP     CheckType = "tcp"     // a connection to the service's address is accepted
	CheckHTTP    CheckType = "http"    // GET answers with a status of 200-399
)

// Check says how a copy of a service is seen to be healthy. Whatever its type, a dead process or link is unhealthy at once.
type Check struct {
	Type     CheckType `json:"type"`
	Port     uint16    `json:"port,omitempty"`
	Path     string    `json:"path,omitempty"` // of a http check, default "/"
	Interval int       `json:"interval"`       // milliseconds between the starts of two checks, 50-3600000
	Timeout  int       `json:"timeout"`        // milliseconds until a check counts as failed, 10 to Interval
	Rise     int       `json:"rise"`           // successes in a row that make a copy healthy, 1-100
	Fall     int       `json:"fall"`           // failures in a row that make it unhealthy, 1-100
}

// Default fills what is not set.
func (c Check) Default() Check {
	if c.Type == "" {
		c.Type = CheckProcess
	}
	if c.Interval == 0 {
		c.Interval = 1000
	}
	if c.Timeout == 0 {
		c.Timeout = min(500, c.Interval)
	}
	if c.Rise == 0 {
		c.Rise = 1
	}
	if c.Fall == 0 {
		c.Fall = 2
	}
	if c.Type == CheckHTTP && c.Path == "" {
		c.Path = "/"
	}
	return c
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
	for _, p := range a.Addresses {
		if !p.IsValid() || !p.IsSingleIP() || p.Addr().Is4In6() {
			return Invalidf("bad-address", "anycast service %q: %s is not a single address", a.Name, p).WithFix("use length /32 for IPv4 and /128 for IPv6")
		}
		if !p.Addr().IsGlobalUnicast() {
			return Invalidf("bad-address", "anycast service %q: %s is not a unicast address that can be announced", a.Name, p.Addr())
		}
	}
	c := a.Check.Default()
	switch c.Type {
	case CheckProcess:
		if c.Port != 0 || c.Path != "" {
			return Invalidf("bad-check", "anycast service %q: a process check has neither port nor path", a.Name)
		}
	case CheckTCP, CheckHTTP:
		if c.Port == 0 {
			return Invalidf("bad-check", "anycast service %q: a %s check needs a port", a.Name, c.Type).WithFix("for example %s:80", c.Type)
		}
		if c.Type == CheckTCP && c.Path != "" || c.Type == CheckHTTP && !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, " \r\n\x00") {
			return Invalidf("bad-check", "anycast service %q: path %q does not fit a %s check", a.Name, c.Path, c.Type)
		}
	default:
		return Invalidf("bad-check", "anycast service %q: unknown check type %q", a.Name, c.Type).WithFix("use process, tcp:PORT or http:PORT/PATH")
	}
	if c.Interval < 50 || c.Interval > 3600000 || c.Timeout < 10 || c.Timeout > c.Interval || c.Rise < 1 || c.Rise > 100 || c.Fall < 1 || c.Fall > 100 {
		return Invalidf("bad-check", "anycast service %q: want interval 50 to 3600000 ms, timeout 10 ms to interval, rise and fall 1 to 100", a.Name)
	}
	return nil
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
