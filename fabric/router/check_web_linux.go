package router

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"netfabric/fabric"
)

// bodyLimit is how much of an answer is read.
const bodyLimit = 1 << 16

// webCheck makes one GET over HTTP or HTTPS. Redirects are not followed: they are answers.
func webCheck(ns *os.File, c fabric.Check, target netip.AddrPort, deadline time.Time) string {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	url := string(c.Type) + "://" + target.String() + c.Path
	client := http.Client{
		Transport: &http.Transport{
			DialContext:            func(context.Context, string, string) (net.Conn, error) { return dialIn(ns, target, deadline) },
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: bodyLimit,
			// Who answers is not in question: it is the instance at the other end of its own loopback. Verify is for the service's sake.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: !c.Verify, ServerName: cmp.Or(hostname(c.Host), target.Addr().String())},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Sprintf("%s: %v", url, err)
	}
	r.Header.Set("User-Agent", "fabric-router")
	r.Host = c.Host // empty is that of the URL
	response, err := client.Do(r)
	if err != nil {
		return fmt.Sprintf("%s: %s", url, failure(err, c))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %s", url, failure(err, c))
	case !c.Accepts(response.StatusCode):
		return fmt.Sprintf("%s: status %d", url, response.StatusCode)
	case !bytes.Contains(body, []byte(c.Body)):
		return fmt.Sprintf("%s: status %d, but %q is not in the answer", url, response.StatusCode, c.Body)
	}
	return ""
}

// hostname is a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
