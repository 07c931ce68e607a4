package fabric

import (
	"net/netip"
	"strconv"
)

// NetworkBridge is the type of networks that are a Linux bridge on every member.
const NetworkBridge = "bridge"

// Network is something that NICs of instances are plugged into. Its name is the interface on each member.
type Network struct {
	Header
	Type         string            `json:"type"`
	Description  string            `json:"description,omitempty"`
	Config       Config            `json:"config"`
	MemberConfig map[string]Config `json:"member_config,omitempty"` // keys of scope member, by member
	Pending      bool              `json:"pending,omitempty"`       // defined for single members with a target, not created yet
}

// NetworkKeys are the config keys of a bridge network.
var NetworkKeys = KeyTable{
	{"ipv4.address", Or(Prefix4, "auto", "none"), "auto", ScopeGlobal, "Gateway address and length of the IPv4 subnet; auto picks a free private one when the network is created"},
	{"ipv4.nat", Bool, "false", ScopeGlobal, "Hide IPv4 traffic to the outside behind the member's address; the subnet is then not announced"},
	{"ipv6.address", Or(Prefix6, "auto", "none"), "auto", ScopeGlobal, "Gateway address and length of the IPv6 subnet; auto picks a unique local /64 when the network is created"},
	{"ipv6.nat", Bool, "false", ScopeGlobal, "Hide IPv6 traffic to the outside behind the member's address; the subnet is then not announced"},
	{"bridge.mtu", Integer(1280, 9216), "1500", ScopeGlobal, "MTU of the bridge in bytes"},
	{"bridge.external_interfaces", String, "", ScopeMember, "Comma-separated interfaces of the member to put into the bridge"},
	{"user.*", Text, "", ScopeGlobal, "Free for your own use"},
}

// Kind is KindNetwork.
func (*Network) Kind() Kind { return KindNetwork }

// Validate checks name, type and config.
func (n *Network) Validate() error {
	if err := CheckInterface("network", n.Name); err != nil {
		return err
	}
	if n.Type != NetworkBridge {
		return Errorf(CodeNotSupported, "network-type", "network %q: type %q is not supported", n.Name, n.Type).WithFix("use type bridge")
	}
	if err := NetworkKeys.Check("network "+n.Name, n.Config); err != nil {
		return err
	}
	for _, key := range []string{"ipv4.address", "ipv6.address"} {
		if p, ok := n.gateway(key); ok && p.Addr() == p.Masked().Addr() {
			return Invalidf("bad-value", "network %q: %s=%s is the subnet itself", n.Name, key, p).WithFix("give the gateway's address in it, for example %s", netip.PrefixFrom(p.Addr().Next(), p.Bits()))
		} else if ok && (p.Bits() > p.Addr().BitLen()-2 || p.Bits() < 8) {
			return Invalidf("bad-value", "network %q: %s=%s: the length leaves no room for instances, or is shorter than 8", n.Name, key, p)
		}
	}
	for member, config := range n.MemberConfig {
		if err := NetworkKeys.CheckMember("network "+n.Name+" on "+member, config); err != nil {
			return err
		}
	}
	return nil
}

// CheckMember is Check for a config that may only have keys of scope member.
func (t KeyTable) CheckMember(what string, c Config) error {
	for name := range c {
		if k, ok := t.Lookup(name); ok && k.Scope != ScopeMember {
			return Invalidf("not-member-specific", "%s: config key %q is the same on all members", what, name).WithFix("set it without a target")
		}
	}
	return t.Check(what, c)
}

// Refs names the members that have their own config.
func (n *Network) Refs() []Key { return memberRefs(n.MemberConfig) }

func memberRefs(config map[string]Config) []Key {
	var refs []Key
	for member := range config {
		refs = append(refs, Key{KindMember, member})
	}
	return refs
}

// Claims holds the gateway addresses in the network's own address space.
func (n *Network) Claims() []Claim {
	var claims []Claim
	for _, key := range []string{"ipv4.address", "ipv6.address"} {
		if p, ok := n.gateway(key); ok {
			claims = append(claims, AddressClaim(n.Name, p.Addr()))
		}
	}
	return claims
}

// AddressClaim is the hold on an address inside a network.
func AddressClaim(network string, a netip.Addr) Claim { return Claim{"address:" + network, a.String()} }

func (n *Network) check(next *Snapshot) error {
	for _, mine := range n.Subnets() {
		for _, other := range next.Networks() {
			if other.Name == n.Name {
				continue
			}
			for _, theirs := range other.Subnets() {
				if mine.Overlaps(theirs) {
					return Conflictf("subnet-overlap", "network %q: its subnet %s overlaps %s of network %q", n.Name, mine.Masked(), theirs.Masked(), other.Name)
				}
			}
		}
	}
	return nil
}

// Gateway4 is the IPv4 gateway address with the length of the subnet; invalid where there is none.
func (n *Network) Gateway4() netip.Prefix { p, _ := n.gateway("ipv4.address"); return p }

// Gateway6 is the IPv6 gateway address with the length of the subnet; invalid where there is none.
func (n *Network) Gateway6() netip.Prefix { p, _ := n.gateway("ipv6.address"); return p }

// NAT4 tells whether IPv4 traffic is masqueraded.
func (n *Network) NAT4() bool { return ParseBool(NetworkKeys.Get(n.Config, "ipv4.nat")) }

// NAT6 tells whether IPv6 traffic is masqueraded.
func (n *Network) NAT6() bool { return ParseBool(NetworkKeys.Get(n.Config, "ipv6.nat")) }

// MTU is the MTU of the bridge in bytes.
func (n *Network) MTU() int {
	mtu, _ := strconv.Atoi(NetworkKeys.Get(n.Config, "bridge.mtu"))
	return mtu
}

// Subnets are the network's subnets, each as gateway address with length.
func (n *Network) Subnets() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []netip.Prefix{n.Gateway4(), n.Gateway6()} {
		if p.IsValid() {
			all = append(all, p)
		}
	}
	return all
}

func (n *Network) gateway(key string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(NetworkKeys.Get(n.Config, key))
	return p, err == nil
}
