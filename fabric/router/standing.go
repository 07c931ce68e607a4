package router

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
	"netfabric/vrrp"
)

// standKey identifies a subnet behind a gateway.
type standKey struct {
	Gateway string       `json:"gateway"`
	Prefix  netip.Prefix `json:"prefix"`
}

// standing is the machine that tells whether a subnet behind a gateway is announced:
//
//	down -- Active, and the addresses are here --> up -- not Active, and the linger is over --> down
//
// It stays up while nothing is heard of the gateway, for gatewayPatience. Only the loss of the interface ends it at once. It has no clock.
type standing struct {
	up      bool
	lingers time.Time // end of what is announced although the member is not Active any more; zero: it is, or nothing is heard
	silent  time.Time // until when nothing need be heard; zero: it is
	reason  string    // slug, when not up
	message string
}

const (
	// gatewayLinger is how long a member that is not Active any more announces the subnet on: the new Active's path is to be in use everywhere
	// before this one goes. All members of a gateway forward to the subnet, be they Active or not.
	gatewayLinger = time.Second
	// shortLinger is the same for a member that will not forward any more when vrrp.Linger is over: it has no way to the subnet but by the
	// gateway's own address, or takes no part any more. Peers need some time to hear of the withdraw.
	shortLinger = vrrp.Linger - 50*time.Millisecond
	// gatewayPatience is more than the process of the gateways needs to be started again. It goes on forwarding meanwhile.
	gatewayPatience = 5 * time.Second
)

// heard is what the process of the gateways says of a gateway in one family.
type heard struct {
	known   bool
	active  bool
	ready   bool   // the addresses are on the host
	reason  string // slug, when not active
	message string
}

// Judge takes what is heard, why the interface of the gateway is down (empty while it is up), and what tells how long to linger. It tells whether
// the verdict changed.
func (s *standing) Judge(h heard, down string, linger func() time.Duration, now time.Time) (changed bool) {
	before := *s
	switch {
	case down != "":
		s.fall(fabric.ReasonGatewayFault, down)
	case !h.known:
		if s.silent.IsZero() {
			s.silent = now.Add(gatewayPatience)
		}
		if !s.up || !now.Before(s.end()) {
			s.fall(fabric.ReasonGatewayUnknown, h.message)
		}
	case h.active && (h.ready || s.up):
		*s = standing{up: true}
	case h.active:
		s.fall(fabric.ReasonGatewayBackup, "the member is taking the gateway over")
	default:
		s.silent = time.Time{}
		if s.up && s.lingers.IsZero() {
			s.lingers = now.Add(linger())
		}
		if !s.up || !now.Before(s.lingers) {
			s.fall(h.reason, h.message)
		}
	}
	return before.up != s.up || before.reason != s.reason || before.message != s.message
}

func (s *standing) fall(reason, message string) { *s = standing{reason: reason, message: message} }

// end is when it goes down unless something is heard before.
func (s *standing) end() time.Time {
	if s.silent.IsZero() || !s.lingers.IsZero() && s.lingers.Before(s.silent) {
		return s.lingers
	}
	return s.silent
}

// Deadline is when Judge is due although nothing happens; ok is false when it never is.
func (s *standing) Deadline() (at time.Time, ok bool) { return s.end(), s.up && !s.end().IsZero() }

// parting is a subnet that is announced a little longer although nobody wants it any more: its gateway is handed over.
type parting struct {
	fabric.Announcement
	until time.Time
}

// follow has a standing for exactly the subnets of a value. Those whose gateway has gone from the value are announced until it has been handed over.
func (w *Worker) follow(old, r fabric.Routing, now time.Time) {
	interfaces := interfacesOfGateways(r.Gateways)
	next := map[standKey]*standing{}
	for _, a := range r.Announcements {
		if a.Gateway == "" {
			continue
		}
		key := standKey{a.Gateway, a.Prefix}
		if next[key] = w.standings[key]; next[key] == nil {
			next[key] = &standing{up: w.stood[key]}
		}
	}
	for _, a := range old.Announcements {
		s := w.standings[standKey{a.Gateway, a.Prefix}]
		if _, there := interfaces[a.Gateway]; a.Gateway != "" && !there && s != nil && s.up {
			w.parting = append(w.parting, parting{a, now.Add(shortLinger)})
		}
	}
	w.parting = slices.DeleteFunc(w.parting, func(p parting) bool {
		return slices.ContainsFunc(r.Announcements, func(a fabric.Announcement) bool { return a.Prefix == p.Prefix })
	})
	w.standings, w.stood = next, nil
}

