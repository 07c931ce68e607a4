package router

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// dnsCheck makes one query by UDP, and again by TCP when the answer does not fit (RFC 1035, 4.2.1).
func dnsCheck(ns *os.File, c fabric.Check, target netip.AddrPort, deadline time.Time) string {
	what := fmt.Sprintf("dns %s %s %s", target, c.Name, c.Record)
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(c.Name), dns.StringToType[c.Record])
	answer, err := exchange(ns, unix.SOCK_DGRAM, query, target, deadline)
	if err == nil && answer.Truncated {
		answer, err = exchange(ns, unix.SOCK_STREAM, query, target, deadline)
	}
	if err != nil {
		return what + ": " + failure(err, c)
	}
	if wrong := judgeAnswer(c, query, answer); wrong != "" {
		return what + ": " + wrong
	}
	return ""
}

func exchange(ns *os.File, kind int, query *dns.Msg, target netip.AddrPort, deadline time.Time) (*dns.Msg, error) {
	conn, err := dialAs(ns, kind, target, deadline)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, _, err := (&dns.Client{Timeout: time.Until(deadline)}).ExchangeWithConn(query, &dns.Conn{Conn: conn})
	return answer, err
}

// judgeAnswer is what is wrong with an answer to a query, in words; empty is nothing.
func judgeAnswer(c fabric.Check, query, answer *dns.Msg) string {
	if !answer.Response || len(answer.Question) != 1 || !strings.EqualFold(answer.Question[0].Name, query.Question[0].Name) || answer.Question[0].Qtype != query.Question[0].Qtype {
		return "the answer is not one to this question"
	}
	if code := dns.RcodeToString[answer.Rcode]; code != c.Rcode {
		return fmt.Sprintf("response code %s, want %s", code, c.Rcode)
	}
	if c.Rcode != "NOERROR" {
		return ""
	}
	var data []string
	for _, r := range answer.Answer {
		if r.Header().Rrtype == query.Question[0].Qtype {
			data = append(data, strings.TrimPrefix(r.String(), r.Header().String()))
		}
	}
	switch {
	case len(data) == 0:
		return "no " + c.Record + " record in the answer"
	case c.Answer != "" && !slices.ContainsFunc(data, func(d string) bool { return sameData(c, d) }):
		return fmt.Sprintf("the answer is %s, want %s", strings.Join(data, ", "), c.Answer)
	}
	return ""
}

// sameData compares a record's data with what is wanted. Case and the dot at the end of a name, and the quotes of a text, make no difference.
func sameData(c fabric.Check, data string) bool {
	plain := func(s string) string {
		if c.Record == "TXT" {
			return strings.ReplaceAll(s, `"`, "")
		}
		return strings.ToLower(strings.TrimSuffix(s, "."))
	}
	if want, err := netip.ParseAddr(c.Answer); err == nil {
		have, err := netip.ParseAddr(data)
		return err == nil && have == want
	}
	return plain(data) == plain(c.Answer)
}
