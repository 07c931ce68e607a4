package fabric

import "testing"

func TestPeerInstall(t *testing.T) {
	for _, c := range []struct {
		in   PeerInstall
		ok   bool
		full PeerInstall
	}{
		{PeerInstall{}, true, PeerInstall{}},
		{PeerInstall{Install: "none"}, true, PeerInstall{}},
		{PeerInstall{Install: "default"}, true, PeerInstall{"default", "main", 2000}},
		{PeerInstall{"all", "blue-1", 5}, true, PeerInstall{"all", "blue-1", 5}},
		{PeerInstall{"all", "4294967295", 4294967295}, true, PeerInstall{"all", "4294967295", 4294967295}},
		{PeerInstall{Install: "some"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Metric: -1}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Metric: 4294967296}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "255"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "local"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "0"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "4294967296"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "../rt"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "a b"}, false, PeerInstall{}},
		{PeerInstall{Install: "all", Table: "a123456789a123456789a123456789a12"}, false, PeerInstall{}},
		{PeerInstall{Table: "blue"}, false, PeerInstall{}},
		{PeerInstall{Install: "none", Metric: 5}, false, PeerInstall{}},
	} {
		if err := c.in.Validate("r1"); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.in, err)
		} else if c.ok && c.in.Full() != c.full {
			t.Errorf("%+v with defaults is %+v, want %+v", c.in, c.in.Full(), c.full)
		}
	}
}
