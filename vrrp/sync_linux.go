package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// syncSets has the routers of each sync set of this host be fit together: what one of them is not fit for, none is. It is called after anything
// that may have changed.
func (m *Manager) syncSets(now time.Time) {
	if !m.syncs {
		return
	}
	unfit := map[string]string{} // by set: the gateway that is not fit
	for k, g := range m.desired {
		if g.Sync == "" {
			continue
		}
		r := m.routers[k]
		if r == nil { // its interface has not been looked at yet
			continue
		}
		if r.gateway.Priority == 0 || r.fault() != nil {
			if was := unfit[g.Sync]; was == "" || g.Name < was {
				unfit[g.Sync] = g.Name
			}
		}
	}
	for _, r := range m.routers {
		if r.retiring || r.gateway.Sync == "" {
			continue
		}
		if by := unfit[r.gateway.Sync]; by != r.unfit {
			r.unfit, m.changed = by, true
		}
		if p := r.priority(); r.machine.Config().Priority != p {
			r.do(r.machine.SetPriority(now, p), now)
		}
	}
	if now.Sub(m.splitLooked) >= splitStep {
		m.splitLooked = now
		m.joinSplits(now)
	}
}

// joinSplits hands over what is Active here to the member that is Active for the first of its sync set. Handovers and faults take a set along as they
// happen; what they leave apart, or what was apart when it was made a set, stays so without preemption.
func (m *Manager) joinSplits(now time.Time) {
	intervals := map[string][]time.Duration{}
	for _, g := range m.desired {
		intervals[g.Sync] = append(intervals[g.Sync], g.Interval)
	}
	apart := strays(m.seats())
	for k, r := range m.routers {
		if r.machine.HandingOver() { // to that member, it may be: the outcome tells
			continue
		}
		was := r.stray.lasts
		if r.stray.look(now, apart[k], settle(intervals[r.gateway.Sync])) {
			if to := r.gateway.addressOf(r.stray.member, k.Family); to.IsValid() { // without one it could go anywhere
				m.follows = append(m.follows, follower{r, to})
			}
		}
		m.changed = m.changed || was != r.stray.lasts
	}
}

// seats are where the virtual routers of sync sets are Active. Of one whose seat is about to change, or that two members claim, it is not known.
func (m *Manager) seats() []seat {
	var all []seat
	for k, g := range m.desired {
		if g.Sync == "" {
			continue
		}
		s := seat{set: g.Sync, gateway: g.Name, key: k}
		if r := m.routers[k]; r != nil && !r.machine.HandingOver() && r.machine.Conflict() == nil {
			switch state, since := r.machine.State(); state {
			case Active:
				s.here = true
			case Backup:
				if h := r.machine.Heard(); h.At.After(since) && h.Priority != PriorityFarewell {
					s.member = g.Members[h.Source]
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// priority is the one in force: 0 while another gateway of the sync set is not fit here.
func (r *router) priority() uint8 {
	if r.unfit != "" {
		return 0
	}
	return r.gateway.Priority
}

// follow has the other routers of a sync set go to the member that has just taken over from this one.
func (r *router) follow(t Transition) {
	if r.gateway.Sync == "" || t.From != Active || t.To != Backup {
		return
	}
	member := r.gateway.Members[r.machine.Heard().Source]
	for _, o := range r.m.routers {
		if o == r || o.gateway.Sync != r.gateway.Sync || o.retiring {
			continue
		}
		if state, _ := o.machine.State(); state != Active || o.machine.HandingOver() {
			continue
		}
		r.m.follows = append(r.m.follows, follower{o, o.gateway.addressOf(member, o.key.Family)})
	}
}

// follower is a router that is to hand over: to an address, or without one to whoever is best.
type follower struct {
	router *router
	to     netip.Addr
}

// followAll carries out what follow has asked for: not before the actions of the transition are done.
func (m *Manager) followAll(now time.Time) {
	for len(m.follows) > 0 {
		f := m.follows[0]
		m.follows = m.follows[1:]
		f.router.do(f.router.machine.Handover(now, f.to), now)
	}
}

// addressOf is a member's own address of a family, invalid where it is not known.
func (g Gateway) addressOf(member string, f Family) netip.Addr {
	var found []netip.Addr
	for a, name := range g.Members {
		if member != "" && name == member && FamilyOf(a) == f {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return netip.Addr{}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return found[0].WithZone("")
}
