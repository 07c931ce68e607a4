package router

import (
	"fmt"
	"time"

	"netfabric/fabric"
)

// hold is why there is no session with a peer although one is wanted.
type hold struct {
	reason  string
	message string
	since   time.Time
}

// admit divides peers into those to have a session with now, and those that have to wait. missing are those whose neighbour is not there, begun
// those with an established session.
func admit(peers []fabric.RoutingPeer, missing map[string]hold, states map[string]fabric.BFDState, begun map[string]bool, guilty penalties, before map[string]hold, now time.Time) (open []fabric.RoutingPeer, waiting map[string]hold) {
	waiting = map[string]hold{}
	for _, p := range peers {
		h, ok := missing[p.Name]
		if !ok {
			h, ok = penaltyHold(p, guilty, now)
		}
		if !ok && !begun[p.Name] {
			h, ok = strictHold(p, states)
		}
		if ok {
			waiting[p.Name] = held(h, p.Name, before, now)
			continue
		}
		p.BFD, p.PeerInstall = fabric.PeerBFD{}, fabric.PeerInstall{} // no reason to end a session when they change
		open = append(open, p)
	}
	return open, waiting
}

// penaltyHold tells whether a peer has to wait because it is believed to have crashed the worker.
func penaltyHold(p fabric.RoutingPeer, guilty penalties, now time.Time) (hold, bool) {
	x, ok := guilty.held(p.Address.WithZone(""), now)
	if !ok {
		return hold{}, false
	}
	message := fmt.Sprintf("believed to have crashed the routing worker (%d times): no session before %s", x.Crashes, x.Until.UTC().Format(time.RFC3339))
	return hold{reason: fabric.ReasonPenalty, message: message}, true
}

// strictHold tells whether a peer has to wait for its BFD.
func strictHold(p fabric.RoutingPeer, states map[string]fabric.BFDState) (hold, bool) {
	if b := states[p.Name]; p.BFD.Strict && !b.Up() {
		message := "waits for BFD, which is strict"
		if b.Message != "" {
			message += ": " + b.Message
		}
		return hold{reason: fabric.ReasonBFDDown, message: message}, true
	}
	return hold{}, false
}

// peerStates adds to what is known of BGP sessions what is known beside it.
func (w *Worker) peerStates(sessions []fabric.PeerState, states map[string]fabric.BFDState) []fabric.PeerState {
	known := map[string]fabric.PeerState{}
	for _, s := range sessions {
		known[s.Name] = s
	}
	var all []fabric.PeerState
	for _, p := range w.peers {
		s, ok := known[p.Name]
		if h, waits := w.held[p.Name]; waits {
			s = fabric.PeerState{Name: p.Name, Address: p.Address, Interface: p.Interface, Dynamic: p.Dynamic, ASN: p.ASN, State: "idle", Since: h.since, LastError: h.message, Hold: h.reason}
		} else if !ok {
			continue
		}
		if w.filterErr != nil && !s.Established() && (p.Passive || p.Dynamic.IsValid()) && (s.Hold == "" || s.Hold == fabric.ReasonNoCaller) {
			s.Hold, s.LastError = fabric.ReasonFilterFailed, fmt.Sprintf("no sessions are accepted: %s", w.filterErr)
		}
		s.Flaps += w.lost[p.Name]
		if warning := rivalWarning(p, w.found); warning != "" {
			s.Warning = joinWords(s.Warning, warning)
		}
		if b, ok := states[p.Name]; ok {
			s.BFD = &b
		}
		all = append(all, s)
	}
	return all
}
