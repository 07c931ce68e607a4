package gobgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRestartStateBitIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		story string // states of the session, "sync" for that GoBGP takes the bit away, "anew" for that the session is set up anew
		want  bool   // lacks it
	}{
		{"sync", true},
		{"active sync", true},
		{"active opensent sync", false},
		{"active opensent openconfirm sync", false},
		{"active sync opensent", true},
		{"active sync opensent openconfirm", true},
		{"active opensent sync idle active", true},
		{"active sync opensent openconfirm established", false}, // nothing helps any more
		{"active opensent anew sync", true},
		{"active sync anew active opensent sync", false},
	} {
		p, now, peer := newPhases(), time.Unix(1e9, 0), netip.MustParseAddr("192.0.2.1")
		for word := range strings.FieldsSeq(c.story) {
			now = now.Add(time.Millisecond)
			switch word {
			case "sync":
				p.synchronised(now)
			case "anew":
				p.begun(peer)
			default:
				p.entered(peer, word, now)
			}
		}
		if got := p.lacksBit(peer); got != c.want {
			t.Errorf("%s: %v", c.story, got)
		}
	}
}
