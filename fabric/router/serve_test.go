package router

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/miekg/dns"
)

// serveAt is the service of an instance at an address: HTTP at the given port, HTTPS at 443, DNS at 53.
func serveAt(address string) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "all is well at %s", r.Host)
	})
	go http.ListenAndServe(address, handler)
	host, _, _ := net.SplitHostPort(address)
	go func() {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "443"))
		if err != nil {
			panic(err)
		}
		s := httptest.NewUnstartedServer(handler) // has a certificate for example.com of nobody's authority
		s.Listener.Close()
		s.Listener = l
		s.StartTLS()
	}()
	for _, network := range []string{"udp", "tcp"} {
		go (&dns.Server{Addr: net.JoinHostPort(host, "53"), Net: network, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			w.WriteMsg(zone(q, network == "udp"))
		})}).ListenAndServe()
	}
}

// zone answers for example.com.
func zone(q *dns.Msg, udp bool) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	records := map[string]map[uint16]string{
		"example.com.":     {dns.TypeA: "example.com. 60 IN A 192.0.2.80", dns.TypeTXT: `example.com. 60 IN TXT "v=1" "x"`, dns.TypeMX: "example.com. 60 IN MX 10 Mail.example.com."},
		"big.example.com.": {dns.TypeAAAA: "big.example.com. 60 IN AAAA 2001:db8::80"},
	}
	types, ok := records[q.Question[0].Name]
	switch {
	case !ok:
		m.Rcode = dns.RcodeNameError
	case udp && q.Question[0].Name == "big.example.com.":
		m.Truncated = true
	case types[q.Question[0].Qtype] != "":
		r, err := dns.NewRR(types[q.Question[0].Qtype])
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, r)
	}
	return m
}
