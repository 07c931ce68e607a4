package rtr

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1_700_000_000, 0)

func vrp(prefix string, most uint8, asn uint32) VRP {
	return VRP{netip.MustParsePrefix(prefix), most, asn}
}

var (
	a = vrp("192.0.2.0/24", 24, 65001)
	b = vrp("198.51.100.0/24", 28, 65002)
	c = vrp("2001:db8::/32", 48, 65003)
)

func TestPDUsAreWhatTheyWere(t *testing.T) {
	for _, p := range []PDU{
		{Version: 1, Type: SerialNotify, Session: 7, Serial: 9},
		{Version: 0, Type: SerialQuery, Session: 7, Serial: 9},
		{Version: 1, Type: ResetQuery},
		{Version: 1, Type: CacheResponse, Session: 7},
		prefixPDU(1, a, false), prefixPDU(0, b, true), prefixPDU(1, c, false),
		{Version: 0, Type: EndOfData, Session: 7, Serial: 9},
		{Version: 1, Type: EndOfData, Session: 7, Serial: 9, Refresh: 1, Retry: 2, Expire: 3},
		{Version: 1, Type: CacheReset},
		{Version: 1, Type: ErrorReport, Session: 2, Text: "no data yet"},
	} {
		wire := p.Append(nil)
		got, err := Read(bytes.NewReader(wire))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%x: %+v, %v; want %+v", wire, got, err, p)
		}
		for n := range wire {
			if _, err := Read(bytes.NewReader(wire[:n])); err == nil {
				t.Errorf("%x was read", wire[:n])
			}
		}
	}
}

// bad are PDUs that must not be taken, and what is said of them.
var bad = map[string]string{
	"\x02\x02\x00\x00\x00\x00\x00\x08":                                                 "version 2 is not known",
	"\x01\x05\x00\x00\x00\x00\x00\x08":                                                 "type 5 is not known",
	"\x01\x02\x00\x00\x00\x00\x00\x07":                                                 "type 2 has 7 bytes, not 8",
	"\x01\x02\x00\x00\xff\xff\xff\xff":                                                 "type 2 has 4294967295 bytes, not 8",
	"\x01\x0a\x00\x00\xff\xff\xff\xff":                                                 "is not in 8-65536",
	"\x01\x0a\x00\x00\x00\x00\x00\x07":                                                 "is not in 8-65536",
	"\x01\x07\x00\x00\x00\x00\x00\x0c":                                                 "type 7 has 12 bytes, not 24",
	"\x00\x07\x00\x00\x00\x00\x00\x18":                                                 "type 7 has 24 bytes, not 12",
	"\x01\x04\x00\x00\x00\x00\x00\x20":                                                 "type 4 has 32 bytes, not 20",
	"\x01\x04\x00\x00\x00\x00\x00\x14\x01\x21\x21\x00\x0a\x00\x00\x00\x00\x00\x00\x01": "10.0.0.0/33 with maximum length 33 and flags 1 makes no sense",
	"\x01\x04\x00\x00\x00\x00\x00\x14\x01\x18\x17\x00\x0a\x00\x00\x00\x00\x00\x00\x01": "/24 with maximum length 23",
	"\x01\x04\x00\x00\x00\x00\x00\x14\x01\xff\xff\x00\x0a\x00\x00\x00\x00\x00\x00\x01": "makes no sense",
	"\x01\x04\x00\x00\x00\x00\x00\x14\x02\x18\x18\x00\x0a\x00\x00\x00\x00\x00\x00\x01": "flags 2",
}

