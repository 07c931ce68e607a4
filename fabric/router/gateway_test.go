package router

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// eventually waits for a level.
func eventually(t *testing.T, what string, level func() bool) {
	t.Helper()
	bgptest.Eventually(t, 10*time.Second, func() string {
		if level() {
			return ""
		}
		return "not yet: " + what
	})
}

// TestEndAfterCrash: the process of the gateways has died when the last gateway is deleted, and what it made of the host is undone.
func TestEndAfterCrash(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	host, state := bgptest.Self(t), t.TempDir()
	host.Run("ip", "link", "add", "gwend0", "type", "veth", "peer", "name", "gwend1")
	t.Cleanup(func() { host.Run("ip", "link", "del", "gwend0") })
	host.Run("ip", "link", "set", "gwend1", "up")
	host.Run("ip", "link", "set", "gwend0", "up")
	host.Run("ip", "addr", "add", "192.0.2.2/24", "dev", "gwend0")
	keeper := func(wanted ...fabric.RoutingGateway) (g *gateways, stop func()) {
		g = newGateways(slog.New(slog.DiscardHandler), state, func() {})
		g.program = path
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		g.set(wanted)
		go func() {
			defer close(ended)
			g.run(ctx, tracked{sessions: func() []fabric.PeerState { return nil }, links: &links{}})
		}()
		return g, func() { cancel(); <-ended }
	}
	g, stop := keeper(fabric.RoutingGateway{Name: "gw", Interface: "gwend0", VRID: 44, Interval: 10, Priority: 200, NoAccept: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}})
	eventually(t, "Active", func() bool {
		for _, s := range g.report() {
			for _, r := range s.Routers {
				if r.State == fabric.GatewayActive && strings.Contains(host.Run("ip", "-4", "addr"), "192.0.2.1/24") {
					return true
				}
			}
		}
		return false
	})
	stop() // the process goes on, until
	record := filepath.Join(state, "vrrp", "worker.json")
	data, err := os.ReadFile(record)
	var p fabric.Process
	if err := errors.Join(err, json.Unmarshal(data, &p)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	setting := func() string { return strings.TrimSpace(host.Run("sysctl", "-n", "net.ipv4.conf.gwend0.arp_ignore")) }
	if links := host.Run("ip", "link"); !strings.Contains(links, "vr4-44") || setting() != "1" {
		t.Fatalf("nothing is left to be undone: arp_ignore %s, links\n%s", setting(), links)
	}
	g, stop = keeper()
	defer stop()
	eventually(t, "all undone", func() bool {
		return !strings.Contains(host.Run("ip", "link"), "vr4-44") && setting() == "0" && !strings.Contains(host.Run("nft", "list", "tables"), "fabric_vrrp")
	})
	eventually(t, "the process gone", func() bool {
		_, err := os.Stat(record)
		return errors.Is(err, fs.ErrNotExist) && g.client.Healthy(context.Background()) != nil
	})
}