// judgeStandings makes up the mind about all subnets behind gateways.
func (w *Worker) judgeStandings(now time.Time) (changed bool) {
	interfaces := interfacesOfGateways(w.routing.Gateways)
	for key, s := range w.standings {
		linger := func() time.Duration {
			if onSubnet(interfaces[key.Gateway], key.Prefix) {
				return gatewayLinger
			}
			return shortLinger
		}
		h := w.gateways.heard(key.Gateway, fabric.FamilyOf(key.Prefix.Addr()))
		changed = s.Judge(h, w.linkDown(interfaces[key.Gateway]), linger, now) || changed
	}
	gone := 0
	for _, p := range w.parting {
		if now.Before(p.until) {
			w.parting[gone] = p
			gone++
		}
	}
	w.parting = w.parting[:gone]
	return changed
}

// standingsDue is when judgeStandings is due although nothing happens; ok is false when it never is.
func (w *Worker) standingsDue() (at time.Time, ok bool) {
	take := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, s := range w.standings {
		if t, due := s.Deadline(); due {
			take(t)
		}
	}
	for _, p := range w.parting {
		take(p.until)
	}
	return at, ok
}

// announcedNow are the announcements of a value, and those that are parting.
func (w *Worker) announcedNow(all []fabric.Announcement) []fabric.Announcement {
	if len(w.parting) == 0 {
		return all
	}
	all = all[:len(all):len(all)]
	for _, p := range w.parting {
		a := p.Announcement
		a.Gateway = ""
		all = append(all, a)
	}
	return all
}

// leaveGateways hands over all gateways for good. Peers hear that the subnets behind them are elsewhere while this member still forwards.
func (w *Worker) leaveGateways(ctx context.Context) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		w.gateways.leave(ctx)
	}()
	behind := map[netip.Prefix]bool{}
	for key := range w.standings {
		behind[key.Prefix] = true
	}
	if len(behind) > 0 {
		select {
		case <-left:
		case <-time.After(shortLinger):
			last := w.applied
			last.Version++
			last.Paths = slices.DeleteFunc(slices.Clone(last.Paths), func(p gobgp.Path) bool { return behind[p.Prefix] })
			w.speaker.Apply(last)
		}
		w.disk.keepStandings(w.log, nil)
	}
	<-left
}

func interfacesOfGateways(gateways []fabric.RoutingGateway) map[string]string {
	all := map[string]string{}
	for _, g := range gateways {
		all[g.Name] = g.Interface
	}
	return all
}

// validateBehind refuses an announcement for a gateway that the value does not have.
func validateBehind(a fabric.Announcement, gateways map[string]string) error {
	if _, ok := gateways[a.Gateway]; a.Gateway != "" && (!ok || len(a.Copies) > 0) {
		return fabric.Invalidf("bad-gateway", "announcement of %s: needs gateway %q in the same value, and no copies", a.Prefix, a.Gateway)
	}
	return nil
}

// heard is what the process says of a gateway in one family. Of two virtual routers, one of which is about to go, the Active counts.
func (g *gateways) heard(gateway, family string) heard {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := heard{message: "the gateway is not set up yet"}
	if g.failure != nil {
		h.message = g.failure.Error()
	}
	if !g.live {
		if g.failure == nil {
			h.message = "the process of the gateways has not answered yet"
		}
		return h
	}
	for _, r := range g.told.Routers {
		if r.Gateway != gateway || string(r.Family) != family {
			continue
		}
		switch {
		case r.State == vrrp.Active:
			return heard{known: true, active: true, ready: r.Accepting}
		case r.State == vrrp.Backup && r.Active.IsValid():
			h = heard{known: true, reason: fabric.ReasonGatewayBackup, message: fmt.Sprintf("%s is Active for gateway %s", r.Active, gateway)}
		case r.State == vrrp.Backup:
			h = heard{known: true, reason: fabric.ReasonGatewayBackup, message: fmt.Sprintf("the member is Backup for gateway %s and has heard no Active yet", gateway)}
		default:
			h = heard{known: true, reason: fabric.ReasonGatewayFault, message: r.Error}
			for _, t := range g.tracks[gateway] {
				if !t.Up && t.Weight == 0 {
					h.message = t.Message
				}
			}
		}
	}
	return h
}