func TestBadPDUs(t *testing.T) {
	for wire, want := range bad {
		if p, err := Read(strings.NewReader(wire + strings.Repeat("\x00", 64))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %+v, %v; want %q", wire, p, err, want)
		}
	}
	// Host bits are nobody's concern.
	if p, err := Read(strings.NewReader("\x01\x04\x00\x00\x00\x00\x00\x14\x01\x18\x18\x00\x0a\x00\x00\x07\x00\x00\x00\x01")); err != nil || p.VRP != vrp("10.0.0.0/24", 24, 1) {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzRead(f *testing.F) {
	for wire := range bad {
		f.Add([]byte(wire))
	}
	f.Add(prefixPDU(1, c, false).Append(nil))
	f.Add(PDU{Version: 1, Type: ErrorReport, Text: "x"}.Append(nil))
	f.Fuzz(func(t *testing.T, wire []byte) {
		p, err := Read(bytes.NewReader(wire))
		if err != nil || p.Type == RouterKey || p.Type == ErrorReport {
			return
		}
		again, err := Read(bytes.NewReader(p.Append(nil)))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%x: %+v, then %+v, %v", wire, p, again, err)
		}
		m := newMachine(Timers{})
		m.Connected(epoch)
		_, _, _ = m.Recv(epoch, p) // any PDU at any time: no panic
	})
}

// play has a machine take PDUs, one per second, and gives its words: what it sends, and what it has in the end.
func play(m *machine, now *time.Time, pdus ...PDU) string {
	var words []string
	for _, p := range pdus {
		*now = now.Add(time.Second)
		out, changed, err := m.Recv(*now, p)
		for _, o := range out {
			words = append(words, spell(o))
		}
		if changed {
			words = append(words, "changed")
		}
		if err != nil {
			words = append(words, "! "+err.Error())
		}
	}
	return strings.Join(append(words, have(m)), "; ")
}

func spell(p PDU) string {
	switch p.Type {
	case ResetQuery:
		return fmt.Sprintf("reset-query v%d", p.Version)
	case SerialQuery:
		return fmt.Sprintf("serial-query v%d %d/%d", p.Version, p.Session, p.Serial)
	case ErrorReport:
		return fmt.Sprintf("error %d", p.Session)
	}
	return fmt.Sprintf("type %d", p.Type)
}

func have(m *machine) string {
	var all []string
	for v := range m.vrps {
		all = append(all, v.Prefix.String())
	}
	slices.Sort(all)
	return "[" + strings.Join(all, " ") + "]"
}

func TestMachine(t *testing.T) {
	response, reset := PDU{Version: 1, Type: CacheResponse, Session: 7}, PDU{Version: 1, Type: CacheReset}
	end := func(serial uint32) PDU {
		return PDU{Version: 1, Type: EndOfData, Session: 7, Serial: serial, Refresh: 100, Retry: 10, Expire: 1000}
	}
	more := func(v VRP) PDU { return prefixPDU(1, v, false) }
	less := func(v VRP) PDU { return prefixPDU(1, v, true) }
	other := response
	other.Session = 8
	old := PDU{Version: 0, Type: CacheResponse, Session: 7}
	for _, test := range []struct {
		name string
		pdus []PDU
		want string
	}{
		{"all", []PDU{response, more(a), more(c), end(1)}, "changed; [192.0.2.0/24 2001:db8::/32]"},
		{"nothing counts before the end", []PDU{response, more(a)}, "[]"},
		{"nothing", []PDU{response, end(1)}, "[]"},
		{"news", []PDU{response, more(a), end(1), {Version: 1, Type: SerialNotify, Session: 7, Serial: 2}, response, more(b), less(a), end(2)}, "changed; serial-query v1 7/1; changed; [198.51.100.0/24]"},
		{"no news", []PDU{response, more(a), end(1), {Version: 1, Type: SerialNotify, Session: 7, Serial: 1}}, "changed; [192.0.2.0/24]"},
		{"comes and goes in one answer", []PDU{response, more(a), less(a), end(1)}, "[]"},
		{"goes and comes in one answer", []PDU{response, more(a), end(1), {Version: 1, Type: SerialNotify, Session: 7, Serial: 2}, response, less(a), more(a), end(2)}, "changed; serial-query v1 7/1; [192.0.2.0/24]"},
		{"the cache has begun anew", []PDU{response, more(a), end(1), {Version: 1, Type: SerialNotify, Session: 8, Serial: 1}}, "changed; reset-query v1; [192.0.2.0/24]"},
		{"the cache does not remember", []PDU{response, more(a), end(1), {Version: 1, Type: SerialNotify, Session: 7, Serial: 5}, reset, other, more(b), {Version: 1, Type: EndOfData, Session: 8, Serial: 5}},
			"changed; serial-query v1 7/1; reset-query v1; changed; [198.51.100.0/24]"},
		{"router keys are not for us", []PDU{response, {Version: 1, Type: RouterKey}, more(a), end(1)}, "changed; [192.0.2.0/24]"},
		{"twice", []PDU{response, more(a), more(a)}, "error 7; ! it announces 192.0.2.0/24 of AS 65001 twice; []"},
		{"goes without having come", []PDU{response, less(a)}, "error 6; ! it withdraws 192.0.2.0/24 of AS 65001, which it has not announced; []"},
		{"a prefix out of the blue", []PDU{more(a)}, "error 0; ! a prefix outside of an answer; []"},
		{"an end out of the blue", []PDU{end(1)}, "error 0; ! an end of data outside of an answer; []"},
		{"an answer within an answer", []PDU{response, response}, "error 0; ! an answer that nobody asked for; []"},
		{"the end of another session", []PDU{response, {Version: 1, Type: EndOfData, Session: 9}}, "error 0; ! an end of data outside of an answer; []"},
		{"a question", []PDU{{Version: 1, Type: ResetQuery}}, "error 0; ! a PDU of type 2, which is not for routers; []"},
		{"an older cache", []PDU{old}, "! the cache speaks another version; []"},
		{"an older cache that says so", []PDU{{Version: 1, Type: ErrorReport, Session: UnsupportedVersion}}, "! the cache speaks another version; []"},
		{"two versions", []PDU{response, {Version: 0, Type: EndOfData}}, "! a PDU of version 0 in a session of version 1; []"},
		{"no data yet", []PDU{{Version: 1, Type: ErrorReport, Session: NoData}}, "! the cache has no data yet; []"},
		{"another error", []PDU{{Version: 1, Type: ErrorReport, Session: 1, Text: "oops"}}, `! the cache reports error 1: "oops"; []`},
	} {
		m, now := newMachine(Timers{}), epoch
		if q := m.Connected(now); spell(q) != "reset-query v1" {
			t.Errorf("%s: it begins with %s", test.name, spell(q))
		}
		if got := play(m, &now, test.pdus...); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestMachineTimes(t *testing.T) {
	m, now := newMachine(Timers{Refresh: 50 * time.Second}), epoch
	m.Connected(now)
	play(m, &now, PDU{Version: 1, Type: CacheResponse, Session: 7}, prefixPDU(1, a, false), PDU{Version: 1, Type: EndOfData, Session: 7, Serial: 1, Refresh: 100, Retry: 10, Expire: 1000})
	due := func(want time.Duration) {
		t.Helper()
		if at, ok := m.Deadline(); !ok || at.Sub(now) != want {
			t.Fatalf("due in %s, %v; want %s", at.Sub(now), ok, want)
		}
		now = now.Add(want)
	}
	due(50 * time.Second)
	if out, changed, err := m.Expire(now); len(out) != 1 || spell(out[0]) != "serial-query v1 7/1" || changed || err != nil {
		t.Fatalf("%+v, %v, %v", out, changed, err)
	}
	due(answerBound)
	if _, changed, err := m.Expire(now); err == nil || changed {
		t.Fatalf("no answer: %v, %v", changed, err)
	}
	// The connection is lost for good: what is known is used until it expires, and asked for anew then.
	m.Disconnected()
	due(1000*time.Second - 50*time.Second - answerBound)
	if _, changed, err := m.Expire(now); err != nil || !changed || have(m) != "[]" {
		t.Fatalf("%v, %v, %s", changed, err, have(m))
	}
	if _, ok := m.Deadline(); ok {
		t.Error("something is due, but nothing is known")
	}
	if q := m.Connected(now); spell(q) != "reset-query v1" {
		t.Error(spell(q))
	}
	// A cache can't make data last for ever, nor be asked all the time.
	play(m, &now, PDU{Version: 1, Type: CacheResponse, Session: 7}, PDU{Version: 1, Type: EndOfData, Session: 7, Refresh: 1 << 31, Retry: 1 << 31, Expire: 1})
	if want := (Timers{50 * time.Second, 2 * time.Hour, 10 * time.Minute}); m.timers != want {
		t.Errorf("%v, want %v", m.timers, want)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

// TestClientLearnsFromFeed has the two halves talk: the client is for any cache, and the feed is one of version 0.
func TestClientLearnsFromFeed(t *testing.T) {
	feed, err := NewFeed()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	feed.Set(map[VRP]struct{}{a: {}, c: {}})
	ctx, cancel := context.WithCancel(t.Context())
	client := NewClient(feed.Address(), Timers{}, func(bool) {})
	done := make(chan struct{})
	go func() {
		client.Run(ctx)
		close(done)
	}()
	eventually(t, "the client has both", func() bool { return len(client.VRPs()) == 2 })
	if s := client.State(); !s.Connected || s.IPv4 != 1 || s.IPv6 != 1 || s.LastError != "" || s.Expires.IsZero() {
		t.Errorf("%+v", s)
	}
	feed.Close()
	eventually(t, "the client sees that the cache is gone", func() bool { return !client.State().Connected })
	if s := client.State(); s.LastError == "" || len(client.VRPs()) != 2 {
		t.Errorf("%+v", s)
	}
	cancel()
	<-done
}

// TestClientSurvivesNoise has a cache that says anything but RTR.
func TestClientSurvivesNoise(t *testing.T) {
	for _, noise := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "\x01\x0a\x00\x00\xff\xff\xff\xff", "\x00", ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, noise)
				conn.Close()
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		client := NewClient(l.Addr().(*net.TCPAddr).AddrPort(), Timers{}, func(bool) {})
		go client.Run(ctx)
		eventually(t, fmt.Sprintf("an error for %q", noise), func() bool { return client.State().LastError != "" })
		cancel()
		l.Close()
	}
}
