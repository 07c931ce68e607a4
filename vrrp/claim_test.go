package vrrp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

var (
	foreignMAC = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	localLL    = netip.MustParseAddr("fe80::5e00:233")
)

// neighborFrame is a frame with an ICMPv6 message of a type: a target where it has one, and an option.
func neighborFrame(kind byte, source, target netip.Addr, option byte, mac net.HardwareAddr) []byte {
	fixed := map[byte]int{133: 8, 134: 16, 135: 24, 136: 24}[kind]
	message := make([]byte, fixed)
	message[0] = kind
	if fixed == 24 {
		copy(message[8:], target.AsSlice())
	}
	if mac != nil {
		message = append(append(message, option, 1), mac...)
	}
	all := netip.IPv6LinkLocalAllNodes()
	return append(append(ethernet(multicastMAC(all), foreignMAC, etherIPv6), ipv6Header(source, all, 58, len(message))...), message...)
}

func TestClaims(t *testing.T) {
	other, own4, own6 := netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr(gateway4), netip.MustParseAddr(gateway6)
	vmac := VirtualMAC(IPv6, 51)
	reply := garpFrame(foreignMAC, own4)
	reply[21] = 2
	short := garpFrame(foreignMAC, own4)[:40]
	hops := neighborFrame(136, other, own6, 2, foreignMAC)
	hops[21] = 64
	broken := neighborFrame(136, other, own6, 2, foreignMAC)
	broken[len(broken)-7] = 0
	filters := map[Family]*bpf.VM{}
	for f, addresses := range map[Family][]netip.Addr{IPv4: {netip.MustParseAddr("192.0.2.7"), own4}, IPv6: {own6, localLL}} {
		vm, err := bpf.NewVM(claimFilter(f, addresses))
		if err != nil {
			t.Fatal(err)
		}
		filters[f] = vm
	}
	for name, c := range map[string]struct {
		f      Family
		frame  []byte
		passes bool // the filter
		claim  string
	}{
		"gratuitous ARP":                {IPv4, garpFrame(foreignMAC, own4), true, "192.0.2.1 02:00:00:00:00:09"},
		"ARP reply":                     {IPv4, reply, true, "192.0.2.1 02:00:00:00:00:09"},
		"ARP of another address":        {IPv4, garpFrame(foreignMAC, netip.MustParseAddr("192.0.2.9")), false, "192.0.2.9 02:00:00:00:00:09"},
		"ARP cut off":                   {IPv4, short, true, ""},
		"NA":                            {IPv6, naFrame(foreignMAC, own6), true, "2001:db8::1 02:00:00:00:00:09"},
		"NA of the Active":              {IPv6, naFrame(vmac, own6), true, "2001:db8::1 00:00:5e:00:02:33"},
		"NA without an option":          {IPv6, neighborFrame(136, other, own6, 2, nil), true, "2001:db8::1 02:00:00:00:00:09"},
		"NA of another address":         {IPv6, neighborFrame(136, own6, other, 2, vmac), false, "2001:db8::77 00:00:5e:00:02:33"},
		"NA from far":                   {IPv6, hops, true, ""},
		"NA with a broken option":       {IPv6, broken, true, ""},
		"RA from the gateway's address": {IPv6, neighborFrame(134, localLL, other, 1, foreignMAC), true, "fe80::5e00:233 02:00:00:00:00:09"},
		"NS from the gateway's address": {IPv6, neighborFrame(135, own6, other, 1, foreignMAC), true, "2001:db8::1 02:00:00:00:00:09"},
		"RS from the gateway's address": {IPv6, neighborFrame(133, own6, other, 1, foreignMAC), true, "2001:db8::1 02:00:00:00:00:09"},
		"RA of another router":          {IPv6, neighborFrame(134, netip.MustParseAddr("fe80::1"), other, 1, foreignMAC), false, "fe80::1 02:00:00:00:00:09"},
		"NS for the gateway":            {IPv6, neighborFrame(135, other, own6, 1, foreignMAC), false, "2001:db8::77 02:00:00:00:00:09"},
		"an advertisement":              {IPv6, advertFrame(51, localLL, make([]byte, 40)), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := filters[c.f].Run(c.frame)
			if err != nil || (n > 0) != c.passes && len(c.frame) >= 42 && name != "ARP cut off" {
				t.Errorf("the filter gives %d, %v", n, err)
			}
			got := ""
			if address, mac, ok := parseClaim(c.frame); ok {
				got = fmt.Sprint(address, " ", mac)
			}
			if got != c.claim {
				t.Errorf("read as %q, want %q", got, c.claim)
			}
		})
	}
	if !expectedMAC(vmac, 51) || expectedMAC(vmac, 52) || expectedMAC(foreignMAC, 51) {
		t.Error("the virtual router's own MACs are not told from others")
	}
}

// A filter for more addresses than fit passes what a shorter one would.
func TestClaimFilterOfManyAddresses(t *testing.T) {
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom16([16]byte{0: 0x20, 14: byte(i >> 8), 15: byte(i)}))
	}
	for _, n := range []int{0, 1, 200, 226, 227, 1000} {
		program, err := bpf.Assemble(claimFilter(IPv6, many[:n]))
		if err != nil || len(program) > maxInstructions {
			t.Fatalf("%d addresses: %d instructions, %v", n, len(program), err)
		}
		vm, err := bpf.NewVM(claimFilter(IPv6, many[:n]))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got, err := vm.Run(naFrame(foreignMAC, many[i])); err != nil || got == 0 {
				t.Fatalf("%d addresses: the one of number %d is not passed: %v", n, i, err)
			}
		}
	}
}

func TestClaimListIsBounded(t *testing.T) {
	var l claimList
	a := netip.MustParseAddr(gateway4)
	for i := range 100 {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}.String()
		if fresh := l.note(a, mac, "eth0", epoch); fresh != (i < maxClaims) {
			t.Fatalf("claim %d: new %t", i, fresh)
		}
	}
	if l.note(a, l[3].MAC, "eth0", epoch.Add(claimMemory)) {
		t.Error("a repeated claim is new")
	}
	if !l.forget(epoch.Add(claimMemory+time.Second)) || len(l) != 1 {
		t.Errorf("%d claims are remembered", len(l))
	}
}

func FuzzParseClaim(f *testing.F) {
	f.Add(garpFrame(foreignMAC, netip.MustParseAddr(gateway4)))
	f.Add(naFrame(foreignMAC, netip.MustParseAddr(gateway6)))
	f.Add(neighborFrame(134, localLL, localLL, 1, foreignMAC))
	f.Add(neighborFrame(135, localLL, localLL, 1, foreignMAC))
	f.Fuzz(func(t *testing.T, frame []byte) {
		address, mac, ok := parseClaim(frame)
		if ok && (len(mac) != 6 || !address.IsValid() || !bytes.Contains(frame, mac)) {
			t.Fatalf("%v %v", address, mac)
		}
	})
}
