package rtr

import (
	"net/netip"
	"reflect"
	"testing"

	"netfabric/fabric"
)

func TestTurns(t *testing.T) {
	set := func(all ...VRP) map[VRP]struct{} {
		m := map[VRP]struct{}{}
		for _, v := range all {
			m[v] = struct{}{}
		}
		return m
	}
	of := func(prefix string, asn uint32) Origin { return Origin{netip.MustParsePrefix(prefix), asn} }
	const valid, invalid, unknown = fabric.ValidationValid, fabric.ValidationInvalid, fabric.ValidationNotFound
	origins := []Origin{
		of("192.0.2.0/24", 65001), of("192.0.2.0/25", 65001), of("192.0.2.0/24", 65009), of("198.51.100.16/28", 65002), of("198.51.100.0/24", 65002), of("2001:db8:1::/48", 65003), of("0.0.0.0/0", 65001),
	}
	for name, x := range map[string]struct {
		before, after map[VRP]struct{}
		want          map[Origin]Turn
	}{
		"nothing":      {set(a, b, c), set(a, b, c), nil},
		"another part": {set(a), set(a, vrp("203.0.113.0/24", 24, 1)), map[Origin]Turn{}},
		"one comes": {set(b), set(a, b), map[Origin]Turn{
			origins[0]: {unknown, valid}, origins[1]: {unknown, invalid}, origins[2]: {unknown, invalid},
		}},
		"all go": {set(a, b, c), nil, map[Origin]Turn{
			origins[0]: {valid, unknown}, origins[1]: {invalid, unknown}, origins[2]: {invalid, unknown}, origins[3]: {valid, unknown}, origins[4]: {valid, unknown}, origins[5]: {valid, unknown},
		}},
		"another AS":       {set(a), set(vrp("192.0.2.0/24", 24, 65009)), map[Origin]Turn{origins[0]: {valid, invalid}, origins[2]: {invalid, valid}}},
		"one more AS":      {set(a), set(a, vrp("192.0.2.0/24", 24, 65009)), map[Origin]Turn{origins[2]: {invalid, valid}}},
		"a shorter length": {set(b), set(vrp("198.51.100.0/24", 24, 65002)), map[Origin]Turn{origins[3]: {valid, invalid}}},
		"a wider prefix":   {set(a), set(a, vrp("192.0.0.0/16", 25, 65001)), map[Origin]Turn{origins[1]: {invalid, valid}}},
		"nobody":           {nil, set(vrp("192.0.2.0/24", 32, 0)), map[Origin]Turn{origins[0]: {unknown, invalid}, origins[1]: {unknown, invalid}, origins[2]: {unknown, invalid}}},
	} {
		if got := Turns(x.before, x.after, origins); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}
