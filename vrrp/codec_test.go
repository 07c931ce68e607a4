package vrrp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var (
	src4 = netip.MustParseAddr("192.0.2.2")
	src6 = netip.MustParseAddr("fe80::2")
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func good4() Advertisement {
	return Advertisement{VRID: 51, Priority: 100, Interval: time.Second, Addresses: addrs("192.0.2.1"), Checksum: ChecksumPseudoHeader}
}

func good6() Advertisement {
	return Advertisement{VRID: 51, Priority: 100, Interval: time.Second, Addresses: addrs("fe80::1", "2001:db8::1"), Checksum: ChecksumPseudoHeader}
}

func packetOf(t testing.TB, a Advertisement) Packet {
	t.Helper()
	source := src4
	if a.Family() == IPv6 {
		source = src6
	}
	group := a.Family().Group()
	b, err := a.Marshal(source, group)
	if err != nil {
		t.Fatal(err)
	}
	return Packet{Source: source, Destination: group, TTL: 255, Payload: b}
}

// fix puts a valid checksum after a test changed the payload, so that only the rule under test is broken.
func fix(p *Packet) {
	p.Payload[6], p.Payload[7] = 0, 0
	c := ^fold(sum(p.Payload) + pseudoHeader(p.Source, p.Destination, len(p.Payload)))
	p.Payload[6], p.Payload[7] = byte(c>>8), byte(c)
}

// The bytes are worked out by hand from RFC 9568, 5.1: they do not come from Marshal.
func TestWireFormat(t *testing.T) {
	plain := good4()
	plain.Checksum = ChecksumPlain
	for name, tc := range map[string]struct {
		a    Advertisement
		want string
	}{
		"IPv4 with pseudo-header": {good4(), "313364010064....c0000201"},
		"IPv4 without":            {plain, "313364010064....c0000201"},
	} {
		if got := hex.EncodeToString(packetOf(t, tc.a).Payload); got[:12] != tc.want[:12] || got[16:] != tc.want[16:] {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		} else if sumHex := handSum(tc.a.Checksum); got[12:16] != sumHex {
			t.Errorf("%s: checksum %s, want %s", name, got[12:16], sumHex)
		}
	}
}

// handSum adds the words of the packet of good4 as a person would.
func handSum(form Checksum) string {
	words := []int{0x3133, 0x6401, 0x0064, 0xc000, 0x0201}
	if form == ChecksumPseudoHeader {
		words = append(words, 0xc000, 0x0202, 0xe000, 0x0012, 112, 12)
	}
	total := 0
	for _, w := range words {
		if total += w; total > 0xffff {
			total -= 0xffff
		}
	}
	return hex.EncodeToString([]byte{byte(^total >> 8), byte(^total)})
}

func TestRoundTrip(t *testing.T) {
	plain, long := good4(), good6()
	plain.Checksum = ChecksumPlain
	long.Interval, long.Priority = MaxInterval, 0
	for len(long.Addresses) < maxAddresses {
		long.Addresses = append(long.Addresses, netip.MustParseAddr("2001:db8::2"))
	}
	if _, err := Parse(packetOf(t, helloOf(good4()))); !errors.Is(err, ErrType) {
		t.Errorf("a hello to the group: %v", err)
	}
	for _, a := range []Advertisement{good4(), plain, good6(), long} {
		got, err := Parse(packetOf(t, a))
		a.Message = MessageAdvertisement
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("got %+v, %v; want %+v", got, err, a)
		}
	}
}

func TestParseRules(t *testing.T) {
	for name, tc := range map[string]struct {
		from   Advertisement
		change func(*Packet)
		want   error
	}{
		"TTL 254":                    {good4(), func(p *Packet) { p.TTL = 254 }, ErrTTL},
		"hop limit 254":              {good6(), func(p *Packet) { p.TTL = 254 }, ErrTTL},
		"hop limit 0":                {good6(), func(p *Packet) { p.TTL = 0 }, ErrTTL},
		"empty":                      {good4(), func(p *Packet) { p.Payload = nil }, ErrShort},
		"7 bytes":                    {good4(), func(p *Packet) { p.Payload = p.Payload[:7] }, ErrShort},
		"version 2":                  {good4(), func(p *Packet) { p.Payload[0] = 0x21 }, ErrVersion2},
		"version 4":                  {good4(), func(p *Packet) { p.Payload[0] = 0x41; fix(p) }, ErrVersion},
		"type 2":                     {good4(), func(p *Packet) { p.Payload[0] = 0x32; fix(p) }, ErrType},
		"type 0":                     {good4(), func(p *Packet) { p.Payload[0] = 0x30; fix(p) }, ErrType},
		"count 0":                    {good4(), func(p *Packet) { p.Payload[3] = 0; fix(p) }, ErrCount},
		"count 0, no addresses":      {good4(), func(p *Packet) { p.Payload = p.Payload[:8]; p.Payload[3] = 0; fix(p) }, ErrCount},
		"count beyond length":        {good4(), func(p *Packet) { p.Payload[3] = 2; fix(p) }, ErrLength},
		"count below length":         {good6(), func(p *Packet) { p.Payload[3] = 1; fix(p) }, ErrLength},
		"address cut":                {good6(), func(p *Packet) { p.Payload = p.Payload[:len(p.Payload)-1]; fix(p) }, ErrLength},
		"bad checksum":               {good4(), func(p *Packet) { p.Payload[6] ^= 1 }, ErrChecksum},
		"bad checksum IPv6":          {good6(), func(p *Packet) { p.Payload[6] ^= 1 }, ErrChecksum},
		"IPv6 without pseudo-header": {good6(), unpseudo, ErrChecksum},
		"VRID 0":                     {good4(), func(p *Packet) { p.Payload[1] = 0; fix(p) }, ErrVRID},
		"interval 0":                 {good4(), func(p *Packet) { p.Payload[4], p.Payload[5] = 0, 0; fix(p) }, ErrInterval},
		"interval 0, reserved set":   {good4(), func(p *Packet) { p.Payload[4], p.Payload[5] = 0xf0, 0; fix(p) }, ErrInterval},
		"first IPv6 not link-local":  {good6(), func(p *Packet) { p.Payload[8] = 0x20; fix(p) }, ErrLinkLocal},
		"mixed families":             {good4(), func(p *Packet) { p.Destination = IPv6.Group() }, ErrFamily},
		"other group":                {good4(), func(p *Packet) { p.Destination = netip.MustParseAddr("224.0.0.5") }, ErrDestination},
		"IPv6 source not link-local": {good6(), func(p *Packet) { p.Source = netip.MustParseAddr("2001:db8::2"); fix(p) }, ErrSource},
		"source unspecified":         {good4(), func(p *Packet) { p.Source = netip.IPv4Unspecified(); fix(p) }, ErrSource},
		"source multicast":           {good4(), func(p *Packet) { p.Source = IPv4.Group(); fix(p) }, ErrSource},
		"untouched":                  {good4(), func(*Packet) {}, nil},
		"reserved bits are ignored":  {good4(), func(p *Packet) { p.Payload[4] |= 0xf0; fix(p) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := packetOf(t, tc.from)
			tc.change(&p)
			a, err := Parse(p)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if err != nil && (!reflect.DeepEqual(a, Advertisement{}) || Slug(err) == "other") {
				t.Fatalf("%+v with error %v of slug %q", a, err, Slug(err))
			}
			if err == nil && a.Interval != time.Second {
				t.Fatalf("interval %s", a.Interval)
			}
		})
	}
}

