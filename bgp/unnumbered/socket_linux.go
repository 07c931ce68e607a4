package unnumbered

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// wire is the socket of a real interface.
type wire struct {
	conn     *ndp.Conn
	name     string
	hardware net.HardwareAddr
	own      netip.Addr
	buffer   [1500]byte
}

var (
	allNodes   = netip.MustParseAddr("ff02::1") // RFC 4291, 2.7.1
	allRouters = netip.MustParseAddr("ff02::2")
)

// open makes the socket of an interface. It needs a link-local address there that is ready to be used.
func open(name string, index int) (socket, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	if ifi.Index != index {
		return nil, fmt.Errorf("interface %s has just been made anew", name)
	}
	conn, own, err := ndp.Listen(ifi, ndp.LinkLocal)
	if err != nil {
		return nil, fmt.Errorf("interface %s has no IPv6 link-local address that can be used: %w", name, err)
	}
	w := &wire{conn: conn, name: name, hardware: ifi.HardwareAddr, own: own.WithZone(name)}
	if err := w.prepare(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen for routers on %s: %w", name, err)
	}
	return w, nil
}

func (w *wire) prepare() error {
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	f.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := w.conn.SetICMPFilter(&f); err != nil {
		return err
	}
	if err := w.conn.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true); err != nil {
		return err
	}
	return w.conn.JoinGroup(allRouters) // in which solicitations are sent; advertisements come to all nodes
}

func (w *wire) send(k Kind) error {
	source := []ndp.Option{}
	if len(w.hardware) > 0 {
		source = append(source, &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: w.hardware})
	}
	if k == Solicitation {
		return w.conn.WriteTo(&ndp.RouterSolicitation{Options: source}, nil, allRouters)
	}
	// Lifetime 0: this host is a BGP speaker, and nobody's default router (RFC 4861, 4.2).
	return w.conn.WriteTo(&ndp.RouterAdvertisement{CurrentHopLimit: 64, Options: source}, nil, allNodes)
}

// receive leaves out what has crossed a router, or is malformed (RFC 4861, 6.1).
func (w *wire) receive() (netip.Addr, Kind, error) {
	for {
		n, control, from, err := w.conn.ReadRaw(w.buffer[:])
		if err != nil {
			return netip.Addr{}, 0, err
		}
		if control == nil || control.HopLimit != ndp.HopLimit || from == w.own {
			continue
		}
		if kind, ok := parse(w.buffer[:n]); ok {
			return from, kind, nil
		}
	}
}

func (w *wire) close() { _ = w.conn.Close() } // everything was sent at once
