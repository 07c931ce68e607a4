package fabric

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// CheckICMP is an echo request that is answered; only tracks of gateways have it.
const CheckICMP CheckType = "icmp"

// trackCheckForms are the forms of the target of a TrackCheck.
const trackCheckForms = "icmp:ADDRESS, tcp:ADDRESS:PORT, http:ADDRESS:PORT[/PATH], https:ADDRESS:PORT[/PATH] or dns:ADDRESS:PORT/NAME, with an IPv6 address in brackets"

// Probe is what a TrackCheck looks at, from the member itself: an address, and the check that is made there.
func (t Track) Probe() (netip.Addr, Check, error) {
	bad := func() (netip.Addr, Check, error) {
		return netip.Addr{}, Check{}, Invalidf("bad-track", "track %s: %q is not what can be checked", t, t.Target).WithFix("use %s", trackCheckForms)
	}
	kind, where, _ := strings.Cut(t.Target, ":")
	c := Check{Type: CheckType(kind), Interval: t.Interval, Timeout: t.Timeout, Rise: t.Rise, Fall: t.Fall}
	address, path, hasPath := strings.Cut(where, "/")
	var to netip.Addr
	if c.Type == CheckICMP {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"))
		if err != nil || hasPath {
			return bad()
		}
		to = a
	} else {
		p, err := netip.ParseAddrPort(address)
		if err != nil || p.Port() == 0 {
			return bad()
		}
		to, c.Port = p.Addr(), p.Port()
	}
	if to.Zone() != "" || to.Is4In6() || !to.IsGlobalUnicast() && !to.IsLoopback() {
		return bad()
	}
	switch {
	case c.Type.Web() && hasPath:
		c.Path = "/" + path
	case c.Type == CheckDNS && path != "":
		c.Name = path
	case c.Type == CheckDNS, hasPath:
		return bad()
	}
	c = c.Default()
	switch c.Type {
	case CheckICMP:
		return to, c, c.validatePace(func(format string, args ...any) *Error {
			return Invalidf("bad-track", "track %s: "+format, append([]any{t}, args...)...)
		})
	case CheckTCP, CheckHTTP, CheckHTTPS, CheckDNS:
		return to, c, c.validate("track " + t.String())
	}
	return bad()
}

// seenAfter is how long it can take until a check tells of a failure.
func (c Check) seenAfter() time.Duration {
	return time.Duration(c.Fall*c.Interval+c.Timeout) * time.Millisecond
}

// parsePace reads one of the options of a TrackCheck: interval=TIME, timeout=TIME, rise=N, fall=N.
func (t *Track) parsePace(option string) error {
	key, value, _ := strings.Cut(option, "=")
	times, counts := map[string]*int{"interval": &t.Interval, "timeout": &t.Timeout}, map[string]*int{"rise": &t.Rise, "fall": &t.Fall}
	if into := times[key]; into != nil && t.Type == TrackCheck {
		if d, err := time.ParseDuration(value); err == nil && d > 0 && d%time.Millisecond == 0 && d <= time.Hour {
			*into = int(d / time.Millisecond)
			return nil
		}
		return Invalidf("bad-track", "%s %q is not a whole number of milliseconds, such as 500ms or 2s", key, value)
	}
	if into := counts[key]; into != nil && t.Type == TrackCheck {
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			*into = n
			return nil
		}
		return Invalidf("bad-track", "%s %q is not a number from 1 to 100", key, value)
	}
	if n, err := strconv.Atoi(option); err == nil && n > 0 && t.Weight == 0 {
		t.Weight = n
		return nil
	}
	fix := "give a number from 1 to 253 as the weight"
	if t.Type == TrackCheck {
		fix += ", or interval=TIME, timeout=TIME, rise=N, fall=N"
	}
	return Invalidf("bad-track", "%q is no option of a track", option).WithFix("%s", fix)
}

// pace is what parsePace reads.
func (t Track) pace() string {
	var out strings.Builder
	for _, o := range []struct {
		key string
		ms  int
	}{{"interval", t.Interval}, {"timeout", t.Timeout}} {
		if o.ms != 0 {
			out.WriteString("," + o.key + "=" + (time.Duration(o.ms) * time.Millisecond).String())
		}
	}
	for _, o := range []struct {
		key string
		n   int
	}{{"rise", t.Rise}, {"fall", t.Fall}} {
		if o.n != 0 {
			out.WriteString("," + o.key + "=" + strconv.Itoa(o.n))
		}
	}
	return out.String()
}

// checkPaced makes sure that only a TrackCheck has a pace.
func (t Track) checkPaced() error {
	if t.Type != TrackCheck && cmp.Or(t.Interval, t.Timeout, t.Rise, t.Fall) != 0 {
		return Invalidf("bad-track", "track %s: only a check has interval, timeout, rise and fall", t)
	}
	return nil
}
