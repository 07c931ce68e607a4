package gobgp

import (
	"fmt"
	"net/netip"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
)

func TestPathIsWhatGoBGPReads(t *testing.T) {
	path := &api.Path{} // used again for each, as announcements do
	for _, c := range []struct {
		prefix, want string
		class        uint16
	}{
		{"203.0.113.7/32", "203.0.113.7/32 {Nexthop: 0.0.0.0} {Origin: i} {Communities: 0:1}", 1},
		{"203.0.112.0/20", "203.0.112.0/20 {Nexthop: 0.0.0.0} {Origin: i} {Communities: 0:65535}", 65535},
		{"0.0.0.0/0", "0.0.0.0/0 {Nexthop: 0.0.0.0} {Origin: i} {Communities: 0:258}", 258},
		{"203.0.113.8/32", "203.0.113.8/32 {Nexthop: 0.0.0.0}", 0},
		{"2001:db8::8/128", "2001:db8::8/128 {MpReach(ipv6-unicast): {Nexthop: ::, NLRIs: [2001:db8::8/128]}}", 0},
		{"2001:db8::7/128", "2001:db8::7/128 {MpReach(ipv6-unicast): {Nexthop: ::, NLRIs: [2001:db8::7/128]}} {Origin: i} {Communities: 0:1}", 1},
		{"2001:db8:40::/42", "2001:db8:40::/42 {MpReach(ipv6-unicast): {Nexthop: ::, NLRIs: [2001:db8:40::/42]}} {Origin: i} {Communities: 0:1}", 1},
	} {
		fillPath(path, netip.MustParsePrefix(c.prefix), c.class)
		nlri, err := apiutil.GetNativeNlri(path)
		if err != nil {
			t.Fatalf("%s: %v", c.prefix, err)
		}
		attributes, err := apiutil.GetNativePathAttributes(path)
		if err != nil {
			t.Fatalf("%s: %v", c.prefix, err)
		}
		got := nlri.String()
		for _, a := range attributes {
			got += fmt.Sprint(" ", a)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.prefix, got, c.want)
		}
	}
}
