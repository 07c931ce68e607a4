package router

import (
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestWhatIsSaidOfCaches(t *testing.T) {
	cache := &fabric.RPKI{Header: fabric.Header{Name: "rtr"}}
	at := time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		state   fabric.RPKIState
		down    string
		ok      bool
		reason  string
		message string
	}{
		{fabric.RPKIState{Name: "rtr", Connected: true, Updated: at, Expires: at.Add(time.Hour), IPv4: 3}, "", true, "", ""},
		{fabric.RPKIState{Name: "rtr", Updated: at, Expires: at.Add(time.Hour), LastError: "connection refused"}, "", false, "rpki-down", "connection refused; what it said last is used until 2026-11-27T02:00:00Z"},
		{fabric.RPKIState{Name: "rtr", LastError: "connection refused"}, "", false, "rpki-no-data", "connection refused; without its data, routes that only it knows of are not-found"},
		{fabric.RPKIState{Name: "rtr"}, "", false, "rpki-no-data", "it has not told anything yet; "},
		{fabric.RPKIState{Name: "other"}, "", false, "rpki-down", "it is not asked yet"},
		{fabric.RPKIState{Name: "rtr", Connected: true, Updated: at}, "no answer", false, "worker-down", "no answer"},
	} {
		got := rpkiCondition(cache, &fabric.RoutingState{RPKI: []fabric.RPKIState{c.state}}, true, c.down)
		if got.OK != c.ok || got.Reason != c.reason || !strings.HasPrefix(got.Message, c.message) {
			t.Errorf("%+v: %+v", c.state, got)
		}
	}
	// A cache that confirms what it said is nothing to write to the database.
	early, late := at, at.Add(time.Minute)
	a := rpkiCondition(cache, &fabric.RoutingState{RPKI: []fabric.RPKIState{{Name: "rtr", Connected: true, Updated: early}}}, true, "")
	b := rpkiCondition(cache, &fabric.RoutingState{RPKI: []fabric.RPKIState{{Name: "rtr", Connected: true, Updated: late}}}, true, "")
	if !a.Same(b) {
		t.Errorf("%+v differs from %+v", a, b)
	}
}

func TestVRPFiles(t *testing.T) {
	d, err := openDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := vrpFiles{d}
	is := func(want string) {
		t.Helper()
		if data, err := f.Kept("rtr1"); string(data) != want || err != nil {
			t.Errorf("%q, %v, want %q", data, err, want)
		}
	}
	is("")
	for _, text := range []string{"one", "another"} {
		if err := f.Keep("rtr1", []byte(text)); err != nil {
			t.Fatal(err)
		}
		is(text)
	}
	for range 2 {
		if err := f.Forget("rtr1"); err != nil {
			t.Error(err)
		}
		is("")
	}
}
