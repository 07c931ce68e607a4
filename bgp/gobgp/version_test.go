package gobgp

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestVersionOfAConfigThatWasLeftForANewerOne(t *testing.T) {
	s := quiet(t)
	old, newer := loopConfig(), loopConfig()
	old.Version, newer.Version = 1, 2
	for i := range batch + 1 {
		old.Paths = append(old.Paths, Path{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.1/32", i/256, i%256)), Peers: []string{"one"}})
	}
	newer.Paths = old.Paths[:1]
	s.desired = newer
	if err := s.put(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if n := len(s.book.paths); n != batch || s.version != 0 {
		t.Errorf("%d paths are announced, and version %d is in force", n, s.version)
	}
	if err := s.put(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if n := len(s.book.paths); n != 1 || s.version != 2 {
		t.Errorf("%d paths are announced, and version %d is in force", n, s.version)
	}
	none := &Config{Version: 3}
	s.desired = none
	if err := s.put(t.Context(), none); err != nil || s.version != 3 {
		t.Errorf("all is over: %v, version %d", err, s.version)
	}
}
