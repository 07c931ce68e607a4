package gobgp

import (
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func TestLinkBandwidthIsInBytesPerSecond(t *testing.T) {
	for _, c := range []struct {
		asn, mbit uint32
		want      string
	}{
		{65010, 1, "lb:65010:125000"},
		{65010, 4294, "lb:65010:536750000"},
		{65010, 4295, "lb:65010:536875000"},
		{65010, 10000, "lb:65010:1250000000"},
		{65010, 34359, "lb:65010:4294875000"},
		{4200000000, 100, "lb:23456:12500000"},
	} {
		got := linkBandwidth(c.asn, c.mbit)
		if got != c.want {
			t.Errorf("%d Mbit/s of AS %d: %s, want %s", c.mbit, c.asn, got, c.want)
		}
		if _, err := bgp.ParseExtendedCommunity(bgp.EC_SUBTYPE_LINK_BANDWIDTH, got[len("lb:"):]); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
