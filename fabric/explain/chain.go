package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netfabric/fabric"
)

// chain follows one intent through one member.
type chain struct {
	in     Input
	intent intent
	member string

	state fabric.RouteState // the member's word
	out   Member
}

// bad is a step that stands in the way. names are put in place of the words in capitals of the fix.
func bad(slug, message string, names []string) Step {
	t := fabric.TextOfReason(slug)
	return Step{Stage: t.Stage, Text: cmp.Or(message, t.Cause), Reason: slug, Cause: t.Cause, Fix: strings.NewReplacer(names...).Replace(t.Fix)}
}

func (c *chain) ok(stage fabric.Stage, format string, args ...any) {
	c.out.Steps = append(c.out.Steps, Step{Stage: stage, OK: true, Text: fmt.Sprintf(format, args...)})
}

func (c *chain) fail(slug, message string) {
	c.out.Steps = append(c.out.Steps, bad(slug, message, c.names("", "")))
}

// names are the words in capitals of fixes, each followed by what it stands for here.
func (c *chain) names(instance, peer string) []string {
	all := []string{"PREFIXES", strings.ReplaceAll(fabric.ClusterKeys.Get(c.in.Desired.Cluster().Config, "bgp.prefixes"), " ", ""), "PREFIX", c.intent.Prefix.String(), "ADDRESS", c.intent.Prefix.Addr().String(), "MEMBER", c.member}
	add := func(word, name string) {
		if name != "" {
			all = append(all, word, name)
		}
	}
	if c.intent.instance != nil {
		instance = c.intent.instance.Name
		add("NIC", c.intent.nic.Device)
	}
	add("INSTANCE", instance)
	add("PEER", peer)
	if c.intent.network != nil {
		add("NETWORK", c.intent.network.Name)
	}
	if c.intent.service != nil {
		add("SERVICE", c.intent.service.Name)
	}
	if c.intent.gateway != nil {
		add("GATEWAY", c.intent.gateway.Name)
	}
	return all
}

// run goes along the chain. What comes after a link that is broken for all is not looked at.
func (c *chain) run() Member {
	c.out = Member{Name: c.member, State: Blocked, Steps: []Step{}}
	if c.network() && c.reported() && c.active() && c.copies() && c.up() && c.speaker() {
		c.peers()
	}
	c.judge()
	return c.out
}

// network looks at what is known of the network without the member.
func (c *chain) network() bool {
	n := c.intent.network
	switch {
	case n == nil:
		return true
	case n.Pending:
		c.fail(fabric.ReasonNetworkPending, "")
		return false
	case c.hidden():
		c.fail(fabric.ReasonNAT, fmt.Sprintf("network %s hides its %s addresses behind those of its members (NAT)", n.Name, family(c.intent.Prefix.Addr())))
		return false
	}
	c.ok(fabric.StageNetwork, "network %s shows its %s addresses (no NAT)", n.Name, family(c.intent.Prefix.Addr()))
	return true
}

// hidden tells whether the prefix is of a network that masquerades: its subnet, or an address in it.
func (c *chain) hidden() bool {
	n, p := c.intent.network, c.intent.Prefix
	inside := slices.ContainsFunc(n.Subnets(), func(g netip.Prefix) bool { return covers(g.Masked(), p) })
	return inside && (p.Addr().Is4() && n.NAT4() || p.Addr().Is6() && n.NAT6())
}

