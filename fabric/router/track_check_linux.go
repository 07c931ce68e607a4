package router

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"netfabric/fabric"
)

// trackChecks makes the checks that tracks of gateways ask for, from the member itself.
type trackChecks struct {
	changed func() // a verdict did; must not block

	mu  sync.Mutex
	all map[fabric.Track]*trackCheck // by the track without its weight
}

type trackCheck struct {
	stop    context.CancelFunc
	up      bool
	message string // when it is not
}

func newTrackChecks(changed func()) *trackChecks {
	return &trackChecks{changed: changed, all: map[fabric.Track]*trackCheck{}}
}

// weightless is what is checked, whatever it weighs.
func weightless(t fabric.Track) fabric.Track {
	t.Weight = 0
	return t
}

// set makes these the checks, until ctx ends. A new one is up before its first verdict where trusted, else it is down.
func (c *trackChecks) set(ctx context.Context, gateways []fabric.RoutingGateway, trusted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := map[fabric.Track]bool{}
	for _, g := range gateways {
		for _, t := range g.Tracks {
			if t.Type == fabric.TrackCheck {
				want[weightless(t)] = true
			}
		}
	}
	for t := range want {
		if c.all[t] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		k := &trackCheck{stop: stop, up: trusted, message: "no success yet"}
		c.all[t] = k
		address, check, err := t.Probe()
		if err != nil { // a newer version's: what is not understood is no fault
			k.up = true
			continue
		}
		go c.run(ctx, k, address, check)
	}
	for t, k := range c.all {
		if !want[t] {
			k.stop()
			delete(c.all, t)
		}
	}
}

// state tells whether a check is well, or what it saw.
func (c *trackChecks) state(t fabric.Track) (up bool, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.all[weightless(t)]
	if k == nil || k.up {
		return true, ""
	}
	return false, fmt.Sprintf("check %s: %s", t.Target, k.message)
}

func (c *trackChecks) run(ctx context.Context, k *trackCheck, address netip.Addr, check fabric.Check) {
	h := newHealth(check, time.Now())
	if k.up {
		h.restore(true, "")
	}
	for {
		at, _ := h.Deadline()
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
		h.Started(time.Now())
		if !h.Result(probeOnce(check, address)) {
			continue
		}
		c.mu.Lock()
		k.up, k.message = h.healthy, h.last
		c.mu.Unlock()
		c.changed()
	}
}

// probeOnce makes one check in the network namespace of this process.
func probeOnce(c fabric.Check, address netip.Addr) string {
	if c.Type == fabric.CheckICMP {
		return pingCheck(c, address)
	}
	return runCheck(nil, c, address)
}

// pingCheck sends one echo request and waits for its reply (RFC 792, RFC 4443, 4).
func pingCheck(c fabric.Check, address netip.Addr) string {
	fail := func(err error) string { return failure(err, c) }
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if address.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129 // the kernel adds the checksum
	}
	conn, err := net.DialIP(network, nil, &net.IPAddr{IP: address.AsSlice()})
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Duration(c.Timeout) * time.Millisecond)); err != nil {
		return fail(err)
	}
	echo := make([]byte, 16)
	echo[0] = request
	token := rand.Uint64()
	binary.BigEndian.PutUint32(echo[4:], uint32(token>>32)) // identifier, sequence number
	binary.BigEndian.PutUint64(echo[8:], token)
	if address.Is4() {
		binary.BigEndian.PutUint16(echo[2:], ^onesSum(echo))
	}
	if _, err := conn.Write(echo); err != nil {
		return fail(err)
	}
	for buffer := make([]byte, 256); ; {
		n, _, err := conn.ReadFromIP(buffer) // without the header of IPv4
		if err != nil {
			return fail(err)
		}
		if n == len(echo) && buffer[0] == reply && [12]byte(buffer[4:16]) == [12]byte(echo[4:]) {
			return ""
		}
	}
}

// onesSum is the sum of the Internet checksum (RFC 1071) over an even number of bytes.
func onesSum(b []byte) uint16 {
	total := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
