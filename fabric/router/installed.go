package router

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"netfabric/bgp/gobgp"
	"netfabric/fabric"
)

// installState is what an installer has to say. It must not be changed.
type installState struct {
	peers  map[string]installCount // by name
	tables []fabric.TableState
	err    error // why the kernel is not as it should be, beside what failed for single prefixes
}

type installCount struct {
	routes, failed int
	why            string // of the lowest prefix that failed
}

// outcome says of a place whether the route is in the kernel, and why not.
func (i *installer) outcome(x placed) placed {
	if x.reason != "" {
		return x
	}
	if err := i.failed[x.key]; err != nil {
		x.hops, x.reason, x.message = nil, cmp.Or(fabric.ReasonOf(err), fabric.ReasonInstallFailed), err.Error()
	}
	return x
}

// countSoon has what became of paths counted.
func (i *installer) countSoon(now time.Time) {
	if i.count.IsZero() {
		i.count = now.Add(max(installCounts, countShare*i.counted))
	}
}

// tell counts, and says what changed. Ways that no path needs any more are forgotten.
func (i *installer) tell() {
	began := time.Now()
	s := installState{peers: map[string]installCount{}}
	tables := map[string]fabric.TableState{}
	lowest := map[string]netip.Prefix{} // that failed, by peer
	used := map[wayKey]way{}
	wayTo := func(x gobgp.Learned, p installPeer) way {
		w := i.wayTo(x, p)
		used[wayKeyOf(x, p)] = w
		return w
	}
	for p, paths := range i.paths {
		counted := map[string]bool{} // tables that have the prefix already
		for _, x := range place(p, paths, i.peers, wayTo) {
			x = i.outcome(x)
			if x.reason == fabric.ReasonInstallNone || x.reason == fabric.ReasonNotDefault {
				continue
			}
			n, t := s.peers[x.peer.name], tables[x.peer.Table]
			t.Table = x.peer.Table
			if x.reason != "" {
				n.failed++
				if first, ok := lowest[x.peer.name]; !ok || comparePrefix(p, first) < 0 {
					lowest[x.peer.name], n.why = p, p.String()+": "+x.message
				}
			} else {
				n.routes++
			}
			if !counted[t.Table] {
				if counted[t.Table] = true; x.reason != "" {
					t.Failed++
				} else {
					t.Routes++
				}
			}
			s.peers[x.peer.name], tables[t.Table] = n, t
		}
	}
	i.ways = used
	s.tables = slices.SortedFunc(maps.Values(tables), func(a, b fabric.TableState) int { return cmp.Compare(a.Table, b.Table) })
	i.counted = time.Since(began)
	i.mu.Lock()
	same := maps.Equal(s.peers, i.state.peers) && slices.Equal(s.tables, i.state.tables)
	s.err = i.state.err
	i.state = s
	i.mu.Unlock()
	if !same {
		i.changed()
	}
}

// onto adds to sessions what became of what their peers told.
func (s installState) onto(sessions []fabric.PeerState) {
	for at := range sessions {
		p := &sessions[at]
		n := s.peers[p.Name]
		p.Installed, p.Failed = n.routes, n.failed
		if n.failed > 0 && p.Established() {
			p.Warning = cmp.Or(p.Warning, fmt.Sprintf("%d prefixes can't be installed; %s", n.failed, n.why))
		}
	}
}

// explain tells of paths, by prefix and peer, where they are in the kernel, or why not.
func (i *installer) explain(ctx context.Context, routes []fabric.BGPRoute) error {
	return i.do(ctx, func() {
		for at := range routes {
			r := &routes[at]
			r.Reason = fabric.ReasonNotBest
			for _, x := range place(r.Prefix, i.paths[r.Prefix], i.peers, i.wayTo) {
				if x.peer.name != r.Peer {
					continue
				}
				x = i.outcome(x)
				r.Reason, r.Message = x.reason, x.message
				if x.reason == "" {
					r.Table, r.Metric = x.peer.Table, x.key.metric
					for _, h := range x.hops {
						r.Hops = append(r.Hops, fabric.KernelHop{Gateway: h.Via, Interface: h.Dev})
					}
				}
			}
		}
	})
}
