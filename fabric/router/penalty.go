package router

import (
	"net/netip"
	"regexp"
	"time"
)

// Penalties of peers that crash the worker.
const (
	penaltyFirst  = 30 * time.Second // doubles with each crash
	penaltyMost   = time.Hour
	penaltyForget = 2 * time.Hour // without a crash: the next is the first again
)

// penalty is what a peer has on its account.
type penalty struct {
	Crashes int       `json:"crashes"`
	Last    time.Time `json:"last"`
	Until   time.Time `json:"until"` // no session before this
}

// penalties are the peers that are believed to have crashed the worker, by address.
type penalties map[netip.Addr]penalty

// crashed puts a crash on a peer's account.
func (p penalties) crashed(a netip.Addr, now time.Time) {
	x := p[a]
	if now.Sub(x.Last) > penaltyForget {
		x.Crashes = 0
	}
	x.Crashes++
	x.Last = now
	wait := penaltyMost
	if x.Crashes < 10 {
		wait = min(wait, penaltyFirst<<(x.Crashes-1))
	}
	x.Until = now.Add(wait)
	p[a] = x
}

// held tells whether a peer has to wait. A penalty from the future, by a clock that was set back, is none.
func (p penalties) held(a netip.Addr, now time.Time) (penalty, bool) {
	x, ok := p[a]
	return x, ok && now.Before(x.Until) && x.Until.Sub(now) <= penaltyMost
}

// next is when the next penalty ends; false where none is held.
func (p penalties) next(now time.Time) (at time.Time, ok bool) {
	for a := range p {
		if x, held := p.held(a, now); held && (!ok || x.Until.Before(at)) {
			at, ok = x.Until, true
		}
	}
	return at, ok
}

// sighting is the state that a peer's session was last seen to enter.
type sighting struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
}

// inState finds in what a crashed Go program wrote the state of the session whose message was being read.
var inState = regexp.MustCompile(`created by github\.com/osrg/gobgp/\S+\.\(\*fsmHandler\)\.(opensent|openconfirm|established)\b`)

// ofGoBGP finds out whether it was GoBGP that crashed.
var ofGoBGP = regexp.MustCompile(`(?m)^github\.com/osrg/gobgp/`)

// blame tells whose message crashed the worker, as far as that can be known: the trace tells in which state the session was, and of those in that
// state it is the one that entered it last. Where it doesn't tell, it is the session that was up to last. A wrong guess costs the innocent one penalty:
// the next time it is not there.
func blame(trace string, seen map[netip.Addr]sighting) (netip.Addr, bool) {
	if !ofGoBGP.MatchString(trace) {
		return netip.Addr{}, false
	}
	states := []string{"established", "openconfirm", "opensent"}
	if m := inState.FindStringSubmatch(trace); m != nil {
		states = append([]string{m[1]}, states...)
	}
	for _, state := range states {
		var who netip.Addr
		for a, s := range seen {
			if s.State == state && (!who.IsValid() || s.At.After(seen[who].At)) {
				who = a
			}
		}
		if who.IsValid() {
			return who, true
		}
	}
	return netip.Addr{}, false
}
