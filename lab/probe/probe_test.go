package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunSaysWhatWasAnsweredAndWhatNot(t *testing.T) {
	var asked atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		case 4:
			defer cancel()
			fallthrough
		default:
			fmt.Fprintln(w, "web1\nmore")
		}
	}))
	defer server.Close()
	var out bytes.Buffer
	before := Now()
	if err := Run(ctx, &out, Options{Targets: []string{server.URL}, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var samples []Sample
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var s Sample
		if err := decoder.Decode(&s); err != nil {
			t.Fatal(err)
		}
		samples = append(samples, s)
	}
	r := Since(samples, before, Now())
	if r.Sent != len(samples) || r.Sent < 4 || r.Lost != 1 || len(r.From) != 1 || r.From[0] != "web1" {
		t.Fatalf("report %+v of %+v", r, samples)
	}
}

// TestMoved has a server reset connections before it answers: some once, and all of those to another one.
func TestMoved(t *testing.T) {
	reset := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	var asked atomic.Int64
	moving := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 1 {
			reset(w)
			return
		}
		fmt.Fprintln(w, "web2")
	}))
	defer moving.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reset(w) }))
	defer broken.Close()
	o := Options{Timeout: 5 * time.Second}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if s := o.ask(client, moving.URL, 1); !s.Moved || s.Error != "" || s.From != "web2" {
		t.Errorf("moved: %+v", s)
	}
	if s := o.ask(client, broken.URL, 2); s.Moved || s.Error == "" {
		t.Errorf("lost: %+v", s)
	}
}

func TestNumberedPackets(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for b := make([]byte, 64); ; {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			if string(b[:n]) == "packet 3" {
				continue
			}
			server.WriteTo([]byte("packet 99"), from) // somebody else's
			server.WriteTo(b[:n], from)
		}
	}()
	o := Options{Timeout: 5 * time.Second}
	target := "udp://" + server.LocalAddr().String()
	if s := o.ask(nil, target, 2); s.Error != "" || s.From != "127.0.0.1" {
		t.Errorf("%+v", s)
	}
	o.Timeout = 20 * time.Millisecond
	if s := o.ask(nil, target, 3); s.Error == "" {
		t.Errorf("%+v", s)
	}
}

func TestSince(t *testing.T) {
	ms := time.Millisecond
	samples := []Sample{
		{Sent: 80 * ms, Took: 5 * ms, Error: "before"},
		{Sent: 90 * ms, Took: 5 * ms, From: "a"},
		{Sent: 99 * ms, Took: 1000 * ms, Error: "under way"},
		{Sent: 110 * ms, Took: 1000 * ms, Error: "lost"},
		{Sent: 120 * ms, Took: 5 * ms, From: "c", Moved: true},
		{Sent: 150 * ms, Took: 1000 * ms, Error: "lost"},
		{Sent: 160 * ms, Took: 5 * ms, From: "b"},
		{Sent: 900 * ms, Took: 5 * ms, Error: "after"},
	}
	got := Since(samples, 100*ms, 500*ms)
	if got.Sent != 5 || got.Lost != 3 || got.Moved != 1 || got.Outage != 50*ms || fmt.Sprint(got.From) != "[b c]" {
		t.Errorf("%+v", got)
	}
	if got := Since(samples, 200*ms, 500*ms); got.Lost != 3 || got.Outage != 0 {
		t.Errorf("requests under way at an event: %+v", got)
	}
}
