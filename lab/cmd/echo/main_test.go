package main

import (
	"net"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- serve(server) }()
	client, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, text := range []string{"packet 1", "packet 2"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		client.SetReadDeadline(time.Now().Add(5 * time.Second))
		got := make([]byte, 64)
		if n, err := client.Read(got); err != nil || string(got[:n]) != text {
			t.Errorf("%q, %v", got[:n], err)
		}
	}
	server.Close()
	if err := <-done; err == nil {
		t.Error("a closed socket is served")
	}
}

func TestName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	name(answer, httptest.NewRequest("GET", "/", nil))
	if answer.Code != 200 || answer.Body.String() != host+"\n" {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}
