package rtr

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// keptHeader is the first line of what Export gives. An answer to a ResetQuery follows, as it is on the wire.
type keptHeader struct {
	Cache   netip.AddrPort `json:"cache"`
	Updated time.Time      `json:"updated"`
}

// Export is what the cache has said, for Import in a later run; nil where there is nothing, or it has expired.
func (c *Client) Export() []byte {
	c.mu.Lock()
	m := *c.m // its maps are replaced, not changed
	c.mu.Unlock()
	if m.updated.IsZero() {
		return nil
	}
	header, err := json.Marshal(keptHeader{c.address, m.updated.Round(0).UTC()})
	if err != nil {
		panic(err) // it has an address and a time
	}
	out := append(header, '\n')
	out = PDU{Version: 1, Type: CacheResponse, Session: m.session}.Append(out)
	for v := range m.vrps {
		out = prefixPDU(1, v, false).Append(out)
	}
	seconds := func(d time.Duration) uint32 { return uint32(d / time.Second) }
	end := PDU{Version: 1, Type: EndOfData, Session: m.session, Serial: m.serial}
	end.Refresh, end.Retry, end.Expire = seconds(m.timers.Refresh), seconds(m.timers.Retry), seconds(m.timers.Expire)
	return end.Append(out)
}

// Import takes up what Export gave in an earlier run, as long as it has not expired at now. Only before Run. After an error it is as if nothing had been said.
func (c *Client) Import(data []byte, now time.Time) error {
	m, err := c.imported(data, now)
	if err != nil {
		return fmt.Errorf("what RPKI cache %s said in an earlier run: %w", c.address, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m = m
	c.note()
	return nil
}

func (c *Client) imported(data []byte, now time.Time) (*machine, error) {
	first, answer, _ := bytes.Cut(data, []byte("\n"))
	var h keptHeader
	if err := json.Unmarshal(first, &h); err != nil {
		return nil, err
	}
	if h.Cache != c.address {
		return nil, fmt.Errorf("it is of %s", h.Cache)
	}
	if h.Updated.After(now) {
		return nil, fmt.Errorf("it is of %s, which is yet to come", h.Updated.Format(time.RFC3339)) // nobody knows how old it is
	}
	m := newMachine(c.m.fixed)
	m.Connected(h.Updated)
	for in := bufio.NewReader(bytes.NewReader(answer)); m.asking; {
		p, err := Read(in)
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err == nil {
			_, _, err = m.Recv(h.Updated, p)
		}
		if err != nil {
			return nil, err
		}
	}
	m.Disconnected()
	if _, _, err := m.Expire(now); err != nil {
		return nil, err
	}
	return m, nil
}
