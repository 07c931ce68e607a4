package router

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"netfabric/fabric"
)

func longValue(announcements int) fabric.Routing {
	r := fabric.Routing{
		Member: "n1", Revision: 7, Speaker: &fabric.Speaker{ASN: 65010, RouterID: netip.MustParseAddr("192.0.2.1")},
		Peers: []fabric.RoutingPeer{{Name: "up", Address: netip.MustParseAddr("192.0.2.254"), ASN: 65001, HoldTime: 9, GracefulRestart: 30}},
		Own:   []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Drain: &fabric.MemberDrain{Grace: 5},
	}
	for i := range announcements {
		r.Announcements = append(r.Announcements, fabric.Announcement{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32), Kind: fabric.AnnounceInstance,
			Owner: fabric.Key{Kind: fabric.KindInstance, Name: "web<1>"}, Peers: []string{"up"},
			Copies: []fabric.Copy{{Instance: "web1", Via: netip.MustParseAddr("10.0.0.1"), Check: &fabric.Check{Type: fabric.CheckTCP, Port: uint16(i)}}},
		})
	}
	return r
}

func TestRoutingIsWrittenAsJSON(t *testing.T) {
	for n := range 3 {
		value := longValue(n)
		var text bytes.Buffer
		w := bufio.NewWriter(&text)
		if err := writeRouting(w, value); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		var plain fabric.Routing
		if err := json.Unmarshal(text.Bytes(), &plain); err != nil || !reflect.DeepEqual(plain, value) {
			t.Errorf("%d announcements: %s: %+v, %v", n, &text, plain, err)
		}
		got, err := readRouting(json.NewDecoder(&text), true)
		if err != nil || !reflect.DeepEqual(got, value) {
			t.Errorf("%d announcements: read %+v, %v", n, got, err)
		}
	}
}

func TestStateIsWrittenAsJSON(t *testing.T) {
	for n := range 3 {
		state := fabric.RoutingState{Worker: fabric.WorkerState{PID: 7}, Peers: []fabric.PeerState{{Name: "up"}}, Routes: make([]fabric.RouteState, 0)}
		for _, a := range longValue(n).Announcements {
			state.Routes = append(state.Routes, fabric.RouteState{Prefix: a.Prefix, Kind: a.Kind, Owner: a.Owner, Up: true})
		}
		var text bytes.Buffer
		w := bufio.NewWriter(&text)
		long, err := beginState(w, state)
		if err != nil {
			t.Fatal(err)
		}
		for i := range state.Routes {
			if _, err := long.add(&state.Routes[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(long.end(), w.Flush()); err != nil {
			t.Fatal(err)
		}
		var got fabric.RoutingState
		if err := json.Unmarshal(text.Bytes(), &got); err != nil || !reflect.DeepEqual(got, state) {
			t.Errorf("%d routes: %s: %+v, %v", n, &text, got, err)
		}
	}
}

func TestBadRoutingIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "null", "[]", `"x"`, "{", `{"member"`, `{"member":}`, `{"member":"n1"`, `{"announcements":7}`, `{"announcements":{}}`, `{"announcements":[`,
		`{"announcements":[7]}`, `{"announcements":[{}`, `{"announcements":[{"prefix":"x"}]}`, `{"announcements":[{"more":1}]}`, `{"more":1}`, `{"revision":-1}`,
	} {
		if r, err := readRouting(json.NewDecoder(strings.NewReader(text)), true); err == nil {
			t.Errorf("%s was read as %+v", text, r)
		}
	}
	for _, text := range []string{`{}`, `{"announcements":null}`, `{"announcements":[]}`} {
		if r, err := readRouting(json.NewDecoder(strings.NewReader(text)), true); err != nil || len(r.Announcements) != 0 {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	if _, err := readRouting(json.NewDecoder(strings.NewReader(`{"more":1,"announcements":[{"more":1}]}`)), false); err != nil {
		t.Errorf("what another version wrote: %v", err)
	}
}
