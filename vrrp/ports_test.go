package vrrp

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestPortMemory: a flood of claims has the bridge asked a few times only.
func TestPortMemory(t *testing.T) {
	asked, at := 0, "eth1"
	m := portMemory{known: map[portKey]foundPort{}, find: func(net.HardwareAddr) string { asked++; return at }}
	address, now := netip.MustParseAddr(gateway4), time.Now()
	mac := func(i int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)} }
	for i := range 1000 {
		if p := m.port(address, mac(0), now.Add(time.Duration(i)*time.Millisecond)); p != "eth1" {
			t.Fatalf("claim %d is at %q", i, p)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for one claim", asked)
	}
	at = "eth2"
	if p := m.port(address, mac(0), now.Add(portStep)); p != "eth2" || asked != 2 {
		t.Errorf("after a move it is at %q, asked %d times", p, asked)
	}
	m.port(netip.MustParseAddr(gateway6), mac(0), now.Add(portStep))
	if asked != 3 {
		t.Errorf("another address of the same MAC: asked %d times", asked)
	}
	for i := range 1000 {
		m.port(address, mac(i), now.Add(portStep))
	}
	if asked > 3+maxPorts || len(m.known) > maxPorts {
		t.Errorf("asked %d times in a flood, %d known", asked, len(m.known))
	}
	if p := m.port(address, mac(1000), now.Add(portStep+2*claimMemory)); p != "eth2" || len(m.known) != 1 {
		t.Errorf("after the flood it is at %q, %d known", p, len(m.known))
	}
}
