package router

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"netfabric/bgp/unnumbered"
	"netfabric/fabric"
)

// resolve tells which dynamic peers nobody has called, and gives unnumbered peers the addresses of the neighbours that were found on their interfaces. missing are those that have none to use, and
// why; their Address is the zero value.
func resolve(r fabric.Routing, found map[string]unnumbered.State) (resolved []fabric.RoutingPeer, missing map[string]hold) {
	missing = map[string]hold{}
	taken := map[netip.Addr]string{} // interfaces, by the link-local address of the neighbour there
	for _, p := range r.Peers {
		if p.Dynamic.IsValid() {
			h := hold{reason: fabric.ReasonNoCaller, message: fmt.Sprintf("nobody in %s has connected yet", p.Dynamic)}
			if r.Speaker == nil || !r.Speaker.Listen.IsValid() {
				h = hold{reason: fabric.ReasonNoListener, message: "the member accepts no sessions: give it a core.bgp_address"}
			}
			missing[p.Name] = h
		}
		if p.Interface != "" {
			x := found[p.Interface]
			bare := x.Neighbour.WithZone("")
			switch other, twice := taken[bare]; {
			case !x.Neighbour.IsValid():
				missing[p.Name] = hold{reason: fabric.ReasonNoNeighbor, message: x.Why}
			case twice:
				// GoBGP knows peers and the paths of theirs by the address without its zone.
				missing[p.Name] = hold{reason: fabric.ReasonSameNeighbor, message: fmt.Sprintf("the router on %s has the link-local address %s, as the one on %s", p.Interface, bare, other)}
			default:
				taken[bare] = p.Interface
				p.Address = x.Neighbour
			}
		}
		resolved = append(resolved, p)
	}
	return resolved, missing
}

// interfacesOf are those of the unnumbered peers.
func interfacesOf(peers []fabric.RoutingPeer) []string {
	var all []string
	for _, p := range peers {
		if p.Interface != "" {
			all = append(all, p.Interface)
		}
	}
	return all
}

// rivalWarning says that a second router is on the link of a peer.
func rivalWarning(p fabric.RoutingPeer, found map[string]unnumbered.State) string {
	x := found[p.Interface]
	if p.Interface == "" || !x.Rival.IsValid() {
		return ""
	}
	return fmt.Sprintf("a second router, %s, is on %s: it is not used while %s is there", x.Rival.WithZone(""), p.Interface, x.Neighbour.WithZone(""))
}

// losses counts sessions that were lost, by name of the peer, as far as the speaker has forgotten them: it does while a peer has to wait.
type losses map[string]int

// note looks at which sessions there were before peers had to wait.
func (l losses) note(sessions []fabric.PeerState, held, before map[string]hold) {
	for _, p := range sessions {
		if _, waits := held[p.Name]; !waits {
			continue
		}
		if _, already := before[p.Name]; already {
			continue
		}
		l[p.Name] += p.Flaps
		if p.Established() {
			l[p.Name]++
		}
	}
}

// keep forgets peers that are not there any more.
func (l losses) keep(peers []fabric.RoutingPeer) {
	maps.DeleteFunc(l, func(name string, _ int) bool {
		return !slices.ContainsFunc(peers, func(p fabric.RoutingPeer) bool { return p.Name == fabric.PeerOfSession(name) })
	})
}

// there are the peers whose neighbour is known.
func there(peers []fabric.RoutingPeer, missing map[string]hold) []fabric.RoutingPeer {
	return slices.DeleteFunc(slices.Clone(peers), func(p fabric.RoutingPeer) bool {
		_, gone := missing[p.Name]
		return gone
	})
}

// neighboursFile has the neighbours that were found, for the next run.
const neighboursFile = "neighbours.json"

// recall takes up the neighbours that an earlier run found.
func (w *Worker) recall() {
	known := map[string]netip.Addr{}
	if err := w.disk.read(neighboursFile, &known); err != nil {
		w.log.Warn("neighbours on links without addresses have to be found anew", "error", err)
	}
	w.neighbours.Remember(known)
	w.recorded = known
}

// record keeps the neighbours that are known for the next run.
func (w *Worker) record(found map[string]unnumbered.State) {
	known := map[string]netip.Addr{}
	for name, x := range found {
		if x.Neighbour.IsValid() {
			known[name] = x.Neighbour
		}
	}
	if maps.Equal(known, w.recorded) {
		return
	}
	if err := w.disk.write(neighboursFile, known, false); err != nil {
		w.log.Warn("neighbours on links without addresses are not noted for the next run", "error", err)
		return
	}
	w.recorded = known
}

// held gives holds the time since when they are.
func held(h hold, name string, before map[string]hold, now time.Time) hold {
	h.since = now
	if old, ok := before[name]; ok && old.reason == h.reason {
		h.since = old.since
	}
	return h
}
