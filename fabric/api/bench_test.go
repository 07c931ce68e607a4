package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"netfabric/fabric"
)

// BenchmarkInstances measures a list of instances over HTTP beside a bare handler that writes the same bytes: x-bare is how many times as
// long the list takes. With one-changes an instance is reported anew before each list, so that no list is like the last.
func BenchmarkInstances(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkInstances(b, n, false) })
		b.Run(fmt.Sprint(n, "/one-changes"), func(b *testing.B) { benchmarkInstances(b, n, true) })
	}
}

func benchmarkInstances(b *testing.B, n int, changes bool) {
	f := bootstrapped(b, "n1")
	m := f.members["n1"]
	m.hold(true, "")
	var all []fabric.Object
	var conditions []fabric.Condition
	for k := range n {
		a := netip.AddrFrom4([4]byte{10, 1, byte(k / 250), byte(2 + k%250)})
		i := &fabric.Instance{
			Header: fabric.Header{Name: fmt.Sprintf("c%04d", k)}, Type: "container", Architecture: "x86_64", Profiles: []string{"default"},
			Config: fabric.Config{"image.os": "busybox"}, Devices: fabric.Devices{}, Member: "n1", Pool: "local", Power: fabric.PowerRunning, Boots: 1,
			NICs: []fabric.NIC{{Device: "eth0", Network: "fabbr0", MAC: fmt.Sprintf("00:16:3e:00:%02x:%02x", k/256, k%256), Addresses: []netip.Addr{a}}},
		}
		all = append(all, i)
		conditions = append(conditions, fabric.Condition{Object: instanceKey(i.Name), Member: "n1", Type: fabric.ConditionInstance, OK: true}.WithData(fabric.InstanceState{
			Status: fabric.InstanceRunning, PID: 1000 + k, Boots: 1, Root: true,
			NICs: []fabric.NICFact{{Device: "eth0", Network: "fabbr0", Link: "veth1", Inside: "eth0", MAC: i.NICs[0].MAC, Addresses: i.NICs[0].Addresses}},
		}))
	}
	put(b, f.store, all...)
	if err := f.store.Report(b.Context(), "n1", conditions); err != nil {
		b.Fatal(err)
	}
	const path = "/1.0/instances?recursion=1"
	ours := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.server.Handler().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), unixKey{}, true)))
	}))
	defer ours.Close()
	body := fetch(b, ours.URL+path)
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		startJSON(w, http.StatusOK, len(body))
		w.Write(body)
	}))
	defer bare.Close()
	fetch(b, bare.URL)

	var oursTook, bareTook time.Duration
	b.ResetTimer()
	for k := range b.N {
		if changes {
			conditions[0] = conditions[0].WithData(fabric.InstanceState{Status: fabric.InstanceRunning, PID: 10000 + k, Root: true})
			if err := f.store.Report(b.Context(), "n1", conditions); err != nil {
				b.Fatal(err)
			}
		}
		start := time.Now()
		fetch(b, ours.URL+path)
		middle := time.Now()
		fetch(b, bare.URL)
		oursTook, bareTook = oursTook+middle.Sub(start), bareTook+time.Since(middle)
	}
	b.ReportMetric(0, "ns/op") // both together say nothing
	b.ReportMetric(float64(oursTook.Microseconds())/float64(b.N), "us/list")
	b.ReportMetric(float64(bareTook.Microseconds())/float64(b.N), "us/bare")
	b.ReportMetric(float64(oursTook)/float64(bareTook), "x-bare")
	b.ReportMetric(float64(len(body)), "bytes")
}

func fetch(b *testing.B, url string) []byte {
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("status %d, %v: %.200s", resp.StatusCode, err, data)
	}
	return data
}
