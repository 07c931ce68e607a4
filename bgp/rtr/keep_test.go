package rtr

import (
	"bytes"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestKeptOverARestart(t *testing.T) {
	at, other := netip.MustParseAddrPort("192.0.2.50:8282"), netip.MustParseAddrPort("192.0.2.51:8282")
	client := func(address netip.AddrPort) *Client { return NewClient(address, Timers{}, func(bool) {}) }
	said := map[VRP]struct{}{a: {}, b: {}, c: {}}
	before := client(at)
	if before.Export() != nil {
		t.Error("a cache that was not heard has said something")
	}
	before.m.Connected(epoch)
	answer := []PDU{{Version: 1, Type: CacheResponse, Session: 7}}
	for v := range said {
		answer = append(answer, prefixPDU(1, v, false))
	}
	for _, p := range append(answer, PDU{Version: 1, Type: EndOfData, Session: 7, Serial: 9, Refresh: 60, Retry: 30, Expire: 700}) {
		if _, _, err := before.m.Recv(epoch, p); err != nil {
			t.Fatal(err)
		}
	}
	data := before.Export()
	for _, x := range []struct {
		name    string
		address netip.AddrPort
		data    []byte
		after   time.Duration
		want    map[VRP]struct{}
		err     string
	}{
		{"at once", at, data, 0, said, ""},
		{"before it expires", at, data, 699 * time.Second, said, ""},
		{"after", at, data, 700 * time.Second, nil, ""},
		{"of another cache", other, data, 0, nil, "it is of 192.0.2.50:8282"},
		{"of tomorrow", at, data, -time.Second, nil, "yet to come"},
		{"nothing", at, nil, 0, nil, "JSON"},
		{"cut short", at, data[:len(data)-1], 0, nil, "unexpected EOF"},
		{"cut shorter", at, data[:len(data)-24], 0, nil, "unexpected EOF"},
		{"spoilt", at, bytes.Replace(data, []byte{1, CacheResponse}, []byte{1, EndOfData}, 1), 0, nil, "bytes"},
	} {
		after := client(x.address)
		err := after.Import(x.data, epoch.Add(x.after))
		if (err == nil) != (x.err == "") || err != nil && !strings.Contains(err.Error(), x.err) {
			t.Errorf("%s: %v, want %q", x.name, err, x.err)
		}
		if got := after.VRPs(); !maps.Equal(got, x.want) {
			t.Errorf("%s: %v", x.name, got)
		}
		if s := after.State(); s.IPv4+s.IPv6 != len(x.want) || s.Updated.IsZero() == (len(x.want) > 0) || s.Connected {
			t.Errorf("%s: %+v", x.name, s)
		}
		// The next question is for what is new, if anything is known.
		ask := after.m.Connected(epoch.Add(x.after))
		if news := ask.Type == SerialQuery && ask.Session == 7 && ask.Serial == 9; news != (len(x.want) > 0) {
			t.Errorf("%s: asks %+v", x.name, ask)
		}
	}
}