// reported finds the member's word.
func (c *chain) reported() bool {
	if _, ok := c.in.Desired.Member(c.member); !ok {
		c.fail(fabric.ReasonNoMember, "")
		return false
	}
	condition, ok := c.in.Reports.Get(c.intent.Owner, c.member, fabric.ConditionRoutes)
	found := false
	for _, r := range fabric.JSON[[]fabric.RouteState](condition.Data) {
		if r.Prefix == c.intent.Prefix && r.Kind == c.intent.Kind {
			c.state, found = r, true
		}
	}
	if c.in.Offline(c.member) {
		c.out.State = Unknown
		c.fail(fabric.ReasonMemberOffline, c.lastWord())
		c.state = fabric.RouteState{}
		return false
	}
	switch {
	case ok && condition.Reason == fabric.ReasonWorkerDown:
		c.ok(fabric.StageMember, "%s is online", c.member)
		c.fail(fabric.ReasonWorkerDown, condition.Message)
		return false
	case !found && c.local() == nil && c.intent.service != nil:
		c.out.State = Idle
		c.fail(fabric.ReasonNoCopy, fmt.Sprintf("no instance on %s is a copy of %s", c.member, c.intent.service.Name))
		return false
	case !found && c.intent.instance == nil && c.intent.network == nil && c.intent.gateway == nil:
		c.out.State = Idle
		c.fail(fabric.ReasonNoReport, "")
		return false
	case !found && !c.stopped():
		c.ok(fabric.StageMember, "%s is online", c.member)
		c.fail(fabric.ReasonNoReport, "")
		return false
	}
	c.ok(fabric.StageMember, "%s is online, and its routing worker says how it is", c.member)
	if c.state.Reason == fabric.ReasonPrefixOwned || c.state.Reason == fabric.ReasonNetworkDown {
		c.fail(c.state.Reason, c.state.Message)
		return false
	}
	return true
}

// active looks at whether the member is Active for the gateway of the prefix. One that is not has no part in it.
func (c *chain) active() bool {
	if c.intent.gateway == nil {
		return true
	}
	switch c.state.Reason {
	case fabric.ReasonGatewayBackup, fabric.ReasonGatewayFault, fabric.ReasonGatewayUnknown:
		c.out.State = Idle
		c.fail(c.state.Reason, c.state.Message)
		return false
	}
	if c.state.Up {
		c.ok(fabric.StageGateway, "%s is Active for gateway %s, or was a moment ago", c.member, c.intent.gateway.Name)
	}
	return true
}

// lastWord is what a member that is offline said last.
func (c *chain) lastWord() string {
	var told []string
	for _, p := range c.state.Peers {
		if p.Announced {
			told = append(told, p.Peer)
		}
	}
	if len(told) == 0 {
		return fmt.Sprintf("%s gives no sign of life; it had told no peer of %s when it last did", c.member, c.intent.Prefix)
	}
	return fmt.Sprintf("%s gives no sign of life; when it last did, it had told %s of %s", c.member, strings.Join(told, ", "), c.intent.Prefix)
}

// stopped tells whether the instance of the intent is not meant to run: members say nothing of its prefixes for long then.
func (c *chain) stopped() bool {
	return c.intent.instance != nil && c.intent.instance.Power == fabric.PowerStopped
}

// local are the instances on the member that are to answer for the prefix.
func (c *chain) local() []*fabric.Instance {
	if c.intent.instance != nil {
		return []*fabric.Instance{c.intent.instance}
	}
	if c.intent.service == nil {
		return nil
	}
	var all []*fabric.Instance
	for _, i := range c.in.Desired.Instances() {
		if i.Member != c.member {
			continue
		}
		config, _ := i.Expanded(c.in.Desired)
		if slices.Contains(config.AnycastServices(), c.intent.service.Name) {
			all = append(all, i)
		}
	}
	return all
}

// copies looks at who answers for the prefix. One that can is enough.
func (c *chain) copies() bool {
	instances := c.local()
	if len(instances) == 0 && c.intent.service != nil {
		c.out.State = Idle
		c.fail(fabric.ReasonNoCopy, fmt.Sprintf("no instance on %s is a copy of %s", c.member, c.intent.service.Name))
		return false
	}
	answered := len(instances) == 0
	for _, i := range instances {
		steps := c.copySteps(i)
		for at := range steps {
			steps[at].Instance = i.Name
		}
		c.out.Steps = append(c.out.Steps, steps...)
		answered = answered || !slices.ContainsFunc(steps, func(s Step) bool { return !s.OK })
	}
	return answered
}

