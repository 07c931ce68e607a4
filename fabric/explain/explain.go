// Package explain tells of an address or prefix what the cluster announces for it, link by link from what an operator wants to what each peer
// was told, and what stands in the way first.
package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netfabric/fabric"
)

// State sums up how an announcement stands.
type State string

// The states.
const (
	Announced State = "announced" // every peer that it is for was told
	Partly    State = "partly"    // some peers were, or some of the members that could tell them did
	Blocked   State = "blocked"   // nobody was
	Unknown   State = "unknown"   // the member is offline
	Idle      State = "idle"      // the member has nothing to do with it
	NotOurs   State = "not-ours"  // no object of the cluster has a prefix that covers it
)

// Input is what an answer is made from.
type Input struct {
	Desired *fabric.Snapshot
	Reports *fabric.Reports
	Offline func(member string) bool // tells whether a member is known not to be there; nil: all are
}

// Answer is what there is to say of a prefix.
type Answer struct {
	Query    netip.Prefix `json:"query"`
	State    State        `json:"state"`
	Summary  string       `json:"summary"`            // one line
	Blocker  *Step        `json:"blocker,omitempty"`  // what stands in the way first, unless the state is Announced
	Matches  []Match      `json:"matches"`            // the longest prefix of ours that covers the query, once for each object that wants it
	Covering []Other      `json:"covering,omitempty"` // shorter prefixes of ours that cover it too, longest first
	Within   []Other      `json:"within,omitempty"`   // longer prefixes of ours inside a query that is a prefix; at most maxWithin
	Notes    []string     `json:"notes,omitempty"`    // what else is known of it
}

// Match is a prefix that one object wants announced.
type Match struct {
	Prefix  netip.Prefix            `json:"prefix"`
	Kind    fabric.AnnouncementKind `json:"kind"`
	Owner   fabric.Key              `json:"owner"`
	What    string                  `json:"what"` // what the prefix is of the owner
	State   State                   `json:"state"`
	Members []Member                `json:"members"` // those that could announce it, by name
}

// Member is how one member stands to a prefix.
type Member struct {
	Name    string   `json:"name"`
	State   State    `json:"state"`
	Told    []string `json:"told,omitempty"` // names of the peers that have been told
	Steps   []Step   `json:"steps"`          // in the order of the stages; copies and peers one after the other
	Blocker *Step    `json:"blocker,omitempty"`
}

// Step is one link of the chain.
type Step struct {
	Stage    fabric.Stage `json:"stage"`
	OK       bool         `json:"ok"`
	Meant    bool         `json:"meant,omitempty"` // not OK, and as it should be: policy keeps it from this peer while others are told, or nobody has connected by its prefix
	Text     string       `json:"text"`
	Instance string       `json:"instance,omitempty"` // of a copy
	Peer     string       `json:"peer,omitempty"`
	Reason   string       `json:"reason,omitempty"` // slug, when not OK
	Cause    string       `json:"cause,omitempty"`  // what the slug means
	Fix      string       `json:"fix,omitempty"`    // what to do about it
	Since    time.Time    `json:"since,omitzero"`   // when it became so, where that is known
}

// Other is a prefix of ours beside the one that is explained.
type Other struct {
	Prefix netip.Prefix            `json:"prefix"`
	Kind   fabric.AnnouncementKind `json:"kind"`
	Owner  fabric.Key              `json:"owner"`
}

const maxWithin = 100

// Explain answers for a prefix; an address is a host prefix.
func Explain(query netip.Prefix, in Input) Answer {
	if in.Offline == nil {
		in.Offline = func(string) bool { return false }
	}
	a := Answer{Query: query, State: NotOurs, Matches: []Match{}}
	for _, i := range intents(in) {
		switch {
		case covers(i.Prefix, query):
			m := in.match(i)
			switch {
			case len(a.Matches) == 0 || a.Matches[0].Prefix == i.Prefix:
				a.Matches = append(a.Matches, m)
			default:
				a.Covering = append(a.Covering, i.Other)
			}
		case covers(query, i.Prefix) && len(a.Within) < maxWithin:
			a.Within = append(a.Within, i.Other)
		}
	}
	a.Notes = notes(query, in, a)
	if len(a.Matches) == 0 {
		s := bad(fabric.ReasonNotOurs, "", nil)
		s.Text = fmt.Sprintf("no network, instance, anycast service or gateway announces %s", show(query))
		if query.IsSingleIP() {
			s.Fix = strings.NewReplacer("PREFIX", query.String(), "ADDRESS", query.Addr().String()).Replace(s.Fix)
			if others(query.Addr(), in) {
				s.Fix = "" // it is not to be given away
			}
		}
		a.Blocker = &s
		a.Summary = fmt.Sprintf("nothing of ours covers %s", show(query))
		return a
	}
	a.State, a.Blocker = sum(a.Matches)
	a.Summary = summary(a)
	return a
}

