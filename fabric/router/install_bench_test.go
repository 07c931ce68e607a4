package router

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// BenchmarkInstall measures how long it takes until 10,000 routes that a router has are in the member's kernel after a change of install, and how long until
// they are gone again.
func BenchmarkInstall(b *testing.B) {
	const routes = 10000
	u := newUpstreams(b)
	var batch strings.Builder
	for i := range routes {
		fmt.Fprintf(&batch, "route add blackhole 10.%d.%d.%d/32\n", 100+i>>16, i>>8&255, i&255)
	}
	file := filepath.Join(b.TempDir(), "routes")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	u.routers[0].Node.Run("ip", "-batch", file)
	u.start()
	u.install(fabric.PeerInstall{})
	accepted := func(want int) {
		b.Helper()
		bgptest.Eventually(b, time.Minute, func() string {
			s, err := u.client.State(b.Context())
			if err != nil {
				return err.Error()
			}
			n := 0
			for _, p := range s.Peers {
				n += p.Accepted
			}
			if n < want {
				return fmt.Sprintf("%d accepted", n)
			}
			return ""
		})
	}
	accepted(routes)
	took := func(i fabric.PeerInstall, want int) time.Duration {
		b.Helper()
		began := time.Now()
		u.install(i)
		bgptest.Eventually(b, time.Minute, func() string {
			s, err := u.client.State(b.Context())
			if err != nil {
				return err.Error()
			}
			n := 0
			for _, t := range s.Tables {
				n += t.Routes
			}
			if want > 0 && n < want || want == 0 && n > 0 {
				return fmt.Sprintf("%d routes", n)
			}
			return ""
		})
		took := time.Since(began)
		if got := strings.Count(u.node.IP("-N route show proto 160"), "\n"); want > 0 && got < want || want == 0 && got > 0 {
			b.Fatalf("the kernel has %d routes", got)
		}
		return took
	}
	var in, out time.Duration
	for b.Loop() {
		in += took(fabric.PeerInstall{Install: fabric.InstallAll}, routes)
		out += took(fabric.PeerInstall{}, 0)
	}
	b.ReportMetric(float64(in.Milliseconds())/float64(b.N), "ms/in")
	b.ReportMetric(float64(out.Milliseconds())/float64(b.N), "ms/out")
}
