// Command echo is a service for instances that remembers nothing, so that it does not matter which of several copies is asked: it sends back the UDP packets
// that come to port 7 (RFC 862), and tells by HTTP on port 80 the name of its host. Busybox has a server too, but one that lets no more than ten clients wait:
// on a busy host requests are lost that no router has lost.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	ended := make(chan error, 2)
	go func() {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: 7})
		if err == nil {
			err = serve(conn)
		}
		ended <- err
	}()
	go func() {
		server := &http.Server{Addr: ":80", Handler: http.HandlerFunc(name), ReadHeaderTimeout: 10 * time.Second}
		ended <- server.ListenAndServe()
	}()
	fmt.Fprintln(os.Stderr, "echo:", <-ended)
	os.Exit(1)
}

// name answers with the name of the host.
func name(w http.ResponseWriter, _ *http.Request) {
	host, err := os.Hostname()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, host)
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
