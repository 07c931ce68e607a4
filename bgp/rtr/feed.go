package rtr

import (
	"bufio"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Feed is a cache for the client that GoBGP has, on a port of the loopback interface: all that it sends is well-formed. GoBGP's client reads
// version 0, takes prefixes outside of an answer as changes, and drops all of a session when it hears the end of another.
type Feed struct {
	listener net.Listener

	mu      sync.Mutex
	conn    net.Conn
	vrps    map[VRP]struct{}
	session uint16 // another one for each connection
	serial  uint32
	told    bool // the client has had a whole answer
}

// NewFeed listens.
func NewFeed() (*Feed, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Feed{listener: l, vrps: map[VRP]struct{}{}, serial: 1}
	go f.serve()
	return f, nil
}

// Address is where the feed listens.
func (f *Feed) Address() netip.AddrPort { return f.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close ends it.
func (f *Feed) Close() {
	f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
	}
}

// Set makes vrps what the client has; serial is what it will show when it does. The map must not be changed afterwards.
func (f *Feed) Set(vrps map[VRP]struct{}) (serial uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b []byte
	for v := range f.vrps {
		if _, stays := vrps[v]; !stays {
			b = prefixPDU(0, v, true).Append(b)
		}
	}
	for v := range vrps {
		if _, was := f.vrps[v]; !was {
			b = prefixPDU(0, v, false).Append(b)
		}
	}
	f.vrps = vrps
	f.serial++
	if f.told {
		f.write(PDU{Type: EndOfData, Session: f.session, Serial: f.serial}.Append(b))
	}
	return f.serial
}

// write sends to the client. It reads as fast as it can, and one that does not is gone.
func (f *Feed) write(b []byte) {
	_ = f.conn.SetWriteDeadline(time.Now().Add(writeBound)) // as below
	if _, err := f.conn.Write(b); err != nil {
		f.conn.Close()
	}
}

func (f *Feed) serve() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		busy := f.conn != nil
		if !busy {
			f.conn, f.told = conn, false
			f.session = max(1, f.session+1)
		}
		f.mu.Unlock()
		if busy {
			conn.Close() // a stranger: GoBGP has one connection at a time
			continue
		}
		go f.answer(conn)
	}
}

func (f *Feed) answer(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		p, err := Read(in)
		if err != nil {
			break
		}
		f.mu.Lock()
		switch p.Type {
		case ResetQuery:
			b := PDU{Type: CacheResponse, Session: f.session}.Append(nil)
			for v := range f.vrps {
				b = prefixPDU(0, v, false).Append(b)
			}
			f.write(PDU{Type: EndOfData, Session: f.session, Serial: f.serial}.Append(b))
			f.told = true
		case SerialQuery:
			f.write(PDU{Type: CacheReset}.Append(nil))
		}
		f.mu.Unlock()
	}
	conn.Close()
	f.mu.Lock()
	f.conn, f.told = nil, false
	f.mu.Unlock()
}
