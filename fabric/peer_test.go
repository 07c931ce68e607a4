package fabric_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"netfabric/fabric"
)

func TestPeerASN(t *testing.T) {
	for text, want := range map[string]string{
		`65001`: "65001 65001", `"65001"`: "65001 65001", `"internal"`: `"internal" 65010`, `"external"`: `"external" 0`, `4294967294`: "4294967294 4294967294",
	} {
		var a fabric.PeerASN
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Error(err)
		}
		again, _ := json.Marshal(a)
		if got := fmt.Sprintf("%s %d", again, a.Of(65010)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{`"any"`, `4294967296`, `4294967297`, `-1`, `1.5`, `"0"`, `{}`} {
		var a fabric.PeerASN
		if err := json.Unmarshal([]byte(text), &a); err == nil || !strings.Contains(err.Error(), "AS number") {
			t.Errorf("%s is taken as %s (%v)", text, a, err)
		}
	}
}

func TestWhatIsWrongWithAPeer(t *testing.T) {
	a, p := netip.MustParseAddr("192.0.2.9"), netip.MustParsePrefix
	for _, c := range []struct {
		peer fabric.Peer
		want string
	}{
		{fabric.Peer{ASN: 65001}, `BGP peer "tor": nothing tells where it is; give it an address, an interface or a prefix (dynamic)`},
		{fabric.Peer{Address: a}, `BGP peer "tor" has no AS number; give it one (asn), internal or external`},
		{fabric.Peer{Address: netip.MustParseAddr("::ffff:192.0.2.9"), ASN: 65001}, `BGP peer "tor": address ::ffff:192.0.2.9 is an IPv4 address written as an IPv6 one; write 192.0.2.9`},
		{fabric.Peer{Dynamic: p("192.0.2.1/24"), ASN: 65001}, `BGP peer "tor": 192.0.2.1/24 has bits set past its length; did you mean 192.0.2.0/24?`},
		{fabric.Peer{Dynamic: p("0.0.0.0/0"), ASN: 65001}, `BGP peer "tor": from 0.0.0.0/0 anybody could connect; give a longer prefix`},
		{fabric.Peer{Address: a, ASN: 65001, MaxPrefix: fabric.MaxPrefix{Action: fabric.MaxPrefixWarn}}, `BGP peer "tor": max_prefix needs a limit before an action or a restart delay; set max_prefix.limit (--max-prefix)`},
		{fabric.Peer{Address: a, ASN: 65001, MaxPrefix: fabric.MaxPrefix{Limit: 1, Action: fabric.MaxPrefixWarn, Restart: 9}},
			`BGP peer "tor": max_prefix.restart is the delay after which an ended session is tried again, and max_prefix.action=warn ends none`},
	} {
		c.peer.Name = "tor"
		if err := c.peer.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

func TestBFDProfile(t *testing.T) {
	fast := &fabric.BFDProfile{Header: fabric.Header{Name: "fast"}, Interval: 50, Multiplier: 5, Strict: true}
	s := write(t, world(t), fast)
	for _, c := range []struct{ own, want fabric.PeerBFD }{
		{fabric.PeerBFD{}, fabric.PeerBFD{}},
		{fabric.PeerBFD{Profile: "fast"}, fabric.PeerBFD{Interval: 50, Multiplier: 5, Strict: true}},
		{fabric.PeerBFD{Profile: "fast", Interval: 300, Passive: true}, fabric.PeerBFD{Interval: 300, Multiplier: 5, Strict: true, Passive: true}},
		{fabric.PeerBFD{Interval: 300}, fabric.PeerBFD{Interval: 300, Multiplier: 3}},
	} {
		if got := s.BFDOf(&fabric.Peer{BFD: c.own}); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.own, got, c.want)
		}
	}
	s = write(t, s, &fabric.Peer{Header: fabric.Header{Name: "tor"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65001, BFD: fabric.PeerBFD{Profile: "fast"}})
	if _, err := change(s, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(fast)) }); fabric.ReasonOf(err) != "in-use" {
		t.Errorf("a profile that a peer uses is deleted: %v", err)
	}
}

func TestMembersOfPeers(t *testing.T) {
	s := write(t, world(t), &fabric.Member{Header: fabric.Header{Name: "n2"}, Address: "192.0.2.2:8443", FailureDomain: "rack2",
		Certificate: strings.Replace(testCertificate, "AAAA", "BBBB", 1), Config: fabric.Config{"bgp.asn": "65102"}},
		&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"core.bgp_asn": "65010"}})
	for members, want := range map[string]string{
		"": "true true", "n1": "true false", "failure_domain:rack2": "false true", "failure_domain:default": "true false",
		"failure_domain:rack3": "false false", "n1 failure_domain:rack2": "true true", "failure_domain:rack2 n2": "false true",
	} {
		p := &fabric.Peer{Address: netip.MustParseAddr("192.0.2.9"), Members: strings.Fields(members)}
		if got := fmt.Sprint(p.On(s, "n1"), p.On(s, "n2")); got != want {
			t.Errorf("members %q: %s, want %s", members, got, want)
		}
		p.Disabled = true
		if p.On(s, "n1") || p.On(s, "n2") {
			t.Errorf("members %q: disabled and used all the same", members)
		}
	}
	if a, b := s.ASN("n1"), s.ASN("n2"); a != 65010 || b != 65102 {
		t.Errorf("AS numbers %d and %d", a, b)
	}
}
