package vrrp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"netfabric/fabric"
)

// Handover moves a gateway that is Active here to another member without a moment in which nobody forwards: to those
// whose own addresses (one per family) are given, or without any to whoever is best. It returns when all virtual
// routers of the gateway have been taken over, or with an error of reason "no-gateway", "not-active", "no-successor" or "other-successor";
// what has not been taken over stays here.
func (m *Manager) Handover(ctx context.Context, gateway string, to ...netip.Addr) error {
	var waits []handover
	known := false
	err := m.ask(func(now time.Time) {
		for _, r := range m.routers {
			if r.gateway.Name != gateway {
				continue
			}
			known = true
			if state, _ := r.machine.State(); state == Active {
				waits = append(waits, r.handover(now, ofFamily(to, r.key.Family)))
			}
		}
	})
	switch {
	case err != nil:
		return err
	case !known:
		return fabric.Errorf(fabric.CodeNotFound, "no-gateway", "hand over gateway %q: it is not configured on this member", gateway)
	case len(waits) == 0:
		return fabric.Conflictf("not-active", "hand over gateway %q: this member is not Active", gateway)
	}
	for _, wait := range waits {
		select {
		case e := <-wait.ended:
			if err := wait.outcome(e); err != nil {
				return fmt.Errorf("hand over gateway %q: %w", gateway, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("hand over gateway %q: %w", gateway, ctx.Err())
		}
	}
	return nil
}

// handover is one that somebody waits for.
type handover struct {
	key    routerKey
	target netip.Addr // zero: whoever takes over
	ended  chan HandoverEnded
}

// outcome is what is to be told of how it went.
func (h handover) outcome(e HandoverEnded) error {
	switch {
	case !e.Done && h.target.IsValid():
		return fabric.Conflictf("no-successor", "%s: the router at %s did not take over", h.key, h.target)
	case !e.Done:
		return fabric.Conflictf("no-successor", "%s: no other router took over", h.key)
	case h.target.IsValid() && e.To != h.target:
		return fabric.Conflictf("other-successor", "%s: the router at %s took over in place of the one at %s", h.key, e.To, h.target).
			WithFix("a router of higher priority does when it comes while the gateway moves, or when the one that was asked does not hear; move the gateway again")
	}
	return nil
}

func (r *router) handover(now time.Time, to []netip.Addr) handover {
	h := handover{key: r.key, ended: make(chan HandoverEnded, 1)}
	r.handovers = append(r.handovers, h.ended)
	if len(to) > 0 {
		h.target = to[0]
	}
	r.do(r.machine.Handover(now, h.target), now)
	return h
}

// Close hands over what is Active here for as long as ctx lives, then says farewell, and removes the interfaces.
// With a ctx that is done already, Backups learn of it by the farewell alone.
func (m *Manager) Close(ctx context.Context) error {
	var waits []handover
	err := m.ask(func(now time.Time) {
		if m.abrupt = ctx.Err() != nil; m.abrupt {
			return
		}
		for _, r := range m.routers {
			if state, _ := r.machine.State(); state == Active {
				waits = append(waits, r.handover(now, nil))
			}
		}
	})
	if err != nil {
		return err
	}
	for _, wait := range waits {
		select {
		case <-wait.ended:
		case <-ctx.Done():
		}
	}
	if len(waits) > 0 && ctx.Err() == nil { // the successor's announcements need what Linger is for
		select {
		case <-time.After(Linger):
		case <-ctx.Done():
		}
	}
	err = m.ask(func(now time.Time) {
		m.closing = true
		m.set(nil, now)
		m.host.purgeOthers()
	})
	if err != nil {
		return err
	}
	m.watch.close()
	m.witness.close()
	m.host.close()
	err = m.ask(func(time.Time) { m.stopping = true })
	<-m.ended
	m.nl.Close()
	return err
}
