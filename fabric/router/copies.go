package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// copyKey identifies a copy for a prefix. An instance that started again is another copy.
type copyKey struct {
	prefix   netip.Prefix
	instance string
	device   string
	process  fabric.Process
}

func keyOf(p netip.Prefix, c fabric.Copy) copyKey { return copyKey{p, c.Instance, c.Device, c.Process} }

// tracker is what is known of a copy.
type tracker struct {
	copy    fabric.Copy
	health  *health // nil: alive is healthy
	blocked bool    // dead process or link: checks make no sense
	judged  bool
	reason  string // slug; empty is healthy
	message string
	since   time.Time
}

// newTracker starts to follow a copy, with the verdict of an earlier run if there is one.
func newTracker(c fabric.Copy, old verdict, now time.Time) *tracker {
	t := &tracker{copy: c, since: now.UTC().Truncate(time.Millisecond)}
	if c.Check != nil {
		t.health = newHealth(*c.Check, now)
		if old.Checked {
			t.health.restore(old.Healthy, old.Last)
		}
	}
	if !old.Since.IsZero() {
		t.judged, t.reason, t.message, t.since = true, old.Reason, old.Message, old.Since
	}
	return t
}

// follow takes over how the copy is described now. A check that changed keeps the verdict of the one before.
func (t *tracker) follow(c fabric.Copy, now time.Time) {
	old := t.copy.Check
	t.copy = c
	switch {
	case c.Check == nil:
		t.health = nil
	case old == nil || *old != *c.Check || t.health == nil:
		h := newHealth(*c.Check, now)
		if t.health != nil && t.health.known {
			h.restore(t.health.healthy, t.health.last)
		}
		t.health = h
	}
}

func (t *tracker) healthy() bool { return t.judged && t.reason == "" }

// judge makes up its mind from process, link and check. It tells whether the verdict changed.
func (t *tracker) judge(f facts, now time.Time) bool {
	reason, message := "", ""
	if dead := f.processDead(t.copy.Process); dead != "" {
		reason, message = fabric.ReasonProcessDead, dead
	} else if down := f.linkDown(t.copy.Link); down != "" {
		reason, message = fabric.ReasonLinkDown, down
	}
	t.blocked = reason != ""
	switch {
	case t.health == nil:
	case t.blocked:
		t.health = newHealth(t.health.check, now) // what was found out before is worth nothing when it comes back
	default:
		reason, message = t.health.Verdict()
	}
	changed := !t.judged || reason != t.reason || message != t.message
	if !t.judged || reason != t.reason {
		t.since = now.UTC().Truncate(time.Millisecond)
	}
	t.judged, t.reason, t.message = true, reason, message
	return changed
}

// facts is what is true of the host.
type facts interface {
	processDead(fabric.Process) string // why; empty while it lives
	linkDown(name string) string       // why; empty while it is up
}

func (w *Worker) processDead(p fabric.Process) string {
	if x := w.processes[p]; x != nil {
		return x.dead
	}
	return fmt.Sprintf("process %d is not watched", p.PID)
}

func (w *Worker) linkDown(name string) string {
	l, ok := w.links.get(name)
	switch {
	case !ok:
		return fmt.Sprintf("interface %s does not exist", name)
	case !l.up:
		return fmt.Sprintf("interface %s is down", name)
	}
	return ""
}

// wantedRoutes are the kernel routes to the healthy copies.
func wantedRoutes(r fabric.Routing, trackers map[copyKey]*tracker) map[netip.Prefix][]hop {
	want := map[netip.Prefix][]hop{}
	for _, a := range r.Announcements {
		if !a.Route {
			continue
		}
		var hops []hop
		for _, c := range a.Copies {
			if trackers[keyOf(a.Prefix, c)].healthy() {
				hops = append(hops, hop{c.Via, c.Dev})
			}
		}
		if len(hops) > 0 {
			slices.SortFunc(hops, compareHops)
			want[a.Prefix] = slices.Compact(hops)
		}
	}
	return want
}

// routeStates tells of every announcement what has become of it, and why.
func routeStates(r fabric.Routing, trackers map[copyKey]*tracker, failed map[netip.Prefix]error, bgp gobgp.State) []fabric.RouteState {
	sessions := map[string]fabric.PeerState{}
	for _, p := range bgp.Peers {
		sessions[p.Name] = p
	}
	states := make([]fabric.RouteState, 0, len(r.Announcements))
	for _, a := range r.Announcements {
		s := fabric.RouteState{Prefix: a.Prefix, Kind: a.Kind, Owner: a.Owner}
		for _, c := range a.Copies {
			s.Copies = append(s.Copies, trackers[keyOf(a.Prefix, c)].public())
		}
		if err := failed[a.Prefix]; err != nil {
			s.Reason, s.Message = fabric.ReasonRouteFailed, err.Error()
		} else if answered(a, trackers) {
			s.Up = true
			tell(&s, r, a, sessions, bgp.Out)
		} else {
			s.Reason, s.Message = whyNot(s.Copies)
		}
		states = append(states, s)
	}
	return states
}

// tell fills in who has been told of a prefix that is up.
func tell(s *fabric.RouteState, r fabric.Routing, a fabric.Announcement, sessions map[string]fabric.PeerState, out map[string]map[netip.Prefix]bool) {
	announced := false
	for _, name := range a.Peers {
		p := fabric.RoutePeer{Peer: name, Announced: out[name][a.Prefix]}
		switch {
		case p.Announced:
			announced = true
		case !sessions[name].Established():
			p.Reason = fabric.ReasonSessionDown
		default:
			p.Reason = fabric.ReasonSending
		}
		s.Peers = append(s.Peers, p)
	}
	s.Peers = append(s.Peers, a.Withheld...)
	switch {
	case announced:
	case r.Speaker == nil:
		s.Reason, s.Message = fabric.ReasonNoASN, "the cluster has no AS number (core.bgp_asn)"
	case len(a.Peers) == 0 && len(a.Withheld) > 0:
		s.Reason, s.Message = a.Withheld[0].Reason, fmt.Sprintf("%s: %s", a.Withheld[0].Peer, a.Withheld[0].Message)
	case len(a.Peers) == 0:
		s.Reason, s.Message = fabric.ReasonNoPeer, "no peer of this member takes prefixes of this IP version"
	default:
		s.Reason, s.Message = s.Peers[0].Reason, "no peer has been told yet"
		if s.Reason == fabric.ReasonSessionDown {
			s.Message = "no session is established"
		}
	}
}

// whyNot is the reason of a prefix for which no copy is healthy: what is nearest to being healthy says most.
func whyNot(copies []fabric.CopyState) (reason, message string) {
	var messages []string
	for _, c := range copies {
		messages = append(messages, c.Instance+": "+c.Message)
	}
	for _, reason = range []string{fabric.ReasonCheckPending, fabric.ReasonCheckFailed, fabric.ReasonLinkDown, fabric.ReasonProcessDead} {
		if slices.ContainsFunc(copies, func(c fabric.CopyState) bool { return c.Reason == reason }) {
			break
		}
	}
	return reason, strings.Join(messages, "; ")
}

func (t *tracker) public() fabric.CopyState {
	return fabric.CopyState{Instance: t.copy.Instance, Device: t.copy.Device, Healthy: t.healthy(), Reason: t.reason, Message: t.message, Since: t.since}
}