func (c *chain) copySteps(i *fabric.Instance) []Step {
	condition, _ := c.in.Reports.Get(fabric.KeyOf(i), i.Member, fabric.ConditionInstance)
	state := fabric.JSON[fabric.InstanceState](condition.Data)
	if state.Status != fabric.InstanceRunning {
		message := fmt.Sprintf("instance %s is %s", i.Name, strings.ToLower(string(cmp.Or(state.Status, fabric.InstanceStopped))))
		if !condition.OK && condition.Message != "" {
			message += ": " + condition.Message
		}
		return []Step{bad(fabric.ReasonInstanceStopped, message, c.names(i.Name, ""))}
	}
	at := slices.IndexFunc(c.state.Copies, func(s fabric.CopyState) bool { return s.Instance == i.Name })
	if at < 0 {
		reason := cmp.Or(c.state.Reason, fabric.ReasonNoReport)
		return []Step{bad(reason, c.state.Message, c.names(i.Name, ""))}
	}
	return c.gates(i.Name, c.state.Copies[at])
}

// gates are what has to be true of a copy that runs, as its member watches it.
func (c *chain) gates(instance string, s fabric.CopyState) []Step {
	gates := []Step{
		{Stage: fabric.StageInstance, OK: true, Text: fmt.Sprintf("instance %s runs and answers on NIC %s", instance, s.Device)},
		{Stage: fabric.StageProcess, OK: true, Text: "its init lives"},
		{Stage: fabric.StageLink, OK: true, Text: "its interface is up"},
	}
	if c.intent.service != nil {
		gates = append(gates, Step{Stage: fabric.StageCheck, OK: true, Text: checkText(c.intent.service.Check.Default())})
	}
	if s.Healthy {
		gates[len(gates)-1].Since = s.Since
		return gates
	}
	broken := bad(s.Reason, s.Message, c.names(instance, ""))
	broken.Since = s.Since
	gates = slices.DeleteFunc(gates, func(g Step) bool { return g.Stage.Order() >= broken.Stage.Order() && broken.Stage.Order() >= 0 })
	if s.Kept {
		broken.OK, broken.Text = true, fmt.Sprintf("used all the same, because too few copies are healthy: %s (%s)", broken.Text, s.Reason)
		broken.Reason, broken.Cause, broken.Fix = "", "", ""
	}
	return append(gates, broken)
}

// checkText is a check in words.
func checkText(k fabric.Check) string {
	if k.Type == fabric.CheckProcess {
		return "the service has no check: alive is healthy"
	}
	return fmt.Sprintf("check %s succeeds (every %d ms, %d failures in a row end it)", k.Text(), k.Interval, k.Fall)
}

// up looks at whether the worker offers the prefix to peers.
func (c *chain) up() bool {
	if c.state.Up {
		if c.intent.service != nil {
			c.ok(fabric.StageKernel, "the kernel of %s routes %s to the healthy copies", c.member, c.intent.Prefix)
		}
		return true
	}
	c.fail(cmp.Or(c.state.Reason, fabric.ReasonNoReport), c.state.Message)
	return false
}

func (c *chain) speaker() bool {
	asn := c.in.Desired.ASN(c.member)
	if asn == 0 {
		c.fail(fabric.ReasonNoASN, "")
		return false
	}
	if len(c.state.Peers) == 0 {
		c.fail(cmp.Or(c.state.Reason, fabric.ReasonNoPeer), c.whyNoPeer())
		return false
	}
	c.ok(fabric.StageSpeaker, "%s speaks BGP for AS %d", c.member, asn)
	return true
}

