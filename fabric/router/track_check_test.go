package router

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

func TestTrackChecks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	track := func(text string) fabric.Track {
		track, err := fabric.ParseTrack(text)
		if err != nil {
			t.Fatal(err)
		}
		return track
	}
	nobody := track("check:tcp:127.0.0.1:1,interval=50ms,timeout=20ms,fall=1")
	weighted := nobody
	weighted.Weight = 50
	gateways := []fabric.RoutingGateway{{Tracks: []fabric.Track{nobody, {Type: fabric.TrackBGP}}}, {Tracks: []fabric.Track{weighted}}}
	told := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, trusted := range map[string]bool{"after a boot": false, "beside running gateways": true} {
		t.Run(name, func(t *testing.T) {
			c := newTrackChecks(func() { told <- struct{}{} })
			c.set(ctx, gateways, trusted)
			if len(c.all) != 1 {
				t.Errorf("%d checks are made, want one of what is tracked twice", len(c.all))
			}
			if up, message := c.state(weighted); up != trusted || (message == "") != trusted {
				t.Errorf("before the first verdict: %v %q", up, message)
			}
			if trusted {
				<-told
				if up, message := c.state(nobody); up || !strings.HasPrefix(message, "check tcp:127.0.0.1:1: tcp 127.0.0.1:1: ") {
					t.Errorf("nobody is there: %v %q", up, message)
				}
			}
			c.set(ctx, nil, true)
			if len(c.all) != 0 {
				t.Error("checks go on")
			}
		})
	}
	check := fabric.Check{Type: fabric.CheckTCP, Port: uint16(listener.Addr().(*net.TCPAddr).Port), Timeout: 1000}
	if failure := probeOnce(check, netip.MustParseAddr("127.0.0.1")); failure != "" {
		t.Error(failure)
	}
	check.Port = 1
	if failure := probeOnce(check, netip.MustParseAddr("127.0.0.1")); !strings.HasSuffix(failure, "connection refused") {
		t.Error(failure)
	}
}

func TestPingCheck(t *testing.T) {
	bgptest.NewNode(t, "ping") // says where this needs root
	check := fabric.Check{Type: fabric.CheckICMP, Timeout: 100}
	for _, address := range []string{"127.0.0.1", "::1"} {
		if failure := pingCheck(check, netip.MustParseAddr(address)); failure != "" {
			t.Errorf("%s: %s", address, failure)
		}
	}
}
