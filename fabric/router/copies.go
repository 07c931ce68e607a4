package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netfabric/bgp"
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
	health  *health  // nil: alive is healthy
	damping *damping // of all lives of the copy
	blocked bool     // dead process or link: checks make no sense
	well    bool     // neither dead nor failing its checks
	judged  bool
	reason  string // slug; empty is healthy
	message string
	since   time.Time
	until   time.Time // end of suppression
	lingers time.Time // end of the kernel route to a drained copy; zero while it is not drained
	due     time.Time // when to judge again although nothing happens; zero for never
}

// dampKey identifies a copy for a prefix through all its lives.
type dampKey struct {
	prefix   netip.Prefix
	instance string
	device   string
}

// newTracker starts to follow a copy, with the verdict of an earlier run if there is one.
func newTracker(c fabric.Copy, d *damping, old verdict, now time.Time) *tracker {
	t := &tracker{copy: c, damping: d, since: now.UTC().Truncate(time.Millisecond)}
	if c.Check != nil {
		t.health = newHealth(*c.Check, now)
		if old.Checked {
			t.health.restore(old.Healthy, old.Last)
		}
	}
	if !old.Since.IsZero() {
		t.judged, t.reason, t.message, t.since = true, old.Reason, old.Message, old.Since
		t.well = old.Reason == ""
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

// judge makes up its mind from process, link, check, and how often these changed. It tells whether the verdict changed.
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
	if t.well && reason != "" && t.copy.Drain == "" {
		t.damping.Flap(now)
	}
	t.well = reason == ""
	t.until, t.due = time.Time{}, time.Time{}
	if until, suppressed := t.damping.Suppressed(now); suppressed && t.well {
		t.until, t.due = until, until
		reason, message = fabric.ReasonDamped, fmt.Sprintf("became unhealthy %d times in short order, used again at %s if it no longer does", t.damping.flaps, until.UTC().Format(time.TimeOnly+"Z"))
	}
	if drained := t.drain(now); drained != "" && !t.blocked {
		reason, message = t.copy.Drain, drained
	}
	changed := !t.judged || reason != t.reason || message != t.message
	if !t.judged || reason != t.reason {
		t.since = now.UTC().Truncate(time.Millisecond)
	}
	t.judged, t.reason, t.message = true, reason, message
	return changed
}

// drain follows whether the copy is drained, and says so in words.
func (t *tracker) drain(now time.Time) string {
	if t.copy.Drain == "" {
		t.lingers = time.Time{}
		return ""
	}
	if t.lingers.IsZero() {
		t.lingers = now.Add(time.Duration(t.copy.Linger) * time.Millisecond)
	}
	if now.Before(t.lingers) {
		t.due = t.lingers
	}
	if t.copy.Drain == fabric.ReasonMaintenance {
		return "the instance is under maintenance (anycast.maintenance)"
	}
	return "the instance is about to be stopped"
}

// carries tells whether what is under way to a drained copy is still brought to it.
func (t *tracker) carries() bool {
	return t.judged && !t.blocked && !t.lingers.IsZero() && t.due.Equal(t.lingers)
}

// keepable tells whether the copy may be used although it is not healthy.
func (t *tracker) keepable() bool {
	return t.judged && !t.blocked && (t.reason == fabric.ReasonCheckFailed || t.reason == fabric.ReasonDamped)
}

// used are the copies that answer for a prefix: the healthy ones and, where those are too few, others that at least live.
func used(a fabric.Announcement, trackers map[copyKey]*tracker) []*tracker {
	var healthy, others []*tracker
	for _, c := range a.Copies {
		switch t := trackers[keyOf(a.Prefix, c)]; {
		case t.healthy():
			healthy = append(healthy, t)
		case t.keepable():
			others = append(others, t)
		}
	}
	return append(healthy, others[:min(len(others), max(0, a.Keep-len(healthy)))]...)
}

// answered tells whether somebody answers for a prefix.
func answered(a fabric.Announcement, trackers map[copyKey]*tracker, standings map[standKey]*standing) bool {
	if a.Gateway != "" {
		return standings[standKey{a.Gateway, a.Prefix}].up
	}
	return len(a.Copies) == 0 || len(used(a, trackers)) > 0
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

// wantedRoutes are the kernel routes to the copies in use; where there are none any more, to drained ones for as long as they linger.
func wantedRoutes(r fabric.Routing, trackers map[copyKey]*tracker) map[netip.Prefix][]hop {
	want := map[netip.Prefix][]hop{}
	for _, a := range r.Announcements {
		if !a.Route {
			continue
		}
		var hops []hop
		for _, t := range used(a, trackers) {
			hops = append(hops, hopTo(t.copy))
		}
		if len(hops) == 0 {
			for _, c := range a.Copies {
				if trackers[keyOf(a.Prefix, c)].carries() {
					hops = append(hops, hopTo(c))
				}
			}
		}
		if len(hops) > 0 {
			slices.SortFunc(hops, compareHops)
			if hops = slices.Compact(hops); len(hops) == 1 {
				hops[0].Weight = 1
			}
			want[a.Prefix] = hops
		}
	}
	return want
}

func hopTo(c fabric.Copy) hop { return hop{c.Via, c.Dev, max(1, c.Weight)} }

// weightOf is the sum of the weights of the copies that traffic is led to.
func weightOf(a fabric.Announcement, trackers map[copyKey]*tracker) (sum int) {
	for _, t := range used(a, trackers) {
		sum += max(1, t.copy.Weight)
	}
	return sum
}

// weighed are, by peer, the attributes of an announcement with what is told of its weight.
func weighed(a fabric.Announcement, trackers map[copyKey]*tracker) map[string]fabric.PolicySet {
	if len(a.Weighted) == 0 {
		return a.Attributes
	}
	all, weight := map[string]fabric.PolicySet{}, weightOf(a, trackers)
	for _, peer := range a.Peers {
		if set := bgp.Weigh(a.Attributes[peer], a.Weighted[peer], weight); !set.IsZero() {
			all[peer] = set
		}
	}
	return all
}

// toldOf tells whether a peer, by name, has been told of a prefix.
type toldOf = func(peer string, p netip.Prefix) bool

// outcome is what states of routes are made of. What trackers and standings point to belongs to the worker's goroutine, nothing else in it changes.
type outcome struct {
	routing   fabric.Routing
	phase     fabric.DrainPhase
	trackers  map[copyKey]*tracker
	standings map[standKey]*standing
	failed    map[netip.Prefix]error
	sessions  map[string]fabric.PeerState
}

// routeStates tells of announcements of the value what has become of them, and why.
func (o outcome) routeStates(announcements []fabric.Announcement, told toldOf) []fabric.RouteState {
	states, trackers := make([]fabric.RouteState, 0, len(announcements)), o.trackers
	for _, a := range announcements {
		s := fabric.RouteState{Prefix: a.Prefix, Kind: a.Kind, Owner: a.Owner}
		inUse := used(a, trackers)
		for _, c := range a.Copies {
			t := trackers[keyOf(a.Prefix, c)]
			shown := t.public()
			shown.Kept = !shown.Healthy && slices.Contains(inUse, t)
			s.Copies = append(s.Copies, shown)
		}
		if err := o.failed[a.Prefix]; err != nil {
			s.Reason, s.Message = fabric.ReasonRouteFailed, err.Error()
		} else if o.phase == fabric.DrainDrained {
			s.Reason, s.Message, s.Peers = fabric.ReasonDrained, "the member is drained (bgp.drained)", untold(a, told)
		} else if answered(a, trackers, o.standings) {
			s.Up = true
			if len(a.Weighted) > 0 {
				s.Weight = weightOf(a, trackers)
			}
			tell(&s, o.routing.Speaker != nil, a, o.sessions, told)
		} else if a.Gateway != "" {
			stand := o.standings[standKey{a.Gateway, a.Prefix}]
			s.Reason, s.Message, s.Peers = stand.reason, stand.message, untold(a, told)
		} else {
			s.Reason, s.Message = whyNot(s.Copies)
			s.Peers = untold(a, told)
		}
		states = append(states, s)
	}
	return states
}

// tell fills in who has been told of a prefix that is up.
func tell(s *fabric.RouteState, speaks bool, a fabric.Announcement, sessions map[string]fabric.PeerState, told toldOf) {
	announced := false
	for _, name := range a.Peers {
		p := fabric.RoutePeer{Peer: name, Announced: told(name, a.Prefix)}
		_, mesh := fabric.MemberOfMeshPeer(name)
		switch {
		case p.Announced:
			announced = announced || !mesh || a.Inside // that other members know it is not what it is announced for
		case !sessions[name].Established():
			p.Reason = fabric.ReasonSessionDown
		case sessions[name].Lacks == fabric.FamilyOf(a.Prefix.Addr()):
			p.Reason = fabric.ReasonNoFamily
		default:
			p.Reason = fabric.ReasonSending
		}
		s.Peers = append(s.Peers, p)
	}
	s.Peers = append(s.Peers, a.Withheld...)
	switch {
	case announced:
	case !speaks:
		s.Reason, s.Message = fabric.ReasonNoASN, "the cluster has no AS number (core.bgp_asn)"
	case outsiders(a.Peers) == 0 && len(a.Withheld) > 0:
		s.Reason, s.Message = a.Withheld[0].Reason, fmt.Sprintf("%s: %s", a.Withheld[0].Peer, a.Withheld[0].Message)
	case outsiders(a.Peers) == 0 && !a.Inside:
		s.Reason, s.Message = fabric.ReasonNoPeer, "no peer of this member takes prefixes of this IP version"
	default:
		first := slices.IndexFunc(s.Peers, func(p fabric.RoutePeer) bool { return p.Reason != "" })
		s.Reason, s.Message = s.Peers[max(0, first)].Reason, "no peer has been told yet"
		if s.Reason == fabric.ReasonSessionDown {
			s.Message = "no session is established"
		}
	}
}

// outsiders is the number of peers that are not other members.
func outsiders(peers []string) (n int) {
	for _, name := range peers {
		if _, mesh := fabric.MemberOfMeshPeer(name); !mesh {
			n++
		}
	}
	return n
}

// untold are the peers that still have a prefix which is not up.
func untold(a fabric.Announcement, told toldOf) []fabric.RoutePeer {
	var all []fabric.RoutePeer
	for _, name := range a.Peers {
		if told(name, a.Prefix) {
			all = append(all, fabric.RoutePeer{Peer: name, Announced: true})
		}
	}
	return all
}

// whyNot is the reason of a prefix for which no copy is healthy: what is nearest to being healthy says most.
func whyNot(copies []fabric.CopyState) (reason, message string) {
	var messages []string
	for _, c := range copies {
		messages = append(messages, c.Instance+": "+c.Message)
	}
	for _, reason = range []string{fabric.ReasonMaintenance, fabric.ReasonDraining, fabric.ReasonDamped, fabric.ReasonCheckPending, fabric.ReasonCheckFailed, fabric.ReasonLinkDown, fabric.ReasonProcessDead} {
		if slices.ContainsFunc(copies, func(c fabric.CopyState) bool { return c.Reason == reason }) {
			break
		}
	}
	return reason, strings.Join(messages, "; ")
}

func (t *tracker) public() fabric.CopyState {
	s := fabric.CopyState{
		Instance: t.copy.Instance, Device: t.copy.Device, Healthy: t.healthy(), Reason: t.reason, Message: t.message, Since: t.since,
		Until: t.until.UTC().Truncate(time.Second), Flaps: t.damping.flaps, Weight: t.copy.Weight,
	}
	if t.health != nil {
		s.Check = t.health.Words()
	}
	return s
}