// whyNoPeer tells why none of the peers is one for the prefix.
func (c *chain) whyNoPeer() string {
	peers := c.in.Desired.Peers()
	if len(peers) == 0 {
		return "the cluster has no BGP peer"
	}
	var all []string
	for _, p := range peers {
		switch {
		case p.Disabled:
			all = append(all, fmt.Sprintf("%s is disabled", p.Name))
		case !p.On(c.in.Desired, c.member):
			all = append(all, fmt.Sprintf("%s is not a peer of %s", p.Name, c.member))
		case !p.Carries(c.intent.Prefix.Addr()):
			all = append(all, fmt.Sprintf("the session with %s does not carry %s", p.Name, family(c.intent.Prefix.Addr())))
		}
	}
	if len(all) == 0 {
		return c.state.Message
	}
	return "no peer is for it: " + strings.Join(all, "; ")
}

// peers looks at each peer that the prefix is for.
func (c *chain) peers() {
	for _, p := range c.state.Peers {
		steps := c.peerSteps(p)
		for at := range steps {
			steps[at].Peer = p.Peer
		}
		c.out.Steps = append(c.out.Steps, steps...)
		if p.Announced {
			c.out.Told = append(c.out.Told, p.Peer)
		}
	}
}

func (c *chain) peerSteps(p fabric.RoutePeer) []Step {
	condition, _ := c.in.Reports.Get(fabric.Key{Kind: fabric.KindPeer, Name: fabric.PeerOfSession(p.Peer)}, c.member, fabric.ConditionSession)
	var session fabric.PeerState
	for _, s := range fabric.SessionsOf(condition) {
		if s.Name == p.Peer {
			session = s
		}
	}
	var steps []Step
	reason := cmp.Or(p.Reason, fabric.ReasonSending)
	if t := fabric.TextOfReason(reason); !p.Announced && t.Stage != fabric.StageSession && t.Stage != fabric.StageAdjOut {
		return append(steps, bad(reason, p.Message, c.names("", fabric.PeerOfSession(p.Peer))))
	}
	if !p.Announced && reason == fabric.ReasonSessionDown {
		why := session.Hold
		if session.Name == "" {
			why = condition.Reason
		}
		if stage := fabric.TextOfReason(why).Stage; stage == fabric.StageSession || stage == fabric.StageSpeaker {
			reason = why // such as that it is held down, and for what, or that there can't be any session
		}
		s := bad(reason, cmp.Or(p.Message, session.LastError, condition.Message), c.names("", fabric.PeerOfSession(p.Peer)))
		s.Since = session.Since
		return append(steps, s)
	}
	if session.Established() {
		steps = append(steps, Step{Stage: fabric.StageSession, OK: true, Since: session.Since,
			Text: fmt.Sprintf("session with %s (AS %d) is established", session.Address, session.ASN)})
	}
	if !p.Announced {
		return append(steps, bad(reason, p.Message, c.names("", fabric.PeerOfSession(p.Peer))))
	}
	return append(steps, Step{Stage: fabric.StageAdjOut, OK: true, Text: fmt.Sprintf("%s has been told of %s", p.Peer, c.intent.Prefix)})
}

// judge sums up the steps. What is in the way of one copy, or of one peer, is in nobody's way as long as another does; what policy keeps from
// some peers while others are told is as it should be, and so is that nobody has to connect.
func (c *chain) judge() {
	told := len(c.out.Told) > 0
	var first *Step
	for at := range c.out.Steps {
		s := &c.out.Steps[at]
		switch {
		case s.OK:
		case told && s.Peer != "" && (s.Stage == fabric.StagePolicy || s.Reason == fabric.ReasonNoCaller):
			s.Meant = true
		case told && s.Peer == "": // of a copy: another answers
		case first == nil || first.Instance != "" && s.Instance == "":
			first = s
		}
	}
	c.out.Blocker = first
	switch {
	case told && first == nil:
		c.out.State = Announced
	case told:
		c.out.State = Partly
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
