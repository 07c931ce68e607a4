package vrrp

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
)

func TestRouterAdvertisement(t *testing.T) {
	r := &RouterAdvertising{
		Lifetime: 1800 * time.Second, Interval: 600 * time.Second, Managed: true, Other: true, Preference: "high", MTU: 1442, DNS: addrs("2001:db8::53"),
	}
	addresses := []netip.Prefix{
		netip.MustParsePrefix("fe80::5e00:233/64"), netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8::2/64"), netip.MustParsePrefix("2001:db8:0:8000::1/56"),
	}
	frame, err := r.advertisementFrame(51, addresses, false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(frame[:14], []byte{0x33, 0x33, 0, 0, 0, 1, 0, 0, 0x5e, 0, 2, 51, 0x86, 0xdd}) || frame[14+7] != 255 {
		t.Errorf("sent by % x with hop limit %d", frame[:14], frame[14+7])
	}
	source, destination := netip.AddrFrom16([16]byte(frame[14+8:14+24])), netip.AddrFrom16([16]byte(frame[14+24:14+40]))
	payload := frame[14+40:]
	if source != addresses[0].Addr() || destination != netip.IPv6LinkLocalAllNodes() ||
		fold(sum(payload)+sum(source.AsSlice())+sum(destination.AsSlice())+icmpv6+uint32(len(payload))) != 0xffff {
		t.Errorf("from %s to %s, or a bad checksum", source, destination)
	}
	got, err := ndp.ParseMessage(payload)
	if err != nil {
		t.Fatal(err)
	}
	prefix := func(p string, bits uint8, autonomous bool) *ndp.PrefixInformation {
		return &ndp.PrefixInformation{Prefix: netip.MustParseAddr(p), PrefixLength: bits, OnLink: true, AutonomousAddressConfiguration: autonomous,
			ValidLifetime: prefixValid, PreferredLifetime: prefixPreferred}
	}
	want := &ndp.RouterAdvertisement{
		CurrentHopLimit: 64, ManagedConfiguration: true, OtherConfiguration: true, RouterSelectionPreference: ndp.High, RouterLifetime: 1800 * time.Second,
		Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: VirtualMAC(IPv6, 51)}, ndp.NewMTU(1442), prefix("2001:db8::", 64, true),
			prefix("2001:db8:0:8000::", 56, false), &ndp.RecursiveDNSServer{Lifetime: 1800 * time.Second, Servers: r.DNS},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent\n%+v, want\n%+v", got, want)
	}
	last, err := r.advertisementFrame(51, addresses, true)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ndp.ParseMessage(last[14+40:]); err != nil || m.(*ndp.RouterAdvertisement).RouterLifetime != 0 {
		t.Errorf("the last one is %+v, %v", m, err)
	}
	r.NoSLAAC = true
	for _, o := range r.message(51, addresses).Options {
		if p, ok := o.(*ndp.PrefixInformation); ok && p.AutonomousAddressConfiguration {
			t.Errorf("hosts are to make addresses in %s", p.Prefix)
		}
	}
}

func TestAdvertiserOf(t *testing.T) {
	now, source := time.Unix(1000, 0), netip.MustParseAddr("fe80::9")
	autonomous := &ndp.PrefixInformation{Prefix: netip.MustParseAddr("2001:db8:9::"), PrefixLength: 64, AutonomousAddressConfiguration: true, PreferredLifetime: ndp.Infinity}
	for name, c := range map[string]struct {
		message ndp.RouterAdvertisement
		lasts   time.Duration
	}{
		"default router": {ndp.RouterAdvertisement{RouterLifetime: 90 * time.Second}, 90 * time.Second},
		"prefix only":    {ndp.RouterAdvertisement{Options: []ndp.Option{autonomous}}, maxPrefixMemory},
		"a BGP speaker":  {ndp.RouterAdvertisement{}, 0}, // advertises itself to its neighbour, and is nobody's router
	} {
		if a := advertiserOf(&c.message, source, now); a.Source != source || a.Until.Sub(now) != c.lasts {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// FuzzRouterPacket: whatever hosts and routers send must not end the process that all gateways are in.
func FuzzRouterPacket(f *testing.F) {
	addresses := []netip.Prefix{netip.MustParsePrefix("fe80::5e00:233/64"), netip.MustParsePrefix("2001:db8::1/64")}
	frame, err := (&RouterAdvertising{Lifetime: time.Minute, Interval: 4 * time.Second, MTU: 1500, DNS: addrs("2001:db8::53")}).advertisementFrame(51, addresses, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame[14+40:])
	f.Add([]byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{routerAdvertisement, 0, 0, 0, 64, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		m := &Manager{parents: map[string]parent{"eth0": {Index: 2}}, routers: map[routerKey]*router{}, advertisers: advertisers{}}
		m.routerPacket(2, Packet{Source: netip.MustParseAddr("fe80::9"), TTL: 255, Payload: payload}, time.Unix(1000, 0))
		if len(m.advertisers) > 1 {
			t.Fatal("one packet made several routers")
		}
	})
}
