package fabric

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CheckType is how a copy of a service is seen to be healthy.
type CheckType string

// The types of checks.
const (
	CheckProcess CheckType = "process" // the instance's init is alive
	CheckTCP     CheckType = "tcp"     // a connection to the service's address is accepted
	CheckHTTP    CheckType = "http"    // GET answers as expected
	CheckHTTPS   CheckType = "https"   // the same over TLS
	CheckDNS     CheckType = "dns"     // a query is answered as expected
	CheckExec    CheckType = "exec"    // a command in the instance exits with 0
)

// Check says how a copy of a service is seen to be healthy. Whatever its type, a dead process or link is unhealthy at once. Checks compare
// with ==.
type Check struct {
	Type     CheckType `json:"type"`
	Port     uint16    `json:"port,omitempty"`
	Interval int       `json:"interval"` // milliseconds between the starts of two checks, 50-3600000
	Timeout  int       `json:"timeout"`  // milliseconds until a check counts as failed, 10 to Interval
	Rise     int       `json:"rise"`     // successes in a row that make a copy healthy, 1-100
	Fall     int       `json:"fall"`     // failures in a row that make it unhealthy, 1-100

	// Of http and https checks.
	Path   string `json:"path,omitempty"`   // default "/"
	Host   string `json:"host,omitempty"`   // Host header and name in TLS; default the service's address
	Status string `json:"status,omitempty"` // codes and ranges of codes that are good, such as "200-204,401"; default 200-399
	Body   string `json:"body,omitempty"`   // text that the first 64 KiB of the answer must have in them
	Verify bool   `json:"verify,omitempty"` // https: the certificate must be valid for Host by the certificate authorities that the member trusts

	// Of dns checks.
	Name   string `json:"name,omitempty"`   // to ask for
	Record string `json:"record,omitempty"` // type of record to ask for, see CheckRecords; default A
	Rcode  string `json:"rcode,omitempty"`  // that the answer must have, see CheckRcodes; default NOERROR, with at least one record of the type
	Answer string `json:"answer,omitempty"` // data that one of those records must have, such as 192.0.2.1; default any

	// Of exec checks.
	Command string `json:"command,omitempty"` // with its arguments, see SplitCommand
}

// What a dns check can ask for, and what can be expected.
var (
	CheckRecords = []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
	CheckRcodes  = []string{"NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"}
)

var checkExamples = map[CheckType]string{CheckTCP: "tcp:80", CheckHTTP: "http:80", CheckHTTPS: "https:443", CheckDNS: "dns:53/example.com", CheckExec: "exec:/usr/bin/check"}

// DefaultStatus are the codes that a http or https check takes as good.
const DefaultStatus = "200-399"

// ported tells whether the type is one of those that are about a port.
func (t CheckType) ported() bool { return t != CheckProcess && t != CheckExec }

// Web tells whether the type is one of those that make a HTTP request.
func (t CheckType) Web() bool { return t == CheckHTTP || t == CheckHTTPS }

// Default fills what is not set.
func (c Check) Default() Check {
	c.Type = cmp.Or(c.Type, CheckProcess)
	c.Interval = cmp.Or(c.Interval, 1000)
	c.Timeout = cmp.Or(c.Timeout, min(500, c.Interval))
	c.Rise, c.Fall = cmp.Or(c.Rise, 1), cmp.Or(c.Fall, 2)
	switch {
	case c.Type.Web():
		c.Path, c.Status = cmp.Or(c.Path, "/"), cmp.Or(c.Status, DefaultStatus)
	case c.Type == CheckDNS:
		c.Record, c.Rcode = cmp.Or(c.Record, "A"), cmp.Or(c.Rcode, "NOERROR")
	}
	return c
}

// StatusRange is a range of HTTP status codes, both ends in it.
type StatusRange struct{ Low, High int }

// ParseStatus reads codes and ranges of codes, such as "200-204,401".
func ParseStatus(s string) ([]StatusRange, error) {
	var all []StatusRange
	for field := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(field), "-")
		if !isRange {
			high = low
		}
		a, err := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return nil, fmt.Errorf("%q is neither a status from 100 to 599 nor a range of them, such as 200-204", field)
		}
		all = append(all, StatusRange{a, b})
	}
	return all, nil
}

// Text is a check as people write it, such as http:80/health.
func (c Check) Text() string {
	switch c.Type {
	case CheckTCP:
		return fmt.Sprintf("tcp:%d", c.Port)
	case CheckHTTP, CheckHTTPS:
		return fmt.Sprintf("%s:%d%s", c.Type, c.Port, c.Path)
	case CheckExec:
		return "exec:" + c.Command
	case CheckDNS:
		return fmt.Sprintf("dns:%d/%s", c.Port, c.Name)
	}
	return string(c.Type)
}

// Accepts tells whether a HTTP status is good.
func (c Check) Accepts(status int) bool {
	ranges, _ := ParseStatus(cmp.Or(c.Status, DefaultStatus)) // validated with the check
	return slices.ContainsFunc(ranges, func(r StatusRange) bool { return r.Low <= status && status <= r.High })
}