// covers tells whether all of b is in a.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// intent is a prefix that an object wants announced.
type intent struct {
	Other
	what     string
	instance *fabric.Instance // of kind instance
	nic      fabric.NIC       // of kind instance
	network  *fabric.Network  // of kinds network and instance
	service  *fabric.Anycast  // of kind anycast
	gateway  *fabric.Gateway  // of kind gateway
}

// intents are all of the cluster, longest prefix first, those of one prefix in the order in which planners get their way.
func intents(in Input) []intent {
	var all []intent
	for _, n := range in.Desired.Networks() {
		for _, p := range n.Subnets() {
			all = append(all, intent{Other: Other{p.Masked(), fabric.AnnounceNetwork, fabric.KeyOf(n)}, what: fmt.Sprintf("subnet of network %s", n.Name), network: n})
		}
	}
	for _, s := range in.Desired.Anycasts() {
		for _, p := range s.Addresses {
			all = append(all, intent{Other: Other{p, fabric.AnnounceAnycast, fabric.KeyOf(s)}, what: fmt.Sprintf("address of anycast service %s", s.Name), service: s})
		}
	}
	for _, g := range in.Desired.Gateways() {
		if !g.Announce {
			continue
		}
		for _, p := range g.Subnets() {
			all = append(all, intent{Other: Other{p, fabric.AnnounceGateway, fabric.KeyOf(g)}, what: fmt.Sprintf("subnet behind gateway %s", g.Name), gateway: g})
		}
	}
	for _, i := range in.Desired.Instances() {
		all = append(all, instanceIntents(in, i)...)
	}
	all = append(all, reported(in, all)...)
	slices.SortStableFunc(all, func(a, b intent) int {
		return cmp.Or(cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return all
}

func instanceIntents(in Input, i *fabric.Instance) []intent {
	var all []intent
	_, devices := i.Expanded(in.Desired)
	for _, nic := range i.NICs {
		n, _ := in.Desired.Network(nic.Network)
		add := func(p netip.Prefix, what string) {
			all = append(all, intent{Other: Other{p, fabric.AnnounceInstance, fabric.KeyOf(i)}, what: what, instance: i, nic: nic, network: n})
		}
		for _, a := range nic.Addresses {
			add(netip.PrefixFrom(a, a.BitLen()), fmt.Sprintf("address of NIC %s of instance %s in network %s", nic.Device, i.Name, nic.Network))
		}
		for _, key := range []string{"ipv4.routes.external", "ipv6.routes.external"} {
			prefixes, _ := fabric.ParsePrefixes(devices[nic.Device][key]) // validated with the device
			for _, p := range prefixes {
				add(p, fmt.Sprintf("routed to NIC %s of instance %s (%s)", nic.Device, i.Name, key))
			}
		}
	}
	return all
}

// reported are prefixes that members speak of and no object in the snapshot explains: of kinds that this package knows nothing of, or of
// objects that are just going.
func reported(in Input, known []intent) []intent {
	seen := map[Other]bool{}
	for _, i := range known {
		seen[i.Other] = true
	}
	var all []intent
	for _, c := range in.Reports.All(fabric.ConditionRoutes) {
		for _, r := range fabric.JSON[[]fabric.RouteState](c.Data) {
			o := Other{r.Prefix, r.Kind, r.Owner}
			if !seen[o] {
				seen[o] = true
				all = append(all, intent{Other: o, what: fmt.Sprintf("%s of %s", r.Kind, r.Owner)})
			}
		}
	}
	return all
}

// match tells how all members that could announce an intent stand to it.
func (in Input) match(i intent) Match {
	m := Match{Prefix: i.Prefix, Kind: i.Kind, Owner: i.Owner, What: i.what, Members: []Member{}}
	for _, name := range in.members(i) {
		c := chain{in: in, intent: i, member: name}
		m.Members = append(m.Members, c.run())
	}
	m.State, _ = sum([]Match{m})
	return m
}

// members are those that could announce an intent.
func (in Input) members(i intent) []string {
	if i.instance != nil {
		return []string{i.instance.Member}
	}
	var names []string
	for _, m := range in.Desired.Members() {
		if i.gateway == nil || i.gateway.On(in.Desired, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// sum is the state of matches together, and the first thing in the way, of the member that is nearest to announcing.
func sum(matches []Match) (State, *Step) {
	told, missing := 0, 0
	var nearest, nobody *Step
	for _, m := range matches {
		for _, x := range m.Members {
			switch x.State {
			case Idle:
				nobody = x.Blocker
				continue
			case Announced:
				told++
			case Partly:
				told++
				missing++
			case Blocked, Unknown:
				missing++
			}
			if b := x.Blocker; b != nil && (nearest == nil || b.Stage.Order() > nearest.Stage.Order()) {
				nearest = b
			}
		}
	}
	switch {
	case told == 0 && nearest == nil:
		return Blocked, nobody
	case told == 0:
		return Blocked, nearest
	case missing > 0:
		return Partly, nearest
	}
	return Announced, nil
}

func summary(a Answer) string {
	var lines []string
	for _, m := range a.Matches {
		var yes, no []string
		idle := 0
		for _, x := range m.Members {
			switch x.State {
			case Announced, Partly:
				yes = append(yes, fmt.Sprintf("%s to %s", x.Name, strings.Join(x.Told, ", ")))
			case Idle:
				idle++
			default:
				no = append(no, fmt.Sprintf("%s (%s)", x.Name, x.Blocker.Reason))
			}
		}
		line := fmt.Sprintf("%s, %s: ", m.Prefix, m.What)
		switch {
		case len(yes) > 0 && len(no) > 0:
			line += "announced by " + strings.Join(yes, "; ") + "; not by " + strings.Join(no, ", ")
		case len(yes) > 0:
			line += "announced by " + strings.Join(yes, "; ")
		case len(no) > 0:
			line += "not announced by " + strings.Join(no, ", ")
		case idle > 0 && m.Kind == fabric.AnnounceGateway:
			line += "not announced: no member is Active for the gateway"
		case idle > 0:
			line += "not announced: no member has a copy"
		default:
			line += "not announced: the cluster has no member for it"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// others tells whether an address is a member's or a router's.
func others(a netip.Addr, in Input) bool {
	return slices.ContainsFunc(in.Desired.Members(), func(m *fabric.Member) bool { return m.IP().Unmap() == a }) ||
		slices.ContainsFunc(in.Desired.Peers(), func(p *fabric.Peer) bool { return p.Address == a })
}

// notes are what people who ask for an address may want to know beside its announcement.
func notes(query netip.Prefix, in Input, a Answer) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if query.IsSingleIP() {
		for _, m := range in.Desired.Members() {
			if m.IP().Unmap() == query.Addr() {
				add("it is the address of member %s: members' own addresses are not announced", m.Name)
			}
		}
		for _, p := range in.Desired.Peers() {
			if p.Address == query.Addr() {
				add("it is the address of BGP peer %s", p.Name)
			}
		}
		all = append(all, gatewayNotes(query.Addr(), in)...)
		for _, n := range in.Desired.Networks() {
			for _, g := range n.Subnets() {
				if g.Addr() == query.Addr() {
					add("it is the gateway of network %s on every member", n.Name)
				} else if len(a.Matches) > 0 && a.Matches[0].Kind == fabric.AnnounceNetwork && a.Matches[0].Owner == fabric.KeyOf(n) && g.Contains(query.Addr()) {
					add("no instance has %s: only the subnet leads to a member, and not to a particular one", query.Addr())
				}
			}
		}
	}
	if len(a.Matches) == 0 && in.Desired.Cluster().ASN() == 0 {
		add("%s", fabric.TextOfReason(fabric.ReasonNoASN).Cause)
	}
	if len(a.Matches) == 0 && len(a.Within) > 0 {
		add("there are prefixes of ours inside it: ask for one of them")
	}
	return all
}

// show is a prefix as people write it: a host prefix is an address.
func show(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