func unpseudo(p *Packet) {
	p.Payload[6], p.Payload[7] = 0, 0
	c := ^fold(sum(p.Payload))
	p.Payload[6], p.Payload[7] = byte(c>>8), byte(c)
}

func TestMarshalRefuses(t *testing.T) {
	for name, change := range map[string]func(*Advertisement){
		"VRID 0":           func(a *Advertisement) { a.VRID = 0 },
		"no address":       func(a *Advertisement) { a.Addresses = nil },
		"256 addresses":    func(a *Advertisement) { a.Addresses = make([]netip.Addr, 256) },
		"interval 0":       func(a *Advertisement) { a.Interval = 0 },
		"interval 41s":     func(a *Advertisement) { a.Interval = 41 * time.Second },
		"interval 15ms":    func(a *Advertisement) { a.Interval = 15 * time.Millisecond },
		"address of IPv4":  func(a *Advertisement) { a.Addresses = append(a.Addresses, src4) },
		"first not a link": func(a *Advertisement) { a.Addresses = a.Addresses[1:] },
	} {
		a := good6()
		change(&a)
		if b, err := a.Marshal(src6, IPv6.Group()); err == nil {
			t.Errorf("%s: encoded as %x", name, b)
		}
	}
}

func helloOf(a Advertisement) Advertisement {
	a.Message = MessageHello
	return a
}

func TestDirected(t *testing.T) {
	a := good4()
	b, err := a.Marshal(src4, netip.MustParseAddr("192.0.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(Packet{Source: src4, Destination: netip.MustParseAddr("192.0.2.3"), TTL: 255, Payload: b})
	if err != nil || !got.Directed || got.Message != MessageAdvertisement {
		t.Fatalf("%+v, %v", got, err)
	}
	b, err = helloOf(a).Marshal(src4, netip.MustParseAddr("192.0.2.3"))
	if err != nil || b[0] != 0x3f {
		t.Fatalf("%x, %v", b, err)
	}
	if got, err = Parse(Packet{Source: src4, Destination: netip.MustParseAddr("192.0.2.3"), TTL: 255, Payload: b}); err != nil || !got.Directed || got.Message != MessageHello {
		t.Fatalf("%+v, %v", got, err)
	}
}

// FuzzParse: what is accepted survives encoding and parsing again.
func FuzzParse(f *testing.F) {
	plain, farewell := good4(), good6()
	plain.Checksum, farewell.Priority = ChecksumPlain, 0
	for _, a := range []Advertisement{good4(), good6(), plain, farewell, helloOf(good4()), helloOf(good6())} {
		p := packetOf(f, a)
		f.Add(a.Family() == IPv6, 255, p.Payload)
		for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 8} {
			bad := p
			bad.Payload = append([]byte(nil), p.Payload...)
			bad.Payload[i] ^= 0x11
			f.Add(a.Family() == IPv6, 255, bad.Payload)
			fix(&bad)
			f.Add(a.Family() == IPv6, 254, bad.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, six bool, ttl int, payload []byte) {
		source, destinations := src4, []netip.Addr{IPv4.Group(), netip.MustParseAddr("192.0.2.3")}
		if six {
			source, destinations = src6, []netip.Addr{IPv6.Group(), netip.MustParseAddr("fe80::3")}
		}
		for _, destination := range destinations {
			a, err := Parse(Packet{Source: source, Destination: destination, TTL: ttl, Payload: payload})
			if err != nil {
				if Slug(err) == "other" {
					t.Fatalf("error without a rule: %v", err)
				}
				continue
			}
			b, err := a.Marshal(source, destination)
			if err != nil {
				t.Fatalf("%+v: %v", a, err)
			}
			again, err := Parse(Packet{Source: source, Destination: destination, TTL: 255, Payload: b})
			if err != nil || !reflect.DeepEqual(again, a) {
				t.Fatalf("%+v became %+v, %v", a, again, err)
			}
		}
	})
}
