// Command echo sends back the UDP packets that come to port 7 (RFC 862): a service for instances that remembers nothing, so that it does not matter
// which of several copies gets a packet.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: 7})
	if err == nil {
		err = serve(conn)
	}
	fmt.Fprintln(os.Stderr, "echo:", err)
	os.Exit(1)
}

// serve echoes until the socket can't be read any more. A packet that can't be sent back is lost, as packets are.
func serve(conn *net.UDPConn) error {
	for packet := make([]byte, 1<<16); ; {
		n, from, err := conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return err
		}
		_, _ = conn.WriteToUDPAddrPort(packet[:n], from)
	}
}