// validate checks a complete check; what names its owner in errors.
func (c Check) validate(what string) error {
	bad := func(format string, args ...any) *Error {
		return Invalidf("bad-check", "%s: %s", what, fmt.Sprintf(format, args...))
	}
	switch {
	case !slices.Contains([]CheckType{CheckProcess, CheckTCP, CheckHTTP, CheckHTTPS, CheckDNS, CheckExec}, c.Type):
		return bad("unknown check type %q", c.Type).WithFix("use process, tcp:PORT, http:PORT/PATH, https:PORT/PATH, dns:PORT/NAME or exec:COMMAND")
	case !c.Type.ported() && c.Port != 0:
		return bad("a %s check has no port", c.Type)
	case c.Type.ported() && c.Port == 0:
		return bad("a %s check needs a port", c.Type).WithFix("for example %s", checkExamples[c.Type])
	case !c.Type.Web() && (c.Path != "" || c.Host != "" || c.Status != "" || c.Body != ""):
		return bad("a %s check has no path, host, status or body", c.Type)
	case c.Type != CheckHTTPS && c.Verify:
		return bad("a %s check has no certificate to verify", c.Type)
	case c.Type != CheckDNS && (c.Name != "" || c.Record != "" || c.Rcode != "" || c.Answer != ""):
		return bad("a %s check has no name, record, rcode or answer", c.Type)
	case c.Type != CheckExec && c.Command != "":
		return bad("a %s check has no command", c.Type)
	case c.Type == CheckExec:
		if err := c.validateExec(bad); err != nil {
			return err
		}
	case c.Type.Web():
		if err := c.validateWeb(bad); err != nil {
			return err
		}
	case c.Type == CheckDNS:
		if err := c.validateDNS(bad); err != nil {
			return err
		}
	}
	return c.validatePace(bad)
}

func (c Check) validatePace(bad func(string, ...any) *Error) error {
	if c.Interval < 50 || c.Interval > 3600000 || c.Timeout < 10 || c.Timeout > c.Interval || c.Rise < 1 || c.Rise > 100 || c.Fall < 1 || c.Fall > 100 {
		return bad("want interval 50 to 3600000 ms, timeout 10 ms to interval, rise and fall 1 to 100")
	}
	return nil
}

func (c Check) validateWeb(bad func(string, ...any) *Error) error {
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, " \r\n\x00") {
		return bad("path %q does not fit a %s check", c.Path, c.Type).WithFix("begin it with a slash, and write other characters as %%XX")
	}
	if strings.ContainsAny(c.Host, "/@ \r\n\x00") {
		return bad("host %q is not a host name", c.Host)
	}
	if c.Verify && c.Host == "" {
		return bad("to verify a certificate, the check needs a host").WithFix("give the name that is in the certificate")
	}
	if _, err := ParseStatus(c.Status); err != nil {
		return bad("status %q: %v", c.Status, err)
	}
	if len(c.Body) > 1024 {
		return bad("the text to look for in the body has %d bytes, more than 1024", len(c.Body))
	}
	return nil
}

// validateDNS checks what belongs to a dns check (RFC 1035, 2.3.4: labels up to 63 bytes, names up to 255 in wire form, which is 253 as text).
func (c Check) validateDNS(bad func(string, ...any) *Error) error {
	if c.Name == "" {
		return bad("a dns check needs a name to ask for").WithFix("for example dns:53/example.com")
	}
	name := strings.TrimSuffix(c.Name, ".")
	long := func(label string) bool { return label == "" || len(label) > 63 }
	if len(name) > 253 || strings.ContainsAny(name, " \t\r\n\x00\\\"/") || name != "" && slices.ContainsFunc(strings.Split(name, "."), long) {
		return bad("%q is not a domain name", c.Name)
	}
	if !slices.Contains(CheckRecords, c.Record) {
		return bad("unknown type of record %q", c.Record).WithFix("use one of %s", strings.Join(CheckRecords, ", "))
	}
	if !slices.Contains(CheckRcodes, c.Rcode) {
		return bad("unknown response code %q", c.Rcode).WithFix("use one of %s", strings.Join(CheckRcodes, ", "))
	}
	if c.Answer != "" && c.Rcode != "NOERROR" {
		return bad("an answer with code %s has no records to look at", c.Rcode)
	}
	return nil
}

// minExecInterval bounds how often processes are started for a check, in milliseconds.
const minExecInterval = 200

func (c Check) validateExec(bad func(string, ...any) *Error) error {
	words, err := SplitCommand(c.Command)
	switch {
	case err != nil:
		return bad("command %q: %v", c.Command, err)
	case len(words) == 0 || words[0] == "":
		return bad("an exec check needs a command").WithFix("for example %s", checkExamples[CheckExec])
	case len(c.Command) > 4096 || strings.ContainsAny(c.Command, "\x00\r\n"):
		return bad("the command is longer than 4096 bytes, or has more than one line")
	case c.Interval < minExecInterval:
		return bad("an exec check has an interval of at least %d ms", minExecInterval)
	}
	return nil
}
