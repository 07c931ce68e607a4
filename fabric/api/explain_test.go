package api

import (
	"net/netip"
	"testing"

	"netfabric/fabric"
	"netfabric/fabric/explain"
)

func TestExplainRoute(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	put(t, f.store, &fabric.Anycast{Header: fabric.Header{Name: "dns"}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}})
	a, err := m.unix.ExplainRoute(t.Context(), "203.0.113.53")
	must(t, err)
	if a.State != explain.Blocked || len(a.Matches) != 1 || len(a.Matches[0].Members) != 2 || a.Blocker.Reason != fabric.ReasonNoCopy {
		t.Fatalf("got %+v", a)
	}
	a, err = m.unix.ExplainRoute(t.Context(), "198.51.100.0/24")
	must(t, err)
	if a.State != explain.NotOurs || a.Blocker.Reason != fabric.ReasonNotOurs {
		t.Fatalf("got %+v", a)
	}
	for _, bad := range []string{"", "dns", "203.0.113.53/31", "203.0.113.53%eth0"} {
		_, err = m.unix.ExplainRoute(t.Context(), bad)
		refused(t, err, fabric.CodeInvalid, "bad-prefix")
	}
	reasons, err := m.unix.GetReasons(t.Context())
	must(t, err)
	if len(reasons) != len(fabric.ReasonTexts()) {
		t.Fatalf("got %+v", reasons)
	}
}
