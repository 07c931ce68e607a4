package fabric

import (
	"net/netip"
	"testing"
)

func TestPeerBFDAndGTSM(t *testing.T) {
	peer := func(f func(*Peer)) *Peer {
		p := &Peer{Header: Header{Name: "tor1"}, Address: netip.MustParseAddr("192.0.2.1"), ASN: 65001}
		f(p)
		return p
	}
	for name, c := range map[string]struct {
		peer *Peer
		ok   bool
	}{
		"fastest":                 {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 10, Multiplier: 2} }), true},
		"slowest":                 {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 10000, Multiplier: 255} }), true},
		"default multiplier":      {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 50, Strict: true} }), true},
		"too fast":                {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 9} }), false},
		"too slow":                {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 10001} }), false},
		"negative":                {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: -1} }), false},
		"one packet decides":      {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 50, Multiplier: 1} }), false},
		"multiplier too large":    {peer(func(p *Peer) { p.BFD = PeerBFD{Interval: 50, Multiplier: 256} }), false},
		"strict without interval": {peer(func(p *Peer) { p.BFD = PeerBFD{Strict: true} }), false},
		"profile":                 {peer(func(p *Peer) { p.BFD = PeerBFD{Profile: "fast", Strict: true} }), true},
		"profile, too fast":       {peer(func(p *Peer) { p.BFD = PeerBFD{Profile: "fast", Interval: 9} }), false},
		"gtsm":                    {peer(func(p *Peer) { p.GTSM = true }), true},
		"gtsm across routers":     {peer(func(p *Peer) { p.GTSM, p.MultihopTTL = true, 2 }), false},
	} {
		if err := c.peer.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if full := (PeerBFD{Interval: 50}).Full(); full.Multiplier != DefaultBFDMultiplier {
		t.Errorf("%+v", full)
	}
	if none := (PeerBFD{}).Full(); none != (PeerBFD{}) {
		t.Errorf("%+v", none)
	}
}
