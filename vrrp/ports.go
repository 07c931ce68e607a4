package vrrp

import (
	"net"
	"net/netip"
	"time"
)

// portMemory knows the port of each claim for a while: to find it may cost a dump of all that a bridge has learned, and claims come from the wire.
type portMemory struct {
	find  func(net.HardwareAddr) string
	known map[portKey]foundPort
}

type portKey struct {
	address netip.Addr
	mac     string
}

type foundPort struct {
	port string
	at   time.Time
}

const (
	portStep = 5 * time.Second // after which the port of a claim that is repeated is looked for again
	maxPorts = 4 * maxClaims   // of an interface and family; more claims have no port
)

// port is the port of a claim, empty where it is not known.
func (m *portMemory) port(address netip.Addr, mac net.HardwareAddr, now time.Time) string {
	k := portKey{address, string(mac)}
	was, known := m.known[k]
	if known && now.Sub(was.at) < portStep {
		return was.port
	}
	if !known && len(m.known) >= maxPorts {
		for k, p := range m.known {
			if now.Sub(p.at) > claimMemory {
				delete(m.known, k)
			}
		}
		if len(m.known) >= maxPorts {
			return ""
		}
	}
	found := foundPort{m.find(mac), now}
	m.known[k] = found
	return found.port
}
